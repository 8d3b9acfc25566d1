/** Cubic resampling as nnU-Net does it with scipy, on the WASM kernels of wasm/assembly/spline.ts. */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { resampleTo } from './preprocess.ts';
import { allocate, copyIn, copyOut, wasm, type WasmExports } from './wasm.ts';

interface Kernels extends WasmExports {
  splineScratchBytes(n: number, to: number): number;
  splineAxis(
    source: number,
    target: number,
    outer: number,
    n: number,
    inner: number,
    to: number,
    scratch: number,
  ): void;
  clipParts(
    source: number,
    outer: number,
    n: number,
    inner: number,
    target: number,
    outerTo: number,
    innerTo: number,
  ): void;
}
const kernels = (): Kernels => wasm() as Kernels;

/**
 * One channel of another size, by cubic B-splines at (d + 1/2) * from / to - 1/2 with the edge's value beyond the
 * ends, clipped to the extremes of the data (scipy.ndimage with order 3 and mode "nearest"). No antialiasing.
 * @param data x fastest, finite
 * @param apart the axis (0 is x) of thick slices: each is resampled and clipped on its own, then the nearest is taken
 *   along the axis
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for sizes that are none, OutOfMemory
 */
export function resampleCubic(
  data: Float32Array,
  from: Size3,
  to: Size3,
  apart?: 0 | 1 | 2,
): Float32Array<ArrayBuffer> {
  if (![...from, ...to].every((n) => Number.isInteger(n) && n > 0))
    throw new InvalidOption(
      `Sizes are three whole numbers above 0, got ${from.join(' x ')} and ${to.join(' x ')}.`,
    );
  if (data.length !== from[0] * from[1] * from[2])
    throw new InvalidVolume(`An array of ${data.length} voxels is not of size ${from.join(' x ')}.`);
  if (to.every((n, axis) => n === from[axis])) return data.slice();
  wasm().reset();
  const source = copyIn(data);
  const size: [number, number, number] = [...from];
  /** Voxels of one step along an axis, and how many blocks of its length there are. */
  const inner = (axis: number): number => size.slice(0, axis).reduce((product, n) => product * n, 1);
  const outer = (axis: number): number => size.slice(axis + 1).reduce((product, n) => product * n, 1);
  // As parts that are clipped on their own: the whole, or slices.
  const parts =
    apart === undefined
      ? ([1, 1, data.length] as const)
      : ([outer(apart), size[apart], inner(apart)] as const);
  let current = source;
  for (const axis of [0, 1, 2] as const) {
    if (axis === apart || size[axis] === to[axis]) continue;
    const [blocks, step, n] = [outer(axis), inner(axis), size[axis]];
    size[axis] = to[axis];
    const target = allocate(4 * size[0] * size[1] * size[2]);
    const scratch = allocate(kernels().splineScratchBytes(n, to[axis]));
    kernels().splineAxis(current, target, blocks, n, step, to[axis], scratch);
    current = target;
  }
  const length = size[0] * size[1] * size[2];
  if (current !== source) {
    const [outerTo, innerTo] = apart === undefined ? [1, length] : [outer(apart), inner(apart)];
    kernels().clipParts(source, ...parts, current, outerTo, innerTo);
  }
  return resampleTo(copyOut(current, length), size, to, 'nearest');
}
