/** Sliding windows as MONAI's SlidingWindowInferer places and weights them. */
import { floatsFor } from '../../data/allocation.ts';
import type { Size3 } from '../../size.ts';
import type { WindowProgress } from '../../infer/window.ts';
import type { Windows } from './pipeline.ts';

/** Starts along an axis: at equal distances from 0 on, the last one moved back to fit. */
export function startsAlong(length: number, window: number, overlap: number): number[] {
  const interval = length === window ? window : Math.max(1, Math.floor(window * (1 - overlap)));
  const count = length <= window ? 1 : Math.ceil((length - window) / interval) + 1;
  return Array.from({ length: count }, (_, i) => Math.min(i * interval, Math.max(0, length - window)));
}

/** The weight of each voxel of a window, x fastest: 1, or a Gaussian about the middle, at least 1e-3. */
export function weightsOf(size: Size3, { mode, sigma }: Pick<Windows, 'mode' | 'sigma'>): Float32Array {
  const [x, y, z] = size;
  const weights = new Float32Array(x * y * z).fill(1);
  if (mode === 'constant') return weights;
  const [wx, wy, wz] = size.map((length) =>
    Float64Array.from({ length }, (_, i) =>
      Math.exp(-((i - (length - 1) / 2) ** 2) / (2 * (sigma * length) ** 2)),
    ),
  );
  let at = 0;
  for (let k = 0; k < z; k++)
    for (let j = 0; j < y; j++)
      for (let i = 0; i < x; i++) weights[at++] = Math.max(1e-3, wx![i]! * wy![j]! * wz![k]!);
  return weights;
}

/** Gives the logits [class][z][y][x] of an image [channel][z][y][x] of this size. */
export type RunNetwork = (image: Float32Array, size: Size3) => Promise<Float32Array>;

export type OnProgress = (progress: WindowProgress) => void;

/** Logits [class][z][y][x] of a whole image [channel][z][y][x]: the weighted mean of those of its windows. */
export async function throughWindows(
  image: Float32Array,
  shape: Size3,
  { size, ...windows }: Windows,
  run: RunNetwork,
  onProgress?: OnProgress,
): Promise<Float32Array> {
  if (!size) return run(image, shape);
  const voxels = shape[0] * shape[1] * shape[2];
  const channels = image.length / voxels;
  // Where the window is longer, zeros lie on both sides.
  const before = shape.map((length, axis) => Math.floor(Math.max(0, size[axis]! - length) / 2));
  const padded = shape.map((length, axis) => Math.max(length, size[axis]!)) as unknown as Size3;
  if (windows.padding === 'replicate' && padded.join() !== shape.join()) {
    const all = { ...windows, size, padding: undefined };
    const logits = await throughWindows(moved(image, shape, padded, before), padded, all, run, onProgress);
    const back = before.map((voxels) => -voxels);
    return moved(logits, padded, shape, back);
  }
  const [xs, ys, zs] = padded.map((length, axis) => startsAlong(length, size[axis]!, windows.overlap));
  const weights = weightsOf(size, windows);
  const total = new Float32Array(voxels);
  const count = xs!.length * ys!.length * zs!.length;
  let loaded = 0;
  let sums: Float32Array | undefined;
  for (const z of zs!)
    for (const y of ys!)
      for (const x of xs!) {
        const start: Size3 = [x - before[0]!, y - before[1]!, z - before[2]!];
        const part = new Float32Array(channels * weights.length);
        eachRow(size, shape, start, ({ window, whole, length }) => {
          for (let c = 0; c < channels; c++)
            part.set(
              image.subarray(c * voxels + whole, c * voxels + whole + length),
              c * weights.length + window,
            );
        });
        const logits = await run(part, size);
        onProgress?.({ loaded: ++loaded, total: count });
        const classes = logits.length / weights.length;
        sums ??= floatsFor(
          Float32Array,
          classes * voxels,
          `logits of ${classes} classes at ${shape.join(' x ')} voxels`,
        );
        const found = sums;
        eachRow(size, shape, start, ({ window, whole, length }) => {
          for (let i = 0; i < length; i++) {
            const weight = weights[window + i]!;
            total[whole + i]! += weight;
            for (let c = 0; c < classes; c++)
              found[c * voxels + whole + i]! += weight * logits[c * weights.length + window + i]!;
          }
        });
      }
  for (let at = 0; at < sums!.length; at++) sums![at]! /= total[at % voxels]!;
  return sums!;
}

/** Volumes on another grid, so many voxels later along each axis; beyond the ends the last voxels go on. */
function moved(data: Float32Array, from: Size3, to: Size3, by: readonly number[]): Float32Array {
  const [x, y, z] = from;
  const clamped = (at: number, axis: 0 | 1 | 2): number =>
    Math.min(from[axis] - 1, Math.max(0, at - by[axis]!));
  const volumes = data.length / (x * y * z);
  const result = new Float32Array(volumes * to[0] * to[1] * to[2]);
  let at = 0;
  for (let volume = 0; volume < volumes; volume++)
    for (let k = 0; k < to[2]; k++)
      for (let j = 0; j < to[1]; j++) {
        const row = ((volume * z + clamped(k, 2)) * y + clamped(j, 1)) * x;
        for (let i = 0; i < to[0]; i++) result[at++] = data[row + clamped(i, 0)]!;
      }
  return result;
}

/** Visits the rows that a window shares with a volume: where they begin in either, and how long they are. */
function eachRow(
  size: Size3,
  shape: Size3,
  start: Size3,
  visit: (row: { window: number; whole: number; length: number }) => void,
): void {
  const [low, high] = [0, 1, 2].reduce<[number[], number[]]>(
    ([low, high], axis) => [
      [...low, Math.max(0, -start[axis]!)],
      [...high, Math.min(size[axis]!, shape[axis]! - start[axis]!)],
    ],
    [[], []],
  );
  for (let z = low[2]!; z < high[2]!; z++)
    for (let y = low[1]!; y < high[1]!; y++)
      visit({
        window: (z * size[1] + y) * size[0] + low[0]!,
        whole: ((z + start[2]) * shape[1] + y + start[1]) * shape[0] + low[0]! + start[0],
        length: high[0]! - low[0]!,
      });
}
