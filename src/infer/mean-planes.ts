/** The mean of several networks' logits, plane by plane. */
import { arrayFor } from '../data/allocation.ts';
import type { Size3 } from '../size.ts';
import type { WindowProgress } from './window.ts';

/** One of several networks that take turns on the device. */
export interface Member {
  /** Its logits of a volume, [class][y][x] from z = 0 on. */
  readonly planes: (options: {
    readonly onProgress: (progress: WindowProgress) => void;
  }) => AsyncGenerator<Float32Array>;
  /** Whether the volume goes through it at once: its planes are then on the device until the last of them is read. */
  readonly isWhole: boolean;
}

/**
 * Planes [class][y][x] of the mean. Rows of windows go through one network after the other, and no more is held than
 * windows still reach. Where a volume goes through at once, networks cannot take turns on its planes: sums are held of all.
 */
export async function* meanPlanes(
  members: readonly Member[],
  [x, y, z]: Size3,
  classes: number,
  onProgress?: (progress: WindowProgress) => void,
): AsyncGenerator<Float32Array> {
  const progress: WindowProgress[] = [];
  const opened = members.map(({ planes }, index) =>
    planes({
      onProgress(own) {
        progress[index] = own;
        const all = members.map((_, other) => progress[other] ?? { loaded: 0, total: own.total });
        const sumOf = (key: keyof WindowProgress): number => all.reduce((sum, one) => sum + one[key], 0);
        onProgress?.({ loaded: sumOf('loaded'), total: sumOf('total') });
      },
    }),
  );
  const length = classes * x * y;
  if (members.length > 1 && members.some(({ isWhole }) => isWhole)) {
    const sums = arrayFor(
      Float32Array,
      z * length,
      `the stack of ${classes} heads at ${x} x ${y} x ${z} voxels`,
    );
    for (const planes of opened) {
      let k = 0;
      for await (const plane of planes) add(sums.subarray(k * length, ++k * length), plane);
    }
    for (let k = 0; k < z; k++) yield mean(sums.slice(k * length, (k + 1) * length), members.length);
    return;
  }
  for (let k = 0; k < z; k++) {
    const sum = new Float32Array(length);
    for (const planes of opened) add(sum, ((await planes.next()) as { value: Float32Array }).value);
    yield mean(sum, members.length);
  }
}

function add(sum: Float32Array, values: Float32Array): void {
  for (let at = 0; at < sum.length; at++) sum[at]! += values[at]!;
}

function mean(sum: Float32Array, count: number): Float32Array {
  if (count > 1) for (let at = 0; at < sum.length; at++) sum[at]! /= count;
  return sum;
}
