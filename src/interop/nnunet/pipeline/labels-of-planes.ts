/**
 * From planes of logits on the network's grid to labels and probabilities on the image's own, one plane at a time: the
 * logits of a plane are resampled head by head, and only the best of them and its label are kept.
 */
import { nearestIndices, type SplineOptions } from '../../../data/spline.ts';
import type { Region } from '../../../data/regions.ts';
import { allocate, copyIn, floats, wasm, type WasmExports } from '../../../data/wasm.ts';
import { InvalidModel } from '../../../errors.ts';
import type { Size3 } from '../../../size.ts';
import type { Rows } from './logits.ts';
import { ordersOf } from './resampling.ts';

interface Kernels extends WasmExports {
  resamplePlane(
    first: number,
    second: number,
    above: number,
    fromX: number,
    rows: number,
    toY: number,
    columns: number,
    toX: number,
    target: number,
    scratch: number,
  ): void;
  keepBest(values: number, best: number, labels: number, length: number, label: number): void;
}
const kernels = (): Kernels => wasm() as Kernels;

/** A plane on the grid that is gone back to. */
export interface ResultPlane {
  readonly z: number;
  /** [y][x] */
  readonly labels: Uint16Array<ArrayBuffer>;
  /** [head][y][x], where they were asked for. */
  readonly logits?: Float32Array<ArrayBuffer>;
}

/** For each place of an axis the two source places that it lies between, and the weight of the second. */
export interface AxisTable {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly weight: Float64Array;
}

/** Rows along y of the grid that is gone back to, and those of the network's grid that they lie between. */
export interface Strip {
  readonly source: Rows;
  readonly result: Rows;
}

/**
 * The rows of a volume in so many strips, as even as may be.
 * @param from their number on the network's grid
 * @param to on the grid that is gone back to, at least as many as strips
 * @param how as for `PlaneReducer`
 */
export function stripsOf(from: number, to: number, how: SplineOptions | undefined, count: number): Strip[] {
  const { low, high } = axisTable(1, from, to, how);
  return Array.from({ length: count }, (_, strip): Strip => {
    const [first, end] = [Math.floor((strip * to) / count), Math.floor(((strip + 1) * to) / count)];
    return { source: [low[first]!, high[end - 1]! + 1], result: [first, end] };
  });
}

export interface ReducerOptions {
  /** Absent where the grids are the same. */
  readonly how?: SplineOptions | undefined;
  /** Of x, y and z, in place of `how`. */
  readonly tables?: readonly AxisTable[] | undefined;
  /** Whether planes of results have their logits, too. */
  readonly keepLogits?: boolean;
  /** Rows that the planes have, and those that are made of them; by default all. */
  readonly strip?: Strip;
}

/** Takes planes in order and gives back those that can be made of them. */
export class PlaneReducer {
  readonly #tables: readonly AxisTable[];
  readonly #strip: Strip;
  readonly #keepLogits: boolean;
  /** Rows and columns as the kernel reads them. */
  readonly #packed: readonly Uint8Array[];
  #previous: Float32Array | undefined;
  #taken = 0;
  #given = 0;

  /** @throws InvalidModel for cubic resampling of logits */
  constructor(
    readonly from: Size3,
    readonly to: Size3,
    readonly labels: { readonly heads: readonly Pick<Region, 'written'>[]; readonly regions: boolean },
    {
      how,
      tables = from.map((n, axis) => axisTable(axis, n, to[axis]!, how)),
      keepLogits = false,
      strip = { source: [0, from[1]], result: [0, to[1]] },
    }: ReducerOptions = {},
  ) {
    this.#keepLogits = keepLogits;
    this.#tables = tables;
    this.#strip = strip;
    this.#packed = [packed(this.#tables[0]!), packed(withinStrip(this.#tables[1]!, strip))];
  }

