/** What a training does, decided before its first step: from options, data and memory. */
import { commonShape } from '../data/patches.ts';
import { InvalidOption } from '../errors.ts';
import type { Plan, PlanLimits } from '../gpu/plan.ts';
import { mirrorable, sidedName } from '../data/sides.ts';
import type { Axis, Size3 } from '../size.ts';
import { concessions } from '../model/concessions.ts';
import { describeWish, type Planner, type TrainingWish } from '../model/wish.ts';
import { paddedSize } from '../model/sizes.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { nnunetPatch } from '../model/patch.ts';
import { formatBytes } from '../format.ts';
import { augmentationMargin, type Augmentation } from '../train/augmentation.ts';
import { lossShape } from '../model/losses.ts';
import { fitStep } from '../train/memory.ts';
import { some } from '../listed.ts';
import type { TrainOptions } from './train-options.ts';
import type { Io } from './io.ts';
import { augmentationOf, defaultEpochs, lossOf, optimizerOf, scheduleOf } from './recipe.ts';
import { printable } from './text.ts';
import { plannerOf, type PlannedTraining } from './planned.ts';
import { upperMedian, type TrainingData } from './training-data.ts';

/** Everything that is decided before the first step. */
export interface Settings {
  readonly epochs: number;
  readonly patch: Size3 | undefined;
  /** The step as it fits the memory, and what it is planned for. */
  readonly wish: TrainingWish;
  readonly planner: Planner;
  readonly plan: Plan;
  /** What was decided from the data and why. */
  readonly reasons: readonly string[];
  readonly loss: ReturnType<typeof lossOf>;
  readonly optimizer: ReturnType<typeof optimizerOf>;
  readonly schedule: ReturnType<typeof scheduleOf>;
  readonly augmentation: Augmentation | undefined;
}

/** What watches over the steps. */
export function protocolOf({ clip, ema, earlyStopping, onNotFinite, freeze }: TrainOptions) {
  return {
    ...(freeze && { freeze }),
    ...(clip !== undefined && { maxGradientNorm: clip }),
    ...(ema !== undefined && { ema: { decay: ema } }),
    ...(earlyStopping !== undefined && { earlyStopping: { patience: earlyStopping } }),
    onNotFinite,
  };
}

/** @throws InvalidOption unless there is one weight per class or region, or none at all */
export function assertClassWeights(
  weights: readonly number[] | undefined,
  { labels, regions }: Pick<TrainingData, 'labels' | 'regions'>,
): void {
  const heads = regions?.map(({ name }) => name) ?? labels;
  if (weights === undefined || weights.length === heads.length) return;
  throw new InvalidOption(
    `--class-weights has ${weights.length} number(s), but there are ${heads.length} ${regions ? 'regions' : 'classes'} ` +
      `(${some(heads)}): give one for each${regions ? '' : ', background first'}`,
  );
}

/** Below this share of the padded size that the median case fills, patches are proposed. */
const muchPadding = 1 / 5;

/** Proposes patches of about the median size where whole volumes would be mostly padding. */
export function patchTip(shapes: readonly Size3[], padded: Size3, multiple: Size3): string | undefined {
  const voxels = ([x, y, z]: Size3): number => x * y * z;
  const share = upperMedian(shapes.map(voxels)) / voxels(padded);
  if (!(share < muchPadding)) return undefined;
  const patch = [0, 1, 2].map(
    (axis) => multiple[axis]! * Math.ceil(upperMedian(shapes.map((shape) => shape[axis]!)) / multiple[axis]!),
  );
  return (
    `The median case fills ${Math.round(100 * share)} % of that, the rest is padding: --patch ${patch.join(',')} would ` +
    'cut larger cases to about its size.'
  );
}

/** Samples of a step, where nobody says. */
const usualBatch = 2;

/** The axes that augmentation mirrors: in a volume mirrored along x, labels that tell left from right would be wrong. */
function mirroredIn(io: Io, { augment, mirror }: TrainOptions, data: TrainingData): readonly Axis[] {
  if (mirror) return mirror === 'none' ? [] : mirror;
  const sided = sidedName(data);
  if (sided !== undefined && augment !== 'none')
    io.err(
      `The class "${printable(sided)}" tells left from right: nothing is mirrored along x; with --mirror x,y,z it is.`,
    );
  return mirrorable(data);
}

/** What a training is decided from. */
export interface Given {
  readonly network: UNet3DConfig;
  readonly data: TrainingData;
  /** Whether the data set has a value of unknown voxels. */
  readonly hasUnknown: boolean;
  readonly options: TrainOptions;
  /** What nnU-Net's planner has found, with a preset of its. */
  readonly planned: PlannedTraining | undefined;
  /** x, y, z that the model of --init was trained on. */
  readonly trained: Size3 | undefined;
  /** x, y, z of the patches that it was trained on, where it was trained on nothing else. */
  readonly trainedPatch: Size3 | undefined;
  /** The device's. */
  readonly limits: PlanLimits;
  /** Bytes that a step may take on the GPU. */
  readonly memory: number;
  /** Processes that share the batches of a step. */
  readonly ranks: number;
}

