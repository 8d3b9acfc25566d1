/** What is drawn for a sample: repeatable, at nnU-Net's rates and within its ranges; and training with it. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { augmentationMargin, drawSample, nnunetAugmentation } from '../../src/train/augmentation.ts';
import type { ChannelDraw } from '../../src/ops/augment.ts';

const standard = nnunetAugmentation();
const shape = { size: [48, 40, 32], channels: 2, seed: 3 } as const;
const draws = Array.from({ length: 4000 }, (_, position) => drawSample(standard, { ...shape, position }));

describe('drawSample', () => {
  test('the same for the same seed and position, another for others', () => {
    expect(drawSample(standard, { ...shape, position: 17 })).toEqual(draws[17]);
    const others = [0, 1, 2, 3].map((seed) =>
      JSON.stringify(drawSample(standard, { ...shape, seed, position: 17 })),
    );
    expect(new Set(others).size).toBe(4);
  });

  test('entries that are undefined are left to their defaults', () => {
    expect(nnunetAugmentation({ mirror: undefined } as object)).toEqual(nnunetAugmentation());
  });

  test("nnU-Net's rates", () => {
    const share = (has: (index: number) => boolean) =>
      draws.filter((_, index) => has(index)).length / draws.length;
    const channel = (name: keyof ChannelDraw) => share((i) => draws[i]!.channels[1]![name] !== undefined);
    for (const [found, wanted] of [
      [share((i) => draws[i]!.matrix !== undefined), 1 - 0.8 * 0.8],
      ...[0, 1, 2].map((axis) => [share((i) => draws[i]!.mirror![axis]!), 0.5]),
      [share((i) => draws[i]!.noise !== undefined), 0.1],
      [channel('blur'), 0.1],
      [channel('brightness'), 0.15],
      [channel('contrast'), 0.15],
      [channel('lowResolution'), 0.125],
      [channel('invertedGamma'), 0.1],
      [channel('gamma'), 0.3],
    ] as [number, number][])
      expect(Math.abs(found - wanted)).toBeLessThan(4 * Math.sqrt((wanted * (1 - wanted)) / draws.length));
  });

  test('within the ranges', () => {
    for (const { matrix, noise, channels } of draws.slice(0, 300)) {
      if (noise) expect(noise.deviation).toBeLessThanOrEqual(0.1);
      for (const { blur, brightness, lowResolution, gamma } of channels) {
        for (const sigma of blur ?? []) expect(sigma >= 0.5 && sigma <= 1).toBe(true);
        if (brightness !== undefined) expect(brightness >= 0.75 && brightness <= 1.25).toBe(true);
        if (gamma !== undefined) expect(gamma >= 0.7 && gamma <= 1.5).toBe(true);
        lowResolution?.forEach((n, axis) =>
          expect(n >= shape.size[axis]! / 2 && n <= shape.size[axis]! && Number.isInteger(n)).toBe(true),
        );
      }
      if (!matrix) continue;
      // A similarity that leaves the centre where it is: orthogonal columns of one length.
      const column = (axis: number) => matrix.map((row) => row[axis]!);
      const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
      const factor = Math.sqrt(dot(column(0), column(0)));
      expect(factor >= 0.7 - 1e-12 && factor <= 1.4 + 1e-12).toBe(true);
      for (const [a, b] of [
        [0, 1],
        [0, 2],
        [1, 2],
      ] as const) {
        expect(dot(column(a), column(b))).toBeCloseTo(0, 12);
        expect(dot(column(b), column(b))).toBeCloseTo(factor ** 2, 12);
      }
      const centre = shape.size.map((n) => (n - 1) / 2);
      matrix.forEach((row, axis) =>
        expect(row[3] + dot(centre, row.slice(0, 3))).toBeCloseTo(centre[axis]!, 10),
      );
    }
  });

  test('a flat volume is turned, scaled and reduced in its plane only', () => {
    const flat = { ...shape, size: [64, 64, 16] as const };
    const some = Array.from({ length: 300 }, (_, position) => drawSample(standard, { ...flat, position }));
    for (const { matrix, channels } of some) {
      if (matrix) {
        expect(matrix.map((row) => Math.abs(row[2]))).toEqual([0, 0, 1]);
        expect(matrix[2]!.slice(0, 2).map(Math.abs)).toEqual([0, 0]);
      }
      for (const { lowResolution } of channels) if (lowResolution) expect(lowResolution[2]).toBe(16);
    }
    // By any angle: the cosine becomes negative, mirroring aside.
    expect(some.some(({ matrix, mirror }) => matrix && matrix[0]![0] < 0 !== mirror![0])).toBe(true);
  });
});

describe('augmentationMargin', () => {
  const huge = [1000, 1000, 1000] as const;

  test('is what a turn by the largest angle and the scaling bring in', () => {
    // cos 30° + sin 30° = 1.366, over 0.85: nnU-Net enlarges 128³ to 205³.
    expect(augmentationMargin(standard, [128, 128, 128], huge)).toEqual([40, 39, 39]);
    const still = nnunetAugmentation({ rotation: { ...standard.rotation, probability: 0 } });
    expect(augmentationMargin(still, [64, 80, 100], huge)).toEqual([8, 8, 9]);
    const none = nnunetAugmentation({ ...still, scaling: { probability: 1, factor: [0.7, 0.9] } });
    expect(augmentationMargin({ ...none, rotation: still.rotation }, [64, 64, 64], huge)).toEqual([0, 0, 0]);
  });

  test('of a flat patch lies in its plane, up to the diagonal', () => {
    const side = Math.ceil((Math.hypot(64, 96) / 0.85 - 96) / 2);
    expect(augmentationMargin(standard, [64, 96, 16], huge)).toEqual([36, side, 0]);
  });

  test('holds nearly all that turned and scaled patches show, a fifth of which lies outside the patch', () => {
    const size = [64, 64, 64] as const;
    const margin = augmentationMargin(standard, size, huge);
    const outside = (reach: readonly number[]): number => {
      let [count, all] = [0, 0];
      for (let position = 0; position < 200; position++) {
        const { matrix } = drawSample(standard, { size, channels: 1, seed: 1, position });
        if (!matrix) continue;
        for (let z = 0; z < 64; z += 7)
          for (let y = 0; y < 64; y += 7)
            for (let x = 0; x < 64; x += 7, all++) {
              const place = matrix.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
              if (place.some((at, axis) => at < -reach[axis]! || at > 63 + reach[axis]!)) count++;
            }
      }
      return count / all;
    };
    expect(outside([0, 0, 0])).toBeGreaterThan(0.15);
    expect(outside(margin)).toBeLessThan(0.005);
  });

  test('ends where the volumes do, in whole fours along x', () => {
    expect(augmentationMargin(standard, [64, 64, 64], [70, 70, 60])).toEqual([8, 6, 0]);
    expect(augmentationMargin(standard, [64, 64, 64], [64, 64, 64])).toEqual([0, 0, 0]);
  });
});

test.each([
  [
    { gamma: { probability: 1.2, exponent: [0.7, 1.5] } },
    'gamma.probability is 1.2; give a number from 0 to 1',
  ],
  [{ mirror: [0.5, -1, 0] }, 'mirror[1] is -1'],
  [
    { blur: { probability: 1, perChannel: 1, sigma: [1, 2] } },
    'blur.sigma is [1, 2]; give a lower and an upper value from above 0 to 1',
  ],
  [{ scaling: { probability: 1, factor: [1.2, 0.8] } }, 'scaling.factor is [1.2, 0.8]'],
  [{ noise: { probability: 1, deviation: [NaN, 1] } }, 'noise.deviation[0] is NaN'],
] as const)('refuses %o', (changes, message) => {
  const act = () => nnunetAugmentation(changes);
  expect(act).toThrow(InvalidOption);
  expect(act).toThrow(message);
});
