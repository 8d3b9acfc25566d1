/**
 * Does a training step or a prediction fit the memory that may be used, and if not, what would? Few devices
 * report how much memory they have, so the budget is an assumption that the user can change.
 */
import * as v from 'valibot';
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { AdapterClass } from '../gpu/choices.ts';
import { limitsSchema, type Plan, type PlanLimits } from '../gpu/plan.ts';
import { precisionSchema, type Precision } from '../gpu/precision.ts';
import type { Size3 } from '../size.ts';
import type { LossShape } from '../ops/loss.ts';
import { assertOptions, assertValue } from '../options.ts';
import { callback, flag, limit, object, oneOf, size3, wholeNumber, withParts } from '../schema.ts';
import { completed, narrowed, type UNet3DConfig } from './config.ts';
import { paddedSize, sizeMultiple } from './sizes.ts';
import { frozenSchema, type Frozen } from './freeze.ts';
import {
  checkpointingSchema,
  lossShapeSchema,
  optimizerChoiceSchema,
  planInference,
  planTraining,
  recomputedWithin,
  type Checkpointing,
  type OptimizerChoice,
  type PlanShape,
  type TrainingShape,
} from './plan.ts';

/** Bytes that plans may use where neither the caller nor the device says: what nearly every GPU of that kind has. */
export const assumedBudget: Readonly<Record<AdapterClass, number>> = {
  hardware: 4 * 2 ** 30,
  lavapipe: 8 * 2 ** 30,
  software: 8 * 2 ** 30,
  swiftshader: 8 * 2 ** 30,
};

/** What plans may use where the caller does not say: four fifths of what the device reports, else the assumption. */
export const defaultBudget = (gpu: {
  readonly adapterClass: AdapterClass;
  readonly memoryBytes?: number | undefined;
}): number => {
  assertValue('defaultBudget', withParts('a Gpu', 'adapterClass'), gpu);
  return gpu.memoryBytes === undefined ? assumedBudget[gpu.adapterClass] : Math.floor(0.8 * gpu.memoryBytes);
};

/** A training step as somebody would like it. */
export interface TrainingWish {
  /** The network. */
  readonly config: UNet3DConfig;
  /** x, y, z of the network's input. */
  readonly size: Size3;
  /** Samples on the device at a time. */
  readonly batch: number;
  /** Batches whose gradients are averaged for one step. Default 1. */
  readonly accumulate?: number | undefined;
  /** How volumes are stored. Default f32. */
  readonly precision?: Precision | undefined;
  /** Which outputs are computed again instead of kept. */
  readonly checkpointing?: Checkpointing | undefined;
}

/** A configuration near the wish, with its planned bytes. */
export interface Alternative extends TrainingWish {
  /** On the GPU, all included. */
  readonly bytes: number;
}

/** What a wish is planned for. */
export interface Planner {
  /** Of the device. */
  readonly limits: PlanLimits;
  /** See `lossShape`. */
  readonly loss: LossShape;
  /** Decides how many moments are kept. */
  readonly optimizer: OptimizerChoice;
  /** See `TrainingShape`. */
  readonly augment?: boolean | undefined;
  /** Whether a running average of the weights is kept. */
  readonly averaging?: boolean | undefined;
  /** Whether nothing is computed again, not even what is nearly free. */
  readonly keepAll?: boolean | undefined;
  /** Voxels around patches of a size that the augmentation reads as well. Default: none. */
  readonly margin?: ((size: Size3) => Size3) | undefined;
  /** Part of the network that is not trained. */
  readonly freeze?: Frozen | undefined;
}

/**
 * What may be given up for memory, in the order in which it is: volumes in float16 instead of float32; outputs kept
 * for the backward pass, as many as needed, which are computed again there; a batch in parts, whose gradients are averaged (batch norm then takes its
 * statistics from each part, instance norm does not notice); patches instead of whole volumes.
 */
export const concessions = ['float16', 'checkpointing', 'accumulation', 'patches'] as const;
/** Something that may be given up to fit into memory. */
export type Concession = (typeof concessions)[number];

export const concessionsSchema = v.union(
  [v.literal('auto'), v.array(oneOf(...concessions))],
  `'auto', or any of ${concessions.join(', ')}`,
);

const wishEntries = {
  config: completed,
  size: size3,
  batch: wholeNumber(1),
  accumulate: v.optional(wholeNumber(1)),
  precision: v.optional(precisionSchema),
  checkpointing: v.optional(checkpointingSchema),
} satisfies Record<keyof TrainingWish, unknown>;
export const wishSchema = object(wishEntries);
export const plannerSchema = object({
  limits: limitsSchema,
  loss: lossShapeSchema,
  optimizer: optimizerChoiceSchema,
  augment: v.optional(flag),
  averaging: v.optional(flag),
  keepAll: v.optional(flag),
  margin: callback,
  freeze: v.optional(frozenSchema),
} satisfies Record<keyof Planner, unknown>);
export const budgetSchema = limit('a number of bytes above 0');
const stepEntries = { wish: wishSchema, budget: budgetSchema, planner: plannerSchema };

