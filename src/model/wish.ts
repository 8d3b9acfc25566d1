/** A training step as somebody would like it: what it is planned for, whether it fits, and how to say it. */
import * as v from 'valibot';
import { limitsSchema, type PlanLimits } from '../gpu/plan.ts';
import { precisionSchema, type Precision } from '../gpu/precision.ts';
import type { LossShape } from '../ops/loss.ts';
import { callback, flag, object, size3, wholeNumber } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { bytesOf } from './budget.ts';
import { completed, type UNet3DConfig } from './config.ts';
import { frozenSchema, type Frozen } from './freeze.ts';
import {
  checkpointingSchema,
  lossShapeSchema,
  optimizerChoiceSchema,
  type Checkpointing,
  type OptimizerChoice,
  type TrainingShape,
} from './plan-shape.ts';
import { planTraining } from './plan.ts';

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

const wishEntries = {
  config: completed,
  size: size3,
  batch: wholeNumber(1),
  accumulate: v.optional(wholeNumber(1)),
  precision: v.optional(precisionSchema),
  checkpointing: v.optional(checkpointingSchema),
} satisfies Record<keyof TrainingWish, unknown>;
/** Of a wish. */
export const wishSchema = object(wishEntries);
/** Of a planner. */
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

/** What the step of a wish is planned from. */
export const stepOf = (wish: TrainingWish, planner: Planner): TrainingShape => ({
  ...wish,
  ...planner,
  margin: planner.margin?.(wish.size),
});

/** Bytes of the step of a wish; Infinity where the device cannot hold one of its tensors. */
export const trainingBytes = (wish: TrainingWish, planner: Planner): number =>
  bytesOf(() => planTraining(stepOf(wish, planner)));

/** Whether the plan of a step takes no more than the budget. */
export const fitsBudget = (wish: TrainingWish, budget: number, planner: Planner): boolean =>
  trainingBytes(wish, planner) <= budget;

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
