// Statistics, percentiles and normalisation against plain float64 loops; lengths odd, tiny and degenerate.
import { describe, expect, test } from 'vitest';
import { percentiles, statistics, zScore } from '../../src/data/statistics.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import { different, noise } from './noise.ts';

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
