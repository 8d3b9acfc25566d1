/** Opens a training on a device, with its checkpoint, its kernels and its plan, and trains. */
import { assertSame, foundBy, leads, type Ranks } from '../distributed/ranks.ts';
import { InvalidModel } from '../errors.ts';
import { ignored } from '../data/patches.ts';
import { Evaluator } from '../infer/evaluator.ts';
import type { ModelState } from '../model/state.ts';
import { firstDifference, loadCheckpoint, type Checkpoint, type CheckpointStore } from './checkpoint.ts';
import type { TrainingEvent, TrainingResult } from './events.ts';
import type { BatchSource, FitOptions } from './fit.ts';
import { chooseKernels } from './kernels.ts';
import type { StepPlans } from './memory.ts';
import { assertEarlyStopping } from './selection.ts';
import { TrainingSession, type SessionOptions } from './session.ts';
import { StepBatches, type Asking } from './step-batches.ts';
import { Trainer, type RunRecord } from './trainer.ts';
import { assertValidationFits } from './validation.ts';

/** What stands around a training. */
export interface Surroundings {
  readonly emit: (event: TrainingEvent) => void;
  /** Called where the weights are no longer those before: a checkpoint was restored, a step was applied. */
  readonly changed?: () => void;
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
  {
    emit,
    changed = () => undefined,
    record = { kept: false },
    asking = () => (batches) => batches,
    plans,
    anew,
  }: Surroundings,
): Promise<TrainingResult> {
  const { loss, optimizer, validation = [], checkpoint, signal, augmentation, earlyStopping } = options;
  const { accumulate = 1, checkpointing = false, seed = 0, ranks } = options;
  if (earlyStopping) assertEarlyStopping(earlyStopping, validation.length > 0);
  const isBlind = validation.length > 0 && !validation.some(({ label }) => label.some(isForeground));
  const identity = identityOf(state, source, options);
  await assertSame(ranks, identity, (rank, other, first) => {
    const difference = firstDifference(first, other, ['on rank 0 is', `and on rank ${rank}`]);
    return `ranks would train differently: ${difference}; give all of them the same options, data and --memory`;
  });
  const warn = (message: string) => {
    if (leads(ranks)) emit({ type: 'warning', message });
  };
  if (isBlind && !record.kept)
    warn(
      'no case of the validation has any foreground, so that its Dice says nothing of an epoch: the weights of the last are ' +
        `kept${earlyStopping ? ', and training does not stop early' : ''}; choose other cases to validate on`,
    );
  const found =
    checkpoint && (record.kept || options.resume)
      ? await loadCheckpoint(ranks ? readByFirst(checkpoint, ranks) : checkpoint, state, identity, warn)
      : undefined;
  if (found && found.ranks !== (ranks?.size ?? 1))
    warn(
      `${processes(found.ranks)} computed the checkpoint, and ${processes(ranks?.size ?? 1)} of now go on from it: gradients ` +
        'are added up in another order, so that losses may differ in the last digits (about 1e-6) from those of a training ' +
        'that was not interrupted',
    );
  if (record.kept && (!found || found.run !== record.id))
    throw new InvalidModel(
      "the store holds another training's checkpoint in place of this one's: train again, with a store for each training",
    );
  const { inChannels: channels } = state.config;
  const batches = new StepBatches(source, { accumulate, augmentation, seed, channels, ranks }, asking);
  if (found) {
    assertSameEpochs(found, batches, options.epochs);
    Object.assign(record, { kept: true, id: found.run });
  }
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
    ranks,
    plans,
  };
  state.kernels = await chooseKernels(
    state,
    sessionOptions,
    { tune: options.tune, found, signal, ranks },
    emit,
  );
  const looking = new Evaluator(state, loss, { trained: { inputSize: source.size } });
  assertValidationFits(looking, validation, options.validationWindow);
  let session: TrainingSession | undefined;
  try {
    session = await TrainingSession.create(state, sessionOptions);
    const trainer = new Trainer(
      { state, session, batches, identity, coarserTruth, record, anew, emit, changed },
      isBlind ? { ...options, keepBest: false, earlyStopping: undefined } : options,
    );
    return await trainer.run(found);
  } finally {
    session?.dispose();
    state.releaseTraining();
  }
}

/**
 * @throws InvalidModel for a checkpoint whose epochs are of other lengths than those of now, as far as its step tells: the
 * end of its epoch, or of the training, would never come
 */
function assertSameEpochs(
  { progress: { step, history } }: Checkpoint,
  { stepsPerEpoch, source }: StepBatches,
  epochs: number,
): void {
  const ended = history.length;
  const last = Math.min(ended + 1, epochs) * stepsPerEpoch;
  if (step >= ended * stepsPerEpoch && step <= last) return;
  throw new InvalidModel(
    `the checkpoint is of another training: ${ended} of its epochs had ended by step ${step}, and now an epoch has ` +
      `${stepsPerEpoch} step(s), of ${source.batchesPerEpoch} batch(es); resume with as many batches in an epoch as before, ` +
      'or start in another folder',
  );
}

const isForeground = (label: number): boolean => label !== 0 && label !== ignored;

const processes = (ranks: number): string => (ranks === 1 ? '1 process' : `${ranks} ranks`);

/** Checkpoints as rank 0 reads them. */
const readByFirst = (store: CheckpointStore, ranks: Ranks): CheckpointStore => ({
  ...store,
  load: (name) =>
    foundBy(ranks, 0, async () => (await store.load(name)) as Uint8Array<ArrayBuffer> | undefined),
});

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
