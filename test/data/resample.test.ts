// Resampling against plain float64 loops; sizes odd, tiny and degenerate.
import { describe, expect, test } from 'vitest';
import { resampleTo, sizeAtSpacing } from '../../src/data/resample.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import type { Size3 } from '../../src/size.ts';
import { noise, voxels } from './noise.ts';

/** Trilinear by the definition, eight corners per voxel in float64. */
function linear(data: Float32Array, from: Size3, to: Size3): Float32Array {
  const channels = data.length / voxels(from);
  const out = new Float32Array(channels * voxels(to));
  const at = (c: number, x: number, y: number, z: number): number =>
    data[((c * from[2] + z) * from[1] + y) * from[0] + x]!;
  const place = (i: number, axis: 0 | 1 | 2): [number, number, number] => {
    const p = Math.max((i + 0.5) / (to[axis] / from[axis]) - 0.5, 0);
    const lower = Math.min(Math.floor(p), from[axis] - 1);
    return [lower, Math.min(lower + 1, from[axis] - 1), p - lower];
  };
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let z = 0; z < to[2]; z++)
      for (let y = 0; y < to[1]; y++)
        for (let x = 0; x < to[0]; x++) {
          const [xs, ys, zs] = [place(x, 0), place(y, 1), place(z, 2)];
          let sum = 0;
          for (const [dx, dy, dz] of [0, 1, 2, 3, 4, 5, 6, 7].map(
            (k) => [k & 1, (k >> 1) & 1, k >> 2] as const,
          )) {
            const weight = (dx ? xs[2] : 1 - xs[2]) * (dy ? ys[2] : 1 - ys[2]) * (dz ? zs[2] : 1 - zs[2]);
            sum += weight * at(c, xs[dx]!, ys[dy]!, zs[dz]!);
          }
          out[i++] = sum;
        }
  return out;
}

function nearest(data: Float32Array, from: Size3, to: Size3): Float32Array {
  const channels = data.length / voxels(from);
  const result = new Float32Array(channels * voxels(to));
  const source = (i: number, axis: 0 | 1 | 2): number =>
    Math.floor(((2 * i + 1) * from[axis]) / (2 * to[axis]));
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let z = 0; z < to[2]; z++)
      for (let y = 0; y < to[1]; y++)
        for (let x = 0; x < to[0]; x++)
          result[i++] =
            data[((c * from[2] + source(z, 2)) * from[1] + source(y, 1)) * from[0] + source(x, 0)]!;
  return result;
}

const grids: [from: Size3, to: Size3, channels: number][] = [
  [[5, 6, 7], [9, 4, 7], 1],
  [[5, 6, 7], [5, 6, 7], 2],
  [[7, 5, 3], [3, 11, 5], 3],
  [[1, 1, 1], [4, 3, 2], 2],
  [[8, 4, 2], [1, 1, 1], 1],
  [[3, 1, 5], [2, 7, 1], 2],
  [[2, 2, 2], [31, 17, 9], 1],
  [[33, 9, 17], [8, 9, 40], 1],
];

describe('resampling', () => {
  test.each(grids)('trilinear from %j to %j, %i channel(s)', (from, to, channels) => {
    const data = noise(channels * voxels(from), 5);
    const found = resampleTo(data, from, to, 'linear');
    const expected = linear(data, from, to);
    expect(found.length).toBe(expected.length);
    let worst = 0;
    expected.forEach((v, i) => (worst = Math.max(worst, Math.abs(v - found[i]!))));
    expect(worst).toBeLessThanOrEqual(1e-5); // values up to 55: one step of float32 is 4e-6
  });

  test.each(grids)('nearest from %j to %j, %i channel(s), is exact', (from, to, channels) => {
    const data = noise(channels * voxels(from));
    expect(resampleTo(data, from, to, 'nearest')).toEqual(nearest(data, from, to));
    const labels = Uint8Array.from(data, (v) => Math.abs(v) % 256);
    expect(resampleTo(labels, from, to, 'nearest')).toEqual(
      Uint8Array.from(nearest(Float32Array.from(labels), from, to)),
    );
  });

  test('gives the values of F.interpolate on a line (align_corners=False)', () => {
    const line = Float32Array.of(0, 1, 2, 3);
    expect([...resampleTo(line, [4, 1, 1], [8, 1, 1], 'linear')]).toEqual([
      0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3,
    ]);
    expect([...resampleTo(line, [4, 1, 1], [2, 1, 1], 'linear')]).toEqual([0.5, 2.5]);
    expect([...resampleTo(line, [4, 1, 1], [3, 1, 1], 'nearest')]).toEqual([0, 2, 3]);
  });

  test('keeps constants, and leaves its input alone', () => {
    const data = new Float32Array(5 * 4 * 3).fill(0.1);
    const out = resampleTo(data, [5, 4, 3], [7, 9, 2], 'linear');
    expect(new Set(out)).toEqual(new Set([Math.fround(0.1)]));
    expect(resampleTo(data, [5, 4, 3], [5, 4, 3], 'linear')).not.toBe(data);
  });

  test('the size at a spacing is rounded, at least to 1', () => {
    expect(sizeAtSpacing([10, 6, 5], [1, 1.5, 3], [2, 1, 1.1])).toEqual([5, 9, 14]);
    expect(sizeAtSpacing([10, 6, 5], [1, 1, 1], [100, 100, 100])).toEqual([1, 1, 1]);
    expect(sizeAtSpacing([125, 127, 5], [2, 2, 1], [4, 4, 2])).toEqual([62, 64, 2]); // numpy.round
  });

  test('refuses sizes and spacings that are none', () => {
    const data = noise(60);
    expect(() => resampleTo(data, [5, 4, 2], [5, 4, 2], 'linear')).toThrow(InvalidVolume);
    expect(() => resampleTo(data, [5, 4, 3], [5, 0, 3], 'linear')).toThrow(InvalidOption);
    expect(() => resampleTo(data, [5, 4, 3], [5, 1.5, 3], 'linear')).toThrow(InvalidOption);
    expect(() => sizeAtSpacing([5, 4, 3], [1, 0, 1], [1, 1, 1])).toThrow(InvalidOption);
    expect(() => sizeAtSpacing([5, 4, 3], [1, 1, 1], [1, NaN, 1])).toThrow(InvalidOption);
    const labels = new Uint8Array(60);
    // @ts-expect-error labels have no trilinear resampling
    expect(() => resampleTo(labels, [5, 4, 3], [5, 4, 2], 'linear')).toThrow(InvalidOption);
  });
});
