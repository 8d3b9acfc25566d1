/**
 * A training from its first step, or a checkpoint, to its end. Steps are sent to the device a few ahead of those whose
 * results have come back; at the end of an epoch, before a checkpoint and before it stops, all have.
 */
import { areFinite } from '../data/prepare-checks.ts';
import { anyOf, assertSame, gather, leads, meet, type Ranks } from '../distributed/ranks.ts';
import { Aborted, NotFinite } from '../errors.ts';
import { hexadecimal, sha256 } from '../hash.ts';
import { Evaluator } from '../infer/evaluator.ts';
import { tiles } from '../infer/window.ts';
import { meanDefined } from '../metrics/dice.ts';
import type { ModelState } from '../model/state.ts';
import { gradientPrecision, stepsInFlight, updateArray, type StepValues } from '../ops/optimizer.ts';
import type { TakenVoxel } from '../ops/pool.ts';
import {
  checkpointName,
  newRunId,
  writeCheckpoint,
  type Checkpoint,
  type CheckpointStore,
} from './checkpoint.ts';
import type { BestWeights, EpochRow, TrainingEvent, TrainingResult } from './events.ts';
import type { FitOptions } from './fit.ts';
import { scheduleAt } from './schedules.ts';
import { hasStalled, smoothedDice } from './selection.ts';
import type { Batch, StepResult, TrainingSession } from './session.ts';
import type { StepBatches } from './step-batches.ts';
import { Validation } from './validation.ts';

/** Steps in a row that may be left out as not finite. */
const mostSkips = 10;

/** Steps that take longer than this are not finished when a training without checkpoints is stopped. */
const longStepMs = 10_000;

/** For what may be given up in the middle of a case. */
function unlessAborted(error: unknown): undefined {
  if (!(error instanceof Aborted)) throw error;
}

/** @throws Aborted if the signal has fired before anything was changed */
export async function assertWanted({ signal, ranks }: Pick<FitOptions, 'signal' | 'ranks'>): Promise<void> {
  if (await anyOf(ranks, signal?.aborted ?? false)) throw new Aborted('training was stopped before it began');
}

/** What a run knows of itself, from one device to the next. */
export interface RunRecord {
  /** Whether a checkpoint of this run is in the store: then it goes on from there, and from no other run's. */
  kept: boolean;
  /** Of the run, as its checkpoints carry it; those of older versions have none. */
  id?: string | undefined;
}

/** What a training works with. */
export interface TrainerParts {
  readonly state: ModelState;
  readonly session: TrainingSession;
  readonly batches: StepBatches;
  /** What must be the same for a run that goes on from its checkpoints. */
  readonly identity: string;
  /** Of deep supervision, as the checkpoints carry it. */
  readonly coarserTruth: TakenVoxel;
  readonly record: RunRecord;
  /** Heads that began anew, where weights were taken over from another model. */
  readonly anew?: readonly string[] | undefined;
  readonly emit: (event: TrainingEvent) => void;
  /** Called where the weights are no longer those before: a checkpoint was restored, a step was applied. */
  readonly changed: () => void;
}

/** A step that was sent to the device. */
interface SentStep {
  readonly step: number;
  readonly learningRate: number;
  readonly result: Promise<StepResult>;
}

export class Trainer {
  readonly #parts: TrainerParts;
  readonly #options: FitOptions;
  readonly #totalSteps: number;
  readonly #averaged: boolean;
  #validation: Validation | undefined;
  /** Steps whose results are not known yet. */
  readonly #pending: SentStep[] = [];

  /** The next step, counted from 0, and the first of this run. */
  #step = 0;
  #firstStep = 0;
  #history: EpochRow[] = [];
  /** Losses of the current epoch's finished steps. */
  #epochLosses: number[] = [];
  #best: BestWeights | undefined;
  /** Steps that were applied, and those in a row that were left out as not finite. */
  #counts = { applied: 0, skipped: 0 };
  /** Whether the store's checkpoint is of here and now. */
  #isKept = false;
  /** Spent before the checkpoint. */
  #secondsBefore = 0;
  #started = 0;
  #epochStarted = 0;
  #lastStepMs = 0;

  constructor(parts: TrainerParts, options: FitOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#totalSteps = options.epochs * parts.batches.stepsPerEpoch;
    this.#averaged = options.ema !== undefined;
  }

