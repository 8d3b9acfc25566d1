/**
 * Voxel arrays in WASM memory: x fastest, then y, z, channel. Sizes are x, y, z; the number of channels follows from the
 * length. Every call of the rooms that work on them starts with empty memory, which thus never outgrows the largest
 * single call.
 */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import type { Size3 } from '../size.ts';
import { arrayFor } from './allocation.ts';
import { copyIn, floats, wasm } from './wasm.ts';

/** What volumes and labels are held in. */
export type Voxels = Float32Array | Uint8Array;
/** The same kind of array, newly made. */
export type Fresh<T extends Voxels> = T extends Uint8Array
  ? Uint8Array<ArrayBuffer>
  : Float32Array<ArrayBuffer>;

/** A size or a place as the arguments of a kernel. */
export type Three = [x: number, y: number, z: number];

/** @throws InvalidVolume if there are none */
export function requireVoxels(data: Voxels): void {
  if (data.length === 0) throw new InvalidVolume('The volume has no voxels; expected at least one.');
}

/** Empties the memory and copies voxels in. */
export function load(data: Voxels): number {
  requireVoxels(data);
  wasm().reset();
  return copyIn(data);
}

/** @throws InvalidOption for what is no size of a grid */
export function requireSize(size: readonly number[], what: string): void {
  if (size.length !== 3 || !size.every((n) => Number.isInteger(n) && n >= 1 && n < 2 ** 31))
    throw new InvalidOption(`${what} is three whole numbers x, y, z from 1 on, got ${size.join(' x ')}.`);
}

/** Channels of an array on a grid. @throws InvalidVolume if it does not fill the grid; InvalidOption for no size */
export function channelsOf(data: Voxels, size: Size3): number {
  requireSize(size, 'The size of a grid');
  const channels = data.length / (size[0] * size[1] * size[2]);
  if (!Number.isInteger(channels) || channels === 0)
    throw new InvalidVolume(
      `${data.length} voxels do not fill ${size.join(' x ')} any whole number of times; ` +
        'give the size of the array, x first.',
    );
  return channels;
}

/** What is in WASM memory, as an array of the kind of `like`. */
const viewLike = (like: Voxels, pointer: number, length: number): Voxels =>
  like instanceof Uint8Array
    ? new Uint8Array(wasm().memory.buffer, pointer, length)
    : floats(pointer, length);

/** A new array of the kind of `like` with what is in WASM memory. */
export const copyLike = <T extends Voxels>(like: T, pointer: number, length: number): Fresh<T> =>
  viewLike(like, pointer, length).slice() as Fresh<T>;

/** Each channel of an array on a grid. @throws as `channelsOf` */
export const channelsIn = <T extends Voxels>(data: T, size: Size3): T[] =>
  Array.from({ length: channelsOf(data, size) }, (_, channel) => {
    const voxels = size[0] * size[1] * size[2];
    return data.subarray(channel * voxels, (channel + 1) * voxels) as T;
  });

/**
 * A new array with what becomes of channels, one after the other: no more than one has to fit into WASM memory.
 * @param to the size that each gets
 * @param make leaves there what becomes of one that is loaded, and tells where
 * @throws OutOfMemory
 */
export function channelByChannel<T extends Voxels>(
  channels: readonly T[],
  to: Size3,
  make: (source: number) => number,
): Fresh<T> {
  const length = to[0] * to[1] * to[2];
  const made = (channel: T): Voxels => viewLike(channel, make(load(channel)), length);
  if (channels.length === 1) return made(channels[0]!).slice() as Fresh<T>;
  const all = channels.length * length;
  const kind = channels[0] instanceof Uint8Array ? Uint8Array : Float32Array;
  const result = arrayFor<Voxels>(kind, all, `the volume at ${to.join(' x ')} voxels`);
  channels.forEach((channel, index) => result.set(made(channel), index * length));
  return result as Fresh<T>;
}
