/** Weighted Dice, cross-entropy and both against float64 loops: ignored labels, weights, batch Dice; argmax. */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import {
  argmax,
  lossBackward,
  lossFinalize,
  lossForward,
  lossValues,
  type LossShape,
} from '../../src/ops/loss.ts';
import { loss } from '../reference/loss.ts';
import {
  Bench,
  dense,
  expectClose,
  expectSameBits,
  limitsOf,
  normals,
  randomDense,
  type Dense,
} from '../support/run.ts';

interface Case {
  name: string;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  classes: number;
  shape: Partial<LossShape>;
  diceWeights?: number[];
  entropyWeights?: number[];
  /** Share of voxels that are ignored. */
  ignored?: number;
  /** Logits are multiplied by this. */
  scale?: number;
  /** Labels are taken from these classes only. */
  present?: number[];
  limits?: Partial<PlanLimits>;
  /** That gradients are multiplied by. */
  lossScale?: number;
}

const study = [1, 2, 3, 4, 5, 6].map((weight) => weight / 21);

const cases: Case[] = [
  { name: 'Dice, odd sizes', batch: 2, size: [7, 6, 5], classes: 3, shape: { dice: 1 } },
  {
    name: "Dice with the study's weights",
    batch: 2,
    size: [16, 8, 4],
    classes: 6,
    shape: { dice: 1 },
    diceWeights: study,
  },
  { name: 'Dice over the batch', batch: 3, size: [5, 4, 3], classes: 3, shape: { dice: 1, batchDice: true } },
  {
    name: 'Dice without background, ignored voxels, scaled gradient',
    batch: 2,
    size: [9, 5, 4],
    classes: 4,
    shape: { dice: 1 },
    lossScale: 512,
    diceWeights: [0, 1, 0.5, 2],
    ignored: 0.3,
  },
  {
    name: 'Dice with a class that is absent, and a large s',
    batch: 2,
    size: [6, 5, 3],
    classes: 4,
    shape: { dice: 1, smooth: 1 },
    present: [0, 1, 3],
  },
  { name: 'cross-entropy', batch: 2, size: [7, 6, 5], classes: 3, shape: { crossEntropy: 1 } },
  {
    name: 'cross-entropy with weights and ignored voxels',
    batch: 2,
    size: [9, 5, 4],
    classes: 5,
    shape: { crossEntropy: 1 },
    entropyWeights: [0.1, 1, 2, 0, 4],
    ignored: 0.25,
  },
  {
    name: 'both, large logits',
    batch: 2,
    size: [8, 6, 4],
    classes: 3,
    shape: { dice: 0.5, crossEntropy: 2 },
    diceWeights: [0, 1, 2],
    entropyWeights: [1, 3, 2],
    scale: 20,
  },
  {
    name: "nnU-Net's",
    batch: 2,
    size: [7, 5, 4],
    classes: 3,
    shape: { dice: 1, crossEntropy: 1, negativeDice: true },
    diceWeights: [0, 0.5, 0.5],
    ignored: 0.2,
  },
  {
    name: 'both, z-slabs',
    batch: 2,
    size: [9, 7, 6],
    classes: 3,
    shape: { dice: 1, crossEntropy: 1 },
    ignored: 0.2,
    limits: { maxBindingBytes: 4096 },
  },
];

function labelsFor(count: number, classes: readonly number[], ignored: number): Uint8Array {
  const draws = normals(2 * count);
  const uniform = (i: number) => 0.5 + Math.atan(draws[i]!) / Math.PI;
  return Uint8Array.from({ length: count }, (_, i) =>
    uniform(2 * i) < ignored ? 255 : classes[Math.floor(uniform(2 * i + 1) * classes.length)]!,
  );
}

async function run(
  logits: Dense,
  labels: Uint8Array,
  weights: readonly number[],
  shape: LossShape,
  limits: Partial<PlanLimits> = {},
  scale = 1,
) {
  const [batch, classes, depth, height, width] = logits.shape;
  using bench = new Bench(limits);
  const { recorder } = bench;
  const tensor = bench.volume('logits', logits);
  const truth = bench.labels('labels', [width, height, depth], batch, labels);
  const classWeights = bench.flat('classWeights', weights);
  const results = bench.flat('results', new Float64Array(3 + classes));
  const partials = recorder.flat('partials', batch * depth * lossValues(classes));
  const lossScale = bench.flat('lossScale', [scale]);
  const tensors = { logits: tensor, labels: truth, classWeights, partials };
  lossForward(recorder, 'loss', tensors);
  const samples = { samples: batch, depth };
  const coefficients = lossFinalize(
    recorder,
    'loss',
    { partials, classWeights, results, lossScale },
    samples,
    shape,
  );
  lossBackward(recorder, 'loss backward', { ...tensors, coefficients });
  await bench.run();
  return {
    results: await bench.readFlat(results, 3 + classes),
    dLogits: (await bench.read(tensor)).data,
    dispatches: recorder.dispatches.length,
  };
}

