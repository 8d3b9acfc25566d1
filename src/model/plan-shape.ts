/** What plans are made for. */
import * as v from 'valibot';
import { limitsSchema, type PlanLimits } from '../gpu/plan.ts';
import { precisionSchema, type Precision } from '../gpu/precision.ts';
import type { LossShape } from '../ops/loss.ts';
import type { OptimizerKind } from '../ops/optimizer.ts';
import type { TakenVoxel } from '../ops/pool.ts';
import { flag, numberFrom, object, oneOf, openObject, size3, text, triple, wholeNumber } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { completed, type UNet3DConfig } from './config.ts';
import { frozenSchema, type Frozen } from './freeze.ts';

/** What a plan is made for. */
export interface PlanShape {
  /** The network. */
  readonly config: UNet3DConfig;
  /** x, y, z of the network's input; multiples of `sizeMultiple`. */
  readonly size: Size3;
  /** Samples at a time. */
  readonly batch: number;
  /** Of the device. Default: what every WebGPU implementation grants. */
  readonly limits?: PlanLimits | undefined;
  /** Of the stored volumes. Default float32. */
  readonly precision?: Precision | undefined;
}

/**
 * What is computed again in the backward pass instead of being kept, besides what is nearly free: the outputs named,
 * such as `encoder.0.conv2`; with `true` all that save memory worth their work. Never changes a bit.
 */
export type Checkpointing = boolean | readonly string[];

/** What the plan of a training step is made for. */
export interface TrainingShape extends PlanShape {
  /** As `lossShape` gives it. */
  readonly loss: LossShape;
  /** As `adam()` and the others give it. */
  readonly optimizer: OptimizerChoice;
  /** What is computed again. Default: only what is nearly free. */
  readonly checkpointing?: Checkpointing | undefined;
  /** Compute nothing again, not even what is nearly free: what the others are compared with. */
  readonly keepAll?: boolean | undefined;
  /** Batches whose gradients are averaged for one update. Default 1. */
  readonly accumulate?: number | undefined;
  /** Batches are augmented first, as drawn by the host. */
  readonly augment?: boolean | undefined;
  /** Voxels x, y, z that batches reach beyond the network's input on both sides, for the augmentation; x in fours. */
  readonly margin?: Size3 | undefined;
  /** Keep a running average of the weights. */
  readonly averaging?: boolean | undefined;
  /** Which label is the truth for the voxel of a coarser head. Default: the nearest. */
  readonly coarserTruth?: TakenVoxel | undefined;
  /** Part of the network whose weights stay as they are. */
  readonly freeze?: Frozen | undefined;
}

/** What a plan needs to know of the optimiser. */
export interface OptimizerChoice {
  /** Which update is applied. */
  readonly kind: OptimizerKind;
  /** Of SGD. Default true. */
  readonly nesterov?: boolean;
}

/** Of a `PlanShape`. */
export const shapeEntries = {
  config: completed,
  size: size3,
  batch: wholeNumber(1),
  limits: v.optional(limitsSchema),
  precision: v.optional(precisionSchema),
} satisfies Record<keyof PlanShape, unknown>;

export const checkpointingSchema = v.union(
  [flag, v.array(text)],
  'true, false, or a list of outputs such as "encoder.0.conv2"',
);
export const lossShapeSchema = object({
  classes: wholeNumber(1, 255),
  dice: numberFrom(0),
  crossEntropy: numberFrom(0),
  smooth: numberFrom(0),
  batchDice: flag,
  negativeDice: v.optional(flag),
  regions: v.optional(flag),
  add: v.optional(flag),
});
export const optimizerChoiceSchema = openObject({
  kind: oneOf('adam', 'adamw', 'sgd'),
  nesterov: v.optional(flag),
});
const margin = v.optional(triple(wholeNumber(), 'voxels along x, y, z, from 0 on'));

/** Of a `TrainingShape`. */
export const trainingEntries = {
  ...shapeEntries,
  loss: lossShapeSchema,
  optimizer: optimizerChoiceSchema,
  checkpointing: v.optional(checkpointingSchema),
  accumulate: v.optional(wholeNumber(1)),
  augment: v.optional(flag),
  margin,
  averaging: v.optional(flag),
  keepAll: v.optional(flag),
  coarserTruth: v.optional(oneOf('nearest', 'first')),
  freeze: v.optional(frozenSchema),
} satisfies Record<keyof TrainingShape, unknown>;
