/** What is drawn on a case, and what that says of its voxels. */
import { InvalidVolume, labelOf, type Size3 } from 'unet3d-gpu/worker';
import type { Rest } from '../pieces.ts';
import type { Slice } from './grid.ts';

/** Values of drawn voxels: nothing is drawn, a class from 1 on, or that it is background. */
export const notDrawn = 0;
export const drawnBackground = 254;

/** What label maps hold of voxels of which nothing is known. */
export const unknownVoxel = 255;

/** Where all that is not drawn is background. */
export interface Marks {
  /** The whole case. */
  readonly whole: boolean;
  /** Slices across x, y and z of the file, in ascending order. */
  readonly slices: readonly [readonly number[], readonly number[], readonly number[]];
}

export const noMarks: Marks = { whole: false, slices: [[], [], []] };

export const isComplete = (marks: Marks, { axis, index }: Slice): boolean =>
  marks.whole || marks.slices[axis].includes(index);

/** Marks with one slice of the file marked, or no longer. */
export function withSlice({ whole, slices }: Marks, { axis, index }: Slice, complete: boolean): Marks {
  const others = slices[axis].filter((other) => other !== index);
  const next = complete ? [...others, index].sort((a, b) => a - b) : others;
  return {
    whole,
    slices: slices.map((list, at) => (at === axis ? next : list)) as unknown as Marks['slices'],
  };
}

/**
 * Labels by voxel: what is drawn; background where a slice or the case is complete; unknown elsewhere.
 * @param drawn in the order of the file, whose shape is given
 */
export function labelsOf(
  drawn: Uint8Array,
  shape: Size3,
  { whole, slices }: Marks,
  unknown = unknownVoxel,
): Uint8Array<ArrayBuffer> {
  const result = drawn.map((value) =>
    value === drawnBackground ? 0 : value !== notDrawn ? value : whole ? 0 : unknown,
  );
  if (whole) return result;
  slices.forEach((indices, axis) => {
    for (const index of indices.filter((at) => at < shape[axis]!))
      eachOfSlice(shape, { axis: axis as 0 | 1 | 2, index }, (at) => {
        if (drawn[at] === notDrawn) result[at] = 0;
      });
  });
  return result;
}

/** What a label file makes of a case. */
export interface FromLabels {
  readonly drawn: Uint8Array<ArrayBuffer>;
  /** Whether all is known: what is not drawn is background. */
  readonly isWhole: boolean;
}

/**
 * The drawing that says the same as labels all of whose voxels are known or `unknown`.
 * @throws InvalidVolume for values that cannot be drawn
 */
export function drawnOf(values: ArrayLike<number>, unknown: number | undefined): FromLabels {
  const result = new Uint8Array(values.length);
  let isSparse = false;
  for (let at = 0; at < result.length; at++) {
    const label = labelOf(values[at]!);
    if (label === unknown) isSparse = true;
    else if (!Number.isInteger(label) || label < 0 || label >= drawnBackground)
      throw new InvalidVolume(
        `its label file holds ${label}, which is no class: classes are whole numbers from 0 to ${drawnBackground - 1}`,
      );
    else result[at] = label === 0 ? drawnBackground : label;
  }
  return {
    drawn: isSparse ? result : result.map((value) => (value === drawnBackground ? notDrawn : value)),
    isWhole: !isSparse,
  };
}

/** Voxels that are to be drawn, each with its value: as many as are drawn in one go. */
export interface Paint {
  readonly places: Uint32Array<ArrayBuffer>;
  readonly values: Uint8Array<ArrayBuffer>;
}

/** Voxels of a `Paint` at most: they are drawn in a few milliseconds. */
const mostPainted = 2 ** 16;

/** Gathers voxels that are to be drawn. */
export class Painting {
  readonly #paints: Paint[] = [];
  #places = new Uint32Array(mostPainted);
  #values = new Uint8Array(mostPainted);
  #count = 0;

