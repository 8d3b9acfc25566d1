// Each normalisation against plain float64 loops, and the mask of what is inside.
import { describe, expect, test } from 'vitest';
import { insideMask, normalize } from '../../src/data/normalize.ts';
import { random } from '../../src/data/random.ts';

const source = random(3, 'normalize');
const values = Float32Array.from({ length: 500 }, () => source.normal(40, 300));
const normalized = (how: Parameters<typeof normalize>[1], inside?: Uint8Array) => {
  const result = values.slice();
  normalize(result, how, { inside });
  return result;
};
const close = (found: Float32Array, expected: (value: number, at: number) => number) =>
  found.forEach((value, at) => expect(value).toBeCloseTo(expected(values[at]!, at), 5));

describe('normalize', () => {
  test('fixed numbers: limits first, then mean and deviation', () => {
    const found = normalized({ clip: [-100, 240], mean: 60, deviation: 50 });
    close(found, (v) => (Math.min(240, Math.max(-100, v)) - 60) / 50);
    expect(Math.max(...found)).toBeCloseTo(3.6, 6);
  });

  test('least and largest value to 0 and 1; a constant to 0', () => {
    const found = normalized('min-max');
    expect([Math.min(...found), Math.max(...found)]).toEqual([0, 1]);
    const same = Float32Array.of(7, 7);
    normalize(same, 'min-max');
    expect([...same]).toEqual([0, 0]);
  });

  test('z-score of the voxels inside leaves those outside alone', () => {
    const inside = Uint8Array.from(values, (_, at) => (at % 3 === 0 ? 1 : 0));
    const chosen = [...values].filter((_, at) => inside[at]);
    const mean = chosen.reduce((a, b) => a + b) / chosen.length;
    const deviation = Math.sqrt(chosen.reduce((sum, v) => sum + (v - mean) ** 2, 0) / chosen.length);
    close(normalized('z-score inside', inside), (v, at) => (inside[at] ? (v - mean) / deviation : v));
  });

  test('none', () => expect(normalized('none')).toEqual(values));
});

describe('insideMask', () => {
  test('holds voxels of any channel and closed holes, not bays', () => {
    // Two channels of 6 x 5 x 5: a hollow box in the first, one voxel in the second.
    const [nx, ny, nz] = [6, 5, 5];
    const at = (x: number, y: number, z: number) => (z * ny + y) * nx + x;
    const image = new Float32Array(2 * nx * ny * nz);
    for (let z = 1; z < 4; z++)
      for (let y = 1; y < 4; y++) for (let x = 1; x < 4; x++) image[at(x, y, z)] = -5;
    image[at(2, 2, 2)] = 0;
    image[nx * ny * nz + at(5, 0, 0)] = 3;
    const closed = insideMask(image, [nx, ny, nz]);
    expect(closed.reduce((a, b) => a + b, 0)).toBe(28);
    expect([closed[at(2, 2, 2)], closed[at(5, 0, 0)], closed[at(4, 2, 2)]]).toEqual([1, 1, 0]);
    image[at(3, 2, 2)] = 0; // the hole is open
    const open = insideMask(image, [nx, ny, nz]);
    expect([open[at(2, 2, 2)], open[at(3, 2, 2)]]).toEqual([0, 0]);
  });

  test('follows a winding way in from the border', () => {
    // A spiral of zeros in one plane, walls of ones: everything that is 0 is outside.
    const rows = ['1111111', '0000001', '1111101', '1000101', '1011101', '1000001', '1111111'];
    const size = [7, 7, 3] as const;
    const image = new Float32Array(7 * 7 * 3).fill(1);
    rows.forEach((row, y) => [...row].forEach((cell, x) => (image[49 + 7 * y + x] = Number(cell))));
    expect(insideMask(image, size)).toEqual(Uint8Array.from(image));
  });
});