/** Bytes of a plan; Infinity where a tensor exceeds what the device can hold in one buffer. */
function bytesOf(plan: () => { plan: { peakBytes: number } }): number {
  try {
    return plan().plan.peakBytes;
  } catch (error) {
    if (error instanceof OutOfMemory) return Infinity;
    throw error;
  }
}

/** What the step of a wish is planned from. */
export const stepOf = (wish: TrainingWish, planner: Planner): TrainingShape => ({
  ...wish,
  ...planner,
  margin: planner.margin?.(wish.size),
});

const trainingBytes = (wish: TrainingWish, planner: Planner): number =>
  bytesOf(() => planTraining(stepOf(wish, planner)));

/** Whether the plan of a step takes no more than the budget. */
export const fitsBudget = (wish: TrainingWish, budget: number, planner: Planner): boolean =>
  trainingBytes(wish, planner) <= budget;

/** The longest axis cut to a fraction of its length, in the network's multiples; undefined where nothing is left to cut. */
function shrunk(config: UNet3DConfig, size: Size3, fraction: number): Size3 | undefined {
  const axis = size.indexOf(Math.max(...size));
  const multiple = sizeMultiple(config)[axis]!;
  if (size[axis]! <= multiple) return undefined;
  const length = Math.max(multiple, Math.floor((size[axis]! * fraction) / multiple) * multiple);
  return size.map((old, i) => (i === axis ? length : old)) as unknown as Size3;
}

/**
 * Gives up what is allowed, one thing after the other in the order of `concessions`, until the step fits.
 * What is given back may still not fit.
 */
export function concede(
  wish: TrainingWish,
  budget: number,
  planner: Planner,
  allowed: readonly Concession[] | 'auto' = 'auto',
): { wish: TrainingWish; taken: Concession[] } {
  assertOptions(
    'concede',
    { ...stepEntries, allowed: concessionsSchema },
    { wish, budget, planner, allowed },
  );
  const fits = (candidate: TrainingWish) => fitsBudget(candidate, budget, planner);
  const recomputed = (candidate: TrainingWish) => recomputedWithin(stepOf(candidate, planner), budget);
  let current = wish;
  const taken: Concession[] = [];
  const attempts: Record<Concession, () => TrainingWish | undefined> = {
    float16: () => (current.precision === 'f16' ? undefined : { ...current, precision: 'f16' }),
    checkpointing: () =>
      current.checkpointing === true ? undefined : { ...current, checkpointing: recomputed(current) },
    accumulation: () => {
      const { batch, accumulate = 1 } = current;
      const parts = Array.from({ length: batch }, (_, i) => i + 1).filter((n) => n > 1 && batch % n === 0);
      const smaller = parts.map((n) => ({ ...current, batch: batch / n, accumulate: accumulate * n }));
      return smaller.find(fits) ?? smaller[smaller.length - 1];
    },
    patches: () => {
      let patched: TrainingWish | undefined;
      for (
        let size = shrunk(current.config, current.size, 0.85);
        size;
        size = shrunk(current.config, size, 0.85)
      ) {
        patched = { ...current, size };
        if (fits(patched)) break;
      }
      return patched;
    },
  };
  for (const name of concessions) {
    if (fits(current)) break;
    if (allowed !== 'auto' && !allowed.includes(name)) continue;
    const next = attempts[name]();
    if (!next) continue;
    current = next;
    taken.push(name);
  }
  if (!taken.includes('checkpointing')) return { wish: current, taken };
  // What came after it may have made it superfluous, in part or altogether.
  const checkpointing = recomputed(current);
  if (checkpointing.length > 0) return { wish: { ...current, checkpointing }, taken };
  return {
    wish: { ...current, checkpointing: wish.checkpointing },
    taken: taken.filter((name) => name !== 'checkpointing'),
  };
}

/**
 * The configurations nearest to the wish that fit the budget, nearest first: float16, checkpointing, a smaller
 * batch, patches, fewer features, and their combinations. Distance counts halvings; one of the features counts
 * twice, float16 and checkpointing half.
 */
export function alternatives(wish: TrainingWish, budget: number, planner: Planner, count = 3): Alternative[] {
  assertOptions('alternatives', { ...stepEntries, count: wholeNumber(1) }, { wish, budget, planner, count });
  const { config, size, batch } = wish;
  const batches = [batch, Math.floor(batch / 2), 1].filter((n, i, all) => n >= 1 && all.indexOf(n) === i);
  const sizes: Size3[] = [paddedSize(config, size)];
  while (sizes.length < 12) {
    const next = shrunk(config, sizes[sizes.length - 1]!, 0.5);
    if (!next) break;
    sizes.push(next);
  }
  const widths = [1, 2, 4].map((by) => narrowed(config, by)).filter((made) => made !== undefined);
  const savings: { readonly saving: Partial<TrainingWish>; readonly distance: number }[] = [
    { saving: {}, distance: 0 },
    ...(wish.precision === 'f16' ? [] : [{ saving: { precision: 'f16' } as const, distance: 0.4 }]),
    ...(wish.checkpointing ? [] : [{ saving: { checkpointing: true }, distance: 0.5 }]),
  ];
  const candidates = savings.flatMap(({ saving, distance }) =>
    batches.flatMap((b, i) =>
      sizes.flatMap((s, j) =>
        widths.map((narrow, k) => ({
          wish: {
            ...wish,
            ...saving,
            config: narrow,
            size: s,
            batch: b,
          },
          distance: distance + i + 1.1 * j + 2 * k,
        })),
      ),
    ),
  );
  const found: Alternative[] = [];
  for (const { wish: candidate } of candidates.sort((a, b) => a.distance - b.distance)) {
    if (candidate.checkpointing && isHopeless(candidate, budget, planner)) continue;
    const bytes = trainingBytes(candidate, planner);
    if (bytes <= budget) found.push({ ...candidate, bytes });
    if (found.length === count) break;
  }
  return found;
}

