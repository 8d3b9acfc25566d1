/** Opens a training on a device, with its checkpoint, its kernels and its plan, and trains. */
import { InvalidModel } from '../errors.ts';
import type { ModelState } from '../model/state.ts';
import { loadCheckpoint } from './checkpoint.ts';
import type { TrainingEvent, TrainingResult } from './events.ts';
import type { BatchSource, FitOptions } from './fit.ts';
import { chooseKernels } from './kernels.ts';
import type { StepPlans } from './memory.ts';
import { assertEarlyStopping } from './selection.ts';
import { TrainingSession, type SessionOptions } from './session.ts';
import { StepBatches, type Asking } from './step-batches.ts';
import { Trainer, type RunRecord } from './trainer.ts';

/** What stands around a training. */
export interface Surroundings {
  readonly emit: (event: TrainingEvent) => void;
  /** Default: a run of its own. */
  readonly record?: RunRecord;
  /** Default: batches are waited for and no more. */
  readonly asking?: Asking;
  /** Heads that began anew, where weights were taken over from another model. */
  readonly anew?: readonly string[] | undefined;
  /** That may know the step already. */
  readonly plans?: StepPlans;
}

/**
 * Trains the network of `state` on batches, from the store's checkpoint where one is to be gone on from.
 * @throws InvalidOption for early stopping without validation; InvalidModel for a checkpoint of another training;
 *   OutOfMemory; NotFinite; Aborted; DeviceLost
 */
export async function train(
  state: ModelState,
  source: BatchSource,
  options: FitOptions,
  { emit, record = { kept: false }, asking = () => (batches) => batches, plans, anew }: Surroundings,
): Promise<TrainingResult> {
  const { loss, optimizer, validation = [], checkpoint, signal, augmentation, earlyStopping } = options;
  const { accumulate = 1, checkpointing = false, seed = 0 } = options;
  if (earlyStopping) assertEarlyStopping(earlyStopping, validation.length > 0);
  const identity = identityOf(state, source, options);
  const warn = (message: string) => emit({ type: 'warning', message });
  const found =
    checkpoint && (record.kept || options.resume)
      ? await loadCheckpoint(checkpoint, state, identity, warn)
      : undefined;
  if (record.kept && (!found || found.run !== record.id))
    throw new InvalidModel(
      "the store holds another training's checkpoint in place of this one's: train again, with a store for each training",
    );
  if (found) Object.assign(record, { kept: true, id: found.run });
  const coarserTruth = found?.coarserTruth ?? 'nearest';
  const sessionOptions: SessionOptions = {
    size: source.size,
    batchSize: source.batchSize,
    loss,
    optimizer,
    checkpointing,
    accumulate,
    augment: augmentation !== undefined,
    margin: source.margin,
    averaging: options.ema !== undefined,
    coarserTruth,
    freeze: options.freeze,
    plans,
  };
  state.kernels = await chooseKernels(state, sessionOptions, { tune: options.tune, found, signal }, emit);
  const session = await TrainingSession.create(state, sessionOptions);
  const { inChannels: channels } = state.config;
  const batches = new StepBatches(source, { accumulate, augmentation, seed, channels }, asking);
  const trainer = new Trainer(
    { state, session, batches, identity, coarserTruth, record, anew, emit },
    options,
  );
  try {
    return await trainer.run(found);
  } finally {
    session.dispose();
    trainer.dispose();
    state.releaseTraining();
  }
}

/** What must be the same for a run that goes on from a checkpoint, as JSON. */
function identityOf(
  { config, precision }: ModelState,
  { size, batchSize, identity }: BatchSource,
  { epochs, loss, optimizer, schedule, accumulate = 1, augmentation, seed = 0, ema, freeze }: FitOptions,
): string {
  return JSON.stringify({
    config,
    epochs,
    loss,
    optimizer,
    schedule,
    size,
    batchSize,
    accumulate,
    precision,
    ...(augmentation && { augmentation: { ...augmentation, seed } }),
    ...(ema && { ema }),
    ...(freeze && { freeze }),
    data: identity,
  });
}
