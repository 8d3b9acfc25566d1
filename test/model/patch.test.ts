// The patch that a budget allows: from the median volume down, in proportion, and what the plan counts for it.
import { describe, expect, test } from 'vitest';
import { defaultLimits } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import { fitsBudget, type Planner } from '../../src/model/wish.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { nnunetPatch } from '../../src/model/patch.ts';
import { planTraining } from '../../src/model/plan.ts';
import { augmentationMargin, nnunetAugmentation } from '../../src/train/augmentation.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';

const config = completeConfig({ inChannels: 1, classes: 3, features: [4, 8, 16] });
const planner: Planner = {
  limits: { ...defaultLimits, maxBufferBytes: Infinity },
  loss: lossShape(weightedDice(), 3),
  optimizer: adam(),
};
const wish = { config, batch: 2 };
const GiB = 2 ** 30;
const typical = (shape: Size3, spacing: Size3 = [1, 1, 1]) => ({ shape, spacing });

describe('nnunetPatch', () => {
  test('is the median volume, in multiples of the network, where that fits', () => {
    const { patch, reason } = nnunetPatch(typical([35, 51, 36]), wish, 8 * GiB, planner);
    expect(patch).toEqual([36, 52, 36]);
    expect(reason).toBe(
      'Patches of 36 x 52 x 36 voxels: the median volume of 35 x 51 x 36, in multiples of 4.',
    );
  });

  test('keeps the proportions of the median volume, fits, and one step more would not', () => {
    const budget = 40 * 2 ** 20;
    const { patch, reason } = nnunetPatch(typical([128, 128, 64]), wish, budget, planner);
    expect(fitsBudget({ ...wish, size: patch }, budget, planner)).toBe(true);
    expect(Math.abs(patch[0] - patch[1])).toBeLessThanOrEqual(4);
    expect(Math.abs(patch[0] - 2 * patch[2])).toBeLessThanOrEqual(8);
    const larger = patch.map((n, axis) => (axis === 0 ? n + 4 : n)) as unknown as Size3;
    expect(fitsBudget({ ...wish, size: larger }, budget, planner)).toBe(false);
    expect(reason).toContain(
      'as much of the median volume of 128 x 128 x 64 as fits 40.0 MiB in a step of batch 2',
    );
  });

  test('is never more than 256³ voxels, a cube in millimetres', () => {
    const huge = nnunetPatch(typical([2000, 2000, 500], [0.5, 0.5, 2]), wish, Infinity, planner);
    expect(huge.patch).toEqual([408, 408, 104]);
  });

  test('ends at the smallest patch', () => {
    expect(nnunetPatch(typical([64, 64, 64]), wish, 1, planner).patch).toEqual([4, 4, 4]);
  });
});

test('the plan counts the source of augmented patches, and so patches become smaller', () => {
  const augmentation = nnunetAugmentation();
  const margin = (size: Size3) => augmentationMargin(augmentation, size, [128, 128, 128]);
  const budget = 40 * 2 ** 20;
  const size = [32, 32, 32] as const;
  const bytes = (given: Size3) =>
    planTraining({ ...wish, ...planner, size, augment: true, margin: given }).plan.peakBytes;
  const [x, y, z] = margin(size);
  const more = 2 * ((32 + 2 * x) * (32 + 2 * y) * (32 + 2 * z) - 32 ** 3); // voxels of both samples
  expect(bytes(margin(size)) - bytes([0, 0, 0])).toBeGreaterThanOrEqual(5 * more);
  expect(bytes(margin(size)) - bytes([0, 0, 0])).toBeLessThan(5.1 * more);
  const plain = nnunetPatch(typical([128, 128, 128]), wish, budget, { ...planner, augment: true }).patch;
  const wide = nnunetPatch(typical([128, 128, 128]), wish, budget, {
    ...planner,
    augment: true,
    margin,
  }).patch;
  const voxels = (patch: Size3) => patch[0] * patch[1] * patch[2];
  expect(voxels(wide)).toBeLessThan(voxels(plain));
});
