// Crop, pad and the boxes of what is not zero against plain loops.
import { describe, expect, test } from 'vitest';
import { crop, nonZeroBox, pad } from '../../src/data/boxes.ts';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import type { Size3 } from '../../src/size.ts';
import { noise, voxels } from './noise.ts';

/** out(x, y, z) = data(x + start), 0 outside. */
function shifted(data: Float32Array, from: Size3, start: Size3, to: Size3): Float32Array {
  const channels = data.length / voxels(from);
  const out = new Float32Array(channels * voxels(to));
  for (let i = 0; i < out.length; i++) {
    const rest = i % voxels(to);
    const x = (rest % to[0]) + start[0];
    const y = (Math.floor(rest / to[0]) % to[1]) + start[1];
    const z = Math.floor(rest / (to[0] * to[1])) + start[2];
    const inside = [x, y, z].every((v, axis) => v >= 0 && v < from[axis]!);
    const c = Math.floor(i / voxels(to));
    if (inside) out[i] = data[((c * from[2] + z) * from[1] + y) * from[0] + x]!;
  }
  return out;
}

const box = (start: Size3, to: Size3) => ({ start, size: to });

describe('crop and pad', () => {
  const size: Size3 = [5, 6, 7];
  const data = noise(2 * voxels(size));

  test('crop', () => {
    expect(crop(data, size, box([1, 2, 3], [3, 4, 2]))).toEqual(shifted(data, size, [1, 2, 3], [3, 4, 2]));
    expect(crop(data, size, box([0, 0, 0], size))).toEqual(data);
    expect([...crop(data, size, box([4, 5, 6], [1, 1, 1]))]).toEqual([
      data[voxels(size) - 1],
      data[2 * voxels(size) - 1],
    ]);
    const labels = Uint8Array.from(data, Math.abs);
    expect(crop(labels, size, box([1, 0, 3], [2, 6, 4]))).toEqual(
      Uint8Array.from(shifted(Float32Array.from(labels), size, [1, 0, 3], [2, 6, 4])),
    );
  });

  test('pad, at the near and the far ends', () => {
    const { data: out, size: larger } = pad(data, size, [1, 0, 2], [0, 3, 1]);
    expect(larger).toEqual([6, 9, 10]);
    expect(out).toEqual(shifted(data, size, [-1, 0, -2], larger));
    expect(crop(out, larger, box([1, 0, 2], size))).toEqual(data);
  });

  test('refuse boxes outside the volume and negative widths', () => {
    expect(() => crop(data, size, box([3, 0, 0], [3, 6, 7]))).toThrow(InvalidOption);
    expect(() => crop(data, size, box([-1, 0, 0], [3, 6, 7]))).toThrow(InvalidOption);
    expect(() => crop(data, size, box([0, 0, 0], [5, 0, 7]))).toThrow(InvalidOption);
    expect(() => pad(data, size, [0, 0, 0], [0, -1, 0])).toThrow(InvalidOption);
    expect(() => pad(data, size, [0, 0, 0], [2 ** 26, 2 ** 26, 0])).toThrow(OutOfMemory);
  });

  test('the box of what is not zero in any channel', () => {
    const sparse = new Float32Array(2 * voxels(size));
    sparse[(2 * 6 + 3) * 5 + 1] = -1; // channel 0, x 1, y 3, z 2
    sparse[voxels(size) + (4 * 6 + 1) * 5 + 2] = NaN; // channel 1, x 2, y 1, z 4
    const channels = [sparse.subarray(0, voxels(size)), sparse.subarray(voxels(size))];
    expect(nonZeroBox(channels, size)).toEqual({ start: [1, 1, 2], size: [2, 3, 3] });
    expect(nonZeroBox([data], size)).toEqual({ start: [0, 0, 0], size });
    expect(nonZeroBox([Float32Array.of(3)], [1, 1, 1])).toEqual({ start: [0, 0, 0], size: [1, 1, 1] });
    expect(nonZeroBox([new Float32Array(60).fill(-0)], [5, 4, 3])).toBeUndefined();
  });
});
