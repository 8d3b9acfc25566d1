/**
 * Statistics, normalisation, resampling, crop and pad of voxel arrays, on the WASM kernels. Arrays are x fastest, then
 * y, z, channel; sizes are x, y, z, and the number of channels follows from the length. Every call gives a new array,
 * unless it is given a target, and starts with empty WASM memory, which thus never outgrows the largest single call.
 */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { allocate, copyIn, copyOut, floats, wasm, type WasmExports } from './wasm.ts';

type Voxels = Float32Array | Uint8Array;
/** The same kind of array, newly made. */
type Fresh<T extends Voxels> = T extends Uint8Array ? Uint8Array<ArrayBuffer> : Float32Array<ArrayBuffer>;

/** How values between voxels come about: trilinear, or that of the voxel whose cell holds the point. */
export type ResampleMode = 'linear' | 'nearest';

/** What NaN and infinite voxels lead to: InvalidVolume with their number (default), or the value 0. */
export interface NonFiniteOptions {
  readonly nonFinite?: 'reject' | 'zero';
}

/** Of the finite voxels; all NaN where there are none. */
export interface Statistics {
  /** Finite voxels. */
  readonly count: number;
  /** NaN and infinite voxels. */
  readonly nonFinite: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Population standard deviation: sqrt(sum((v - mean)^2) / count), in float64. */
  readonly sd: number;
}

type Three = [x: number, y: number, z: number];

/** The kernels of wasm/assembly/statistics.ts and resample.ts; their definitions stand there. */
interface Kernels extends WasmExports {
  sums(data: number, length: number, out: number): void;
  squares(data: number, length: number, mean: number): number;
  standardize(data: number, length: number, mean: number, divisor: number): void;
  clip(data: number, length: number, low: number, high: number): void;
  zeroNonFinite(data: number, length: number): void;
  orderStatistics(
    data: number,
    length: number,
    ranks: number,
    count: number,
    out: number,
    scratch: number,
  ): void;
  linearScratchBytes(fromX: number, toX: number): number;
  resampleLinear(source: number, ...rest: Resampling): void;
  resampleNearestU8(source: number, ...rest: Resampling): void;
  resampleNearestF32(source: number, ...rest: Resampling): void;
  window(
    source: number,
    ...rest: [...Three, number, ...Three, ...Three, channels: number, bytes: number]
  ): void;
  nonZeroBox(source: number, nx: number, ny: number, nz: number, channels: number, out: number): void;
}
type Resampling = [...Three, target: number, ...Three, channels: number, scratch: number];

const kernels = (): Kernels => wasm() as Kernels;

/** Bytes of orderStatistics' tables. */
const TABLES_BYTES = 2 * 65536 * 4;

/** The smallest standard deviation that a z-score divides by. */
const SMALLEST_SD = 1e-8;

function requireVoxels(data: Voxels): void {
  if (data.length === 0) throw new InvalidVolume('The volume has no voxels; expected at least one.');
}

/** Empties the memory and copies voxels in. */
function load(data: Voxels): number {
  requireVoxels(data);
  kernels().reset();
  return copyIn(data);
}

/** Voxels that pass through WASM memory at a time where one look at each is enough: they stay in the cache. */
const BLOCK = 2 ** 16;

/** Copies the voxels into WASM memory block by block, infinities and NaN as 0 if asked to, for `work` to look at. */
function eachBlock(
  data: Float32Array,
  zeroed: boolean,
  work: (pointer: number, length: number, start: number) => void,
): void {
  kernels().reset();
  const pointer = allocate(4 * BLOCK);
  const memory = floats(pointer, BLOCK);
  for (let start = 0; start < data.length; start += BLOCK) {
    const block = data.subarray(start, start + BLOCK);
    memory.set(block);
    if (zeroed) kernels().zeroNonFinite(pointer, block.length);
    work(pointer, block.length, start);
  }
}

/**
 * Statistics of voxels that pass through WASM memory in blocks; each block is looked at once, its deviations from its
 * own mean joined to those of the others (Chan, Golub and LeVeque). The order of sums depends on the blocks only.
 */
export class RunningStatistics {
  #total = 0;
  #count = 0;
  #min = Infinity;
  #max = -Infinity;
  #sum = 0;
  /** Sum of (v − mean)². */
  #squares = 0;