  /** Trains to the end. @param found what it goes on from */
  async run(found: Checkpoint | undefined): Promise<TrainingResult> {
    try {
      return await this.#train(found);
    } finally {
      // Those that were on their way when something else has ended the run.
      for (const { result } of this.#pending.splice(0)) await result.then(this.#count, () => undefined);
    }
  }

  async #train(found: Checkpoint | undefined): Promise<TrainingResult> {
    await assertWanted(this.#options);
    if (found) this.#restore(found);
    else await this.#initialise();
    await this.#assertSameWeights();
    this.#start();
    if (!found) await this.#begin();
    const { earlyStopping } = this.#options;
    for (;;) {
      if (this.#step === (this.#history.length + 1) * this.#stepsPerEpoch) await this.#endEpoch();
      if (this.#step === this.#totalSteps || (earlyStopping && hasStalled(this.#history, earlyStopping)))
        return this.#end();
      await this.#stopIfAsked();
      await this.#sendStep();
      await this.#settle(stepsInFlight);
    }
  }

  get #ranks(): Ranks | undefined {
    return this.#options.ranks;
  }

  get #stepsPerEpoch(): number {
    return this.#parts.batches.stepsPerEpoch;
  }

  /** How cases are looked at: at the training's size, with the weights that would be kept. */
  get #evaluated() {
    return { trained: { inputSize: this.#parts.batches.source.size }, averaged: this.#averaged };
  }

  /** Saves in place of another training, where nothing keeps the first step from being taken. @throws Aborted */
  async #begin(): Promise<void> {
    const { session, batches } = this.#parts;
    await batches.ready(this.#step, () => session.release());
    await assertWanted(this.#options);
    await this.#save();
  }

  #restore({ weights, average, first, second, lossScale, progress, best, kernels }: Checkpoint): void {
    const { state } = this.#parts;
    const { keepBest = true, validation = [] } = this.#options;
    state.writeWeights(weights);
    if (average) state.writeWeights(average, { averaged: this.#averaged });
    state.write('optimizer.first', first);
    state.write('optimizer.second', second);
    // Else it stays as the session begins with it.
    const isScaled = [kernels ?? state.kernels, state.kernels].every(
      (choices) => gradientPrecision(state.precision, choices) === 'f16',
    );
    if (isScaled) state.write('lossScale', lossScale);
    state.write('update', updateArray(progress));
    this.#step = this.#firstStep = progress.step;
    this.#counts = { applied: progress.applied, skipped: progress.skipped };
    this.#history = [...progress.history];
    this.#epochLosses = [...progress.epochLosses];
    this.#secondsBefore = progress.seconds;
    this.#best = keepBest && validation.length > 0 ? best : undefined;
    this.#isKept = true;
    this.#parts.changed();
  }

  async #initialise(): Promise<void> {
    const { state } = this.#parts;
    const zeros = new Float32Array(state.layout.parameterWords);
    for (const name of ['optimizer.first', 'optimizer.second', 'gradients']) state.write(name, zeros);
    if (this.#averaged) state.writeWeights(await state.readWeights(), { averaged: true });
  }

  #start(): void {
    const { state, emit, anew } = this.#parts;
    const { freeze } = this.#options;
    this.#started = this.#epochStarted = performance.now();
    emit({
      type: 'start',
      epochs: this.#options.epochs,
      stepsPerEpoch: this.#stepsPerEpoch,
      gpuBytes: state.gpu.allocatedBytes,
      adapter: state.gpu.describe,
      software: state.gpu.adapterClass !== 'hardware',
      step: this.#step,
      history: [...this.#history],
      ...(anew && this.#step === 0 && { anew }),
      ...(freeze && { freeze }),
      ...(this.#ranks && { ranks: this.#ranks.size }),
    });
  }

  /** Ranks that make the same updates from the same gradients have the same weights, to the bit. */
  async #assertSameWeights(): Promise<void> {
    if (!this.#ranks) return;
    const { state } = this.#parts;
    const { parameters, statistics } = await state.readWeights();
    const hashes = [];
    for (const values of [parameters, statistics])
      hashes.push(hexadecimal(await sha256(new Uint8Array(values.buffer))));
    await assertSame(
      this.#ranks,
      hashes.join(' '),
      (rank) =>
        `before step ${this.#step}, rank ${rank} has other weights than rank 0: its adapter or driver computes other bits; ` +
        'give all ranks adapters of one kind with one driver, and go on from the checkpoint',
    );
  }

  /** Of this run and those that it goes on from. */
  #seconds(): number {
    return this.#secondsBefore + (performance.now() - this.#started) / 1000;
  }

  /** Milliseconds for the rest, when `done` steps are behind. */
  #etaMs(done: number): number {
    const perStep = (performance.now() - this.#started) / Math.max(1, done - this.#firstStep);
    return perStep * (this.#totalSteps - done);
  }

  /** Sends the next step, and asks for the batches of the one after it. */
  async #sendStep(): Promise<void> {
    const { session, batches } = this.#parts;
    const { schedule, optimizer, maxGradientNorm, ema, onNotFinite, checkpoint, signal } = this.#options;
    const step = this.#step;
    const given = await batches.take(step, () => session.release());
    const { learningRate, momentum } = scheduleAt(schedule, step, this.#totalSteps);
    const values: StepValues = {
      learningRate,
      beta1: momentum ?? optimizer.beta1,
      beta2: optimizer.beta2,
      epsilon: optimizer.epsilon,
      weightDecay: optimizer.weightDecay,
      maxNorm: maxGradientNorm ?? Infinity,
      decay: ema?.decay,
      applied: this.#counts.applied,
      mostSkipped: onNotFinite === 'skip' ? mostSkips : 0,
    };
    const sent = performance.now();
    // A step is finished before training stops, so that the checkpoint is of here and now; only a long one of a
    // training without checkpoints is given up.
    const isLong = this.#lastStepMs > longStepMs;
    const interrupt = isLong && !checkpoint && !this.#ranks ? signal : undefined;
    const sending = session.step(given, values, { signal: interrupt }, batches.count(step));
    if (step + 1 < this.#totalSteps) batches.prepare(step + 1);
    const { result } = await sending;
    this.#lastStepMs = performance.now() - sent;
    result.catch(() => undefined); // thrown when it is settled
    this.#pending.push({ step, learningRate, result });
    this.#step++;
    this.#isKept = false;
  }

  /** Takes the results of steps until no more than `most` are pending. */
  async #settle(most: number): Promise<void> {
    while (this.#pending.length > most) {
      const sent = this.#pending.shift()!;
      const settled = await sent.result;
      this.#count(settled);
      if (settled.outcome === 'halted') throw await this.#notFinite(sent, settled);
      this.#take(sent, settled);
    }
  }

  readonly #count = ({ applied, skipped }: StepResult): void => {
    this.#counts = { applied, skipped };
    if (applied > 0) this.#parts.changed();
  };

  /** What to say where the device has stopped at a step: the first parameter that it broke on. */
  async #notFinite({ step }: SentStep, { skipped, loss }: StepResult): Promise<NotFinite> {
    const { session, batches } = this.#parts;
    const given = await batches.take(step, () => session.release());
    const where = await this.#firstBroken(given);
    const remedy = (await anyOf(this.#ranks, !given.every(({ image }) => areFinite(image))))
      ? 'voxels of the images in its batch are NaN or infinite, replace them'
      : 'lower the learning rate or clip gradients';
    const before = skipped > 0 ? ` after ${skipped} such steps that were left out` : '';
    return new NotFinite(
      `step ${step}: the loss is ${loss} and the gradient of ${where} is not finite${before}; weights and statistics are those before the step: ${remedy}`,
      step,
      where,
    );
  }

  /** The first parameter whose gradient is not finite on one of the batches, whichever rank has it. */
  async #firstBroken(given: readonly Batch[]): Promise<string> {
    const { session, state } = this.#parts;
    const names = [...state.layout.parameters.keys()];
    let found = -1;
    for (const batch of given) {
      const broken = await session.firstBrokenGradient(batch);
      if (broken === undefined) continue;
      found = names.indexOf(broken);
      break;
    }
    const [first] = (await gather(this.#ranks, [found])).flat().filter((index) => index >= 0);
    return first === undefined ? 'the loss' : names[first]!;
  }

  #take(
    { step, learningRate }: SentStep,
    { outcome, loss, dice, gradientNorm, lossScale }: StepResult,
  ): void {
    const { emit } = this.#parts;
    const epoch = Math.floor(step / this.#stepsPerEpoch);
    if (outcome === 'overflowed' || outcome === 'skipped') {
      emit({ type: 'skip', epoch, step, overflowed: outcome === 'overflowed', lossScale });
      return;
    }
    this.#epochLosses.push(loss);
    const [totalSteps, etaMs] = [this.#totalSteps, this.#etaMs(step + 1)];
    emit({ type: 'step', epoch, step, totalSteps, loss, dice, learningRate, gradientNorm, etaMs });
  }

  /** Validates, keeps the weights if they are the best so far, and saves. */
  async #endEpoch(): Promise<void> {
    const { state, session, emit } = this.#parts;
    const { schedule, keepBest = true, validation = [], preview } = this.#options;
    await this.#settle(0);
    // The step may have been fitted to all memory that there is.
    if (validation.length > 0 || preview) session.release();
    const epoch = this.#history.length;
    const scores = await this.#validate(epoch);
    const score = meanDefined((scores?.validationDice ?? []).slice(1));
    const row: EpochRow = {
      epoch,
      loss: meanDefined(this.#epochLosses),
      validationLoss: scores?.validationLoss ?? NaN,
      validationDice: scores?.validationDice ?? [],
      smoothedDice: smoothedDice(this.#history.at(-1)?.smoothedDice ?? NaN, score),
      learningRate: scheduleAt(schedule, this.#step - 1, this.#totalSteps).learningRate,
      seconds: (performance.now() - this.#epochStarted) / 1000,
    };
    this.#epochStarted = performance.now();
    const before = this.#best && this.#history[this.#best.epoch]!.smoothedDice;
    // Where nothing was right before, an epoch that is no better has learnt for longer.
    const isWorse = before !== undefined && before > 0 && row.smoothedDice <= before;
    const improved = scores !== undefined && keepBest && !isWorse;
    if (improved)
      this.#best = { weights: await state.readWeights({ averaged: this.#averaged }), epoch, dice: score };
    this.#history.push(row);
    this.#isKept = false;
    this.#epochLosses = [];
    emit({ type: 'epoch', row, best: improved, etaMs: this.#etaMs(this.#step) });
    await this.#assertSameWeights();
    await this.#save();
    await this.#preview(epoch);
  }

  /** After the checkpoint, so that an epoch is not lost where the case exceeds the memory. */
  async #preview(epoch: number): Promise<void> {
    const { preview, signal, loss, validationWindow } = this.#options;
    const { state, emit } = this.#parts;
    if (!preview || !leads(this.#ranks)) return;
    const evaluator = new Evaluator(state, loss, this.#evaluated);
    try {
      const windows = tiles(preview.shape, validationWindow ?? preview.shape);
      const score = await evaluator.score(preview, windows, signal).catch(unlessAborted);
      if (score && !signal?.aborted) emit({ type: 'preview', epoch, score });
    } finally {
      evaluator.dispose();
    }
  }

  /** @returns undefined where there is no case to validate on */
  async #validate(epoch: number) {
    const { state, emit } = this.#parts;
    const { validation = [], validationWindow: window, loss, signal } = this.#options;
    if (validation.length === 0) return undefined;
    const ranks = this.#ranks;
    this.#validation ??= new Validation(state, validation, loss, { window, ranks, ...this.#evaluated });
    const scores = await this.#validation.run(epoch, emit, signal).catch(unlessAborted);
    await this.#stopIfAsked();
    return scores;
  }

  async #save(): Promise<void> {
    const { record, emit } = this.#parts;
    const { checkpoint } = this.#options;
    if (!checkpoint || this.#isKept) return;
    if (leads(this.#ranks)) await this.#write(checkpoint);
    await meet(this.#ranks);
    record.kept = this.#isKept = true;
    emit({ type: 'checkpoint', step: this.#step });
  }

  async #write(checkpoint: CheckpointStore): Promise<void> {
    const { state, identity, coarserTruth, record } = this.#parts;
    const best = this.#best;
    const progress = {
      step: this.#step,
      history: this.#history,
      epochLosses: this.#epochLosses,
      seconds: this.#seconds(),
      best: best && { epoch: best.epoch, dice: best.dice },
      ...this.#counts,
    };
    record.id ??= newRunId();
    const [run, averaged, ranks] = [record.id, this.#averaged, this.#ranks?.size ?? 1];
    const patches = this.#options.validationWindow !== undefined;
    const kept = { identity, run, coarserTruth, progress, best, averaged, ranks, patches };
    await checkpoint.save(checkpointName, await writeCheckpoint(state, kept));
  }

  /** @throws Aborted, after a checkpoint, if the signal has fired */
  async #stopIfAsked(): Promise<void> {
    const { signal, checkpoint } = this.#options;
    if (!(await anyOf(this.#ranks, signal?.aborted ?? false))) return;
    await this.#settle(0);
    await this.#save();
    const advice = checkpoint ? '; resume to go on' : '';
    throw new Aborted(`training was stopped after step ${this.#step} of ${this.#totalSteps}${advice}`);
  }

  /** Leaves the best weights in the model. */
  async #end(): Promise<TrainingResult> {
    const { state, emit } = this.#parts;
    const best = this.#best;
    if (best) state.writeWeights(best.weights);
    else if (this.#averaged) state.writeWeights(await state.readWeights({ averaged: true }));
    const result: TrainingResult = {
      history: this.#history,
      bestEpoch: best?.epoch ?? this.#history.length - 1,
      bestDice: best?.dice ?? NaN,
      stoppedEarly: this.#step < this.#totalSteps,
      steps: this.#step,
      seconds: this.#seconds(),
    };
    const exchanged = this.#parts.session.exchanged;
    if (exchanged) emit({ type: 'exchange', ...exchanged });
    emit({ type: 'end', result });
    return result;
  }
}
