/** Statistics, percentiles and normalisation of voxels, on the WASM kernels. */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { load, requireVoxels } from './voxels.ts';
import { allocate, floats, wasm, type WasmExports } from './wasm.ts';

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
  /** The smallest. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
  /** In float64. */
  readonly mean: number;
  /** Population standard deviation: sqrt(sum((v - mean)^2) / count), in float64. */
  readonly sd: number;
}

/** The kernels of wasm/assembly/statistics.ts; their definitions stand there. */
interface Kernels extends WasmExports {
  sums(data: number, length: number, out: number): void;
  squares(data: number, length: number, mean: number): number;
  standardize(data: number, length: number, mean: number, divisor: number): void;
  zeroNonFinite(data: number, length: number): void;
  orderStatistics(
    data: number,
    length: number,
    ranks: number,
    count: number,
    out: number,
    scratch: number,
  ): void;
}

const kernels = (): Kernels => wasm() as Kernels;

/** Bytes of orderStatistics' tables. */
const TABLES_BYTES = 2 * 65536 * 4;

/** The smallest standard deviation that a z-score divides by. */
const SMALLEST_SD = 1e-8;

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
  for (let start = 0; start < data.length; start += BLOCK) {
    const block = data.subarray(start, start + BLOCK);
    floats(pointer, BLOCK).set(block); // a view anew, since `work` may make the memory grow
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
