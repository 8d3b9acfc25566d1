/**
 * Intensities of a channel brought to a common scale: by the volume's own statistics, or by fixed numbers of the
 * whole data set where intensities have a meaning, as in CT. The choice is plain data, stored with the model.
 */
import { zScore, type Statistics } from './statistics.ts';
import type { Size3 } from '../size.ts';

/** Limits first, then (v − mean) / deviation: numbers of the data set, the same for every volume. */
export interface FixedNormalization {
  /** Values below the first and above the second become these. */
  readonly clip: readonly [low: number, high: number];
  /** What is subtracted. */
  readonly mean: number;
  /** What the rest is divided by; at least 1e-8. */
  readonly deviation: number;
}

/**
 * - "z-score": (v − mean) / max(sd, 1e-8) over all voxels, population sd, in float64; a constant volume becomes 0.
 * - "z-score inside": the same over the voxels that `insideMask` holds; those outside stay 0.
 * - "min-max": (v − min) / max(max − min, 1e-8).
 * - "none": values as they are.
 */
export type Normalization = 'z-score' | 'z-score inside' | 'min-max' | 'none' | FixedNormalization;

/** The smallest spread that is divided by. */
const smallest = 1e-8;

/**
 * Normalises one channel, whose voxels are all finite, in place.
 * @param inside one byte per voxel; for "z-score inside"
 * @param known the statistics of `values`, where somebody has them
 */
export function normalize(
  values: Float32Array,
  how: Normalization,
  { inside, known }: { inside?: Uint8Array | undefined; known?: Statistics | undefined } = {},
): void {
  if (how === 'none') return;
  if (how === 'z-score') {
    zScore(values, { target: values, known });
  } else if (how === 'z-score inside') {
    zScoreInside(values, inside!);
  } else if (how === 'min-max') {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    scale(values, low, Math.max(high - low, smallest));
  } else {
    const [low, high] = how.clip;
    for (let at = 0; at < values.length; at++) values[at] = Math.min(high, Math.max(low, values[at]!));
    scale(values, how.mean, Math.max(how.deviation, smallest));
  }
}

function scale(values: Float32Array, origin: number, divisor: number): void {
  for (let at = 0; at < values.length; at++) values[at] = (values[at]! - origin) / divisor;
}

function zScoreInside(values: Float32Array, inside: Uint8Array): void {
  let [count, sum, squares] = [0, 0, 0];
  for (let at = 0; at < values.length; at++) {
    if (!inside[at]) continue;
    count += 1;
    sum += values[at]!;
  }
  const mean = sum / count;
  for (let at = 0; at < values.length; at++) if (inside[at]) squares += (values[at]! - mean) ** 2;
  const divisor = Math.max(Math.sqrt(squares / count), smallest);
  for (let at = 0; at < values.length; at++) if (inside[at]) values[at] = (values[at]! - mean) / divisor;
}

/**
 * 1 where some channel of [channel][z][y][x] is not 0, and in holes: where no path over face neighbours of zeros
 * leads to the volume's border.
 */
export function insideMask(image: Float32Array, [nx, ny, nz]: Size3): Uint8Array {
  const voxels = nx * ny * nz;
  const empty = new Uint8Array(voxels).fill(1);
  for (let at = 0; at < image.length; at++) if (image[at] !== 0) empty[at % voxels] = 0;
  // Sweeps forwards and backwards carry what is outside (2) from the border into the zeros (1).
  const isOutside = (at: number, x: number, y: number, z: number): boolean =>
    x === 0 ||
    x === nx - 1 ||
    empty[at - 1] === 2 ||
    empty[at + 1] === 2 ||
    y === 0 ||
    y === ny - 1 ||
    empty[at - nx] === 2 ||
    empty[at + nx] === 2 ||
    z === 0 ||
    z === nz - 1 ||
    empty[at - nx * ny] === 2 ||
    empty[at + nx * ny] === 2;
  for (let changed = true, backwards = false; changed; backwards = !backwards) {
    changed = false;
    for (let step = 0; step < voxels; step++) {
      const at = backwards ? voxels - 1 - step : step;
      if (empty[at] !== 1) continue;
      const x = at % nx;
      const y = Math.floor(at / nx) % ny;
      if (!isOutside(at, x, y, Math.floor(at / (nx * ny)))) continue;
      empty[at] = 2;
      changed = true;
    }
  }
  return empty.map((value) => (value === 2 ? 0 : 1));
}
