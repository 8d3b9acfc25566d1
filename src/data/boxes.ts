/** Boxes of volumes: cut out, padded, found. In plain loops, as large as arrays are; WASM memory ends at 4 GiB. */
import { InvalidOption } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { arrayFor } from './allocation.ts';
import { channelsOf, requireSize, type Fresh, type Voxels } from './voxels.ts';

/** A box of voxels: its first one and its size. */
export interface Box {
  /** The first voxel, x, y, z. */
  readonly start: Size3;
  /** Voxels along x, y, z. */
  readonly size: Size3;
}

/** What a window is copied from: [channel][z][y][x]. */
interface WindowSource {
  readonly data: Voxels | Uint16Array;
  readonly shape: Size3;
  /** Default 1. */
  readonly channels?: number;
}

/**
 * Copies a window into `target`, [channel][z][y][x] of the window's size, which is returned; what lies outside the
 * volume is left as it is.
 */
export function copyWindow<T extends Voxels | Uint16Array>(
  { data, shape, channels = 1 }: WindowSource,
  { start, size }: Box,
  target: T,
): T {
  const near = start.map((at) => Math.max(0, at)) as unknown as Size3;
  const far = start.map((at, axis) => Math.min(at + size[axis]!, shape[axis]!)) as unknown as Size3;
  if (far[0] <= near[0]) return target;
  for (let c = 0; c < channels; c++)
    for (let z = near[2]; z < far[2]; z++)
      for (let y = near[1]; y < far[1]; y++) {
        const row = ((c * shape[2] + z) * shape[1] + y) * shape[0];
        const to = ((c * size[2] + z - start[2]) * size[1] + y - start[1]) * size[0] + near[0] - start[0];
        target.set(data.subarray(row + near[0], row + far[0]), to);
      }
  return target;
}

/** A window of every channel in a new array, 0 outside the data. @throws InvalidVolume, OutOfMemory */
function windowOf<T extends Voxels>(data: T, shape: Size3, box: Box, name: string): Fresh<T> {
  const channels = channelsOf(data, shape);
  const [x, y, z] = box.size;
  const kind = data instanceof Uint8Array ? Uint8Array : Float32Array;
  const target = arrayFor<Voxels>(kind, channels * x * y * z, `${name} in a box of ${x} x ${y} x ${z}`);
  return copyWindow({ data, shape, channels }, box, target) as Fresh<T>;
}

/**
 * A box of every channel.
 * @param box inside the grid
 * @param name what messages call the volume
 * @throws InvalidVolume if the array does not fit its size, InvalidOption if the box does not; OutOfMemory
 */
export function crop<T extends Voxels>(data: T, size: Size3, box: Box, name = 'the volume'): Fresh<T> {
  const { start, size: to } = box;
  requireSize(to, 'The size of a box');
  if (
    !start.every((first, axis) => Number.isInteger(first) && first >= 0 && first + to[axis]! <= size[axis]!)
  )
    throw new InvalidOption(
      `A box of ${to.join(' x ')} from voxel ${start.join(', ')} on does not lie inside ${size.join(' x ')}; ` +
        'crop what there is, and pad afterwards.',
    );
  return windowOf(data, size, box, name);
}

/**
 * Zeros around every channel.
 * @param before voxels to add at the near end of x, y, z
 * @param after voxels to add at the far end
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for widths below 0; OutOfMemory
 */
export function pad<T extends Voxels>(
  data: T,
  size: Size3,
  before: Size3,
  after: Size3,
): { data: Fresh<T>; size: Size3 } {
  if (![...before, ...after].every((n) => Number.isInteger(n) && n >= 0))
    throw new InvalidOption(
      `Pads by whole numbers of voxels from 0 on, got ${before.join(', ')} before and ${after.join(', ')} after.`,
    );
  const to = size.map((n, axis) => before[axis]! + n + after[axis]!) as unknown as Size3;
  requireSize(to, 'The padded size');
  const start: Size3 = [-before[0], -before[1], -before[2]];
  return { data: windowOf(data, size, { start, size: to }, 'the volume'), size: to };
}

/** The smallest box that holds every voxel that is not 0 in some channel (NaN is not 0); undefined where all are 0. */
export function nonZeroBox(channels: readonly Float32Array[], [nx, ny, nz]: Size3): Box | undefined {
  const near = [nx, ny, nz];
  const far = [0, 0, 0];
  for (const channel of channels)
    for (let z = 0, row = 0; z < nz; z++)
      for (let y = 0; y < ny; y++, row += nx) {
        let first = 0;
        while (first < nx && channel[row + first] === 0) first++;
        if (first === nx) continue;
        let last = nx - 1;
        while (channel[row + last] === 0) last--;
        [first, y, z].forEach((at, axis) => (near[axis] = Math.min(near[axis]!, at)));
        [last, y, z].forEach((at, axis) => (far[axis] = Math.max(far[axis]!, at + 1)));
      }
  if (far[0] === 0) return undefined;
  return {
    start: near as unknown as Size3,
    size: far.map((end, axis) => end - near[axis]!) as unknown as Size3,
  };
}

/** Whether a box is all of a grid. */
export const isWhole = ({ size }: Box, shape: Size3): boolean => size.every((n, axis) => n === shape[axis]);
