/** What is given up for memory, in which order; what fits near a wish; windows for predictions. No GPU. */
import { describe, expect, test } from 'vitest';
import { memoryOf } from '../../src/gpu/device.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import { alternatives } from '../../src/model/alternatives.ts';
import { chooseWindow } from '../../src/infer/choose-window.ts';
import { concede, type Concession } from '../../src/model/concessions.ts';
import { defaultBudget } from '../../src/model/budget.ts';
import type { TrainingWish } from '../../src/model/wish.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { paddedSize } from '../../src/model/sizes.ts';
import { planSlabs, planTraining } from '../../src/model/plan.ts';

const GiB = 2 ** 30;
const config = completeConfig({ inChannels: 1, classes: 6 });
const wish: TrainingWish = { config, size: [256, 256, 128], batch: 2 };
const loss = { classes: 6, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
const planner = {
  limits: { ...defaultLimits, maxBufferBytes: 4 * GiB },
  loss,
  optimizer: { kind: 'adam' },
} as const;
const bytes = (shape: TrainingWish) => planTraining({ ...shape, ...planner }).plan.peakBytes;

describe('concessions', () => {
  test.each<[budget: number, taken: Concession[]]>([
    [6, []],
    [3, ['float16']],
    [2.5, ['float16', 'checkpointing']],
    [1.5, ['float16', 'accumulation']],
    [1.2, ['float16', 'checkpointing', 'accumulation']],
    [0.8, ['float16', 'checkpointing', 'accumulation', 'patches']],
  ])('for %d GiB: %j', (budget, taken) => {
    const found = concede(wish, budget * GiB, planner);
    expect(found.taken).toEqual(taken);
    expect(bytes(found.wish)).toBeLessThanOrEqual(budget * GiB);
  });

  test('only what is allowed, and no more than is needed', () => {
    const { wish: patched, taken } = concede(wish, 3 * GiB, planner, ['patches']);
    expect(taken).toEqual(['patches']);
    expect(patched).toMatchObject({ batch: 2, config });
    expect(patched.precision ?? 'f32').toBe('f32');
    const { wish: parts } = concede({ ...wish, batch: 6 }, 6 * GiB, planner, ['accumulation']);
    expect(parts).toMatchObject({ batch: 2, accumulate: 3 });
  });

  test('where a volume exceeds the largest buffer, whatever the budget says', () => {
    const { tensors } = planTraining({ ...wish, ...planner }).plan;
    const largest = Math.max(...tensors.map(({ bytes }) => bytes));
    const limits = { ...planner.limits, maxBufferBytes: largest / 2 };
    const given = ['checkpointing', 'accumulation'] as const;
    const { wish: parts, taken } = concede(wish, 100 * GiB, { ...planner, limits }, given);
    expect(taken).toEqual(['accumulation']);
    expect(parts).toMatchObject({ batch: 1, accumulate: 2 });
  });

  test('an unknown name is refused', () => {
    expect(() => concede(wish, GiB, planner, ['speed'] as unknown as Concession[])).toThrow(
      /allowed is \["speed"\]; give 'auto'/,
    );
  });
});

test('alternatives fit, nearest first: float16 before halving anything', () => {
  const found = alternatives(wish, 3 * GiB, planner);
  expect(found).toHaveLength(3);
  expect(found[0]).toMatchObject({ precision: 'f16', batch: 2, size: [256, 256, 128] });
  for (const { bytes: told, ...item } of found) expect(told).toBe(bytes(item));
  for (const item of found) expect(item.bytes).toBeLessThanOrEqual(3 * GiB);
});

test('the budget is what the device tells, else an assumption', () => {
  const heap = (size: number, properties: number) => ({ size: size * GiB, properties });
  const info = (memoryHeaps?: unknown) => ({ memoryHeaps }) as unknown as GPUAdapterInfo;
  // 1: device-local, 2: visible to the host.
  expect(memoryOf(info([heap(16, 2), heap(8, 1), heap(0.25, 3)]))).toBe(8 * GiB);
  expect(memoryOf(info([heap(16, 2)]))).toBeUndefined();
  expect(memoryOf(info())).toBeUndefined();
  expect(defaultBudget({ adapterClass: 'hardware', memoryBytes: 10 * GiB })).toBe(8 * GiB);
  expect(defaultBudget({ adapterClass: 'hardware' })).toBe(4 * GiB);
});

describe('windows', () => {
  const { limits } = planner;
  const window = (whole: TrainingWish['size'], budget: number, trained?: TrainingWish['size']) =>
    chooseWindow({ config, whole, trained: { inputSize: trained } }, budget, { limits, precision: 'f32' });

  test('512 × 512 × 300 with bindings of 128 MiB goes through windows in less than 3 GiB', () => {
    const size = window(paddedSize(config, [512, 512, 300]), 3 * GiB);
    const { plan } = planSlabs({ config, size, batch: 1, limits });
    expect(plan.peakBytes).toBeLessThan(3 * GiB);
    expect(plan.largestBindingBytes).toBeLessThanOrEqual(128 * 2 ** 20);
  });

  test('logits of many classes, which are read a few planes at a time, make no window smaller', () => {
    const many = completeConfig({ inChannels: 1, classes: 100, features: [4, 8] });
    const whole = [128, 128, 64] as const;
    const logitBytes = 4 * 100 * 128 * 128 * 64;
    const found = chooseWindow({ config: many, whole }, logitBytes / 4, { limits, precision: 'f32' });
    expect(found).toEqual(whole);
  });

  test('trained on patches, a network whose norms would see all of a larger volume goes through their size', () => {
    const of = (norm: 'batch' | 'instance', whole: TrainingWish['size'], patches = true) => {
      const shape = {
        config: { ...config, norm },
        whole,
        trained: { inputSize: [32, 64, 32] as const, patches },
      };
      return chooseWindow(shape, GiB, { limits, precision: 'f32' });
    };
    expect(of('instance', [64, 64, 32])).toEqual([32, 64, 32]);
    expect(of('instance', [32, 32, 32])).toEqual([32, 32, 32]);
    expect(of('instance', [64, 64, 32], false)).toEqual([64, 64, 32]);
    expect(of('batch', [64, 64, 32])).toEqual([64, 64, 32]);
  });

  test('the whole volume where it fits, else the size trained on, else what fits', () => {
    expect(window([128, 128, 64], GiB, [64, 64, 64])).toEqual([128, 128, 64]);
    expect(window([512, 512, 304], 3 * GiB, [160, 160, 96])).toEqual([160, 160, 96]);
    expect(window([512, 512, 304], 0.1 * GiB, [160, 160, 96])).toEqual([64, 128, 64]);
    expect(() => window([512, 512, 304], 1000)).toThrow(/budget is 1000 B/);
    const tiny = { ...limits, maxBufferBytes: 16, maxBindingBytes: 16 };
    expect(() =>
      chooseWindow({ config, whole: [64, 64, 64] }, GiB, { limits: tiny, precision: 'f32' }),
    ).toThrow(/needs a buffer larger than the device allows; the memory budget is 1.00 GiB/);
  });
});
