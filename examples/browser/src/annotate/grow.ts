/**
 * Strokes grown to the edges in an image: GrowCut (Vezhnevets and Konouchine 2005), as the shader computes it that NiiVue
 * has from Pieper's Step.
 */
import type { Size3 } from 'unet3d-gpu/worker';
import type { Rest } from '../pieces.ts';
import { drawnBackground, eachOfSlice, notDrawn, Painting, type Paint } from './drawing.ts';

/** How strong what is drawn is; each step takes away as much as the greys differ. */
const strongest = 10_000;
/** Voxels that it grows at most. */
const mostRounds = 256;
/** Up to this value, what has grown is smoothed: it becomes what most voxels about it are. */
const mostSmoothed = 3;

export interface Field {
  /** Greys, x fastest. */
  readonly greys: Int16Array;
  /** As many values. */
  readonly drawn: Uint8Array;
  readonly shape: Size3;
}

/** Between which slices it grows. */
export interface Range {
  readonly axis: 0 | 1 | 2;
  readonly from: number;
  readonly to: number;
}

/**
 * The classes that are to be drawn where nothing is.
 * @throws Error where background, or all classes, have not been drawn between the slices
 */
export async function grown(field: Field, range: Range, rest: Rest): Promise<readonly Paint[]> {
  const { drawn, shape } = field;
  const { axis, from, to } = range;
  const within = async (visit: (at: number) => void): Promise<void> => {
    for (let index = from; index <= to; index++) {
      await rest();
      eachOfSlice(shape, { axis, index }, visit);
    }
  };
  const values = new Set<number>();
  await within((at) => values.add(drawn[at]!));
  values.delete(notDrawn);
  if (!values.has(drawnBackground) || values.size < 2)
    throw new Error('draw a stroke in the background and one in each class first');
  const { before, after } = await spread(field, rest);
  const smoothed = smoothing(before, shape);
  const painting = new Painting();
  await within((at) => {
    if (drawn[at] !== notDrawn) return;
    const value = smoothed(at) ?? after[at]!;
    if (value !== notDrawn && value !== drawnBackground) painting.add(at, value);
  });
  return painting.paints;
}

/** What lies about voxels of a shape, a step away along each axis that has more than one voxel, or not away. */
class Surroundings {
  readonly #shape: Size3;
  readonly #steps: readonly (readonly [x: number, y: number, z: number])[];
  readonly #by: Int32Array;
  /** Of the voxel that was looked at last: how many neighbours there are, and where. */
  readonly places: Int32Array;

  /** @param along the steps along an axis of several voxels */
  constructor(shape: Size3, along: readonly number[]) {
    const [nx, ny] = (this.#shape = shape);
    const [xs, ys, zs] = shape.map((length) => (length > 1 ? along : [0])) as [number[], number[], number[]];
    this.#steps = zs.flatMap((z) => ys.flatMap((y) => xs.map((x) => [x, y, z] as const)));
    this.#by = Int32Array.from(this.#steps, ([x, y, z]) => x + nx * (y + ny * z));
    this.places = new Int32Array(this.#steps.length);
  }

  /** Looks at the neighbours of a voxel inside of the shape, and returns how many there are. */
  of(at: number): number {
    const [nx, ny, nz] = this.#shape;
    const row = Math.floor(at / nx);
    const z = Math.floor(row / ny);
    const [x, y] = [at - row * nx, row - z * ny];
    const by = this.#by;
    const isWithin = x > 0 && x < nx - 1 && y > 0 && y < ny - 1 && z > 0 && z < nz - 1;
    if (isWithin) {
      for (let step = 0; step < by.length; step++) this.places[step] = at + by[step]!;
      return by.length;
    }
    let count = 0;
    for (let step = 0; step < by.length; step++) {
      const [dx, dy, dz] = this.#steps[step]!;
      const [i, j, k] = [x + dx, y + dy, z + dz];
      if (i >= 0 && i < nx && j >= 0 && j < ny && k >= 0 && k < nz) this.places[count++] = at + by[step]!;
    }
    return count;
  }

  get most(): number {
    return this.#by.length;
  }
}

/** Voxels between two looks at the clock. */
const between = 2 ** 12;

/** What all voxels are before the last round, and after it. */
async function spread(
  { greys, drawn, shape }: Field,
  rest: Rest,
): Promise<{ readonly before: Uint8Array; readonly after: Uint8Array }> {
  const around = new Surroundings(shape, [-1, 1]);
  const { places } = around;
  const labels = drawn.slice();
  const strengths = new Uint16Array(drawn.length);
  /** The round in which a voxel was looked at last. */
  const seen = new Uint16Array(drawn.length);
  /** Voxels that have changed in the last round, how, and those beside them. */
  const changed = new Uint32Array(drawn.length);
  const stronger = new Uint16Array(drawn.length);
  const taken = new Uint8Array(drawn.length);
  const beside = new Uint32Array(drawn.length);
  let count = 0;
  for (let at = 0; at < drawn.length; at++)
    if (drawn[at] !== notDrawn) {
      strengths[at] = strongest;
      changed[count++] = at;
    }
  let before: Uint8Array = labels;
  for (let round = 1; round <= mostRounds && count > 0; round++) {
    if (round === mostRounds) before = labels.slice();
    let found = 0;
    for (let index = 0; index < count; index++) {
      if (index % between === 0) await rest();
      for (let next = around.of(changed[index]!) - 1; next >= 0; next--) {
        const neighbour = places[next]!;
        if (seen[neighbour] === round) continue;
        seen[neighbour] = round;
        beside[found++] = neighbour;
      }
    }
    // All of a round see what the others were before it.
    count = 0;
    for (let index = 0; index < found; index++) {
      if (index % between === 0) await rest();
      const at = beside[index]!;
      const grey = greys[at]!;
      let strength = strengths[at]!;
      let from = at;
      const neighbours = around.of(at);
      for (let next = 0; next < neighbours; next++) {
        const neighbour = places[next]!;
        const theirs = strengths[neighbour]! - Math.abs(greys[neighbour]! - grey);
        if (theirs <= strength) continue;
        strength = theirs;
        from = neighbour;
      }
      if (from === at) continue;
      changed[count] = at;
      stronger[count] = strength;
      taken[count++] = labels[from]!;
    }
    for (let index = 0; index < count; index++) {
      const at = changed[index]!;
      strengths[at] = stronger[index]!;
      labels[at] = taken[index]!;
    }
  }
  return { before, after: labels };
}

/** What most voxels about one are, the least of several; undefined beside values that are not smoothed. */
function smoothing(labels: Uint8Array, shape: Size3): (at: number) => number | undefined {
  const around = new Surroundings(shape, [-1, 0, 1]);
  const counts = new Uint8Array(mostSmoothed + 1);
  return (at) => {
    const neighbours = around.of(at);
    counts.fill(0);
    counts[notDrawn] = around.most - neighbours; // nothing is drawn outside
    for (let next = 0; next < neighbours; next++) {
      const label = labels[around.places[next]!]!;
      if (label > mostSmoothed) return undefined;
      counts[label]! += 1;
    }
    return counts.indexOf(Math.max(...counts));
  };
}
