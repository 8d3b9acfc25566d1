/** Weighted sums of what windows give, for the planes that the current row of windows covers. */
import { allAxes, type Axis, type Size3 } from '../../../size.ts';

/** Which part of the padded input is summed up at a time. */
export interface Extent {
  /** Of the input. */
  readonly size: Size3;
  /** Zeros in front of it. */
  readonly before: Size3;
  /** Of the input along y, from one up to another. */
  readonly rows: readonly [from: number, to: number];
  /** Planes that a row of windows reaches. */
  readonly depth: number;
  /** Voxels along x, padding included. */
  readonly width: number;
}

/** Where the results of a window belong. */
export interface Place {
  readonly window: Size3;
  /** [z][y][x] of the window. */
  readonly weights: Float32Array;
  /** x, y of its near corner in the padded input. */
  readonly start: readonly [x: number, y: number];
  /** Along which it was mirrored. */
  readonly axes: readonly Axis[];
}

export class RunningPlanes {
  /** [channel][z][y][x] */
  readonly #sums: Float32Array;
  /** [z][y][x] */
  readonly #weights: Float32Array;
  /** Of the padded input. */
  readonly #rows: readonly [from: number, to: number];
  readonly #area: number;

  constructor(
    readonly extent: Extent,
    readonly channels: number,
  ) {
    const { rows, before, width, depth } = extent;
    this.#rows = [rows[0] + before[1], rows[1] + before[1]];
    this.#area = width * (rows[1] - rows[0]);
    this.#weights = new Float32Array(this.#area * depth);
    this.#sums = new Float32Array(channels * this.#weights.length);
  }

  /** Planes [channel][z][y][x] of a window as it was mirrored, from one of its planes on. */
  add(planes: Float32Array, first: number, depth: number, { window, weights, start, axes }: Place): void {
    const [w, h, d] = window;
    const [x0, y0] = start;
    const [low, high] = this.#rows;
    const sums = this.#sums;
    const [flipsX, flipsY, flipsZ] = allAxes.map((axis) => axes.includes(axis));
    for (let k = 0; k < depth; k++) {
      const z = flipsZ ? d - 1 - first - k : first + k;
      for (let y = Math.max(0, low - y0); y < Math.min(h, high - y0); y++) {
        const j = flipsY ? h - 1 - y : y;
        const place = z * this.#area + (y0 + y - low) * this.extent.width + x0;
        const weight = (z * h + y) * w;
        for (let channel = 0; channel < this.channels; channel++) {
          const from = ((channel * depth + k) * h + j) * w;
          const to = channel * this.#weights.length + place;
          if (flipsX)
            for (let x = 0; x < w; x++) sums[to + x]! += weights[weight + x]! * planes[from + w - 1 - x]!;
          else for (let x = 0; x < w; x++) sums[to + x]! += weights[weight + x]! * planes[from + x]!;
        }
        for (let x = 0; x < w; x++) this.#weights[place + x]! += weights[weight + x]!;
      }
    }
  }

  /** A plane [channel][y][x] without its padding. */
  mean(plane: number): Float32Array<ArrayBuffer> {
    const { size, before, rows, width } = this.extent;
    const [w, x0] = [size[0], before[0]];
    const height = rows[1] - rows[0];
    const result = new Float32Array(this.channels * w * height);
    for (let channel = 0, at = 0; channel < this.channels; channel++)
      for (let y = 0; y < height; y++) {
        const weight = plane * this.#area + y * width + x0;
        const from = channel * this.#weights.length + weight;
        for (let x = 0; x < w; x++) result[at++] = this.#sums[from + x]! / this.#weights[weight + x]!;
      }
    return result;
  }

  /** Makes room behind the planes that are still reached. */
  drop(planes: number): void {
    const length = this.#weights.length;
    for (const [array, count] of [
      [this.#sums, this.channels],
      [this.#weights, 1],
    ] as const)
      for (let part = 0; part < count; part++) {
        const [start, end] = [part * length, (part + 1) * length];
        array.copyWithin(start, start + planes * this.#area, end);
        array.fill(0, end - planes * this.#area, end);
      }
  }
}