  /** @param plane [head][y][x] */
  *push(plane: Float32Array): Generator<ResultPlane> {
    const { low, high, weight } = this.#tables[2]!;
    const newest = this.#taken++;
    const at = (z: number): Float32Array => (z === newest ? plane : this.#previous!);
    for (; this.#given < this.to[2] && high[this.#given]! <= newest; this.#given++) {
      const z = this.#given;
      yield { z, ...this.#reduced(at(low[z]!), at(high[z]!), weight[z]!) };
    }
    this.#previous = plane;
  }

  #reduced(first: Float32Array, second: Float32Array, above: number): Omit<ResultPlane, 'z'> {
    const { heads, regions } = this.labels;
    const { source, result } = this.#strip;
    const [fromX, fromY] = [this.from[0], source[1] - source[0]];
    const [toX, toY] = [this.to[0], result[1] - result[0]];
    const [area, length] = [fromX * fromY, toX * toY];
    wasm().reset();
    const [columns, rows] = [copyIn(this.#packed[0]!), copyIn(this.#packed[1]!)];
    const [below, on] = [allocate(4 * area), allocate(4 * area)];
    const [values, best, found] = [allocate(4 * length), allocate(4 * length), allocate(2 * length)];
    const scratch = allocate(8 * fromX);
    floats(best, length).fill(-Infinity);
    new Uint16Array(wasm().memory.buffer, found, length).fill(0);
    const logits = this.#keepLogits ? new Float32Array(heads.length * length) : undefined;
    heads.forEach(({ written }, head) => {
      floats(below, area).set(first.subarray(head * area, (head + 1) * area));
      floats(on, area).set(second.subarray(head * area, (head + 1) * area));
      kernels().resamplePlane(below, on, above, fromX, rows, toY, columns, toX, values, scratch);
      // A region is where its probability exceeds one half, whatever the others are.
      if (regions) floats(best, length).fill(0);
      kernels().keepBest(values, best, found, length, written);
      logits?.set(floats(values, length), head * length);
    });
    const labels = new Uint16Array(wasm().memory.buffer, found, length).slice();
    return logits ? { labels, logits } : { labels };
  }
}

function axisTable(axis: number, from: number, to: number, how: SplineOptions = {}): AxisTable {
  const order = ordersOf(how)[axis]!;
  if (order === 0) {
    const low = nearestIndices(from, to, how.apart?.float32);
    return { low, high: low, weight: new Float64Array(to) };
  }
  if (order === 3 && from !== to)
    throw new InvalidModel(
      'plans.json resamples logits by order 3; expected 1 or 0 in resampling_fn_probabilities_kwargs',
    );
  return linearTable(
    from,
    Float64Array.from({ length: to }, (_, i) => (i + 0.5) * (from / to) - 0.5),
  );
}

/** By straight lines; beyond the ends these go on. */
export function linearTable(from: number, wanted: Float64Array): AxisTable {
  const places = wanted.map((place) => Math.min(from - 1, Math.max(0, place)));
  const low = Int32Array.from(places, Math.floor);
  return {
    low,
    high: low.map((lower) => Math.min(lower + 1, from - 1)),
    weight: places.map((place, i) => place - low[i]!),
  };
}

/** The table of rows, for planes that have those of a strip only. */
const withinStrip = ({ low, high, weight }: AxisTable, { source, result }: Strip): AxisTable => ({
  low: low.slice(...result).map((row) => row - source[0]),
  high: high.slice(...result).map((row) => row - source[0]),
  weight: weight.slice(...result),
});

/** 16 bytes a place: low, high, weight. */
function packed({ low, high, weight }: AxisTable): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16 * low.length));
  weight.forEach((value, i) => {
    bytes.setInt32(16 * i, low[i]!, true);
    bytes.setInt32(16 * i + 4, high[i]!, true);
    bytes.setFloat64(16 * i + 8, value, true);
  });
  return new Uint8Array(bytes.buffer);
}
