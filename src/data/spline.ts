/** Resampling as nnU-Net does it with scipy, on the WASM kernel of wasm/assembly/spline.ts, one axis after the other. */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { arrayFor } from './allocation.ts';
import { allocate, floats, wasm, type WasmExports } from './wasm.ts';

interface Kernels extends WasmExports {
  splineScratchBytes(n: number, to: number): number;
  splineAxis(
    source: number,
    target: number,
    outer: number,
    n: number,
    inner: number,
    to: number,
    order: number,
    ends: boolean,
    scratch: number,
  ): void;
}
const kernels = (): Kernels => wasm() as Kernels;

/** How values between voxels come about: 3 by cubic B-splines, 1 by straight lines, 0 from the nearest voxel. */
export type SplineOrder = 0 | 1 | 3;

/** How a volume gets another size. */
export interface SplineOptions {
  /** Default 3. */
  readonly order?: SplineOrder;
  /**
   * The first and the last voxels of both grids lie on each other, and nothing is clipped; of order 1 and 3. By default
   * the ends of both volumes do.
   */
  readonly ends?: boolean;
  /**
   * The axis (0 is x) of thick slices: each is resampled, and clipped, on its own; then, by an order of its own (default
   * 0), along the axis. Which slice is nearest may be told in float32, as PyTorch does.
   */
  readonly apart?:
    { readonly axis: 0 | 1 | 2; readonly order?: SplineOrder; readonly float32?: boolean } | undefined;
}