/**
 * A step whose batches so many ranks can share out: as it is where each gets as many, or a batch in as many parts.
 * @throws InvalidOption for one that cannot be divided equally
 */
export function sharedOut(
  { batch, accumulate }: { batch: number; accumulate: number },
  ranks: number,
  isResumed: boolean,
): { batch: number; accumulate: number } {
  // What the training that is gone on with was divided into, stays: some ranks may have less to do.
  if (accumulate % ranks === 0 || isResumed) return { batch, accumulate };
  if (accumulate === 1 && batch % ranks === 0) return { batch: batch / ranks, accumulate: ranks };
  throw new InvalidOption(
    accumulate === 1
      ? `a batch of ${batch} cannot be divided among ${ranks} ranks: give a --batch-size that is a multiple of ${ranks}`
      : `${accumulate} batches to a step (--accumulate) cannot be shared out among ${ranks} ranks: give a multiple of ${ranks}`,
  );
}

/**
 * Loss, optimiser, schedule, patch and step of a training, as the options and the data say and the memory allows.
 * @throws OutOfMemory if no step fits; InvalidOption for options that contradict each other
 */
export function decide(io: Io, given: Given): Settings {
  const { network, data, options, planned, limits, memory } = given;
  const { ranks } = given;
  const whole = {
    batch: options.batchSize ?? planned?.batchSize ?? Math.max(usualBatch, ranks),
    accumulate: options.accumulate,
  };
  const { batch, accumulate } = sharedOut(whole, ranks, options.resume ?? false);
  if (ranks > 1 && network.norm === 'batch')
    io.err(
      `Batch norm takes its statistics from ${batch} of the ${batch * accumulate} samples of a step at a time.`,
    );
  if (accumulate % ranks !== 0)
    io.err(`A step has ${accumulate} batches for ${ranks} ranks: some have less to do than others.`);
  const { classes } = network;
  const loss = lossOf(options.loss, {
    classes,
    regions: data.regions,
    weights: options.classWeights,
    batchDice: planned?.batchDice,
    ignore: given.hasUnknown,
  });
  const optimizer = optimizerOf(options.optimizer);
  const { precision, checkpointing = false } = options;
  const augmentation = augmentationOf(options.augment, mirroredIn(io, options, data));
  const largest = commonShape(data.training.shapes);
  const planner: Planner = {
    limits,
    loss: lossShape(loss, classes),
    optimizer,
    augment: augmentation !== undefined,
    averaging: options.ema !== undefined,
    freeze: options.freeze,
    ...(augmentation && { margin: (size: Size3) => augmentationMargin(augmentation, size, largest) }),
  };
  const step = { config: network, batch, precision, checkpointing, accumulate };
  const isPlanned = plannerOf(options.preset) !== undefined;
  const wanted = options.patch ?? planned?.patch ?? (isPlanned ? given.trained : given.trainedPatch);
  const decided =
    data.decision && wanted === undefined
      ? nnunetPatch(data.decision.typical, step, memory, planner)
      : undefined;
  if (decided) io.err(decided.reason);
  const patch = wanted ?? decided?.patch;
  const cut = patch === 'whole' ? undefined : patch;
  const size = paddedSize(network, cut ?? largest);
  const concede = options.concede === 'auto' ? concessions : options.concede;
  const choose = options.concede === 'auto' ? 'Or' : 'Or let the training choose (--concede auto), or';
  const {
    wish,
    taken,
    planned: fitted,
  } = fitStep({ ...step, size }, planner, {
    budget: memory,
    // A patch that was asked for, or decided to fit, is kept.
    allowed:
      (options.patch ?? decided) === undefined ? concede : concede.filter((name) => name !== 'patches'),
    remedy: `${choose} raise --memory if the GPU has more.`,
  });
  if (taken.length > 0)
    io.err(
      `To fit ${formatBytes(memory)} of GPU memory: ${taken.join(', ')}; now ${describeWish(wish, planner)}`,
    );
  const divided = wish.accumulate ?? 1;
  if (planned?.batchDice && divided > 1)
    io.err(
      `The Dice loss is taken over ${wish.batch} of the ${wish.batch * divided} samples of a step at a time, not over the whole batch.`,
    );
  const epochs =
    options.epochs ?? defaultEpochs(data.training.ids.length, batch * accumulate, options.stepsPerEpoch);
  return {
    epochs,
    patch: taken.includes('patches') ? wish.size : cut,
    wish,
    planner,
    plan: fitted.plan,
    reasons: [
      ...(data.decision?.reasons ?? []),
      ...(planned?.reasons ?? []),
      ...(decided ? [decided.reason] : []),
    ],
    loss,
    optimizer,
    schedule: scheduleOf(options.schedule, options.learningRate, epochs, options),
    augmentation,
  };
}
