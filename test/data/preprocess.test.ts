// Statistics, normalisation, resampling, crop and pad against plain float64 loops; sizes odd, tiny and degenerate.
import { describe, expect, test } from 'vitest';
import {
  clipPercentiles,
  crop,
  joinBoxes,
  nonZeroBox,
  pad,
  percentiles,
  resampleTo,
  sizeAtSpacing,
  statistics,
  zScore,
} from '../../src/data/preprocess.ts';
import type { Size3 } from '../../src/size.ts';
import { random } from '../../src/data/random.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';

/** Random float32 of both signs around an offset, reproducible. */
function noise(length: number, offset = 0, scale = 100): Float32Array {
  const r = random(7, length, offset);
  return Float32Array.from({ length }, () => offset + scale * (r.uniform() - 0.5));
}
const voxels = ([x, y, z]: Size3): number => x * y * z;

/** The first places where two arrays differ; faster than toEqual on many voxels. */
function different(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  const places = a.length === b.length ? [] : [Math.min(a.length, b.length)];
  for (let i = 0; i < a.length && places.length < 5; i++) if (!Object.is(a[i], b[i])) places.push(i);
  return places;
}

/** Mean and population standard deviation by plain loops. */
function moments(data: ArrayLike<number>): { mean: number; sd: number } {
  const values = Array.from(data);
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return { mean, sd: Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length) };
}

// Around the four lanes, and enough for every upper half of a sort key to be crowded.
const lengths = [1, 2, 3, 4, 5, 7, 64, 1023, 70_001];

describe('statistics', () => {
  test.each(lengths)('of %i voxels', (length) => {
    const data = noise(length, -3);
    const found = statistics(data);
    const { mean, sd } = moments(data);
    expect(found.count).toBe(length);
    expect(found.nonFinite).toBe(0);
    expect(found.min).toBe(data.reduce((a, b) => Math.min(a, b)));
    expect(found.max).toBe(data.reduce((a, b) => Math.max(a, b)));
    expect(Math.abs(found.mean - mean)).toBeLessThanOrEqual(1e-12 * 100);
    expect(Math.abs(found.sd - sd)).toBeLessThanOrEqual(1e-12 * 100);
  });

  test('keep their digits far from zero', () => {
    const data = noise(70_001, 2 ** 20, 4);
    const { mean, sd } = moments(data);
    const found = statistics(data);
    expect(Math.abs(found.mean / mean - 1)).toBeLessThan(1e-14);
    expect(Math.abs(found.sd / sd - 1)).toBeLessThan(1e-9);
  });

  test('count what is not finite and leave it out, in every lane and in the tail', () => {
    for (const length of [1, 6, 7, 9, 130])
      for (let at = 0; at < Math.min(length, 9); at++)
        for (const bad of [NaN, Infinity, -Infinity]) {
          const data = noise(length, 10);
          data[length - 1 - at] = bad;
          const rest = data.filter((v) => Number.isFinite(v));
          const found = statistics(data);
          expect(found.count).toBe(length - 1);
          expect(found.nonFinite).toBe(1);
          if (length === 1) continue;
          expect(found.min).toBe(Math.min(...rest));
          expect(found.max).toBe(Math.max(...rest));
          expect(found.mean).toBeCloseTo(moments(rest).mean, 10);
          expect(found.sd).toBeCloseTo(moments(rest).sd, 10);
        }
  });

  test('without finite voxels', () => {
    expect(statistics(Float32Array.of(NaN, Infinity))).toEqual({
      count: 0,
      nonFinite: 2,
      min: NaN,
      max: NaN,
      mean: NaN,
      sd: NaN,
    });
    expect(() => statistics(new Float32Array(0))).toThrow(InvalidVolume);
  });
});

/** Percentile by sorting: numpy's default, linear between order statistics. */
function sortedPercentile(data: Float32Array, percent: number): number {
  const sorted = Float64Array.from(data).sort();
  const place = (percent / 100) * (sorted.length - 1);
  const below = Math.floor(place);
  const a = sorted[below]!;
  const b = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return a + (b - a) * (place - below);
}

describe('percentiles', () => {
  const asked = [0, 0.5, 1, 25, 50, 75, 99, 99.5, 100];

  test.each(lengths)('of %i voxels are those of the sorted voxels', (length) => {
    const data = noise(length);
    expect(percentiles(data, asked)).toEqual(asked.map((percent) => sortedPercentile(data, percent)));
  });

  test('with many ties, both zeros, subnormal and huge values', () => {
    const data = Float32Array.of(0, -0, 1e-45, -1e-45, 3e38, -3e38, 1, 1, 1, -1, -1, 0, 2 ** -126);
    expect(percentiles(data, asked)).toEqual(asked.map((percent) => sortedPercentile(data, percent) + 0));
  });

  test('refuse what cannot be answered', () => {
    expect(() => percentiles(noise(5), [101])).toThrow(InvalidOption);
    expect(() => percentiles(noise(5), [NaN])).toThrow(InvalidOption);
    expect(() => percentiles(Float32Array.of(1, NaN, 2, Infinity), [50])).toThrow(/2 of its 4 voxels/);
  });

  test('clip', () => {
    const data = noise(3001);
    const { data: clipped, low, high } = clipPercentiles(data, [2, 97]);
    expect(low).toBe(Math.fround(sortedPercentile(data, 2)));
    expect(high).toBe(Math.fround(sortedPercentile(data, 97)));
    expect(clipped).toEqual(data.map((v) => Math.min(Math.max(v, low), high)));
    expect(() => clipPercentiles(data, [97, 2])).toThrow(InvalidOption);
  });
});