describe.each(cases)('loss: $name', ({ batch, size, classes, limits, ...rest }) => {
  const [x, y, z] = size;
  const values = randomDense([batch, classes, z, y, x]);
  const logits = dense(values.shape, (i) => values.data[i]! * (rest.scale ?? 1));
  const all = Array.from({ length: classes }, (_, c) => c);
  const labels = labelsFor(batch * z * y * x, rest.present ?? all, rest.ignored ?? 0);
  const diceWeights = Float64Array.from(rest.diceWeights ?? all.map(() => 1 / classes), Math.fround);
  const entropyWeights = Float64Array.from(rest.entropyWeights ?? all.map(() => 1), Math.fround);
  const weights = [...diceWeights, ...entropyWeights];
  const shape: LossShape = {
    classes,
    dice: 0,
    crossEntropy: 0,
    smooth: 1e-5,
    batchDice: false,
    ...rest.shape,
  };

  test('value, scores and gradient', async () => {
    const result = await run(logits, labels, weights, shape, limits, rest.lossScale);
    const reference = loss(logits, labels, { ...shape, diceWeights, entropyWeights });
    const [value, dice, entropy, ...scores] = result.results;
    expectClose([value!], [reference.loss], 'loss');
    expectClose([dice!], [reference.dice], 'Dice part');
    expectClose([entropy!], [reference.entropy], 'cross-entropy part');
    expectClose(scores, reference.scores, 'Dice per class');
    const gradient = reference.dLogits.data.map((d) => d * (rest.lossScale ?? 1));
    expectClose(result.dLogits, gradient, 'gradient of the logits');
    labels.forEach((label, i) => {
      const at = Math.floor(i / (x * y * z)) * classes * x * y * z + (i % (x * y * z));
      if (label === 255) expect(result.dLogits[at]).toBe(0);
    });
  });

  if (!limits) return;
  test('the same bits however it is cut', async () => {
    const { dispatches, ...cut } = await run(logits, labels, weights, shape, limits);
    const { dispatches: fewer, ...whole } = await run(logits, labels, weights, shape);
    expect(dispatches).toBeGreaterThan(fewer);
    expectSameBits(cut.results, whole.results, 'results');
    expectSameBits(cut.dLogits, whole.dLogits, 'gradient of the logits');
  });
});

test('loss: a perfect prediction costs nothing, a wrong one the sum of the weights', async () => {
  const labels = Uint8Array.from({ length: 60 }, (_, i) => (i * 7) % 3);
  const certain = (shift: number) =>
    dense([1, 3, 3, 4, 5], (i) => ((labels[i % 60]! + shift) % 3 === Math.floor(i / 60) ? 50 : -50));
  const shape = { classes: 3, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
  const weights = [0.25, 0.25, 0.5, 1, 1, 1];
  expect((await run(certain(0), labels, weights, shape)).results[0]).toBeCloseTo(0, 6);
  expect((await run(certain(1), labels, weights, shape)).results[0]).toBeCloseTo(1, 6);
});

test('loss: where every voxel is ignored, loss and gradient are zero and finite', async () => {
  const logits = randomDense([2, 3, 2, 3, 5]);
  const labels = new Uint8Array(60).fill(255);
  const shape = { classes: 3, dice: 1, crossEntropy: 1, smooth: 1e-5, batchDice: false };
  const result = await run(logits, labels, [1, 1, 1, 1, 1, 1], shape);
  expect([...result.results]).toEqual([0, 0, 0, 1, 1, 1]);
  expect(result.dLogits.every((d) => d === 0)).toBe(true);
});

test('loss: without smoothing, too, where every voxel is ignored', async () => {
  const shape = { classes: 3, dice: 1, crossEntropy: 0, smooth: 0, batchDice: false };
  const result = await run(
    randomDense([2, 3, 2, 3, 5]),
    new Uint8Array(60).fill(255),
    [1, 1, 1, 1, 1, 1],
    shape,
  );
  expect([...result.results].every(Number.isFinite)).toBe(true);
  expect(result.dLogits.every((d) => d === 0)).toBe(true);
});

describe('argmax', () => {
  const few = normals(2 * 4 * 6 * 5 * 7);
  const logits = dense([2, 4, 6, 5, 7], (i) => Math.round(2 * few[i]!)); // ties included
  const expected = Uint8Array.from({ length: 2 * 210 }, (_, i) => {
    const scores = [0, 1, 2, 3].map((c) => logits.data[(Math.floor(i / 210) * 4 + c) * 210 + (i % 210)]!);
    return scores.indexOf(Math.max(...scores));
  });

  test.each([[undefined], [{ maxBindingBytes: 4096 }]])(
    'the first of the largest, limits %o',
    async (limits) => {
      using bench = new Bench(limits ?? {});
      const target = bench.labels('target', [7, 5, 6], 2, new Uint8Array(2 * 210));
      argmax(bench.recorder, 'argmax', bench.volume('logits', logits), target);
      expect(bench.recorder.dispatches.length > 1).toBe(limits !== undefined);
      await bench.run();
      expect(await bench.readLabels(target)).toEqual(expected);
    },
  );
});

describe('loss refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const logits = recorder.volume('logits', 1, 2, [4, 4, 4]);
  const flat = recorder.flat('flat', 64);

  test('labels of another size', () => {
    const labels = recorder.labels('labels', 2, [4, 4, 4]);
    const message = 'op: grids differ: 1×[4,4,4] and 2×[4,4,4]; they must be equal';
    const tensors = { logits, labels, classWeights: flat, partials: flat, coefficients: flat };
    expect(() => lossForward(recorder, 'op', tensors)).toThrow(InvalidOption);
    expect(() => lossForward(recorder, 'op', tensors)).toThrow(message);
    expect(() => lossBackward(recorder, 'op', tensors)).toThrow(message);
    expect(() => argmax(recorder, 'op', logits, labels)).toThrow(message);
  });

  test('planes beyond the binding limit', () => {
    const wide = recorder.volume('wide', 1, 2, [32, 32, 4]);
    const labels = recorder.labels('labels', 1, [32, 32, 4]);
    const tensors = { logits: wide, labels, classWeights: flat, partials: flat };
    expect(() => lossForward(recorder, 'op', tensors)).toThrow(OutOfMemory);
  });
});
