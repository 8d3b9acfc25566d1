/** The patch of a training as nnU-Net chooses it: as much context as the memory allows, shaped like the volumes. */
import * as v from 'valibot';
import type { Size3 } from '../size.ts';
import { assertOptions } from '../options.ts';
import { numberAbove, object, size3, triple } from '../schema.ts';
import { budgetSchema } from './budget.ts';
import { fitsBudget, plannerSchema, wishSchema, type Planner, type TrainingWish } from './wish.ts';
import { multipleInWords, paddedSize, sizeMultiple } from './sizes.ts';
import { formatBytes } from '../format.ts';

/** Voxels of the largest patch, as a cube in millimetres. */
const mostVoxels = 256 ** 3;

/** A size of patches, and why it is so. */
export interface PatchDecision {
  /** x, y, z; multiples of the network's. */
  readonly patch: Size3;
  /** What was decided and why, in a sentence. */
  readonly reason: string;
}

const decisionEntries = {
  typical: object({ shape: size3, spacing: triple(numberAbove(0), 'millimetres along x, y, z') }),
  wish: v.omit(wishSchema, ['size']),
  budget: budgetSchema,
  planner: plannerSchema,
};

/**
 * Begins with the median volume, no larger than 256³ voxels that make a cube in millimetres, and takes voxels from the
 * axis that is longest in proportion to the median volume until the plan of a training step fits the budget. The
 * smallest patch may still not fit.
 * @param typical the median volume as the network gets it
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6 });
 * const planner = { limits: defaultLimits, loss: lossShape(weightedDice(), 6), optimizer: adam() };
 * const typical = { shape: [160, 160, 80], spacing: [1, 1, 2] };
 * const { patch, reason } = nnunetPatch(typical, { config, batch: 2 }, 2 ** 31, planner);
 * console.log(patch, reason);
 * ```
 */
export function nnunetPatch(
  typical: { readonly shape: Size3; readonly spacing: Size3 },
  wish: Omit<TrainingWish, 'size'>,
  budget: number,
  planner: Planner,
): PatchDecision {
  assertOptions('nnunetPatch', decisionEntries, { typical, wish, budget, planner });
  const { shape, spacing } = typical;
  const multiple = sizeMultiple(wish.config);
  const edge = Math.cbrt(mostVoxels * spacing[0] * spacing[1] * spacing[2]);
  const largest = shape.map((n, axis) => Math.min(n, Math.round(edge / spacing[axis]!))) as unknown as Size3;
  let patch = paddedSize(wish.config, largest);
  const first = patch;
  while (!fitsBudget({ ...wish, size: patch }, budget, planner)) {
    const fractions = patch.map((n, axis) => (n > multiple[axis]! ? n / shape[axis]! : 0));
    const axis = fractions.lastIndexOf(Math.max(...fractions));
    if (fractions[axis] === 0) break;
    patch = patch.map((n, i) => (i === axis ? n - multiple[axis]! : n)) as unknown as Size3;
  }
  const why =
    patch === first
      ? `the median volume of ${shape.join(' x ')}${largest.some((n, i) => n < shape[i]!) ? ', at most 256³ voxels' : ''}`
      : `as much of the median volume of ${shape.join(' x ')} as fits ${formatBytes(budget)} in a step of batch ${wish.batch}`;
  return {
    patch,
    reason: `Patches of ${patch.join(' x ')} voxels: ${why}, in multiples of ${multipleInWords(multiple)}.`,
  };
}
