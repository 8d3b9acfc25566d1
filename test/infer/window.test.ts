/** Sliding windows: where they start, how they are weighted, and that nothing is missed. */
import { describe, expect, test } from 'vitest';
import { Aborted, InvalidOption } from '../../src/errors.ts';
import { gaussian, slidingWindow, windowStarts } from '../../src/infer/window.ts';

describe('windowStarts', () => {
  test('cover the axis evenly with at least the overlap', () => {
    expect(windowStarts(10, 16, 0.5)).toEqual([0]);
    expect(windowStarts(16, 16, 0.5)).toEqual([0]);
    expect(windowStarts(17, 16, 0.5)).toEqual([0, 1]);
    expect(windowStarts(40, 16, 0.5)).toEqual([0, 8, 16, 24]);
    for (const length of [33, 50, 101]) {
      const starts = windowStarts(length, 16, 0.5);
      expect(starts.at(-1)).toBe(length - 16);
      for (let i = 1; i < starts.length; i++) expect(starts[i]! - starts[i - 1]!).toBeLessThanOrEqual(8);
    }
  });

  test('an overlap of 1 is refused', () => {
    expect(() => windowStarts(20, 16, 1)).toThrow(InvalidOption);
  });
});

test('Gaussian weights: σ = size/8, symmetric, never 0', () => {
  const weights = gaussian(16);
  expect(weights[7]).toBeCloseTo(Math.exp(-0.5 * (0.5 / 2) ** 2), 6);
  expect(weights[0]).toBeCloseTo(1e-3, 9);
  expect([...weights].reverse()).toEqual([...weights]);
});

describe('slidingWindow', () => {
  const shape = [21, 9, 7] as const;
  const image = Float32Array.from({ length: 21 * 9 * 7 }, (_, i) => Math.sin(i));
  const twice = (part: Float32Array) => {
    const logits = new Float32Array(2 * part.length);
    part.forEach((value, i) => {
      logits[i] = 3 * value;
      logits[part.length + i] = -value;
    });
    return Promise.resolve(logits);
  };

  test.each([
    ['one window, padded', [24, 12, 8], 1],
    ['windows along every axis', [8, 4, 4], 5 * 4 * 3],
  ] as const)('%s: a voxelwise function comes back as it is', async (_, window, windows) => {
    let runs = 0;
    const logits = await slidingWindow({ image, shape, channels: 1 }, window, 2, (part) => {
      runs++;
      return twice(part);
    });
    expect(runs).toBe(windows);
    image.forEach((value, i) => {
      expect(logits[i]).toBeCloseTo(3 * value, 4);
      expect(logits[image.length + i]).toBeCloseTo(-value, 4);
    });
  });

  test('can be stopped between windows', async () => {
    const abort = new AbortController();
    const run = (part: Float32Array) => {
      abort.abort();
      return twice(part);
    };
    const stopped = slidingWindow({ image, shape, channels: 1 }, [8, 4, 4], 2, run, { signal: abort.signal });
    await expect(stopped).rejects.toThrow(Aborted);
  });
});
