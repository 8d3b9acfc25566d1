/** Logits of an image through windows, plane by plane: no more of them is held than windows still reach. */
import { copyWindow } from '../../../data/patches.ts';
import { areFinite } from '../../../data/prepare-checks.ts';
import { Aborted, InvalidOption, NotFinite } from '../../../errors.ts';
import { flip, type Axis } from '../../../infer/probabilities.ts';
import type { WindowProgress } from '../../../infer/window.ts';
import type { Size3 } from '../../../size.ts';
import { voxelsOf } from './axes.ts';
import type { NnunetInput } from './preprocess.ts';
import { windowStarts, windowWeights } from './windows.ts';

/** A network: logits [head][z][y][x] of a window [channel][z][y][x]. */
export type WindowLogits = (window: Float32Array, signal?: AbortSignal) => Promise<Float32Array>;

/** How windows are laid and what is averaged. */
export interface WindowOptions {
  /** From window to window, as a fraction of their size. Default 0.5. */
  readonly step?: number | undefined;
  /** Axes of nnU-Net's arrays (0 is z) along which windows are mirrored, in all combinations. Default: none. */
  readonly mirrorAxes?: readonly number[] | undefined;
  /** Looked at between windows; the call then throws `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each window of each network. */
  readonly onProgress?: ((progress: WindowProgress) => void) | undefined;
}

/** Windows of one size over an input that is padded with zeros to at least that size. */
export interface WindowGrid {
  /** Of the padded input. */
  readonly size: Size3;
  /** Zeros in front. */
  readonly before: Size3;
  readonly starts: readonly [x: readonly number[], y: readonly number[], z: readonly number[]];
  /** Windows in all. */
  readonly count: number;
}

/** @throws InvalidOption for a step out of range */
export function windowGrid(input: Size3, window: Size3, step = 0.5): WindowGrid {
  if (!(step > 0 && step <= 1)) throw new InvalidOption(`step is ${step}; give a number above 0 and up to 1`);
  const size = input.map((n, axis) => Math.max(n, window[axis]!)) as unknown as Size3;
  const before = size.map((n, axis) => Math.floor((n - input[axis]!) / 2)) as unknown as Size3;
  const [xs = [], ys = [], zs = []] = size.map((n, axis) => windowStarts(n, window[axis]!, step));
  return { size, before, starts: [xs, ys, zs], count: xs.length * ys.length * zs.length };
}

/** Every combination of axes, none first. */
function mirrorings(axes: readonly number[]): Axis[][] {
  const names = axes.map((axis) => (['z', 'y', 'x'] as const)[axis]!);
  return names.reduce<Axis[][]>((sets, axis) => [...sets, ...sets.map((set) => [...set, axis])], [[]]);
}

/**
 * The planes [head][y][x] of an input's logits, from z = 0 on, averaged over mirrorings, windows and networks. A plane
 * comes when the last window that reaches it is done.
 * @param networks the folds of a model: rows of windows go through one after the other
 * @throws InvalidOption for a step out of range; Aborted; NotFinite; whatever the networks throw
 */
export async function* logitPlanes(
  input: Pick<NnunetInput, 'data' | 'size'>,
  { window, heads }: { readonly window: Size3; readonly heads: number },
  networks: readonly WindowLogits[],
  { step, mirrorAxes = [], signal, onProgress }: WindowOptions = {},
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const { size, before, starts, count } = windowGrid(input.size, window, step);
  const [xs, ys, zs] = starts;
  const flips = mirrorings(mirrorAxes);
  const channels = input.data.length / voxelsOf(input.size);
  const weights = windowWeights(window);
  const running = new RunningPlanes(size, window, heads);
  const progress = { loaded: 0, total: count * networks.length };
  for (const [row, z] of zs.entries()) {
    for (const network of networks)
      for (const y of ys)
        for (const x of xs) {
          if (signal?.aborted)
            throw new Aborted(`prediction was stopped after ${progress.loaded} of ${progress.total} windows`);
          const start: Size3 = [x - before[0], y - before[1], z - before[2]];
          const empty = new Float32Array(channels * voxelsOf(window));
          const source = { data: input.data, shape: input.size, channels };
          const part = copyWindow(source, { start, size: window }, empty);
          const logits = await meanOfFlips(network, part, window, flips, signal);
          running.add(logits, weights, [x, y]);
          progress.loaded++;
          onProgress?.({ ...progress });
        }
    const done = (zs[row + 1] ?? size[2]) - z;
    for (let plane = 0; plane < done; plane++) {
      const at = z + plane - before[2];
      if (at >= 0 && at < input.size[2]) yield running.mean(plane, before, input.size);
    }
    running.drop(done);
  }
}