/** Whether so much memory is missing that computing outputs again, which saves about a quarter, need not be tried. */
const isHopeless = (wish: TrainingWish, budget: number, planner: Planner): boolean =>
  trainingBytes({ ...wish, checkpointing: false }, planner) > 1.4 * budget;

/** A wish in words; with a planner also what it costs to compute outputs again. */
export function describeWish(wish: TrainingWish, planner?: Planner): string {
  const { config, size, batch, accumulate = 1, precision, checkpointing } = wish;
  const price = planner && checkpointing ? `: +${percentMore(wish, planner)} % work` : '';
  const recomputed = typeof checkpointing === 'object' ? checkpointing : [];
  return [
    `batch ${batch} of [${size.join(', ')}] with features ${config.features.join(', ')}`,
    ...(accumulate > 1 ? [`${accumulate} batches per step`] : []),
    ...(precision === 'f16' ? ['in float16'] : []),
    ...(checkpointing === true ? [`with checkpointing${price}`] : []),
    ...(recomputed.length > 0 ? [`which recomputes ${recomputed.join(', ')}${price}`] : []),
  ].join(', ');
}

/** How many percent of a step's work computing outputs again adds to it. */
function percentMore(wish: TrainingWish, planner: Planner): number {
  const work = (checkpointing: Checkpointing | undefined) =>
    planTraining(stepOf({ ...wish, checkpointing }, planner)).plan.flops;
  return Math.max(1, Math.round(100 * (work(wish.checkpointing) / work(false) - 1)));
}

/** Bytes of a plan, in words where no device could hold one of its tensors. */
const needText = (bytes: number): string =>
  bytes === Infinity ? 'a buffer larger than the device allows' : formatBytes(bytes);

/**
 * Throws `OutOfMemory` with planned bytes, budget and the three nearest configurations that fit.
 * @param remedy what else can be done, in the caller's words
 */
export function assertFits(
  wish: TrainingWish,
  budget: number,
  planner: Planner,
  remedy = "Or let training choose (concessions: 'auto'), or raise memoryBudget if the GPU has more memory.",
): void {
  const planned = trainingBytes(wish, planner);
  if (planned <= budget) return;
  const near = alternatives(wish, budget, planner).map(
    (alternative) => `${describeWish(alternative)} (${formatBytes(alternative.bytes)})`,
  );
  throw new OutOfMemory(
    `a training step of ${describeWish(wish)} (x, y, z) needs ${needText(planned)}; the memory budget is ${formatBytes(budget)}. ` +
      (near.length ? `These fit: ${near.join('; ')}. ` : '') +
      remedy,
    planned,
    budget,
  );
}

/**
 * The window for predicting a volume: the whole volume where its forward plan fits the budget, else the size
 * trained on, else the largest box of at most 128 × 128 × 64 that fits.
 * @throws OutOfMemory if not even the smallest does
 */
export function chooseWindow(
  shape: { readonly config: UNet3DConfig; readonly whole: Size3; readonly trained?: Size3 | undefined },
  budget: number,
  {
    limits,
    precision,
    plan = planInference,
  }: {
    readonly limits: PlanLimits;
    readonly precision: Precision;
    /** What is to run. Default: the logits alone. */
    readonly plan?: (shape: PlanShape) => { readonly plan: Plan };
  },
  remedy = 'raise memoryBudget',
): Size3 {
  const { config, whole, trained } = shape;
  const bytes = (size: Size3) => bytesOf(() => plan({ config, size, batch: 1, limits, precision }));
  for (const size of trained ? [whole, trained] : [whole]) if (bytes(size) <= budget) return size;
  const [x, y, z] = whole;
  let size: Size3 | undefined = paddedSize(config, [Math.min(x, 128), Math.min(y, 128), Math.min(z, 64)]);
  let least = Infinity;
  for (; size; size = shrunk(config, size, 0.5)) {
    least = bytes(size);
    if (least <= budget) return size;
  }
  throw new OutOfMemory(
    `predicting through the smallest window needs ${needText(least)}; the memory budget is ${formatBytes(budget)}: ${remedy}`,
    least,
    budget,
  );
}
