/** Dice of what a network's heads find: classes, or regions, which may overlap. */
import { members, type Heads, type Region } from '../data/regions.ts';
import { dice } from './dice.ts';

/**
 * Dice of regions in two label maps: first of the voxels outside of all of them, then of each. Voxels whose truth is 255
 * take no part.
 */
export function regionDice(
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  regions: readonly Pick<Region, 'labels'>[],
): number[] {
  const tables = regions.map(members);
  const outside = Uint8Array.from({ length: 256 }, (_, label) =>
    Number(!tables.some((table) => table[label])),
  );
  // Counts of pairs of labels, of which the regions' follow.
  const pairs = new Float64Array(256 * 256);
  for (let voxel = 0; voxel < truth.length; voxel++) pairs[256 * truth[voxel]! + prediction[voxel]!]! += 1;
  pairs.fill(0, 256 * 255);
  return [outside, ...tables].map((table) => {
    let [both, sizes] = [0, 0];
    for (let at = 0; at < pairs.length; at++) {
      const [t, p] = [table[at >> 8]!, table[at & 255]!];
      both += pairs[at]! * t * p;
      sizes += pairs[at]! * (t + p);
    }
    return (2 * both) / sizes;
  });
}

/** Dice as a network's heads are scored: per class, or of regions as `regionDice` gives it. */
export const scoredDice = (
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  {
    classes,
    regions,
  }: Pick<Heads, 'classes'> & { readonly regions?: readonly Pick<Region, 'labels'>[] | undefined },
): number[] => (regions ? regionDice(prediction, truth, regions) : dice(prediction, truth, classes));
