/** What a terminal shows of a training. */
import { expect, test } from 'vitest';
import type { Io } from '../../src/cli/io.ts';
import { panel, type Standing } from '../../src/cli/panel.ts';
import { watch } from '../../src/cli/watch.ts';
import type { EpochRow } from '../../src/train/events.ts';

const standing: Standing = {
  epoch: 3,
  epochs: 12,
  step: 33,
  totalSteps: 132,
  loss: 0.4321,
  dice: [0.99, 0.5, 0.75],
  labels: ['background', 'anterior', 'posterior'],
  learningRate: 9.7e-4,
  gpuBytes: 412 * 2 ** 20,
  voxelsPerSecond: 1_234_000,
  etaMs: 245_000,
  best: { epoch: 2, dice: 0.601 },
};

test('the panel says where the training stands', () => {
  expect(panel(standing, 80)).toEqual([
    'epoch 3/12  step 33/132  [#####...............]  ETA 4:05',
    'loss 0.432  lr 9.7e-4  GPU memory 412 MiB  1.23 M voxels/s',
    'Dice 0.625  anterior 0.500  posterior 0.750',
    'best epoch 2  validation Dice 0.601',
  ]);
  const validating = { ...standing, validating: { loaded: 4, total: 9 }, best: undefined };
  const lines = panel(validating, 80);
  expect(lines[0]).toContain('validating 4/9');
  expect(lines).toHaveLength(3);
});

test('a narrow panel has more lines and loses no word', () => {
  const [wide, narrow] = [panel(standing, 80), panel(standing, 30)];
  expect(Math.max(...narrow.map((line) => line.length))).toBeLessThanOrEqual(30);
  const words = (lines: readonly string[]) => lines.join(' ').split(/\s+/);
  expect(words(narrow)).toEqual(words(wide));
});

test('before the first step nothing is made up', () => {
  const nothing = {
    loss: NaN,
    dice: [],
    learningRate: NaN,
    voxelsPerSecond: NaN,
    etaMs: NaN,
    best: undefined,
  };
  expect(panel({ ...standing, ...nothing }, 80).slice(1)).toEqual([
    'loss –  lr –  GPU memory 412 MiB  – voxels/s',
    'Dice –',
  ]);
});

test('the panel comes back after every line, shows the best epoch, and is wiped at the end', () => {
  const seen: string[][] = [];
  const io: Io = {
    out: (...lines) => seen.push(['out', ...lines]),
    err: (...lines) => seen.push(['err', ...lines]),
    status: (...lines) => seen.push(['status', ...lines]),
    isTerminal: true,
    columns: 100,
    signal: new AbortController().signal,
    written: () => Promise.resolve(undefined),
  };
  const { labels } = standing;
  const show = watch(io, { epochs: 3, labels, voxelsPerStep: 64, gpuBytes: () => 2 ** 20 });
  const row = (epoch: number, dice: number): EpochRow => ({
    ...{ epoch, loss: 1, validationLoss: 1, learningRate: 0.01, seconds: 1 },
    ...{ validationDice: [1, dice, dice], smoothedDice: dice },
  });
  // Resumed in the third epoch, of which nothing gets better.
  const history = [row(0, 0.3), row(1, 0.4)];
  show({
    type: 'start',
    epochs: 3,
    stepsPerEpoch: 5,
    gpuBytes: 0,
    adapter: 'none',
    software: true,
    step: 12,
    history,
  });
  show({ type: 'warning', message: 'the disk is slow' });
  show({ type: 'epoch', row: row(2, 0.2), best: false, etaMs: 0 });
  const result = { history, bestEpoch: 1, bestDice: 0.4, stoppedEarly: false, steps: 15, seconds: 1 };
  show({ type: 'end', result });
  expect(seen.map(([kind]) => kind)).toEqual(['err', 'status', 'err', 'status', 'err', 'status', 'status']);
  expect(seen[1]![1]).toMatch(/^epoch 3\/3 {2}step 12\/15 /);
  expect(seen[2]).toEqual(['err', 'warning: the disk is slow']);
  expect(seen[5]!.slice(-1)).toEqual(['best epoch 2  validation Dice 0.400']);
  expect(seen[6]).toEqual(['status']);
});
