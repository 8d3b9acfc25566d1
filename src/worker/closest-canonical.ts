/** How a volume is turned to be looked at. */
import { canonicalTransform, type AxisTransform } from '../data/volume.ts';
import { assertOptions } from '../options.ts';
import { affine as schema } from '../schema.ts';

/**
 * Which voxel axis lies along which of right, front and up, as nibabel's `as_closest_canonical` turns them.
 * @param affine voxel to mm, 16 numbers row by row
 * @throws InvalidOption
 */
export function closestCanonical(affine: readonly number[]): AxisTransform {
  assertOptions('closestCanonical', { affine: schema }, { affine });
  return canonicalTransform(affine);
}
