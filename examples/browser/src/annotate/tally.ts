/** How many voxels are drawn in each slice: counted once, and then kept up with what changes. */
import type { Size3 } from 'unet3d-gpu/worker';
import { notDrawn } from './drawing.ts';
import type { Lot } from './history.ts';

export class Tally {
  readonly #shape: Size3;
  readonly #counts: readonly [Uint32Array, Uint32Array, Uint32Array];
  #total = 0;

  /** Of a drawing of that shape, x fastest, with nothing in it. */
  constructor(shape: Size3) {
    this.#shape = shape;
    this.#counts = [new Uint32Array(shape[0]), new Uint32Array(shape[1]), new Uint32Array(shape[2])];
  }

  #count(at: number, by: 1 | -1): void {
    const [nx, ny] = this.#shape;
    const [x, y, z] = this.#counts;
    const row = Math.floor(at / nx);
    x[at - row * nx]! += by;
    y[row % ny]! += by;
    z[Math.floor(row / ny)]! += by;
    this.#total += by;
  }

  /** Counts what is drawn from one voxel to another. */
  add(drawn: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++) if (drawn[at] !== notDrawn) this.#count(at, 1);
  }

  take({ places, before, after }: Lot): void {
    for (let index = 0; index < places.length; index++) {
      const [was, is] = [before[index] !== notDrawn, after[index] !== notDrawn];
      if (was !== is) this.#count(places[index]!, is ? 1 : -1);
    }
  }

  get isEmpty(): boolean {
    return this.#total === 0;
  }

  /** Indices of the slices across an axis in which something is drawn. */
  slices(axis: 0 | 1 | 2): number[] {
    const counts = this.#counts[axis];
    return [...counts.keys()].filter((index) => counts[index]! > 0);
  }

  /** How many slices have something drawn, across the axis across which they are fewest. */
  get fewestSlices(): number {
    return Math.min(...([0, 1, 2] as const).map((axis) => this.slices(axis).length));
  }
}
