/** A scan of which one slice at a time is shown and drawn on, and the worker's part in it: all that goes over its voxels. */
import { closestCanonical, greyWindow, type Size3, type Volume } from 'unet3d-gpu/worker';
import { toDisplay, type Turn } from './grid.ts';

/** Values of voxels as a file holds them. */
export type Voxels =
  | Uint8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

export interface Greys {
  /** 0 to 255, in the order of the display. */
  readonly greys: Uint8Array<ArrayBuffer>;
  /** x, y, z of the file. */
  readonly shape: Size3;
  /** How many the file holds, of which this is the first. */
  readonly volumes: number;
  readonly turn: Turn;
  /** Of the display, in millimetres. */
  readonly spacing: Size3;
}

const first = (shape: readonly number[]): Size3 => [shape[0] ?? 1, shape[1] ?? 1, shape[2] ?? 1];

/** How many volumes a file of that shape holds. */
export const countOf = (shape: readonly number[]): number =>
  shape.slice(3).reduce((product, length) => product * Math.max(1, length), 1);

/** From 0 to 255, of as many of the voxels. */
function scaled(voxels: ArrayLike<number>, count: number): Uint8ClampedArray {
  const [low, high] = greyWindow(voxels);
  const scale = 255 / (high - low);
  const greys = new Uint8ClampedArray(count);
  for (let at = 0; at < count; at++) greys[at] = (voxels[at]! - low) * scale;
  return greys;
}

/** Voxels as they are, or from 0 to 255 where 16 bits do not hold them, or not their fractions. */
export function inShorts(voxels: Voxels): ArrayLike<number> {
  const [low, high] = greyWindow(voxels);
  const isNarrow = high - low < 255;
  const isLost = (value: number): boolean =>
    value < -(2 ** 15) || value >= 2 ** 15 || (isNarrow && !Number.isInteger(value));
  return voxels.some(isLost) ? scaled(voxels, voxels.length) : voxels;
}

/** The first volume of a file. */
export function greysOf({ data, shape, affine, spacing }: Volume): Greys {
  const size = first(shape);
  const { axes, flips } = closestCanonical(affine);
  const turn = axes.map((axis, at) => (flips[at] ? -1 : 1) * (axis + 1)) as unknown as Turn;
  return {
    greys: toDisplay(scaled(data, size[0] * size[1] * size[2]), size, turn),
    shape: size,
    volumes: countOf(shape),
    turn,
    spacing: axes.map((axis) => spacing[axis]) as unknown as Size3,
  };
}

/** Labels from 0 to 255, in the order of the display. */
export const valuesOf = ({ data, shape }: Volume, turn: Turn): Uint8Array<ArrayBuffer> =>
  toDisplay(data, first(shape), turn);
