/** How unsure a network is of each voxel, and where to look first. */
import type { Heads } from '../data/regions.ts';
import type { Size3 } from '../size.ts';
import type { ResultVolume } from './result-volume.ts';

/** How unsure a prediction is of a volume, and where most; on the source's own grid. */
export interface Uncertainty {
  /**
   * Of each voxel the entropy of its probabilities, from 0 (certain) to 1 (every class as likely); of regions the mean of
   * theirs. 0 in what was cropped away.
   */
  readonly volume: ResultVolume<Float32Array>;
  /** Over all voxels: of images of one kind, those with the largest are worth annotating next. */
  readonly mean: number;
  /** Across x, y and z, the slice with the largest mean, counted from 0. */
  readonly slices: Size3;
  /** The most uncertain voxel of that slice across z, from 0. */
  readonly voxel: Size3;
  /** Its place in millimetres. */
  readonly millimetres: Size3;
}

/**
 * Entropy of each voxel of probabilities [head][voxel], divided by that of equal ones: of classes that exclude each other,
 * or the mean over regions of the entropy of each.
 */
export function entropyOf(
  probabilities: Float32Array,
  { classes, regions }: Heads,
): Float32Array<ArrayBuffer> {
  const heads = regions?.length ?? classes;
  const voxels = probabilities.length / heads;
  const result = new Float32Array(voxels);
  const scale = regions ? heads * Math.LN2 : Math.log(classes);
  for (let voxel = 0; voxel < voxels; voxel++) {
    let sum = 0;
    for (let at = voxel; at < probabilities.length; at += voxels) {
      const p = probabilities[at]!;
      sum += share(p) + (regions ? share(1 - p) : 0);
    }
    result[voxel] = sum / scale;
  }
  return result;
}

/** −p log p, 0 at 0. */
const share = (p: number): number => (p > 0 ? -p * Math.log(p) : 0);

/** Where entropies [z][y][x] are largest. */
export function uncertaintyOf(volume: ResultVolume<Float32Array>): Uncertainty {
  const { data, shape, affine } = volume;
  const [nx, ny, nz] = shape as unknown as Size3;
  const sums = [nx, ny, nz].map((n) => new Float64Array(n)) as [Float64Array, Float64Array, Float64Array];
  let total = 0;
  for (let z = 0, at = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, at++) {
        const value = data[at]!;
        sums[0][x]! += value;
        sums[1][y]! += value;
        sums[2][z]! += value;
        total += value;
      }
  const slices = sums.map(largest) as unknown as Size3;
  const inSlice = largest(data.subarray(slices[2] * nx * ny, (slices[2] + 1) * nx * ny));
  const voxel: Size3 = [inSlice % nx, Math.floor(inSlice / nx), slices[2]];
  const millimetres = [0, 4, 8].map((row) =>
    voxel.reduce((sum, n, axis) => sum + affine[row + axis]! * n, affine[row + 3]!),
  ) as unknown as Size3;
  return { volume, mean: total / data.length, slices, voxel, millimetres };
}

/** The place of the largest number, the first of several. */
function largest(values: Float64Array | Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at]! > values[best]!) best = at;
  return best;
}
