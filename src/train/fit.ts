/** The training loop: batches, schedule, validation, the best weights, checkpoints, resume and abort. */
import { Aborted, InvalidModel, InvalidOption, NotFinite } from '../errors.ts';
import type { Size3 } from '../gpu/plan.ts';
import { Evaluator, type LabelledVolume } from '../infer/evaluator.ts';
import { meanDefined } from '../metrics/dice.ts';
import type { Checkpointing } from '../model/plan.ts';
import type { ModelState } from '../model/state.ts';
import { stepsInFlight, updateArray } from '../ops/optimizer.ts';
import { assertAugmentation, drawSample, type Augmentation } from './augmentation.ts';
import { chooseKernels } from './kernels.ts';
import {
  checkpointName,
  loadCheckpoint,
  newRunId,
  writeCheckpoint,
  type CheckpointStore,
} from './checkpoint.ts';
import type { BestWeights, EpochRow, TrainingEvent, TrainingResult } from './events.ts';
import type { Loss } from '../model/losses.ts';
import type { Optimizer } from './optimizers.ts';
import { scheduleAt, type Schedule } from './schedules.ts';
import { assertEarlyStopping, hasStalled, smoothedDice, type EarlyStopping } from './selection.ts';
import { TrainingSession, type Batch, type StepResult } from './session.ts';
import { Validation, type ValidationCase } from './validation.ts';

/** Where batches come from. The same epoch and index always give the same batch. */
export interface BatchSource {
  /** x, y, z of what the network sees of every batch; multiples of the network's. */
  readonly size: Size3;
  /** Voxels that batches reach beyond it on both sides, for the augmentation to draw from; x in fours. Default: none. */
  readonly margin?: Size3;
  readonly batchSize: number;
  readonly batchesPerEpoch: number;
  batch(epoch: number, index: number): Batch | Promise<Batch>;
  /** What must be the same for a resumed run, such as the seed and the case ids. */
  readonly identity: unknown;
}

export interface FitOptions {
  readonly epochs: number;
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  readonly schedule: Schedule;
  /** Cases for the validation at the end of each epoch. */
  readonly validation?: readonly ValidationCase[];
  /**
   * Validation cases larger than this are looked at through windows of this size: through all that cover a case side
   * by side where these are at most eight; else through eight, the same in each epoch, among them for each foreground
   * class one that holds much of it (more than eight only where the classes lie in more). A case's Dice is that of all
   * voxels in its windows together, its loss the mean of theirs. Default: the size of patches, where `UNet3D.fit` cuts
   * them; else whole cases.
   */
  readonly validationWindow?: Size3 | undefined;
  /** Largest global gradient norm. */
  readonly maxGradientNorm?: number;
  /** Keep the weights of the epoch with the best smoothed mean foreground Dice (default with validation). */
  readonly keepBest?: boolean;
  /** Stop where the validation no longer gets better. */
  readonly earlyStopping?: EarlyStopping;
  /**
   * Keep a running average of the weights, and validate and save it in their place. Batch norm's running statistics
   * are averaged with them. The decay rises from 0.1 as (1 + n) / (10 + n), n steps having been applied before, up to the
   * one given, such as 0.999.
   */
  readonly ema?: { readonly decay: number };
  /**
   * What happens after a step whose loss or gradients are NaN or infinite: training stops (default), or goes on without
   * it, up to 10 such steps in a row. Such a step changes nothing, whichever of its batches it was: weights, running
   * statistics, moments, averages and the count of applied steps stay as they were before it. (With PyTorch's scaler the
   * running statistics would have moved.) Only the schedule goes on. In float16, a step whose gradients overflow with a
   * finite loss is always left out; it also halves the loss scale, and does not count towards the 10.
   */
  readonly onNotFinite?: 'stop' | 'skip';
  /** Batches whose gradients are averaged for one step; batch norm's statistics are those of each batch. Default 1. */
  readonly accumulate?: number;
  /**
   * Computes outputs of layers again in the backward pass instead of keeping them: `true` for as little memory as
   * possible, or names such as `encoder.0.conv2`. The same bits, in about a tenth more time at most. Default: only
   * what is nearly free.
   */
  readonly checkpointing?: Checkpointing;
  /** Of the training batches, on the GPU. Default: none. */
  readonly augmentation?: Augmentation | undefined;
  /** Of the augmentation. Default 0. */
  readonly seed?: number;
  /**
   * Measure kernels on the device before the first step and use the fastest; choices are kept for other runs. Default:
   * on GPUs, not on software adapters. A resumed training goes on with the kernels of its checkpoint.
   */
  readonly tune?: boolean;
  /** A case to segment after every epoch, for `preview` events. */
  readonly preview?: (LabelledVolume & { readonly id: string }) | undefined;
  /** Looked at between steps; training then saves a checkpoint (if it has a store) and throws `Aborted`. */
  readonly signal?: AbortSignal;
  readonly checkpoint?: CheckpointStore;
  /** Go on from the store's checkpoint, if there is one. */
  readonly resume?: boolean;
}