async function meanOfFlips(
  network: WindowLogits,
  part: Float32Array,
  window: Size3,
  flips: readonly Axis[][],
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  let sum: Float32Array | undefined;
  for (const axes of flips) {
    const found = await network(axes.length > 0 ? flip(part, window, axes) : part, signal);
    if (!areFinite(found))
      throw new NotFinite(
        "the network's results are NaN or infinite: look at the image and at the range that the model expects",
        undefined,
        'logits',
      );
    const turned = axes.length > 0 ? flip(found, window, axes) : found;
    if (!sum) sum = flips.length > 1 ? turned.slice() : turned;
    else for (let at = 0; at < sum.length; at++) sum[at]! += turned[at]!;
  }
  if (flips.length > 1) for (let at = 0; at < sum!.length; at++) sum![at]! /= flips.length;
  return sum!;
}

/** Weighted sums of the planes that the current row of windows covers. */
class RunningPlanes {
  /** [head][z][y][x] */
  readonly #sums: Float32Array;
  /** [z][y][x] */
  readonly #weights: Float32Array;

  constructor(
    readonly size: Size3,
    readonly window: Size3,
    readonly heads: number,
  ) {
    this.#weights = new Float32Array(size[0] * size[1] * window[2]);
    this.#sums = new Float32Array(heads * this.#weights.length);
  }

  /** @param start x, y of the window */
  add(logits: Float32Array, weights: Float32Array, [x0, y0]: readonly [number, number]): void {
    const [nx, ny] = this.size;
    const [w, h, d] = this.window;
    const sums = this.#sums;
    for (let head = 0; head < this.heads; head++)
      for (let z = 0; z < d; z++)
        for (let y = 0; y < h; y++) {
          const from = ((head * d + z) * h + y) * w;
          const to = ((head * d + z) * ny + y0 + y) * nx + x0;
          const weight = (z * h + y) * w;
          for (let x = 0; x < w; x++) sums[to + x]! += weights[weight + x]! * logits[from + x]!;
        }
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++) {
        const to = (z * ny + y0 + y) * nx + x0;
        const weight = (z * h + y) * w;
        for (let x = 0; x < w; x++) this.#weights[to + x]! += weights[weight + x]!;
      }
  }

  /** A plane [head][y][x] without its padding. */
  mean(plane: number, [x0, y0]: Size3, [w, h]: Size3): Float32Array<ArrayBuffer> {
    const [nx, ny] = this.size;
    const d = this.window[2];
    const result = new Float32Array(this.heads * w * h);
    for (let head = 0, at = 0; head < this.heads; head++)
      for (let y = 0; y < h; y++) {
        const weight = (plane * ny + y0 + y) * nx + x0;
        const from = ((head * d + plane) * ny + y0 + y) * nx + x0;
        for (let x = 0; x < w; x++) result[at++] = this.#sums[from + x]! / this.#weights[weight + x]!;
      }
    return result;
  }

  /** Makes room behind the planes that are still reached. */
  drop(planes: number): void {
    const area = this.size[0] * this.size[1];
    const d = this.window[2];
    for (const [array, count] of [
      [this.#sums, this.heads],
      [this.#weights, 1],
    ] as const)
      for (let part = 0; part < count; part++) {
        const [start, end] = [part * d * area, (part + 1) * d * area];
        array.copyWithin(start, start + planes * area, end);
        array.fill(0, end - planes * area, end);
      }
  }
}
