/** Sliding windows: evenly placed starts, Gaussian weights, logits averaged (as MONAI and nnU-Net do), plane by plane. */
import { arrayFor } from '../data/allocation.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { copyWindow } from '../data/boxes.ts';
import { copyGrid } from '../data/copy-grid.ts';

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

/** A network at the size of a window: gives its logits some planes [class][z][y][x] at a time, in order. */
export type WindowRun = (image: Float32Array, signal?: AbortSignal) => AsyncIterable<Float32Array>;

/** How windows are laid, and who is told. */
export interface WindowOptions {
  /** Of neighbouring windows. Default 0.5. */
  readonly overlap?: number | undefined;
  /** Looked at between windows; the call then throws `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each window. */
  readonly onProgress?: ((progress: WindowProgress) => void) | undefined;
}

/**
 * Logits of a volume [channel][z][y][x] through windows of one size, as planes [class][y][x] from z = 0 on: a plane
 * comes when the last window that reaches it is done, and sums are held of those only that windows still reach. A
 * volume that fits one window goes through it once, padded with zeros at the far ends.
 * @throws InvalidOption for a window of more values than an array can hold
 */
export async function* windowPlanes(
  {
    image,
    shape,
    channels,
  }: { readonly image: Float32Array; readonly shape: Size3; readonly channels: number },
  window: Size3,
  classes: number,
  run: WindowRun,
  { overlap = 0.5, signal, onProgress }: WindowOptions = {},
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const [w, h, d] = window;
  if (channels * w * h * d >= 2 ** 32)
    throw new InvalidOption(
      `the window is ${window.join(' x ')} voxels, for a volume of ${shape.join(' x ')}: give a smaller one`,
    );
  const [xs = [], ys = [], zs = []] = shape.map((length, axis) =>
    windowStarts(length, window[axis]!, overlap),
  );
  const total = xs.length * ys.length * zs.length;
  const empty = (): Float32Array<ArrayBuffer> => new Float32Array(channels * w * h * d);
  /** Slabs [class][z][y][x] of a window, and how far up each begins. */
  const slabsOf = async function* (part: Float32Array) {
    let z = 0;
    for await (const slab of run(part, signal)) {
      const depth = slab.length / (classes * w * h);
      yield { slab, z, depth };
      z += depth;
    }
  };
  if (total === 1) {
    const [x, y] = shape;
    for await (const { slab, z, depth } of slabsOf(copyGrid(empty(), image, channels, shape, window))) {
      if (z === 0) onProgress?.({ loaded: 1, total });
      const source = { data: slab, shape: [w, h, depth] as const, channels: classes };
      for (let k = 0; k < Math.min(depth, shape[2] - z); k++)
        yield copyWindow(source, { start: [0, 0, k], size: [x, y, 1] }, new Float32Array(classes * x * y));
    }
    return;
  }
  const sums = new RunningSums(shape, window, classes);
  let loaded = 0;
  for (const [row, k0] of zs.entries()) {
    for (const j0 of ys)
      for (const i0 of xs) {
        if (signal?.aborted) throw new Aborted(`prediction was stopped after ${loaded} of ${total} windows`);
        const part = copyWindow(
          { data: image, shape, channels },
          { start: [i0, j0, k0], size: window },
          empty(),
        );
        for await (const { slab, z, depth } of slabsOf(part))
          for (let k = 0; k < depth; k++) sums.add(slab.subarray(k * w * h), depth * w * h, z + k, [i0, j0]);
        onProgress?.({ loaded: ++loaded, total });
      }
    yield* sums.take((zs[row + 1] ?? shape[2]) - k0);
  }
}

/** Weighted sums of the logits of windows, for the planes that the current row of them reaches. */
class RunningSums {
  /** [z][class][y][x] */
  readonly #sums: Float32Array<ArrayBuffer>;
  /** [z][y][x] */
  readonly #weights: Float32Array<ArrayBuffer>;
  readonly #gaussians: readonly Float32Array[];

  constructor(
    readonly shape: Size3,
    readonly window: Size3,
    readonly classes: number,
  ) {
    this.#gaussians = window.map(gaussian);
    this.#weights = new Float32Array(shape[0] * shape[1] * Math.min(shape[2], window[2]));
    this.#sums = arrayFor(
      Float32Array,
      classes * this.#weights.length,
      `the stack of ${classes} heads in windows of ${window.join(' x ')} voxels`,
    );
  }

  /**
   * Plane z, [class][y][x], of the window with this near corner; what lies beyond the volume counts for nothing.
   * @param stride from class to class
   */
  add(plane: Float32Array, stride: number, z: number, [i0, j0]: readonly [x: number, y: number]): void {
    const [x, y] = this.shape;
    const [w, h] = this.window;
    const [gx, gy, gz] = this.#gaussians as [Float32Array, Float32Array, Float32Array];
    const { classes } = this;
    const [sums, weights] = [this.#sums, this.#weights];
    if (z * x * y >= weights.length) return;
    const count = Math.min(w, x - i0);
    for (let c = 0; c < classes; c++)
      for (let j = 0; j < Math.min(h, y - j0); j++) {
        const row = gy[j]! * gz[z]!;
        const from = c * stride + j * w;
        const to = ((z * classes + c) * y + j0 + j) * x + i0;
        for (let i = 0; i < count; i++) sums[to + i]! += gx[i]! * row * plane[from + i]!;
      }
    for (let j = 0; j < Math.min(h, y - j0); j++) {
      const row = gy[j]! * gz[z]!;
      const to = (z * y + j0 + j) * x + i0;
      for (let i = 0; i < count; i++) weights[to + i]! += gx[i]! * row;
    }
  }

  /** The means of so many planes [class][y][x], which all windows have reached; there is room behind them then. */
  *take(planes: number): Generator<Float32Array<ArrayBuffer>> {
    const area = this.shape[0] * this.shape[1];
    const [sums, weights] = [this.#sums, this.#weights];
    for (let z = 0; z < planes; z++) {
      const mean = sums.slice(z * this.classes * area, (z + 1) * this.classes * area);
      for (let c = 0; c < this.classes; c++)
        for (let at = 0; at < area; at++) mean[c * area + at]! /= weights[z * area + at]!;
      yield mean;
    }
    for (const [array, gone] of [
      [sums, planes * this.classes * area],
      [weights, planes * area],
    ] as const) {
      array.copyWithin(0, gone);
      array.fill(0, array.length - gone);
    }
  }
}
