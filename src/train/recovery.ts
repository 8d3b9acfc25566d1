/** Trains on through the loss of a GPU device: it is opened again, and the run goes on from what it has kept. */
import { leads } from '../distributed/ranks.ts';
import { Aborted, type DeviceLost } from '../errors.ts';
import { Gpu } from '../gpu/device.ts';
import type { Model } from '../infer/model.ts';
import { ModelState } from '../model/state.ts';
import type { TrainingEvent, TrainingResult } from './events.ts';
import type { BatchSource, FitOptions } from './fit.ts';
import { train, type Surroundings } from './train.ts';
import type { RunRecord } from './trainer.ts';

/** Times in a row that a training opens a lost device again without getting to another checkpoint. */
const mostRecoveries = 3;
/** What a driver that has just lost two devices is given to come back. */
const driverRestMs = 1000;
/** How much finer work is cut after each loss: a submit that takes too long is what drivers mostly lose devices over. */
const finer = 8;

/**
 * Trains; with a checkpoint store, begins again on a new device where the one that this package opened is lost:
 * from the run's own last checkpoint, or before there is one from the weights that it began with.
 * @throws as `train`; Aborted where it was stopped while the device was lost, which then stays closed
 */
export async function trainThroughLosses(
  model: Pick<Model, 'state' | 'limits'>,
  source: BatchSource,
  options: FitOptions,
  { emit, ...around }: Omit<Surroundings, 'record'>,
): Promise<TrainingResult> {
  using held = leads(options.ranks) ? await options.checkpoint?.hold?.() : undefined;
  void held; // until the end
  // Other ranks would wait for one that begins again.
  const recovers = options.checkpoint !== undefined && model.state.gpu.owned && !options.ranks;
  const initial = recovers ? await model.state.readWeights() : undefined;
  const record: RunRecord = { kept: false };
  let losses = 0;
  let lost: DeviceLost | undefined;
  /** Of the store's checkpoint. */
  let step = 0;
  const tell = (event: TrainingEvent): void => {
    if (event.type === 'start' || event.type === 'checkpoint') ({ step } = event);
    if (event.type === 'checkpoint' && event.step > 0) losses = 0;
    emit(event);
  };
  for (;;) {
    try {
      if (lost) {
        await openAgain(model, finer ** losses);
        model.state.writeWeights(initial!);
        const from = record.kept ? 'goes on from the last checkpoint' : 'begins again';
        tell({
          type: 'recovered',
          message: `${lost.message}; the device was opened again and training ${from}`,
        });
        lost = undefined;
      }
      return await train(model.state, source, options, { ...around, record, emit: tell });
    } catch (error) {
      const { gpu } = model.state;
      if (gpu.disposed) throw gpu.lossError();
      if (!(await gpu.isLost())) throw error;
      if (!recovers || ++losses > mostRecoveries) throw gpu.lossError();
      lost = gpu.lossError();
      if (losses > 1) await new Promise((resolve) => setTimeout(resolve, driverRestMs));
      if (options.signal?.aborted) throw stopped(record, step, lost);
    }
  }
}

const stopped = ({ kept }: RunRecord, step: number, cause: DeviceLost): Aborted => {
  const where = kept
    ? `after the checkpoint of step ${step}; resume to go on`
    : 'before its first checkpoint';
  return new Aborted(`training was stopped while the GPU device was lost, ${where}`, { cause });
};

/** Opens a device in place of the lost one, with the network on it as it is initialised. */
async function openAgain(model: Pick<Model, 'state' | 'limits'>, caution: number): Promise<void> {
  const { gpu, config, precision, budget } = model.state;
  const opened = await Gpu.open({ limits: model.limits, matrixUnits: gpu.matrixWish, caution });
  const state = await ModelState.create(opened, config, 0);
  if (gpu.disposed) {
    state.dispose();
    opened.dispose();
    throw gpu.lossError();
  }
  model.state = state;
  model.state.precision = precision;
  model.state.budget = budget;
  gpu.dispose();
}