/** An array with the axis of interest in the middle. */
interface Blocks {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** Spacings that differ by more than this factor have a low-resolution axis. */
const anisotropy = 3;

/** What messages call a volume on its way to another size. */
const resampled = 'the resampled volume';

/** Bytes of voxels that are resampled at a time, so that they stay in the cache. */
const chunkBytes = 2 ** 20;

/**
 * One channel of another size: values at (d + 1/2) * from / to - 1/2 with the edge's value beyond the ends, of order 3
 * clipped to the extremes of the data (scipy.ndimage with mode "nearest"). No antialiasing. Float64 along an axis,
 * float32 between the axes.
 * @param data x fastest, finite
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for sizes that are none, OutOfMemory
 */
export function resampleSpline(
  data: Float32Array,
  from: Size3,
  to: Size3,
  { order = 3, apart, ends = false }: SplineOptions = {},
): Float32Array {
  if (![...from, ...to].every((n) => Number.isInteger(n) && n > 0))
    throw new InvalidOption(
      `Sizes are three whole numbers above 0, got ${from.join(' x ')} and ${to.join(' x ')}.`,
    );
  if (data.length !== from[0] * from[1] * from[2])
    throw new InvalidVolume(`An array of ${data.length} voxels is not of size ${from.join(' x ')}.`);
  if (to.every((n, axis) => n === from[axis])) return data.slice();
  const size: [number, number, number] = [...from];
  const blocks = (axis: number): Blocks => ({
    outer: size.slice(axis + 1).reduce((product, n) => product * n, 1),
    n: size[axis]!,
    inner: size.slice(0, axis).reduce((product, n) => product * n, 1),
  });
  const along = (values: Float32Array, axis: 0 | 1 | 2, by: SplineOrder): Float32Array => {
    if (size[axis] === to[axis]) return values;
    const given = blocks(axis);
    size[axis] = to[axis];
    if (by !== 0) return splineAlong(values, given, to[axis], by, ends);
    return nearestAlong(values, given, nearestIndices(given.n, to[axis], apart?.float32));
  };
  const parts = apart ? blocks(apart.axis) : { outer: 1, n: 1, inner: data.length };
  let current = data;
  for (const axis of axisOrder(from, to, apart?.axis)) current = along(current, axis, order);
  if (order === 3 && !ends && current !== data)
    clipParts(data, parts, current, apart ? blocks(apart.axis) : { outer: 1, n: 1, inner: current.length });
  if (apart) current = along(current, apart.axis, apart.order ?? 0);
  return current;
}

/** But for the one that is resampled apart; what shrinks most comes first: the least is left to do. */
const axisOrder = (from: Size3, to: Size3, apart: number | undefined): (0 | 1 | 2)[] =>
  ([0, 1, 2] as const).filter((axis) => axis !== apart).sort((a, b) => to[a] / from[a] - to[b] / from[b]);

/**
 * The axis that nnU-Net resamples apart, from one spacing to another; undefined where all go together.
 * @param isApart whether there is one; default: where spacings differ much
 */
export function apartAxis(current: Size3, next: Size3, isApart?: boolean): 0 | 1 | 2 | undefined {
  if (isApart === false) return undefined;
  const isCoarse = (spacing: Size3): boolean => Math.max(...spacing) / Math.min(...spacing) > anisotropy;
  const decisive = isApart === true || isCoarse(current) ? current : isCoarse(next) ? next : undefined;
  if (!decisive) return undefined;
  const most = Math.max(...decisive);
  const coarse = ([0, 1, 2] as const).filter((axis) => decisive[axis] === most);
  return coarse.length === 1 ? coarse[0] : undefined;
}

/** Of the labels around a voxel, ascending, and the shares of it that they have, the one that it gets. */
export type LabelWinner = (labels: readonly number[], shares: Float32Array) => number;

const largerOfHalves: LabelWinner = (labels, shares) =>
  labels[shares.findLastIndex((share) => share >= 0.5)] ?? 0;

/**
 * Labels of another size: each by straight lines, taken where it has at least half; of two that have, the larger. Along
 * a low-resolution axis the nearest slice. To the bit what `resampleSpline` gives of each label by itself, in one pass.
 * @param values the labels that are looked for; others become 0
 * @param apart the axis that is resampled by itself
 * @param by another winner, and the share of a label that has all of a voxel
 */
export function resampleLabels(
  labels: Uint8Array | Uint16Array,
  from: Size3,
  to: Size3,
  values: readonly number[],
  { apart }: Pick<SplineOptions, 'apart'>,
  { winner, whole }: { readonly winner: LabelWinner; readonly whole: number } = {
    winner: largerOfHalves,
    whole: 1,
  },
): Uint16Array {
  const result = new Uint16Array(to[0] * to[1] * to[2]);
  const wanted = new Uint16Array(2 ** 16);
  for (const value of values) wanted[value] = value;
  const strides = [1, from[0], from[0] * from[1]];
  const [xs, ys, zs] = ([0, 1, 2] as const).map((axis) => {
    const isApart = apart?.axis === axis;
    return neighbours(from[axis], to[axis], strides[axis]!, isApart ? (apart.float32 ?? false) : undefined);
  }) as [Neighbours, Neighbours, Neighbours];
  const order = axisOrder(from, to, apart?.axis);
  /** Of the eight around a voxel, z slowest; then the parts of one label, which axes add up one after the other. */
  const corners = new Uint16Array(8);
  const parts = new Float32Array(8);
  const weights = new Float64Array(3);
  const shares = new Float32Array(8);
  const shareOf = (label: number): number => {
    for (let i = 0; i < 8; i++) parts[i] = corners[i] === label ? whole : 0;
    for (const axis of order) {
      const [second, step] = [weights[axis]!, 1 << axis];
      for (let i = 0; i < 8; i++)
        if ((i & step) === 0) parts[i] = (1 - second) * parts[i]! + second * parts[i + step]!;
    }
    return parts[0]!;
  };
  for (let z = 0, at = 0; z < to[2]; z++)
    for (let y = 0; y < to[1]; y++) {
      const rows = [zs.low, zs.high].flatMap((plane) => [ys.low, ys.high].map((row) => plane[z]! + row[y]!));
      const [a, b, c, d] = rows as [number, number, number, number];
      for (let x = 0; x < to[0]; x++, at++) {
        const [low, high] = [xs.low[x]!, xs.high[x]!];
        const label = labels[a + low]!;
        if (
          label === labels[a + high] &&
          label === labels[b + low] &&
          label === labels[b + high] &&
          label === labels[c + low] &&
          label === labels[c + high] &&
          label === labels[d + low] &&
          label === labels[d + high]
        ) {
          result[at] = wanted[label]!;
          continue;
        }
        for (let i = 0; i < 8; i++) corners[i] = labels[rows[i >> 1]! + ((i & 1) === 0 ? low : high)]!;
        weights[0] = xs.weight[x]!;
        weights[1] = ys.weight[y]!;
        weights[2] = zs.weight[z]!;
        const found = [...new Set(corners)]
          .filter((value) => wanted[value] === value)
          .sort((one, other) => one - other);
        found.forEach((value, i) => (shares[i] = shareOf(value)));
        result[at] = winner(found, shares.subarray(0, found.length));
      }
    }
  return result;
}

/** For each target sample of an axis the samples that it lies between, as offsets, and the weight of the second. */
interface Neighbours {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly weight: Float64Array;
}

/** @param float32 of an axis where the nearest sample is taken: how it is found */
function neighbours(from: number, to: number, stride: number, float32: boolean | undefined): Neighbours {
  if (float32 !== undefined) {
    const nearest = nearestIndices(from, to, float32).map((index) => index * stride);
    return { low: nearest, high: nearest, weight: new Float64Array(to) };
  }
  const places = Array.from({ length: to }, (_, i) => ((i + 0.5) * from) / to - 0.5);
  const offset = (index: number): number => Math.min(from - 1, Math.max(0, index)) * stride;
  return {
    low: Int32Array.from(places, (place) => offset(Math.floor(place))),
    high: Int32Array.from(places, (place) => offset(Math.floor(place) + 1)),
    weight: Float64Array.from(places, (place) => place - Math.floor(place)),
  };
}

/**
 * For each target sample the nearest source sample, as scipy finds it: ties go up.
 * @param float32 as PyTorch finds it ("nearest-exact"): rounding decides on ties
 */
export function nearestIndices(from: number, to: number, float32 = false): Int32Array {
  const rounded = float32 ? Math.fround : (value: number) => value;
  const scale = rounded(from / to);
  return Int32Array.from({ length: to }, (_, i) =>
    Math.min(from - 1, Math.max(0, Math.floor(rounded(rounded(rounded(scale * (i + 0.5)) - 0.5) + 0.5)))),
  );
}

function nearestAlong(data: Float32Array, { outer, n, inner }: Blocks, indices: Int32Array): Float32Array {
  const result = arrayFor(Float32Array, outer * indices.length * inner, resampled);
  for (let block = 0, at = 0; block < outer; block++)
    for (const index of indices) {
      const start = (block * n + index) * inner;
      if (inner === 1) result[at] = data[start]!;
      else result.set(data.subarray(start, start + inner), at);
      at += inner;
    }
  return result;
}

function splineAlong(
  data: Float32Array,
  { outer, n, inner }: Blocks,
  to: number,
  order: SplineOrder,
  ends: boolean,
): Float32Array {
  const result = arrayFor(Float32Array, outer * to * inner, resampled);
  wasm().reset();
  const lines = Math.max(1, Math.floor(chunkBytes / (4 * Math.max(n, to))));
  // Whole blocks where several fit, else a part of the lines of one.
  const width = Math.min(inner, lines);
  const count = width < inner ? 1 : Math.min(outer, Math.floor(lines / inner));
  const source = allocate(4 * count * n * width);
  const target = allocate(4 * count * to * width);
  const scratch = allocate(kernels().splineScratchBytes(n, to));
  const [input, output] = [floats(source, count * n * width), floats(target, count * to * width)];
  for (let block = 0; block < outer; block += count) {
    const now = Math.min(count, outer - block);
    for (let first = 0; first < inner; first += width) {
      const wide = Math.min(width, inner - first);
      if (wide === inner) input.set(data.subarray(block * n * inner, (block + now) * n * inner));
      else
        for (let i = 0, at = block * n * inner + first; i < n; i++, at += inner)
          input.set(data.subarray(at, at + wide), i * wide);
      kernels().splineAxis(source, target, now, n, wide, to, order, ends, scratch);
      if (wide === inner) result.set(output.subarray(0, now * to * inner), block * to * inner);
      else
        for (let i = 0, at = block * to * inner + first; i < to; i++, at += inner)
          result.set(output.subarray(i * wide, (i + 1) * wide), at);
    }
  }
  return result;
}

/** Clips the n parts of `target` to the extremes that each of them has in `source`. */
function clipParts(source: Float32Array, from: Blocks, target: Float32Array, to: Blocks): void {
  const low = new Float32Array(from.n).fill(Infinity);
  const high = new Float32Array(from.n).fill(-Infinity);
  for (let at = 0, block = 0; block < from.outer; block++)
    for (let part = 0; part < from.n; part++) {
      let [least, most] = [low[part]!, high[part]!];
      for (const end = at + from.inner; at < end; at++) {
        const value = source[at]!;
        if (value < least) least = value;
        if (value > most) most = value;
      }
      [low[part], high[part]] = [least, most];
    }
  for (let at = 0, block = 0; block < to.outer; block++)
    for (let part = 0; part < to.n; part++) {
      const [least, most] = [low[part]!, high[part]!];
      for (const end = at + to.inner; at < end; at++) {
        const value = target[at]!;
        if (value < least) target[at] = least;
        else if (value > most) target[at] = most;
      }
    }
}
