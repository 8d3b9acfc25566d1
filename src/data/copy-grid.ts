/** Volumes on grids that share their near corner. */
import type { Size3 } from '../size.ts';

/**
 * Copies what [channel][z][y][x] grids of sizes `from` and `to` share at the near end of each axis into
 * `target`, which is returned: pads at the far ends where `to` is larger, crops there where it is smaller.
 */
export function copyGrid<T extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  target: T,
  source: Float32Array | Uint8Array,
  channels: number,
  from: Size3,
  to: Size3,
): T {
  const [x, y, z] = [0, 1, 2].map((axis) => Math.min(from[axis]!, to[axis]!)) as [number, number, number];
  for (let c = 0; c < channels; c++)
    for (let k = 0; k < z; k++)
      for (let j = 0; j < y; j++) {
        const at = ((c * from[2] + k) * from[1] + j) * from[0];
        target.set(source.subarray(at, at + x), ((c * to[2] + k) * to[1] + j) * to[0]);
      }
  return target;
}
