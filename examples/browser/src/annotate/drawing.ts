/** What is drawn on a case, and what that says of its voxels. */
import { InvalidVolume, labelOf, type Size3 } from 'unet3d-gpu/worker';
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
  const result = Uint8Array.from(drawn, (value) =>
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

/**
 * The drawing that says the same as labels all of whose voxels are known or `unknown`.
 * @throws InvalidVolume for values that cannot be drawn
 */
export function drawnOf(values: ArrayLike<number>, unknown: number | undefined): Uint8Array<ArrayBuffer> {
  const labels = Float32Array.from(values, labelOf);
  const background = unknown !== undefined && labels.includes(unknown) ? drawnBackground : notDrawn;
  return Uint8Array.from(labels, (label) => {
    if (label === unknown) return notDrawn;
    if (!Number.isInteger(label) || label < 0 || label >= drawnBackground)
      throw new InvalidVolume(
        `its label file holds ${label}, which is no class: classes are whole numbers from 0 to ${drawnBackground - 1}`,
      );
    return label === 0 ? background : label;
  });
}

/** Calls `visit` with the place of each voxel of a slice. */
export function eachOfSlice(shape: Size3, { axis, index }: Slice, visit: (at: number) => void): void {
  const strides = [1, shape[0], shape[0] * shape[1]] as const;
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  for (let j = 0; j < shape[v]; j++)
    for (let i = 0; i < shape[u]; i++) visit(index * strides[axis] + j * strides[v] + i * strides[u]);
}

/** The places of a slice's voxels. */
export function placesOfSlice(shape: Size3, slice: Slice): Uint32Array {
  const places = new Uint32Array((shape[0] * shape[1] * shape[2]) / shape[slice.axis]);
  let next = 0;
  eachOfSlice(shape, slice, (at) => (places[next++] = at));
  return places;
}

/** Indices of the slices across an axis in which something is drawn. */
export function drawnSlices(drawn: Uint8Array, shape: Size3, axis: 0 | 1 | 2): number[] {
  const has = new Uint8Array(shape[axis]);
  const [nx, ny] = shape;
  for (let at = 0; at < drawn.length; at++)
    if (drawn[at] !== notDrawn) {
      const place = axis === 0 ? at % nx : axis === 1 ? Math.floor(at / nx) % ny : Math.floor(at / (nx * ny));
      has[place] = 1;
    }
  return [...has.keys()].filter((index) => has[index] === 1);
}

/** Where a proposal is accepted: in all of the case or a slice, and of one class or all. */
export interface Acceptance {
  readonly slice?: Slice;
  readonly value?: number;
}

/** Draws the classes of a proposal where nothing is drawn: what a person has drawn stays. */
export function accept(
  drawn: Uint8Array,
  proposal: Uint8Array,
  shape: Size3,
  { slice, value }: Acceptance = {},
): void {
  const take = (at: number): void => {
    const label = proposal[at]!;
    if (label !== 0 && drawn[at] === notDrawn && (value === undefined || label === value)) drawn[at] = label;
  };
  if (slice) eachOfSlice(shape, slice, take);
  else for (let at = 0; at < drawn.length; at++) take(at);
}

/** Voxels of the slice that hang together with one and hold the same value, edge to edge, get a value. */
export function flood(drawn: Uint8Array, shape: Size3, axis: 0 | 1 | 2, seed: Size3, value: number): void {
  const strides = [1, shape[0], shape[0] * shape[1]] as const;
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  const start = seed[axis] * strides[axis];
  const place = (i: number, j: number): number => start + i * strides[u] + j * strides[v];
  const from = drawn[place(seed[u], seed[v])]!;
  if (from === value) return;
  const open: [number, number][] = [[seed[u], seed[v]]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [i, j] = next;
    if (i < 0 || j < 0 || i >= shape[u] || j >= shape[v] || drawn[place(i, j)] !== from) continue;
    drawn[place(i, j)] = value;
    open.push([i - 1, j], [i + 1, j], [i, j - 1], [i, j + 1]);
  }
}
