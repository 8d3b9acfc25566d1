/** Arrays of voxels that may be larger than the machine has memory for. */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';

type Floats = Float32ArrayConstructor | Float64ArrayConstructor;

/**
 * @param volume what the message calls the voxels
 * @throws OutOfMemory where the machine, or the language, has no array of that length
 */
export function floatsFor<T extends Floats>(kind: T, count: number, volume: string): InstanceType<T> {
  try {
    return new kind(count) as InstanceType<T>;
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