/** What a run knows of itself, from one device to the next. */
export interface RunRecord {
  /** Whether a checkpoint of this run is in the store: then it goes on from there, and from no other run's. */
  kept: boolean;
  /** Of the run, as its checkpoints carry it; those of older versions have none. */
  id?: string | undefined;
}

/** What stands around a training. */
export interface Surroundings {
  readonly record: RunRecord;
  /** Called before batches are asked for; what it gives waits for them, at a moment when the device is not used. */
  readonly asking: () => <T>(batches: Promise<T>) => Promise<T>;
}

/** Steps in a row that may be left out as not finite. */
const mostSkips = 10;

/** Steps that take longer than this are not finished when a training without checkpoints is stopped. */
const longStepMs = 10_000;

export async function fit(
  state: ModelState,
  source: BatchSource,
  options: FitOptions,
  emit: (event: TrainingEvent) => void,
  { record, asking }: Surroundings = { record: { kept: false }, asking: () => (batches) => batches },
): Promise<TrainingResult> {
  const { epochs, loss, optimizer, schedule, validation = [], checkpoint, signal } = options;
  const { validationWindow: window } = options;
  if (!Number.isInteger(epochs) || epochs < 1)
    throw new InvalidOption(`epochs is ${epochs}; give a whole number from 1 on`);
  const { size, batchSize } = source;
  const { accumulate = 1, checkpointing = false, augmentation, seed = 0 } = options;
  const { ema, earlyStopping, onNotFinite = 'stop' } = options;
  if (augmentation) assertAugmentation(augmentation);
  if (!Number.isInteger(accumulate) || accumulate < 1)
    throw new InvalidOption(`accumulate is ${accumulate}; give a whole number from 1 on`);
  if (window?.some((n) => !Number.isInteger(n) || n < 1))
    throw new InvalidOption(`validationWindow is ${window.join(' x ')}; give whole numbers from 1 on`);
  if (ema && !(ema.decay > 0 && ema.decay < 1))
    throw new InvalidOption(
      `the decay of the averaged weights is ${ema.decay}; give a number between 0 and 1`,
    );
  if (earlyStopping) assertEarlyStopping(earlyStopping, validation.length > 0);
  const averaged = ema !== undefined;
  const stepsPerEpoch = Math.ceil(source.batchesPerEpoch / accumulate);
  const totalSteps = epochs * stepsPerEpoch;
  const identity = JSON.stringify({
    config: state.config,
    epochs,
    loss,
    optimizer,
    schedule,
    size,
    batchSize,
    accumulate,
    precision: state.precision,
    ...(augmentation && { augmentation: { ...augmentation, seed } }),
    ...(ema && { ema }),
    data: source.identity,
  });

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
  const sessionOptions = {
    size,
    batchSize,
    loss,
    optimizer,
    checkpointing,
    accumulate,
    augment: augmentation !== undefined,
    margin: source.margin,
    averaging: averaged,
    coarserTruth: found?.coarserTruth ?? 'nearest',
  };
  state.kernels = await chooseKernels(state, sessionOptions, { tune: options.tune, found, signal }, emit);
  const session = await TrainingSession.create(state, sessionOptions);
  const draws = (batch: number) =>
    augmentation &&
    Array.from({ length: batchSize }, (_, sample) => {
      const position = batch * batchSize + sample;
      return drawSample(augmentation, { size, channels: state.config.inChannels, seed, position });
    });
  let validator: Validation | undefined;
  const previewer = options.preview && new Evaluator(state, loss, { trained: size, averaged });
  try {
    let history: EpochRow[] = [];
    let epochLosses: number[] = [];
    let best: BestWeights | undefined;
    let step = 0;
    let secondsBefore = 0;
    let [applied, skipped] = [0, 0];
    const zeros = new Float32Array(state.layout.parameterWords);
    if (found) {
      state.writeWeights(found.weights);
      if (found.average) state.writeWeights(found.average, { averaged });
      state.write('optimizer.first', found.first);
      state.write('optimizer.second', found.second);
      state.write('lossScale', found.lossScale);
      ({ step, applied, skipped } = found.progress);
      state.write('update', updateArray(found.progress));
      history = [...found.progress.history];
      epochLosses = [...found.progress.epochLosses];
      secondsBefore = found.progress.seconds;
      best = found.best;
    } else {
      for (const name of ['optimizer.first', 'optimizer.second', 'gradients']) state.write(name, zeros);
      if (averaged) state.writeWeights(await state.readWeights(), { averaged });
    }
    const firstStep = step;
    const started = performance.now();
    let epochStarted = started;
    const gpuBytes = state.gpu.allocatedBytes;
    emit({
      type: 'start',
      epochs,
      stepsPerEpoch,
      gpuBytes,
      adapter: state.gpu.describe,
      software: state.gpu.adapterClass !== 'hardware',
      step,
      history: [...history],
    });

    const seconds = () => secondsBefore + (performance.now() - started) / 1000;
    const etaMs = (done: number) =>
      ((performance.now() - started) / Math.max(1, done - firstStep)) * (totalSteps - done);
    const save = async () => {
      if (!checkpoint) return;
      const progress = {
        step,
        history,
        epochLosses,
        seconds: seconds(),
        best: best && { epoch: best.epoch, dice: best.dice },
        applied,
        skipped,
      };
      record.id ??= newRunId();
      const { coarserTruth } = sessionOptions;
      const kept = { identity, run: record.id, coarserTruth, progress, best, averaged };
      await checkpoint.save(checkpointName, await writeCheckpoint(state, kept));
      record.kept = true;
      emit({ type: 'checkpoint', step });
    };

    const batchesOf = async (at: number): Promise<Batch[]> => {
      const epoch = Math.floor(at / stepsPerEpoch);
      const first = (at % stepsPerEpoch) * accumulate;
      const beyond = Math.min(first + accumulate, source.batchesPerEpoch);
      const batches: Batch[] = [];
      for (let index = first; index < beyond; index++)
        batches.push({
          ...(await source.batch(epoch, index)),
          draws: draws(epoch * source.batchesPerEpoch + index),
        });
      return batches;
    };

    const pending: { step: number; learningRate: number; result: Promise<StepResult> }[] = [];
    const settle = async (down: number) => {
      while (pending.length > down) {
        const { step: at, learningRate, result } = pending.shift()!;
        const { loss: value, dice, gradientNorm, lossScale, outcome, ...counts } = await result;
        const epoch = Math.floor(at / stepsPerEpoch);
        ({ applied, skipped } = counts);
        if (outcome === 'overflowed' || outcome === 'skipped') {
          emit({ type: 'skip', epoch, step: at, overflowed: outcome === 'overflowed', lossScale });
          continue;
        }
        if (outcome === 'halted') {
          let where: string | undefined;
          for (const batch of await batchesOf(at)) where ??= await session.firstBrokenGradient(batch);
          where ??= 'the loss';
          const before = skipped > 0 ? ` after ${skipped} such steps that were left out` : '';
          throw new NotFinite(
            `step ${at}: the loss is ${value} and the gradient of ${where} is not finite${before}; weights and statistics are those before the step: lower the learning rate or clip gradients`,
            at,
            where,
          );
        }
        epochLosses.push(value);
        emit({
          type: 'step',
          epoch,
          step: at,
          totalSteps,
          loss: value,
          dice,
          learningRate,
          gradientNorm,
          etaMs: etaMs(at + 1),
        });
      }
    };

    const ask = (at: number) => {
      const wait = asking();
      const batches = batchesOf(at);
      batches.catch(() => undefined); // seen when its turn comes
      return { step: at, wait: () => wait(batches) };
    };
    /** The next step's batches, prepared while the device works on this step. */
    let ahead: ReturnType<typeof ask> | undefined;

    let stepMs = 0;
    const stopIfAsked = async () => {
      if (!signal?.aborted) return;
      await settle(0);
      await save();
      const advice = checkpoint ? '; resume to go on' : '';
      throw new Aborted(`training was stopped after step ${step} of ${totalSteps}${advice}`);
    };

    if (checkpoint && !found) await save(); // in place of another training's
    for (;;) {
      if (step === (history.length + 1) * stepsPerEpoch) {
        await settle(0);
        let row: EpochRow = {
          epoch: history.length,
          loss: meanDefined(epochLosses),
          validationLoss: NaN,
          validationDice: [],
          smoothedDice: NaN,
          learningRate: scheduleAt(schedule, step - 1, totalSteps).learningRate,
          seconds: 0,
        };
        if (validation.length > 0) {
          validator ??= new Validation(state, validation, loss, { window, trained: size, averaged });
          const scores = await validator.run(row.epoch, emit, signal);
          await stopIfAsked();
          row = { ...row, ...scores };
        }
        const score = meanDefined(row.validationDice.slice(1));
        row = {
          ...row,
          smoothedDice: smoothedDice(history[history.length - 1]?.smoothedDice ?? NaN, score),
          seconds: (performance.now() - epochStarted) / 1000,
        };
        epochStarted = performance.now();
        const improved =
          validation.length > 0 &&
          (options.keepBest ?? true) &&
          !(best && row.smoothedDice <= history[best.epoch]!.smoothedDice);
        if (improved)
          best = { weights: await state.readWeights({ averaged }), epoch: row.epoch, dice: score };
        history.push(row);
        epochLosses = [];
        emit({ type: 'epoch', row, best: improved, etaMs: etaMs(step) });
        if (previewer && options.preview && !signal?.aborted)
          emit({ type: 'preview', epoch: row.epoch, score: await previewer.score(options.preview) });
        await save();
      }
      if (step === totalSteps || (earlyStopping && hasStalled(history, earlyStopping))) break;
      await stopIfAsked();
      const batches = await (ahead?.step === step ? ahead : ask(step)).wait();
      const { learningRate, momentum } = scheduleAt(schedule, step, totalSteps);
      const beta1 = momentum ?? optimizer.beta1;
      const stepStarted = performance.now();
      const stepValues = {
        learningRate,
        beta1,
        beta2: optimizer.beta2,
        epsilon: optimizer.epsilon,
        weightDecay: optimizer.weightDecay,
        maxNorm: options.maxGradientNorm ?? Infinity,
        decay: ema?.decay,
        applied,
        mostSkipped: onNotFinite === 'skip' ? mostSkips : 0,
      };
      // A step is finished before training stops, so that the checkpoint is of here and now; only a long one of a
      // training without checkpoints is given up.
      const interrupt = stepMs > longStepMs && !checkpoint ? signal : undefined;
      const submitting = session.step(batches, stepValues, { signal: interrupt });
      ahead = step + 1 < totalSteps ? ask(step + 1) : undefined;
      const { result } = await submitting;
      stepMs = performance.now() - stepStarted;
      result.catch(() => undefined); // seen when it is settled
      pending.push({ step, learningRate, result });
      step++;
      await settle(stepsInFlight);
    }
    if (best) state.writeWeights(best.weights);
    else if (averaged) state.writeWeights(await state.readWeights({ averaged }));
    const result: TrainingResult = {
      history,
      bestEpoch: best?.epoch ?? history.length - 1,
      bestDice: best?.dice ?? NaN,
      stoppedEarly: step < totalSteps,
      steps: step,
      seconds: seconds(),
    };
    emit({ type: 'end', result });
    return result;
  } finally {
    session.dispose();
    validator?.dispose();
    previewer?.dispose();
    state.releaseTraining();
  }
}
