/** Sliding windows: evenly placed starts, Gaussian weights, logits averaged (as MONAI and nnU-Net do). */
import { Aborted, InvalidOption } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { copyGrid } from './evaluator.ts';

/** Starts along one axis: as few as cover it with at least this overlap, at equal distances. */
export function windowStarts(length: number, window: number, overlap: number): number[] {
  if (!(overlap >= 0 && overlap < 1))
    throw new InvalidOption(`overlap is ${overlap}; give a number from 0 up to, not including, 1`);
  if (length <= window) return [0];
  const count = Math.ceil((length - window) / Math.max(1, Math.floor(window * (1 - overlap)))) + 1;
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - window)) / (count - 1)));
}

/** A volume's windows side by side: their size, no axis longer than the volume's, and their near corners. */
export function tiles(shape: Size3, window: Size3): { size: Size3; starts: Size3[] } {
  const size = shape.map((n, axis) => Math.min(n, window[axis]!)) as unknown as Size3;
  const [xs = [], ys = [], zs = []] = shape.map((n, axis) => windowStarts(n, size[axis]!, 0));
  return { size, starts: zs.flatMap((z) => ys.flatMap((y) => xs.map((x): Size3 => [x, y, z]))) };
}

/** Gaussian weights along one axis, σ = size/8, 1 at the centre, never below 1e-3. */
export function gaussian(size: number): Float32Array {
  const sigma = size / 8;
  const centre = (size - 1) / 2;
  return Float32Array.from({ length: size }, (_, i) =>
    Math.max(1e-3, Math.exp(-0.5 * ((i - centre) / sigma) ** 2)),
  );
}

/** How far a volume is. */
export interface WindowProgress {
  /** Windows that are done. */
  readonly loaded: number;
  /** Windows in all. */
  readonly total: number;
}

/**
 * Logits [class][z][y][x] of a volume [channel][z][y][x] through windows of one size. A volume that fits
 * one window goes through it once, padded with zeros at the far ends.
 */
export async function slidingWindow(
  volume: { readonly image: Float32Array; readonly shape: Size3; readonly channels: number },
  window: Size3,
  classes: number,
  run: (image: Float32Array, signal?: AbortSignal) => Promise<Float32Array>,
  options: {
    overlap?: number;
    signal?: AbortSignal | undefined;
    onProgress?: (progress: WindowProgress) => void;
  } = {},
): Promise<Float32Array<ArrayBuffer>> {
  const { overlap = 0.5, signal, onProgress } = options;
  const { shape, channels, image } = volume;
  const [x, y, z] = shape;
  const [w, h, d] = window;
  const voxels = w * h * d;
  const starts = shape.map((length, axis) => windowStarts(length, window[axis]!, overlap));
  const positions: Size3[] = [];
  for (const k of starts[2]!)
    for (const j of starts[1]!) for (const i of starts[0]!) positions.push([i, j, k]);

  const sums = new Float32Array(classes * x * y * z);
  if (positions.length === 1) {
    const padded = copyGrid(new Float32Array(channels * voxels), image, channels, shape, window);
    const logits = await run(padded, signal);
    onProgress?.({ loaded: 1, total: 1 });
    return copyGrid(sums, logits, classes, window, shape);
  }
  const [gx, gy, gz] = [gaussian(w), gaussian(h), gaussian(d)];
  const weights = new Float32Array(x * y * z);
  for (const [index, [i0, j0, k0]] of positions.entries()) {
    if (signal?.aborted)
      throw new Aborted(`prediction was stopped after ${index} of ${positions.length} windows`);
    const part = new Float32Array(channels * voxels);
    forEachRow(shape, window, [i0, j0, k0], channels, (from, to, count) =>
      part.set(image.subarray(from, from + count), to),
    );
    const logits = await run(part, signal);
    forEachRow(shape, window, [i0, j0, k0], classes, (to, from, count, j, k) => {
      const row = gy[j]! * gz[k]!;
      for (let i = 0; i < count; i++) sums[to + i]! += gx[i]! * row * logits[from + i]!;
    });
    forEachRow(shape, window, [i0, j0, k0], 1, (to, _, count, j, k) => {
      const row = gy[j]! * gz[k]!;
      for (let i = 0; i < count; i++) weights[to + i]! += gx[i]! * row;
    });
    onProgress?.({ loaded: index + 1, total: positions.length });
  }
  for (let c = 0; c < classes; c++)
    for (let i = 0; i < weights.length; i++) sums[c * weights.length + i]! /= weights[i]!;
  return sums;
}

/** Rows of the window that lie inside the volume: where each starts in volume and window, its length, and its y and z in the window. */
function forEachRow(
  shape: Size3,
  window: Size3,
  [i0, j0, k0]: Size3,
  channels: number,
  visit: (inVolume: number, inWindow: number, count: number, j: number, k: number) => void,
): void {
  const [x, y, z] = shape;
  const [w, h, d] = window;
  const count = Math.min(w, x - i0);
  for (let c = 0; c < channels; c++)
    for (let k = 0; k < Math.min(d, z - k0); k++)
      for (let j = 0; j < Math.min(h, y - j0); j++)
        visit(((c * z + k0 + k) * y + j0 + j) * x + i0, ((c * d + k) * h + j) * w, count, j, k);
}
