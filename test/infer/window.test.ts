/** Sliding windows: where they start, how they are weighted, and that nothing is missed. */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { Aborted, InvalidOption } from '../../src/errors.ts';
import {
  gaussian,
  windowPlanes,
  windowStarts,
  type WindowProgress,
  type WindowRun,
} from '../../src/infer/window.ts';
import type { Size3 } from '../../src/size.ts';
import { planesOf } from '../support/planes.ts';
import { wholeStack } from '../reference/whole-stack.ts';

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

describe('windowPlanes', () => {
  const shape = [21, 9, 7] as const;
  const source = random(3, 'windows');
  const image = Float32Array.from({ length: 2 * 21 * 9 * 7 }, () => source.normal());
  const [classes, channels] = [3, 2];

  /** What a stand-in gives for a window: logits that hang on the place within it; some planes at a time. */
  function standIn(window: Size3, depth: number) {
    const [w, h, d] = window;
    const runs: Float32Array[] = [];
    const run: WindowRun = async function* (part) {
      const logits = Float32Array.from(
        { length: (classes * part.length) / channels },
        (_, at) => part[at % part.length]! * (1 + (at % 7)) + runs.length,
      );
      runs.push(logits);
      for (let k = 0; k < d; k += depth) {
        const planes = Math.min(depth, d - k);
        const slab = new Float32Array(classes * planes * w * h);
        for (let c = 0; c < classes; c++)
          slab.set(logits.subarray((c * d + k) * w * h, (c * d + k + planes) * w * h), c * planes * w * h);
        await Promise.resolve();
        yield slab;
      }
    };
    return { runs, run };
  }

  test.each([
    ['windows along every axis', [8, 4, 4], 0.5, 3],
    ['a third of overlap', [8, 4, 3], 1 / 3, 1],
    ['three windows over a voxel', [7, 6, 5], 0.7, 2],
    ['none', [8, 4, 4], 0, 4],
    ['longer than the volume along z', [8, 4, 12], 0.5, 5],
    ['longer than the volume along x and y', [24, 12, 4], 0.5, 4],
  ] as const)('%s: to the bit what one stack of the whole gives', async (_, window, overlap, depth) => {
    const { runs, run } = standIn(window, depth);
    const starts = shape.map((n, axis) => windowStarts(n, window[axis]!, overlap));
    const positions = starts[2]!.flatMap((k) =>
      starts[1]!.flatMap((j) => starts[0]!.map((i): Size3 => [i, j, k])),
    );
    const perRow = starts[0]!.length * starts[1]!.length;
    const found: Float32Array[] = [];
    for await (const plane of windowPlanes({ image, shape, channels }, window, classes, run, { overlap })) {
      // A plane does not wait for windows that begin behind it.
      const rows = starts[2]!.filter((k) => k <= found.length).length;
      expect(runs.length).toBe(perRow * rows);
      found.push(plane);
    }
    const windows = positions.map((start, index) => ({ start, logits: runs[index]! }));
    const weights = window.map(gaussian) as [Float32Array, Float32Array, Float32Array];
    const wanted = wholeStack(windows, window, weights, shape, classes);
    expect(found).toEqual([...planesOf(wanted, classes, shape)]);
  });

  test('one window, padded: what the network gives, to the bit', async () => {
    const window = [24, 12, 8] as const;
    const { runs, run } = standIn(window, 3);
    const seen: string[] = [];
    const onProgress = ({ loaded, total }: WindowProgress) => seen.push(`${loaded}/${total}`);
    const found: Float32Array[] = [];
    for await (const plane of windowPlanes({ image, shape, channels }, window, classes, run, { onProgress }))
      found.push(plane);
    expect([runs.length, found.length, ...seen]).toEqual([1, 7, '1/1']);
    found.forEach((plane, z) =>
      plane.forEach((value, at) => {
        const [c, y, x] = [Math.floor(at / 189), Math.floor(at / 21) % 9, at % 21];
        expect(value).toBe(runs[0]![((c * 8 + z) * 12 + y) * 24 + x]);
      }),
    );
  });

  test('can be stopped between windows', async () => {
    const abort = new AbortController();
    const { runs, run } = standIn([8, 4, 4], 4);
    const planes = windowPlanes({ image, shape, channels }, [8, 4, 4], classes, run, {
      signal: abort.signal,
      onProgress: ({ loaded }) => loaded === 2 && abort.abort(),
    });
    await expect(planes.next()).rejects.toThrow(Aborted);
    expect(runs.length).toBe(2);
  });
});

test('a window of more values than an array holds is refused', async () => {
  const volume = { image: new Float32Array(8), shape: [2, 2, 2], channels: 1 } as const;
  const run = () => Promise.reject(new Error('no window is cut'));
  const planes = windowPlanes(volume, [1_000_000_000, 8, 8], 2, run as never);
  await expect(planes.next()).rejects.toThrow(
    'the window is 1000000000 x 8 x 8 voxels, for a volume of 2 x 2 x 2: give a smaller one',
  );
});