describe('z-score', () => {
  test.each(lengths)('of %i voxels', (length) => {
    const data = noise(length, 500, 80);
    const before = data.slice();
    const { data: scored, mean, sd } = zScore(data);
    expect(different(data, before)).toEqual([]);
    // One rounding: exactly what float64 gives for the mean and deviation that are reported.
    expect(
      different(
        scored,
        data.map((v) => Math.fround((v - mean) / Math.max(sd, 1e-8))),
      ),
    ).toEqual([]);
    const expected = moments(data);
    expect(mean).toBeCloseTo(expected.mean, 9);
    expect(sd).toBeCloseTo(expected.sd, 9);
  });

  test('in place, or into another array', () => {
    const data = noise(70_001);
    const expected = zScore(data).data;
    const target = new Float32Array(data.length);
    expect(zScore(data, { target }).data).toBe(target);
    expect(different(target, expected)).toEqual([]);
    expect(different(zScore(data, { target: data }).data, expected)).toEqual([]);
    expect(() => zScore(data, { target: new Float32Array(5) })).toThrow(InvalidOption);
  });

  test('with statistics that are known already', () => {
    const data = noise(70_001);
    expect(zScore(data, { known: statistics(data) })).toEqual(zScore(data));
    const known = { ...statistics(data), mean: 3, sd: 2 };
    expect(zScore(data, { known }).data).toEqual(data.map((v) => (v - 3) / 2));
  });

  test('of a constant volume is exactly 0', () => {
    for (const value of [0, 0.1, -7.3, 1e30, 2 ** -140]) {
      const { data, sd } = zScore(new Float32Array(70_003).fill(value));
      expect(sd).toBe(0);
      expect(data.every((v) => v === 0)).toBe(true);
    }
  });

  test('names how many voxels are not finite, or takes them as 0', () => {
    const data = Float32Array.of(1, NaN, 3, Infinity, 5, 6, -Infinity);
    expect(() => zScore(data)).toThrow(InvalidVolume);
    expect(() => zScore(data)).toThrow(/3 of its 7 voxels/);
    const zeroed = Float32Array.of(1, 0, 3, 0, 5, 6, 0);
    expect(zScore(data, { nonFinite: 'zero' })).toEqual(zScore(zeroed));
    expect(data[1]).toBeNaN();
  });
});

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

describe('crop and pad', () => {
  const size: Size3 = [5, 6, 7];
  const data = noise(2 * voxels(size));

  test('crop', () => {
    expect(crop(data, size, [1, 2, 3], [3, 4, 2])).toEqual(shifted(data, size, [1, 2, 3], [3, 4, 2]));
    expect(crop(data, size, [0, 0, 0], size)).toEqual(data);
    expect([...crop(data, size, [4, 5, 6], [1, 1, 1])]).toEqual([
      data[voxels(size) - 1],
      data[2 * voxels(size) - 1],
    ]);
    const labels = Uint8Array.from(data, Math.abs);
    expect(crop(labels, size, [1, 0, 3], [2, 6, 4])).toEqual(
      Uint8Array.from(shifted(Float32Array.from(labels), size, [1, 0, 3], [2, 6, 4])),
    );
  });

  test('pad, at the near and the far ends', () => {
    const { data: out, size: larger } = pad(data, size, [1, 0, 2], [0, 3, 1]);
    expect(larger).toEqual([6, 9, 10]);
    expect(out).toEqual(shifted(data, size, [-1, 0, -2], larger));
    expect(crop(out, larger, [1, 0, 2], size)).toEqual(data);
  });

  test('refuse boxes outside the volume and negative widths', () => {
    expect(() => crop(data, size, [3, 0, 0], [3, 6, 7])).toThrow(InvalidOption);
    expect(() => crop(data, size, [-1, 0, 0], [3, 6, 7])).toThrow(InvalidOption);
    expect(() => crop(data, size, [0, 0, 0], [5, 0, 7])).toThrow(InvalidOption);
    expect(() => pad(data, size, [0, 0, 0], [0, -1, 0])).toThrow(InvalidOption);
  });

  test('the box of what is not zero in any channel', () => {
    const sparse = new Float32Array(2 * voxels(size));
    sparse[(2 * 6 + 3) * 5 + 1] = -1; // channel 0, x 1, y 3, z 2
    sparse[voxels(size) + (4 * 6 + 1) * 5 + 2] = NaN; // channel 1, x 2, y 1, z 4
    expect(nonZeroBox(sparse, size)).toEqual({ start: [1, 1, 2], size: [2, 3, 3] });
    expect(nonZeroBox(data, size)).toEqual({ start: [0, 0, 0], size });
    expect(nonZeroBox(Float32Array.of(3), [1, 1, 1])).toEqual({ start: [0, 0, 0], size: [1, 1, 1] });
    expect(nonZeroBox(new Float32Array(60).fill(-0), [5, 4, 3])).toBeUndefined();
  });

  test('the box that holds two boxes', () => {
    const joint = joinBoxes({ start: [1, 5, 0], size: [2, 2, 2] }, { start: [2, 1, 1], size: [4, 1, 1] });
    expect(joint).toEqual({ start: [1, 1, 0], size: [5, 6, 2] });
  });
});