  /** Takes in `length` float32 at `pointer`. */
  add(pointer: number, length: number): void {
    this.#total += length;
    const out = allocate(32);
    kernels().sums(pointer, length, out);
    const [count, min, max, sum] = new Float64Array(wasm().memory.buffer, out, 4) as unknown as [
      count: number,
      min: number,
      max: number,
      sum: number,
    ];
    if (count === 0) return;
    this.#squares += kernels().squares(pointer, length, sum / count);
    if (this.#count > 0) {
      const apart = sum / count - this.#sum / this.#count;
      this.#squares += apart * apart * ((this.#count * count) / (this.#count + count));
    }
    this.#count += count;
    this.#min = Math.min(this.#min, min);
    this.#max = Math.max(this.#max, max);
    this.#sum += sum;
  }

  /** Of all so far. */
  get statistics(): Statistics {
    const count = this.#count;
    if (count === 0) return { count, nonFinite: this.#total, min: NaN, max: NaN, mean: NaN, sd: NaN };
    const [mean, sd] = [this.#sum / count, Math.sqrt(this.#squares / count)];
    return { count, nonFinite: this.#total - count, min: this.#min, max: this.#max, mean, sd };
  }
}

function summarize(data: Float32Array, zeroed = false): Statistics {
  requireVoxels(data);
  const running = new RunningStatistics();
  eachBlock(data, zeroed, (pointer, length) => running.add(pointer, length));
  return running.statistics;
}

/** Statistics of voxels that are all finite, or are taken as 0 where they are not. */
function summarizeFinite(data: Float32Array, { nonFinite = 'reject' }: NonFiniteOptions): Statistics {
  const found = summarize(data);
  if (found.nonFinite === 0) return found;
  if (nonFinite === 'reject')
    throw new InvalidVolume(
      `${found.nonFinite} of its ${data.length} voxels are NaN or infinite, expected finite values; ` +
        "mend the volume, or pass nonFinite: 'zero' to take them as 0.",
    );
  return summarize(data, true);
}

/** Copies voxels in, all of them finite afterwards. */
function loadFinite(data: Float32Array, options: NonFiniteOptions): number {
  summarizeFinite(data, options);
  const pointer = load(data);
  if (options.nonFinite === 'zero') kernels().zeroNonFinite(pointer, data.length);
  return pointer;
}

/**
 * Number, extremes, mean and standard deviation of the finite voxels.
 * @throws InvalidVolume if there are no voxels
 */
export function statistics(data: Float32Array): Statistics {
  return summarize(data);
}

/** Percentiles of voxels in WASM memory, all finite. */
function select(pointer: number, length: number, percents: readonly number[]): number[] {
  for (const percent of percents)
    if (!(percent >= 0 && percent <= 100))
      throw new InvalidOption(`Percentiles are numbers from 0 to 100, got ${percent}.`);
  const places = percents.map((percent) => (percent / 100) * (length - 1));
  const ranks = places.flatMap((place) => [Math.floor(place), Math.ceil(place)]);
  const [input, output] = [allocate(4 * ranks.length), allocate(4 * ranks.length)];
  const scratch = allocate(TABLES_BYTES);
  new Uint32Array(wasm().memory.buffer, input, ranks.length).set(ranks);
  kernels().orderStatistics(pointer, length, input, ranks.length, output, scratch);
  const values = floats(output, ranks.length);
  return places.map((place, i) => {
    const [below, above] = [values[2 * i]!, values[2 * i + 1]!];
    return below + (above - below) * (place - Math.floor(place));
  });
}

/**
 * Exact percentiles, linear between order statistics as numpy's default: percentile p lies at place
 * p / 100 * (n - 1) of the sorted voxels. In float64.
 * @param percents from 0 to 100
 * @throws InvalidVolume if voxels are not finite, or there are none; InvalidOption for other percents
 */
export function percentiles(
  data: Float32Array,
  percents: readonly number[],
  options: NonFiniteOptions = {},
): number[] {
  const pointer = loadFinite(data, options);
  return select(pointer, data.length, percents);
}

/**
 * Values below one percentile or above another become that percentile, rounded to float32.
 * @param range percents, by default 0.5 and 99.5
 * @throws as `percentiles`
 */
export function clipPercentiles(
  data: Float32Array,
  range: readonly [low: number, high: number] = [0.5, 99.5],
  options: NonFiniteOptions = {},
): { data: Float32Array<ArrayBuffer>; low: number; high: number } {
  if (range[0] > range[1])
    throw new InvalidOption(`Clips from a lower to a higher percentile, got ${range[0]} to ${range[1]}.`);
  const pointer = loadFinite(data, options);
  const [low, high] = select(pointer, data.length, range).map(Math.fround) as [number, number];
  kernels().clip(pointer, data.length, low, high);
  return { data: copyOut(pointer, data.length), low, high };
}

/**
 * float32((v - mean) / max(sd, 1e-8)), with the mean and the population standard deviation of all voxels; computed in
 * float64 and rounded once. A constant volume becomes 0.
 * @param options.target where the result goes, as long as `data` and possibly `data` itself; default: a new array
 * @param options.known the statistics of `data`, where somebody has them; all voxels must be finite then
 * @throws InvalidVolume if voxels are not finite, or there are none; InvalidOption for a target of another length
 */
export function zScore(
  data: Float32Array,
  options: NonFiniteOptions & {
    readonly target?: Float32Array;
    readonly known?: Statistics | undefined;
  } = {},
): { data: Float32Array; mean: number; sd: number } {
  const { target = new Float32Array(data.length), nonFinite } = options;
  if (target.length !== data.length)
    throw new InvalidOption(`The target holds ${target.length} voxels; expected ${data.length}.`);
  const { mean, sd } = options.known ?? summarizeFinite(data, options);
  eachBlock(data, nonFinite === 'zero', (pointer, length, start) => {
    kernels().standardize(pointer, length, mean, Math.max(sd, SMALLEST_SD));
    target.set(floats(pointer, length), start);
  });
  return { data: target, mean, sd };
}

function requireSize(size: readonly number[], what: string): void {
  if (size.length !== 3 || !size.every((n) => Number.isInteger(n) && n >= 1 && n < 2 ** 31))
    throw new InvalidOption(`${what} is three whole numbers x, y, z from 1 on, got ${size.join(' x ')}.`);
}

/** Channels of an array on a grid. */
function channelsOf(data: Voxels, size: Size3): number {
  requireSize(size, 'The size of a grid');
  const channels = data.length / (size[0] * size[1] * size[2]);
  if (!Number.isInteger(channels) || channels === 0)
    throw new InvalidVolume(
      `${data.length} voxels do not fill ${size.join(' x ')} any whole number of times; ` +
        'give the size of the array, x first.',
    );
  return channels;
}

/** A new array of the kind of `like` with what is in WASM memory. */
function copyLike<T extends Voxels>(like: T, pointer: number, length: number): Fresh<T> {
  const { buffer } = wasm().memory;
  const copy =
    like instanceof Uint8Array
      ? new Uint8Array(buffer, pointer, length).slice()
      : floats(pointer, length).slice();
  return copy as Fresh<T>;
}

/**
 * The same field of view with another number of voxels, channel by channel. The centre of voxel d lies at
 * s = (d + 1/2) * from / to - 1/2 of the source.
 * - linear: s clamped to the first and last voxel, trilinear in float64, as PyTorch's F.interpolate with
 *   align_corners=False; without smoothing beforehand. NaN and infinities spread to their neighbours.
 * - nearest: source voxel floor((d + 1/2) * from / to), exactly; PyTorch's "nearest-exact".
 * @param data labels (Uint8Array) only take "nearest"
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for sizes that are none, OutOfMemory
 */
export function resampleTo(
  data: Uint8Array,
  from: Size3,
  to: Size3,
  mode: 'nearest',
): Uint8Array<ArrayBuffer>;
export function resampleTo(
  data: Float32Array,
  from: Size3,
  to: Size3,
  mode: ResampleMode,
): Float32Array<ArrayBuffer>;
export function resampleTo(data: Voxels, from: Size3, to: Size3, mode: ResampleMode): Fresh<Voxels> {
  const channels = channelsOf(data, from);
  requireSize(to, 'The size to resample to');
  if (data instanceof Uint8Array && mode === 'linear')
    throw new InvalidOption('Labels (Uint8Array) cannot be resampled "linear"; use "nearest".');
  if (to.every((n, axis) => n === from[axis])) return data.slice();
  const source = load(data);
  const length = channels * to[0] * to[1] * to[2];
  const target = allocate(length * data.BYTES_PER_ELEMENT);
  const scratch = allocate(kernels().linearScratchBytes(from[0], to[0]));
  const nearest = data instanceof Uint8Array ? 'resampleNearestU8' : 'resampleNearestF32';
  const kernel = mode === 'linear' ? 'resampleLinear' : nearest;
  kernels()[kernel](source, ...from, target, ...to, channels, scratch);
  return copyLike(data, target, length);
}

/**
 * The size nearest to a spacing: round(size * spacing / newSpacing), at least 1 along each axis. The field of view
 * stays, so that resampling to it gives a spacing of spacing * size / new size, a little off the one asked for.
 * @param spacing mm from voxel to voxel
 * @throws InvalidOption if a spacing is not above 0
 */
export function sizeAtSpacing(size: Size3, spacing: Size3, newSpacing: Size3): Size3 {
  for (const mm of [...spacing, ...newSpacing])
    if (!(mm > 0 && mm < Infinity))
      throw new InvalidOption(`Spacings are finite numbers of mm above 0, got ${mm}.`);
  return size.map((n, axis) =>
    Math.max(1, Math.round((n * spacing[axis]!) / newSpacing[axis]!)),
  ) as unknown as Size3;
}

/**
 * out[c][z][y][x] = data[c][z + start z][y + start y][x + start x], 0 outside the data.
 */
function windowOf<T extends Voxels>(data: T, size: Size3, start: Size3, to: Size3): Fresh<T> {
  const channels = channelsOf(data, size);
  const source = load(data);
  const length = channels * to[0] * to[1] * to[2];
  const target = allocate(length * data.BYTES_PER_ELEMENT);
  kernels().window(source, ...size, target, ...to, ...start, channels, data.BYTES_PER_ELEMENT);
  return copyLike(data, target, length);
}

/**
 * A box of every channel.
 * @param start first voxel of the box
 * @param to size of the box, which lies inside the grid
 * @throws InvalidVolume if the array does not fit its size, InvalidOption if the box does not
 */
export function crop<T extends Voxels>(data: T, size: Size3, start: Size3, to: Size3): Fresh<T> {
  requireSize(to, 'The size of a box');
  if (
    !start.every((first, axis) => Number.isInteger(first) && first >= 0 && first + to[axis]! <= size[axis]!)
  )
    throw new InvalidOption(
      `A box of ${to.join(' x ')} from voxel ${start.join(', ')} on does not lie inside ${size.join(' x ')}; ` +
        'crop what there is, and pad afterwards.',
    );
  return windowOf(data, size, start, to);
}

/**
 * Zeros around every channel.
 * @param before voxels to add at the near end of x, y, z
 * @param after voxels to add at the far end
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for widths below 0
 */
export function pad<T extends Voxels>(
  data: T,
  size: Size3,
  before: Size3,
  after: Size3,
): { data: Fresh<T>; size: Size3 } {
  if (![...before, ...after].every((n) => Number.isInteger(n) && n >= 0))
    throw new InvalidOption(
      `Pads by whole numbers of voxels from 0 on, got ${before.join(', ')} before and ${after.join(', ')} after.`,
    );
  const to = size.map((n, axis) => before[axis]! + n + after[axis]!) as unknown as Size3;
  requireSize(to, 'The padded size');
  const start: Size3 = [-before[0], -before[1], -before[2]];
  return { data: windowOf(data, size, start, to), size: to };
}

/** A box of voxels: its first one and its size. */
export interface Box {
  readonly start: Size3;
  readonly size: Size3;
}

/**
 * The smallest box that holds every voxel that is not 0 in some channel (NaN is not 0); undefined where all are 0.
 * @throws InvalidVolume if the array does not fit its size
 */
export function nonZeroBox(data: Float32Array, size: Size3): Box | undefined {
  const channels = channelsOf(data, size);
  const source = load(data);
  const out = allocate(24);
  kernels().nonZeroBox(source, ...size, channels, out);
  const [x0, y0, z0, x1, y1, z1] = new Int32Array(wasm().memory.buffer, out, 6) as unknown as [
    ...Three,
    ...Three,
  ];
  return x1 === 0 ? undefined : { start: [x0, y0, z0], size: [x1 - x0, y1 - y0, z1 - z0] };
}

/** The smallest box that holds two boxes. */
export function joinBoxes(a: Box, b: Box): Box {
  const start = a.start.map((first, axis) => Math.min(first, b.start[axis]!)) as unknown as Size3;
  const size = start.map(
    (first, axis) => Math.max(a.start[axis]! + a.size[axis]!, b.start[axis]! + b.size[axis]!) - first,
  ) as unknown as Size3;
  return { start, size };
}