  add(place: number, value: number): void {
    this.#places[this.#count] = place;
    this.#values[this.#count++] = value;
    if (this.#count === mostPainted) this.#next();
  }

  #next(): void {
    this.#paints.push({
      places: this.#places.slice(0, this.#count),
      values: this.#values.slice(0, this.#count),
    });
    this.#count = 0;
  }

  get paints(): readonly Paint[] {
    if (this.#count > 0) this.#next();
    return this.#paints;
  }
}

/** Calls `visit` with the place of each of so many voxels, in pieces. */
async function eachInPieces(count: number, visit: (at: number) => void, rest: Rest): Promise<void> {
  for (let from = 0; from < count; from += mostPainted) {
    await rest();
    for (let at = from; at < Math.min(count, from + mostPainted); at++) visit(at);
  }
}

/** What makes a drawing another. */
export async function paintsTo(drawn: Uint8Array, wanted: Uint8Array, rest: Rest): Promise<readonly Paint[]> {
  const painting = new Painting();
  const compare = (at: number): void => {
    if (drawn[at] !== wanted[at]) painting.add(at, wanted[at]!);
  };
  await eachInPieces(drawn.length, compare, rest);
  return painting.paints;
}

/** Calls `visit` with the place of each voxel of a slice. */
export function eachOfSlice(shape: Size3, { axis, index }: Slice, visit: (at: number) => void): void {
  const strides = [1, shape[0], shape[0] * shape[1]] as const;
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  for (let j = 0; j < shape[v]; j++)
    for (let i = 0; i < shape[u]; i++) visit(index * strides[axis] + j * strides[v] + i * strides[u]);
}

/** The places of a slice's voxels. */
export function placesOfSlice(shape: Size3, slice: Slice): Uint32Array<ArrayBuffer> {
  const places = new Uint32Array((shape[0] * shape[1] * shape[2]) / shape[slice.axis]);
  let next = 0;
  eachOfSlice(shape, slice, (at) => (places[next++] = at));
  return places;
}

/** Where a proposal is accepted: in all of the case or a slice, and of one class or all. */
export interface Acceptance {
  readonly slice?: Slice;
  readonly value?: number;
}

/** The classes of a proposal where nothing is drawn: what a person has drawn stays. */
export async function accepted(
  drawn: Uint8Array,
  proposal: Uint8Array,
  shape: Size3,
  { slice, value }: Acceptance,
  rest: Rest,
): Promise<readonly Paint[]> {
  const painting = new Painting();
  const take = (at: number): void => {
    const label = proposal[at]!;
    if (label !== 0 && drawn[at] === notDrawn && (value === undefined || label === value))
      painting.add(at, label);
  };
  if (slice) eachOfSlice(shape, slice, take);
  else await eachInPieces(drawn.length, take, rest);
  return painting.paints;
}

/** Voxels of the slice that hang together with one and hold the same value, edge to edge, get a value. */
export function flood(drawn: Uint8Array, shape: Size3, axis: 0 | 1 | 2, seed: Size3, value: number): void {
  const strides = [1, shape[0], shape[0] * shape[1]] as const;
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  const start = seed[axis] * strides[axis];
  const [width, height] = [shape[u], shape[v]];
  const from = drawn[start + seed[u] * strides[u] + seed[v] * strides[v]]!;
  if (from === value) return;
  /** Pixels whose neighbours are to be looked at: each comes here once. */
  const open = new Uint32Array(width * height);
  let count = 0;
  const take = (i: number, j: number): void => {
    const at = start + i * strides[u] + j * strides[v];
    if (i < 0 || j < 0 || i >= width || j >= height || drawn[at] !== from) return;
    drawn[at] = value;
    open[count++] = j * width + i;
  };
  take(seed[u], seed[v]);
  while (count > 0) {
    const pixel = open[--count]!;
    const j = Math.floor(pixel / width);
    const i = pixel - j * width;
    take(i - 1, j);
    take(i + 1, j);
    take(i, j - 1);
    take(i, j + 1);
  }
}
