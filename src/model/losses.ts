/** Losses by name, with their weights. Definitions: Σ_c w_c (1 − D_c) for Dice, PyTorch's weighted mean for cross-entropy. */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import type { LossShape } from '../ops/loss.ts';
import type { Region } from '../data/regions.ts';
import { some } from '../listed.ts';
import { assertOptions } from '../options.ts';
import { flag, numberFrom, object, oneOf, openObject, wholeNumber, type Schema } from '../schema.ts';

/** A region as a loss and its labels need it; see `Region`. */
export type LossRegion = Pick<Region, 'labels' | 'written'>;

/** A loss as plain data: made by `weightedDice`, `crossEntropy` or `diceCrossEntropy`. */
export interface Loss {
  /** The function that made it. */
  readonly name: 'weightedDice' | 'crossEntropy' | 'diceCrossEntropy';
  /** Factor of the Dice loss. */
  readonly dice: number;
  /** Factor of the cross-entropy. */
  readonly crossEntropy: number;
  /** s in D_c = (2Σpg + s)/(Σp + Σg + s). */
  readonly smooth: number;
  /** Whether Dice sums over the whole batch instead of each sample. */
  readonly batchDice: boolean;
  /** Whether Dice counts as −D_c instead of 1 − D_c; absent: no. */
  readonly negativeDice?: boolean | undefined;
  /** Per class; `undefined` for the default: Dice 1/classes each, cross-entropy 1 each. */
  readonly diceWeights?: readonly number[] | undefined;
  /** Per class; `undefined` for 1 each. */
  readonly entropyWeights?: readonly number[] | undefined;
  /**
   * Of heads that each decide on a region by a sigmoid: one entry per head. The cross-entropy is then binary, summed over
   * the heads, and the Dice of a head that of its region.
   */
  readonly regions?: readonly LossRegion[] | undefined;
}

const amount = numberFrom(0);
const weightList = v.optional(v.array(amount, 'a list of numbers from 0 on, one per class'));

const lossRegion = { labels: v.array(wholeNumber(0, 254), 'a list of labels'), written: wholeNumber(0, 254) };
const lossRegions = v.array(object(lossRegion), 'a list of regions');

export const lossSchema = object(
  {
    name: oneOf('weightedDice', 'crossEntropy', 'diceCrossEntropy'),
    dice: amount,
    crossEntropy: amount,
    smooth: amount,
    batchDice: flag,
    negativeDice: v.optional(flag),
    diceWeights: weightList,
    entropyWeights: weightList,
    regions: v.optional(lossRegions),
  },
  'a loss, such as weightedDice()',
) satisfies Schema<Loss>;

/** How Dice is summed. */
export interface DiceOptions {
  /** s in D_c = (2Σpg + s)/(Σp + Σg + s). Default 1e-5. */
  readonly smooth?: number;
  /** Sums over the whole batch instead of per sample. */
  readonly batch?: boolean;
}

const diceEntries = {
  smooth: v.optional(amount),
  batch: v.optional(flag),
} satisfies Record<keyof DiceOptions, unknown>;
const bothEntries = { ...diceEntries, diceWeights: weightList, entropyWeights: weightList };

/**
 * Σ_c w_c (1 − D_c), weights used as given: with weights that sum to 1 the loss lies in [0, 1].
 * A weight of 0 for class 0 leaves the background out.
 * @throws InvalidOption
 * @example
 * ```js
 * const loss = weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21));
 * ```
 */
export function weightedDice(weights?: readonly number[], options: DiceOptions = {}): Loss {
  assertOptions('weightedDice', { weights: weightList }, { weights });
  assertOptions('weightedDice', diceEntries, options);
  const { smooth = 1e-5, batch = false } = options;
  return { name: 'weightedDice', dice: 1, crossEntropy: 0, smooth, batchDice: batch, diceWeights: weights };
}

/**
 * −log p of the true class, averaged with class weights: Σ w·(−log p) / Σ w, as PyTorch does. @throws InvalidOption
 * @example
 * ```js
 * const loss = crossEntropy([0.5, 1, 1, 1, 1, 1]); // one weight for each class
 * ```
 */
export function crossEntropy(weights?: readonly number[]): Loss {
  assertOptions('crossEntropy', { weights: weightList }, { weights });
  return {
    name: 'crossEntropy',
    dice: 0,
    crossEntropy: 1,
    smooth: 1e-5,
    batchDice: false,
    entropyWeights: weights,
  };
}

/**
 * Weighted Dice plus cross-entropy, each with its own class weights. @throws InvalidOption
 * @example
 * ```js
 * const loss = diceCrossEntropy({ diceWeights: [0, 1, 1, 1, 1, 1] });
 * ```
 */
export function diceCrossEntropy(
  options: DiceOptions & { diceWeights?: readonly number[]; entropyWeights?: readonly number[] } = {},
): Loss {
  assertOptions('diceCrossEntropy', bothEntries, options);
  const { smooth = 1e-5, batch = false, diceWeights, entropyWeights } = options;
  return {
    name: 'diceCrossEntropy',
    dice: 1,
    crossEntropy: 1,
    smooth,
    batchDice: batch,
    diceWeights,
    entropyWeights,
  };
}

