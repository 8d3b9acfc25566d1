/** nnU-Net's sliding windows: where they start and how they are weighted. */
import type { Size3 } from '../../../size.ts';
import { roundHalfEven } from '../../../data/rounding.ts';
import { voxelsOf } from './axes.ts';

/** Near ends of the windows along one axis, which is at least as long as they are. */
export function windowStarts(length: number, window: number, step: number): number[] {
  const count = Math.ceil((length - window) / (window * step)) + 1;
  const distance = count > 1 ? (length - window) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => roundHalfEven(distance * i));
}

/**
 * Weights [z][y][x] of a window: a Gaussian of σ = size/8 around voxel floor(size/2). (nnU-Net rounds them, and its sums,
 * to float16, which shows where a volume has corners.)
 */
export function windowWeights(size: Size3): Float32Array<ArrayBuffer> {
  const [gx, gy, gz] = size.map((n) =>
    Float64Array.from({ length: n }, (_, i) => Math.exp(-0.5 * (((i - Math.floor(n / 2)) * 8) / n) ** 2)),
  ) as [Float64Array, Float64Array, Float64Array];
  const weights = new Float32Array(voxelsOf(size));
  let at = 0;
  for (const z of gz) for (const y of gy) for (const x of gx) weights[at++] = z * y * x;
  return weights;
}
