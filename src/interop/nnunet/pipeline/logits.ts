/** Logits of an image through windows, plane by plane: no more of them is held than windows still reach. */
import { copyWindow } from '../../../data/boxes.ts';
import { areFinite } from '../../../data/prepare-checks.ts';
import { Aborted, InvalidOption, NotFinite } from '../../../errors.ts';
import { flip } from '../../../infer/probabilities.ts';
import type { WindowProgress } from '../../../infer/window.ts';
import type { Axis, Size3 } from '../../../size.ts';
import { voxelsOf } from './axes.ts';
import type { NnunetInput } from './preprocess.ts';
import { RunningPlanes, type Extent, type Place } from './running-planes.ts';
import { windowStarts, windowWeights } from './windows.ts';

/** A network whose results for windows are averaged. */
export interface WindowNetwork {
  /** Of its results: heads, or features that `head` makes logits of. */
  readonly channels: number;
  /** Gives its results for a window [channel][z][y][x] to `take`: some planes [channel][z][y][x] at a time, in order. */
  run(window: Float32Array, take: (planes: Float32Array) => void, signal?: AbortSignal): Promise<void>;
  /**
   * Logits [head][voxel] of features [channel][voxel], once a window has run. It is linear: of the mean of features it
   * makes the mean of the logits. Absent where the results are logits.
   */
  readonly head?: ((features: Float32Array) => Float32Array) | undefined;
}

/** From one up to another, which is not among them. */
export type Rows = readonly [from: number, to: number];

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

/** Of neighbouring windows, in sizes of one: below, there are more than can be gone through. */
export const leastStep = 1e-3;

/**
 * @param rows of the input along y: windows that reach none of them are left out. Default: all
 * @throws InvalidOption for a step out of range
 */
export function windowGrid(input: Size3, window: Size3, step = 0.5, rows: Rows = [0, input[1]]): WindowGrid {
  if (!(step >= leastStep && step <= 1))
    throw new InvalidOption(
      `windows go on by ${step} of their size; give a step from ${leastStep} to 1, or an overlap up to ${1 - leastStep}`,
    );
  const size = input.map((n, axis) => Math.max(n, window[axis]!)) as unknown as Size3;
  const before = size.map((n, axis) => Math.floor((n - input[axis]!) / 2)) as unknown as Size3;
  const [xs = [], all = [], zs = []] = size.map((n, axis) => windowStarts(n, window[axis]!, step));
  const [from, to] = rows.map((row) => row + before[1]) as unknown as Rows;
  const ys = all.filter((y) => y < to && y + window[1] > from);
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
 * @param networks the folds of a model, all with heads or none: rows of windows go through one after the other
 * @param rows those along y that are wanted; each is the same whichever others are. Default: all
 * @throws InvalidOption for a step out of range; Aborted; NotFinite; whatever the networks throw
 */
export async function* logitPlanes(
  input: Pick<NnunetInput, 'data' | 'size'>,
  window: Size3,
  networks: readonly WindowNetwork[],
  { step, mirrorAxes = [], signal, onProgress }: WindowOptions = {},
  rows: Rows = [0, input.size[1]],
): AsyncGenerator<Float32Array> {
  const { size, before, starts, count } = windowGrid(input.size, window, step, rows);
  const [xs, ys, zs] = starts;
  const flips = mirrorings(mirrorAxes);
  const channels = input.data.length / voxelsOf(input.size);
  const weights = windowWeights(window);
  const sums = new MeanLogits(networks, { ...input, before, rows, depth: window[2], width: size[0] });
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
          for (const axes of flips) {
            const add = sums.adder(network, { window, weights, start: [x, y], axes });
            await network.run(axes.length > 0 ? flip(part, window, axes) : part, add, signal);
          }
          progress.loaded++;
          onProgress?.({ ...progress });
        }
    const done = (zs[row + 1] ?? size[2]) - z;
    for (let plane = 0; plane < done; plane++) {
      const at = z + plane - before[2];
      if (at >= 0 && at < input.size[2]) yield sums.plane(plane);
    }
    sums.drop(done);
  }
}

/** Sums of networks' results, and the mean of their logits: features have sums for each network, logits one for all. */
class MeanLogits {
  readonly #parts: { readonly networks: readonly WindowNetwork[]; readonly running: RunningPlanes }[];

  constructor(networks: readonly WindowNetwork[], extent: Extent) {
    const [first] = networks;
    const together = first?.head ? networks.map((network) => [network]) : [networks];
    this.#parts = first
      ? together.map((group) => ({ networks: group, running: new RunningPlanes(extent, first.channels) }))
      : [];
  }

  /** Takes the results of a network for a window, which come in order. */
  adder(network: WindowNetwork, place: Place): (planes: Float32Array) => void {
    const { running } = this.#parts.find(({ networks }) => networks.includes(network))!;
    const [w, h] = place.window;
    let plane = 0;
    return (planes) => {
      if (!areFinite(planes))
        throw new NotFinite(
          "the network's results are NaN or infinite: look at the image and at the range that the model expects",
          undefined,
          'logits',
        );
      const depth = planes.length / (network.channels * w * h);
      running.add(planes, plane, depth, place);
      plane += depth;
    };
  }

  /** Logits [head][y][x] of a plane that all windows have reached. */
  plane(plane: number): Float32Array {
    let sum: Float32Array | undefined;
    for (const { networks, running } of this.#parts) {
      const mean = running.mean(plane);
      const logits = networks[0]!.head?.(mean) ?? mean;
      if (!sum) sum = logits;
      else for (let at = 0; at < sum.length; at++) sum[at]! += logits[at]!;
    }
    const count = this.#parts.length;
    if (count > 1) for (let at = 0; at < sum!.length; at++) sum![at]! /= count;
    return sum!;
  }

  drop(planes: number): void {
    for (const { running } of this.#parts) running.drop(planes);
  }
}
