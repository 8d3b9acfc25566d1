/** Arrays of voxels that may be larger than the machine has memory for. */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';

/** Arrays that voxels of a volume may be held in. */
export type VoxelArray = Float32Array | Float64Array | Uint8Array | Int16Array | Uint16Array | Int32Array;

/** What makes them. */
interface Kind<T extends VoxelArray> {
  new (count: number): T;
  readonly BYTES_PER_ELEMENT: number;
}

/**
 * @param volume what the message calls the voxels
 * @throws OutOfMemory where the machine, or the language, has no array of that length
 */
export function arrayFor<T extends VoxelArray>(kind: Kind<T>, count: number, volume: string): T {
  try {
    return new kind(count);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const bytes = kind.BYTES_PER_ELEMENT * count;
    throw new OutOfMemory(
      `${volume} has ${count} voxels, which need ${formatBytes(bytes)}, more than there is memory for; cut it ` +
        'or resample it to fewer voxels.',
      bytes,
      0,
    );
  }
}

/** A new array of the kind and length of another, of zeros. @throws as `arrayFor` */
export const arrayLike = <T extends VoxelArray>(data: T, volume: string): T =>
  arrayFor(data.constructor as Kind<T>, data.length, volume);

/**
 * Fills an array with what other values become. The function of `from` of typed arrays is only called when all values are
 * listed, for which there is no room where they are those of a large volume.
 */
export function filled<T extends Uint8Array | Uint16Array | Int32Array | Float32Array>(
  into: T,
  values: ArrayLike<number>,
  become: (value: number) => number,
): T {
  for (let at = 0; at < into.length; at++) into[at] = become(values[at]!);
  return into;
}

/** Bytes that another thread writes at a time, and how many times as many it is ahead. */
const [stretch, ahead] = [2 ** 21, 2];

/**
 * The system gives the memory of a large new array when it is first written, which may take longer than all that is
 * computed. Here threads beside have it given, a little ahead of its owner: no more than the owner will soon fill.
 * @param touch writes anything into bytes on a thread beside
 * @param step 1 where the array is filled from its beginning on, -1 from its end
 * @returns to be awaited before voxels from the first up to the second are written: nobody else writes them any more;
 * undefined for small arrays, of which asking costs more than it saves
 */
export function memoryAhead(
  data: Float32Array,
  touch: (bytes: Uint8Array) => Promise<unknown>,
  step: 1 | -1,
): ((from: number, to: number) => Promise<void>) | undefined {
  if (data.byteLength <= ahead * stretch) return undefined;
  const [bytes, count] = [new Uint8Array(data.buffer), Math.ceil(data.byteLength / stretch)];
  const taken: Promise<unknown>[] = [];
  const lead = (front: number): void => {
    for (let i = front + step; i !== front + step * (ahead + 1); i += step)
      if (i >= 0 && i < count)
        taken[i] ??= touch(bytes.subarray(i * stretch, (i + 1) * stretch)).catch(() => undefined);
  };
  lead(step > 0 ? -1 : count);
  return async (from, to) => {
    const [first, last] = [Math.floor((from * 4) / stretch), Math.floor((to * 4 - 1) / stretch)];
    for (let i = first; i <= last; i++) await (taken[i] ??= Promise.resolve());
    lead(step > 0 ? last : first);
  };
}
