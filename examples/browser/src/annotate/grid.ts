/** The grid on which a volume is shown and drawn on: its own voxels, with axes to the right, to the front and upwards. */
import type { Size3 } from 'unet3d-gpu/worker';

/**
 * Per axis of the display the axis of the file that lies along it, counted from 1, and negative where the two run
 * against each other: NiiVue's `permRAS`.
 */
export type Turn = readonly [number, number, number];

const axisOf = (step: number): 0 | 1 | 2 => (Math.abs(step) - 1) as 0 | 1 | 2;

/** The shape of the display for a file of that shape. */
export const displayShape = (shape: Size3, turn: Turn): Size3 =>
  turn.map((step) => shape[axisOf(step)]) as unknown as Size3;

/** Where the display's first voxel is in the file, and how far apart its neighbours are along the display's axes. */
function layout(shape: Size3, turn: Turn): { start: number; steps: Size3 } {
  const strides = [1, shape[0], shape[0] * shape[1]] as const;
  const steps = turn.map((step) => Math.sign(step) * strides[axisOf(step)]) as unknown as Size3;
  const start = turn.reduce(
    (sum, step) => sum + (step < 0 ? (shape[axisOf(step)] - 1) * strides[axisOf(step)] : 0),
    0,
  );
  return { start, steps };
}

/** Gives the place in the file's order of one in the display's. `shape`: the file's. */
export function placesInFile(shape: Size3, turn: Turn): (at: number) => number {
  const [nx, ny] = displayShape(shape, turn);
  const { start, steps } = layout(shape, turn);
  return (at) => {
    const row = Math.floor(at / nx);
    const z = Math.floor(row / ny);
    return start + (at - row * nx) * steps[0] + (row - z * ny) * steps[1] + z * steps[2];
  };
}

/** Calls `visit` with the place of each voxel of one of the display's slices across z, or of all, and in the file. */
function eachVoxel(
  shape: Size3,
  turn: Turn,
  visit: (display: number, file: number) => void,
  only?: number,
): void {
  const [nx, ny, nz] = displayShape(shape, turn);
  const {
    start,
    steps: [sx, sy, sz],
  } = layout(shape, turn);
  const [from, to] = only === undefined ? [0, nz] : [only, only + 1];
  let at = from * ny * nx;
  for (let z = from; z < to; z++)
    for (let y = 0; y < ny; y++) {
      let file = start + z * sz + y * sy;
      for (let x = 0; x < nx; x++, file += sx) visit(at++, file);
    }
}

type Values = Uint8Array | Int16Array;

/**
 * Puts voxels into the display's order.
 * @param voxels in the file's
 * @param shape the file's
 * @param z of the display, of which only one slice is put
 */
export function putInDisplay(
  into: Values,
  voxels: ArrayLike<number>,
  shape: Size3,
  turn: Turn,
  z?: number,
): void {
  eachVoxel(shape, turn, (display, file) => (into[display] = voxels[file]!), z);
}

/** Voxels in the display's order, of those in the file's. `shape`: the file's. */
export function toDisplay(voxels: ArrayLike<number>, shape: Size3, turn: Turn): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(voxels.length);
  putInDisplay(result, voxels, shape, turn);
  return result;
}

/** A slice of the display, or of the file: `axis` is the one across it. */
export interface Slice {
  readonly axis: 0 | 1 | 2;
  readonly index: number;
}

const mirrored = (index: number, axis: 0 | 1 | 2, step: number, shape: Size3): number =>
  step < 0 ? shape[axis] - 1 - index : index;

/** Which slice of the file one of the display is. */
export function sliceOfFile({ axis, index }: Slice, shape: Size3, turn: Turn): Slice {
  const step = turn[axis];
  return { axis: axisOf(step), index: mirrored(index, axisOf(step), step, shape) };
}

/** Where a voxel of the file is in the display. */
export const voxelOfDisplay = (voxel: Size3, shape: Size3, turn: Turn): Size3 =>
  turn.map((step) => mirrored(voxel[axisOf(step)], axisOf(step), step, shape)) as unknown as Size3;