const batchEntries = { batch: v.optional(flag) };

/**
 * nnU-Net's loss, to the number: cross-entropy minus the mean Dice of the classes but the background, so that it goes
 * from about 1 down to about −1.
 * @param options.batch sums Dice over the batch, as nnU-Net does where it also plans a lower resolution
 * @throws InvalidOption
 * @example
 * ```js
 * const loss = nnunetLoss(6);
 * ```
 */
export function nnunetLoss(classes: number, options: { readonly batch?: boolean } = {}): Loss {
  assertOptions('nnunetLoss', { classes: wholeNumber(2, 255) }, { classes });
  assertOptions('nnunetLoss', batchEntries, options);
  const { batch = false } = options;
  const diceWeights = Array.from({ length: classes }, (_, c) => (c === 0 ? 0 : 1 / (classes - 1)));
  return { ...diceCrossEntropy({ batch, diceWeights }), negativeDice: true };
}

/**
 * nnU-Net's loss for regions, to the number: binary cross-entropy minus the mean Dice of all heads.
 * @param options.batch as for `nnunetLoss`
 * @param options.ignore whether the data set has an ignore label; nnU-Net then averages the cross-entropy over the voxels
 *   that count, else over voxels and heads
 * @throws InvalidOption
 * @example
 * ```js
 * const loss = nnunetRegionLoss([
 *   { labels: [1, 2], written: 1 },
 *   { labels: [2], written: 2 },
 * ]);
 * ```
 */
export function nnunetRegionLoss(
  regions: readonly LossRegion[],
  options: { readonly batch?: boolean; readonly ignore?: boolean } = {},
): Loss {
  const list = v.pipe(
    v.array(openObject(lossRegion), 'a list of regions'),
    v.minLength(1, 'one region or more'),
  );
  assertOptions('nnunetRegionLoss', { regions: list }, { regions });
  assertOptions('nnunetRegionLoss', { ...batchEntries, ignore: v.optional(flag) }, options);
  const { batch = false, ignore = false } = options;
  const share = 1 / regions.length;
  const loss = diceCrossEntropy({ batch, diceWeights: regions.map(() => share) });
  return { ...loss, crossEntropy: ignore ? 1 : share, negativeDice: true, regions: regions.map(plainRegion) };
}

const plainRegion = ({ labels, written }: LossRegion): LossRegion => ({ labels, written });

/**
 * A loss as the heads of a network take it: of regions, cross-entropy is binary and averaged over the heads, and weights
 * of Dice are one per region.
 * @param regions of the network, undefined where one class wins
 * @throws InvalidOption for a loss of other regions, and for weights that have no meaning there
 */
export function lossOfHeads(loss: Loss, regions: readonly LossRegion[] | undefined): Loss {
  const own = regions?.map(plainRegion);
  if (loss.regions) {
    if (JSON.stringify(loss.regions.map(plainRegion)) === JSON.stringify(own)) return loss;
    throw new InvalidOption(
      own
        ? 'the loss is made for other regions than those of the network: make it from its description.regions'
        : 'the loss is made for regions, and the network has classes, of which one wins: give another loss',
    );
  }
  if (!own) return loss;
  if (loss.entropyWeights)
    throw new InvalidOption(
      'entropyWeights weigh classes of which one wins; the heads of this network decide on regions, each by itself: leave them out',
    );
  return { ...loss, crossEntropy: loss.crossEntropy / own.length, regions: own };
}

/**
 * What a plan needs to know of a loss, for a number of classes.
 * @example
 * ```js
 * console.log(lossShape(weightedDice(), 6));
 * ```
 */
export function lossShape(loss: Loss, classes: number): LossShape {
  assertOptions('lossShape', { loss: lossSchema, classes: wholeNumber(1, 255) }, { loss, classes });
  const { dice, crossEntropy, smooth, batchDice, negativeDice, regions } = loss;
  return {
    ...{ classes, dice, crossEntropy, smooth, batchDice },
    ...(negativeDice && { negativeDice }),
    ...(regions && { regions: true }),
  };
}

/** The buffer of class weights: Dice's, then cross-entropy's. */
export function classWeights(loss: Loss, classes: number): Float32Array<ArrayBuffer> {
  const check = (weights: readonly number[] | undefined, fallback: number): readonly number[] => {
    if (!weights) return new Array<number>(classes).fill(fallback);
    if (weights.length !== classes || !weights.every((w) => Number.isFinite(w) && w >= 0)) {
      throw new InvalidOption(
        `class weights are [${some(weights.map(String))}]; give ${classes} numbers from 0 on, one per class, background first`,
      );
    }
    return weights;
  };
  return new Float32Array([...check(loss.diceWeights, 1 / classes), ...check(loss.entropyWeights, 1)]);
}
