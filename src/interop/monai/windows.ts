/** Sliding windows as MONAI's SlidingWindowInferer places and weights them. */
import { arrayFor } from '../../data/allocation.ts';
import { copyWindow } from '../../data/boxes.ts';
import type { Size3 } from '../../size.ts';
import type { WindowProgress } from '../../infer/window.ts';
import { RunningPlanes } from '../nnunet/pipeline/running-planes.ts';
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
  windows: Windows,
  run: RunNetwork,
  onProgress?: OnProgress,
): Promise<Float32Array> {
  if (!windows.size) return run(image, shape);
  const area = shape[0] * shape[1];
  let whole: Float32Array | undefined;
  let z = 0;
  for await (const plane of planesThrough(
    image,
    shape,
    { ...windows, size: windows.size },
    run,
    onProgress,
  )) {
    const classes = plane.length / area;
    const grid = `logits of ${classes} classes at ${shape.join(' x ')} voxels`;
    whole ??= arrayFor(Float32Array, classes * area * shape[2], grid);
    for (let c = 0; c < classes; c++)
      whole.set(plane.subarray(c * area, (c + 1) * area), (c * shape[2] + z) * area);
    z++;
  }
  return whole!;
}

/** The same plane by plane, [class][y][x] from z = 0 on: no more is there than windows still reach. */
export async function* planesThrough(
  image: Float32Array,
  shape: Size3,
  { size, ...windows }: Windows & { readonly size: Size3 },
  run: RunNetwork,
  onProgress?: OnProgress,
): AsyncGenerator<Float32Array> {
  const channels = image.length / (shape[0] * shape[1] * shape[2]);
  // Where the window is longer, there is something on both sides: zeros, or the edge of the image.
  const before = shape.map((length, axis) => Math.floor(Math.max(0, size[axis]! - length) / 2)) as [
    number,
    number,
    number,
  ];
  const padded = shape.map((length, axis) => Math.max(length, size[axis]!)) as unknown as Size3;
  const isEdge = windows.padding === 'replicate' && padded.join() !== shape.join();
  const source = isEdge
    ? { data: moved(image, shape, padded, before), shape: padded, channels }
    : { data: image, shape, channels };
  const offset = isEdge ? [0, 0, 0] : before;
  const [xs, ys, zs] = padded.map((length, axis) => startsAlong(length, size[axis]!, windows.overlap)) as [
    number[],
    number[],
    number[],
  ];
  const weights = weightsOf(size, windows);
  const total = xs.length * ys.length * zs.length;
  let loaded = 0;
  let running: RunningPlanes | undefined;
  for (const [row, z] of zs.entries()) {
    for (const y of ys)
      for (const x of xs) {
        const start: Size3 = [x - offset[0]!, y - offset[1]!, z - offset[2]!];
        const empty = new Float32Array(channels * weights.length);
        const logits = await run(copyWindow(source, { start, size }, empty), size);
        onProgress?.({ loaded: ++loaded, total });
        running ??= new RunningPlanes(
          { size: shape, before, rows: [0, shape[1]], depth: size[2], width: padded[0] },
          logits.length / weights.length,
        );
        running.add(logits, 0, size[2], { window: size, weights, start: [x, y], axes: [] });
      }
    const done = (zs[row + 1] ?? padded[2]) - z;
    for (let plane = 0; plane < done; plane++) {
      const at = z + plane - before[2];
      if (at >= 0 && at < shape[2]) yield running!.mean(plane);
    }
    running!.drop(done);
  }
}

/** Volumes on another grid, so many voxels later along each axis; beyond the ends the last voxels go on. */
function moved(data: Float32Array, from: Size3, to: Size3, by: readonly number[]): Float32Array {
  const [x, y, z] = from;
  const clamped = (at: number, axis: 0 | 1 | 2): number =>
    Math.min(from[axis] - 1, Math.max(0, at - by[axis]!));
  const volumes = data.length / (x * y * z);
  const count = volumes * to[0] * to[1] * to[2];
  const result = arrayFor(Float32Array, count, `the stack of ${volumes} volumes at ${to.join(' x ')} voxels`);
  let at = 0;
  for (let volume = 0; volume < volumes; volume++)
    for (let k = 0; k < to[2]; k++)
      for (let j = 0; j < to[1]; j++) {
        const row = ((volume * z + clamped(k, 2)) * y + clamped(j, 1)) * x;
        for (let i = 0; i < to[0]; i++) result[at++] = data[row + clamped(i, 0)]!;
      }
  return result;
}
