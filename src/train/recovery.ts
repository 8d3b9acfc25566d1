/** Trains on through the loss of a GPU device: it is opened again, and the run goes on from what it has kept. */
import type { DeviceLost } from '../errors.ts';
import type { ModelState } from '../model/state.ts';
import type { TrainingEvent, TrainingResult } from './events.ts';
import { fit, type BatchSource, type FitOptions, type RunRecord, type Surroundings } from './fit.ts';

/** Times in a row that a training opens a lost device again without getting to another checkpoint. */
const mostRecoveries = 3;
/** What a driver that has just lost two devices is given to come back. */
const driverRestMs = 1000;

/** The model that is trained. */
export interface Trainee {
  /** On the device that is in use now. */
  readonly state: ModelState;
  /** Opens a device in place of the lost one, with the network on it as it is initialised. */
  openAgain(): Promise<void>;
}

/**
 * `fit`, which with a checkpoint store begins again on a new device where the one that this package opened is lost:
 * from the run's own last checkpoint, or before there is one from the weights that it began with.
 */
export async function fitThroughLosses(
  model: Trainee,
  source: BatchSource,
  options: FitOptions,
  emit: (event: TrainingEvent) => void,
  asking: Surroundings['asking'],
): Promise<TrainingResult> {
  const recovers = options.checkpoint !== undefined && model.state.gpu.owned;
  const initial = recovers ? await model.state.readWeights() : undefined;
  const record: RunRecord = { kept: false };
  let losses = 0;
  let lost: DeviceLost | undefined;
  const tell = (event: TrainingEvent): void => {
    if (event.type === 'checkpoint' && event.step > 0) losses = 0;
    emit(event);
  };
  for (;;) {
    try {
      if (lost) {
        await model.openAgain();
        model.state.writeWeights(initial!);
        const from = record.kept ? 'goes on from the last checkpoint' : 'begins again';
        tell({
          type: 'recovered',
          message: `${lost.message}; the device was opened again and training ${from}`,
        });
        lost = undefined;
      }
      return await fit(model.state, source, options, tell, { record, asking });
    } catch (error) {
      const { gpu } = model.state;
      if (gpu.disposed) throw gpu.lossError();
      if (!(await gpu.isLost())) throw error;
      if (!recovers || ++losses > mostRecoveries) throw gpu.lossError();
      lost = gpu.lossError();
      if (losses > 1) await new Promise((resolve) => setTimeout(resolve, driverRestMs));
    }
  }
}
