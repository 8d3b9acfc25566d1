/**
 * Dice per class of two label maps: 2|A and B| / (|A| + |B|). Both empty: NaN, to be left out of
 * means; one empty: 0. Voxels whose truth is no class (255, "leave out") take no part.
 */
import { InvalidOption, InvalidVolume } from '../errors.ts';

/** Not by a schema, so that who takes Dice alone gets little more than that. */
function requireNumbers(name: string, values: ArrayLike<number> | null): void {
  if (typeof values !== 'object' || typeof values?.length !== 'number')
    throw new InvalidOption(`${name} is none; give an array of numbers`);
}

/**
 * Dice of each of the classes 0 … classes − 1.
 * @throws InvalidVolume if the two maps differ in length; InvalidOption for other than 1 to 256 classes
 * @example
 * ```js
 * console.log(dice([0, 1, 1], [0, 1, 0], 2)); // [0.67, 0.67], rounded
 * ```
 */
export function dice(prediction: ArrayLike<number>, truth: ArrayLike<number>, classes: number): number[] {
  requireNumbers('dice: prediction', prediction);
  requireNumbers('dice: truth', truth);
  if (!Number.isInteger(classes) || classes < 1 || classes > 256)
    throw new InvalidOption(`dice: classes is ${classes}; give a whole number from 1 to 256`);
  if (prediction.length !== truth.length)
    throw new InvalidVolume(
      `Prediction has ${prediction.length} voxels, truth has ${truth.length}: compare them on the same grid.`,
    );
  const both = new Array<number>(classes).fill(0);
  const sizes = new Array<number>(classes).fill(0);
  for (let voxel = 0; voxel < truth.length; voxel++) {
    const p = prediction[voxel] as number;
    const t = truth[voxel] as number;
    if (t >= classes) continue;
    sizes[t]! += 1;
    if (p < classes) sizes[p]! += 1;
    if (p === t) both[p]! += 1;
  }
  return both.map((count, label) => (2 * count) / sizes[label]!);
}

/**
 * Mean of the values that are not NaN; NaN if there are none.
 * @example
 * ```js
 * console.log(meanDefined([0.5, NaN, 1])); // 0.75
 * ```
 */
export function meanDefined(values: readonly number[]): number {
  requireNumbers('meanDefined: values', values);
  const defined = values.filter((value) => !Number.isNaN(value));
  return defined.reduce((sum, value) => sum + value, 0) / defined.length;
}
