/** Every op, forward and all gradients, against what PyTorch gave in float64 (test/fixtures/pytorch.py). */
import { describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { conv1BackwardInput, conv1BackwardWeight, conv1Forward } from '../../src/ops/conv1.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../src/ops/conv.ts';
import { usualShape, type ConvShape } from '../../src/ops/conv/shape.ts';
import { lossBackward, lossFinalize, lossForward, lossValues } from '../../src/ops/loss.ts';
import { normBackward, normForward, normInference, type NormState } from '../../src/ops/norm.ts';
import { optimizerStep, stepArray, updateArray } from '../../src/ops/optimizer.ts';
import {
  averagePoolBackward,
  coarserLabels,
  poolBackward,
  poolForward,
  pooledSize,
} from '../../src/ops/pool.ts';
import { sumForward } from '../../src/ops/sum.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../../src/ops/upconv.ts';
import conv1Fixture from '../fixtures/torch/conv1.json';
import averagePoolFixture from '../fixtures/torch/average-pool.json';
import convFixture from '../fixtures/torch/conv.json';
import conv3Fixture from '../fixtures/torch/conv3.json';
import lossFixture from '../fixtures/torch/loss.json';
import batchLeaky from '../fixtures/torch/norm-batch-leaky.json';
import batchRelu from '../fixtures/torch/norm-batch-relu.json';
import instanceLeaky from '../fixtures/torch/norm-instance-leaky.json';
import instanceRelu from '../fixtures/torch/norm-instance-relu.json';
import plainNormFixture from '../fixtures/torch/norm-plain.json';
import optimizerFixture from '../fixtures/torch/optimizers.json';
import coarserFixture from '../fixtures/torch/coarser-labels.json';
import poolFixture from '../fixtures/torch/pool.json';
import sparseLossFixture from '../fixtures/torch/sparse-loss.json';
import upconvFixture from '../fixtures/torch/upconv.json';
import { Bench, dense, expectClose, view, type Dense } from '../support/run.ts';
import { bytes, floats, volume, type PackedFloats } from '../support/torch.ts';

const sizeOf = ({ shape: [, , z, y, x] }: Dense): Size3 => [x, y, z];

function parameter(bench: Bench, name: string, packed: PackedFloats) {
  const values = floats(packed);
  return view(bench.flat(name, values), values.length);
}

function result(bench: Bench, name: string, { shape }: PackedFloats) {
  const length = shape.reduce((product, size) => product * size, 1);
  const tensor = bench.flat(name, new Float64Array(length));
  return { view: view(tensor, length), read: () => bench.readFlat(tensor, length) };
}

function output(bench: Bench, name: string, packed: PackedFloats) {
  const like = volume(packed);
  const tensor = bench.output(name, like.shape[0], like.shape[1], sizeOf(like));
  return { tensor, read: async () => (await bench.read(tensor)).data };
}

/** Kernel and stride, of which PyTorch says z first, stand beside the tensors; without, it is 3×3×3 with stride 1. */
const axesOf = (values: readonly number[]): Size3 => [values[2]!, values[1]!, values[0]!];
const convCases: [string, ConvShape, Record<string, PackedFloats>][] = [
  ...Object.entries(conv3Fixture).map(([name, tensors]) => [name, usualShape, tensors] as const),
  ...Object.entries(convFixture).map(
    ([name, { kernel, stride, ...tensors }]) =>
      [name, { kernel: axesOf(kernel), stride: axesOf(stride) }, tensors] as const,
  ),
].map(([name, shape, tensors]) => [name, shape, { ...tensors }]);

test.each(convCases)('conv: %s', async (_, shape, fixture) => {
  using bench = new Bench();
  const { recorder } = bench;
  const [a, b] = [volume(fixture['a']!), fixture['b'] && volume(fixture['b'])];
  const first = { tensor: bench.volume('a', a) };
  const second = b && { tensor: bench.volume('b', b) };
  const inChannels = a.shape[1] + (b?.shape[1] ?? 0);
  const weights = parameter(bench, 'weight', fixture['weight']!);
  const bias = parameter(bench, 'bias', fixture['bias']!);
  const dOutput = bench.volume('dOutput', volume(fixture['dOutput']!));
  const target = output(bench, 'output', fixture['output']!);
  const [dA, dB] = [output(bench, 'dA', fixture['dA']!), fixture['dB'] && output(bench, 'dB', fixture['dB'])];
  const dWeight = result(bench, 'dWeight', fixture['dWeight']!);
  const dBias = result(bench, 'dBias', fixture['dBias']!);

  const inputs = second ? ([first, second] as const) : ([first] as const);
  convForward(recorder, 'conv', { inputs, weights, bias, target: target.tensor }, shape);
  const [toInput, toWeights] = [
    { dOutput, weights },
    { dOutput, dWeights: dWeight.view },
  ];
  convBackwardInput(recorder, 'dA', { ...toInput, dInput: dA.tensor }, { inChannels }, shape);
  convBackwardWeight(recorder, 'dW a', { ...toWeights, input: first }, { inChannels }, shape);
  if (second && dB) {
    const place = { inChannels, first: a.shape[1] };
    convBackwardInput(recorder, 'dB', { ...toInput, dInput: dB.tensor }, place, shape);
    convBackwardWeight(recorder, 'dW b', { ...toWeights, input: second }, place, shape);
  }
  biasGradient(recorder, 'dBias', dOutput, dBias.view);
  await bench.run();
  expectClose(await target.read(), floats(fixture['output']!), 'output');
  expectClose(await dA.read(), floats(fixture['dA']!), 'gradient of the first input');
  if (dB) expectClose(await dB.read(), floats(fixture['dB']!), 'gradient of the second input');
  expectClose(await dWeight.read(), floats(fixture['dWeight']!), 'gradient of the weights');
  expectClose(await dBias.read(), floats(fixture['dBias']!), 'gradient of the bias');
});

const linear = [
  {
    name: 'conv1',
    fixture: conv1Fixture['5 to 3'],
    forward: conv1Forward,
    input: conv1BackwardInput,
    weight: conv1BackwardWeight,
  },
  {
    name: 'upconv',
    fixture: upconvFixture['4 to 3'],
    forward: upconvForward,
    input: upconvBackwardInput,
    weight: upconvBackwardWeight,
  },
];

test.each(linear)('$name', async ({ fixture, ...op }) => {
  using bench = new Bench();
  const { recorder } = bench;
  const input = { tensor: bench.volume('input', volume(fixture.input)) };
  const weights = parameter(bench, 'weight', fixture.weight);
  const bias = parameter(bench, 'bias', fixture.bias);
  const dOutput = bench.volume('dOutput', volume(fixture.dOutput));
  const target = output(bench, 'output', fixture.output);
  const dInput = output(bench, 'dInput', fixture.dInput);
  const dWeight = result(bench, 'dWeight', fixture.dWeight);
  const dBias = result(bench, 'dBias', fixture.dBias);
  op.forward(recorder, 'forward', { input, weights, bias, target: target.tensor });
  op.input(recorder, 'dInput', { dOutput, weights, dInput: dInput.tensor });
  op.weight(recorder, 'dWeight', { input, dOutput, dWeights: dWeight.view });
  biasGradient(recorder, 'dBias', dOutput, dBias.view);
  await bench.run();
  expectClose(await target.read(), floats(fixture.output), 'output');
  expectClose(await dInput.read(), floats(fixture.dInput), 'gradient of the input');
  expectClose(await dWeight.read(), floats(fixture.dWeight), 'gradient of the weights');
  expectClose(await dBias.read(), floats(fixture.dBias), 'gradient of the bias');
});

test.each(Object.values(coarserFixture.coarser))('nearest-exact labels, stride $stride', async (fixture) => {
  using bench = new Bench();
  const [batch, z, y, x] = coarserFixture.labels.shape as [number, number, number, number];
  const stride = fixture.stride as unknown as Size3;
  const source = bench.labels('labels', [x, y, z], batch, bytes(coarserFixture.labels));
  const target = bench.labels('coarser', pooledSize([x, y, z], stride), batch, []);
  coarserLabels(bench.recorder, 'coarser', { source, target }, stride);
  await bench.run();
  expect(await bench.readLabels(target)).toEqual(bytes(fixture.labels));
});

test('max-pool, with ties', async () => {
  const fixture = poolFixture.ties;
  using bench = new Bench();
  const source = { tensor: bench.volume('input', volume(fixture.input)) };
  const target = output(bench, 'output', fixture.output);
  const dInput = bench.volume('dInput', dense(volume(fixture.input).shape));
  poolForward(bench.recorder, 'forward', { source, target: target.tensor });
  const dTarget = bench.volume('dOutput', volume(fixture.dOutput));
  poolBackward(bench.recorder, 'backward', { source, dTarget, dSource: dInput });
  await bench.run();
  expectClose(await target.read(), floats(fixture.output), 'output', 0);
  expectClose((await bench.read(dInput)).data, floats(fixture.dInput), 'gradient of the input', 0);
});

test.each(Object.values(averagePoolFixture))('average-pool, stride $stride (z, y, x)', async (fixture) => {
  using bench = new Bench();
  const stride = axesOf(fixture.stride);
  const source = { tensor: bench.volume('input', volume(fixture.input)) };
  const target = output(bench, 'output', fixture.output);
  const dInput = output(bench, 'dInput', fixture.dInput);
  poolForward(bench.recorder, 'forward', { source, target: target.tensor }, stride, 'average');
  const dTarget = bench.volume('dOutput', volume(fixture.dOutput));
  averagePoolBackward(bench.recorder, 'backward', { dTarget, dSource: dInput.tensor }, stride);
  await bench.run();
  expectClose(await target.read(), floats(fixture.output), 'output');
  expectClose(await dInput.read(), floats(fixture.dInput), 'gradient of the input');
});

test.each(Object.values(plainNormFixture))(
  '$kind norm without weight and bias, slope $slope',
  async (fixture) => {
    using bench = new Bench();
    const { recorder } = bench;
    const { slope } = fixture;
    const values = volume(fixture.input);
    const source = bench.volume('source', values);
    const running = bench.flat('running', new Float64Array(64 + values.shape[1]));
    const state: NormState = {
      kind: fixture.kind === 'batch' ? 'batch' : 'instance',
      biasOffset: 0,
      running: view(running, 64 + values.shape[1]),
      varianceOffset: 64,
      epsilon: 1e-5,
      momentum: 0.1,
    };
    const result = normForward(recorder, 'norm', source, state);
    const target = output(bench, 'output', fixture.output);
    const zero = bench.volume('zero', dense(values.shape));
    const seen = { tensor: source, scaleShifts: result.scaleShifts, slope };
    sumForward(recorder, 'read', [seen, { tensor: zero }], target.tensor);
    const dActivated = bench.volume('dOutput', volume(fixture.dOutput));
    normBackward(recorder, 'backward', { source, dActivated, result }, { ...state, slope });
    await bench.run();
    expectClose(await target.read(), floats(fixture.output), 'output');
    expectClose((await bench.read(source)).data, floats(fixture.dInput), 'gradient of the input');
  },
);

describe('norm', () => {
  const second = 64;
  const pair = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    const words = new Float64Array(second + b.length);
    words.set(Float64Array.from(a));
    words.set(Float64Array.from(b), second);
    return words;
  };

  interface NormFixture {
    kind: string;
    slope: number;
    input: PackedFloats;
    weight: PackedFloats;
    bias: PackedFloats;
    output: PackedFloats;
    dOutput: PackedFloats;
    dInput: PackedFloats;
    dWeight: PackedFloats;
    dBias: PackedFloats;
    runningMean?: PackedFloats;
    runningVar?: PackedFloats;
    nextMean?: PackedFloats;
    nextVar?: PackedFloats;
    evaluated?: PackedFloats;
  }
  const fixtures: Record<string, NormFixture> = {
    ...batchRelu,
    ...batchLeaky,
    ...instanceRelu,
    ...instanceLeaky,
  };

  test.each(Object.entries(fixtures))('%s', async (_, fixture) => {
    using bench = new Bench();
    const { recorder } = bench;
    const values = volume(fixture.input);
    const [batch, channels] = values.shape;
    const length = second + channels;
    const { runningMean, runningVar, nextMean, nextVar, evaluated, slope } = fixture;
    const before = pair(
      runningMean ? floats(runningMean) : new Float64Array(channels),
      runningVar ? floats(runningVar) : new Float64Array(channels),
    );
    const running = bench.flat('running', before);
    const weightBias = bench.flat('weightBias', pair(floats(fixture.weight), floats(fixture.bias)));
    const state: NormState = {
      kind: fixture.kind === 'batch' ? 'batch' : 'instance',
      weightBias: view(weightBias, length),
      biasOffset: second,
      running: view(running, length),
      varianceOffset: second,
      epsilon: 1e-5,
      momentum: 0.1,
    };
    const source = bench.volume('source', values);
    const identity = Float64Array.from({ length: channels ** 2 }, (_, i) => Number(i % (channels + 1) === 0));
    const readThrough = (name: string, scaleShifts: Tensor) => {
      const target = output(bench, name, fixture.output);
      const weights = view(bench.flat(`${name} weights`, identity), identity.length);
      const input = { tensor: source, scaleShifts, slope };
      conv1Forward(recorder, name, { input, weights, target: target.tensor });
      return target;
    };
    const inference = readThrough('inference', normInference(recorder, 'inference', batch, channels, state));
    const trained = normForward(recorder, 'norm', source, state);
    const training = readThrough('training', trained.scaleShifts);
    const dWeightBias = bench.flat('dWeightBias', new Float64Array(length));
    const dActivated = bench.volume('dOutput', volume(fixture.dOutput));
    const gradients = { dActivated, dWeightBias: view(dWeightBias, length) };
    normBackward(recorder, 'backward', { source, result: trained, ...gradients }, { ...state, slope });
    await bench.run();

    expectClose(await training.read(), floats(fixture.output), 'output');
    expectClose((await bench.read(source)).data, floats(fixture.dInput), 'gradient of the input');
    const words = await bench.readFlat(dWeightBias, length);
    expectClose(words.slice(0, channels), floats(fixture.dWeight), 'gradient of the weight');
    expectClose(words.slice(second), floats(fixture.dBias), 'gradient of the bias');
    if (nextMean && nextVar && evaluated) {
      const next = await bench.readFlat(running, length);
      expectClose(next.slice(0, channels), floats(nextMean), 'running mean');
      expectClose(next.slice(second), floats(nextVar), 'running variance');
      expectClose(await inference.read(), floats(evaluated), 'output in evaluation');
    }
  });
});

test.each(Object.entries({ ...lossFixture, ...sparseLossFixture }))('loss: %s', async (_, fixture) => {
  using bench = new Bench();
  const { recorder } = bench;
  const logits = volume(fixture.logits);
  const [batch, classes, depth] = logits.shape;
  const tensor = bench.volume('logits', logits);
  const labels = bench.labels('labels', sizeOf(logits), batch, bytes(fixture.labels));
  const classWeights = bench.flat('classWeights', [...fixture.diceWeights, ...fixture.entropyWeights]);
  const results = bench.flat('results', new Float64Array(3 + classes));
  const partials = recorder.flat('partials', batch * depth * lossValues(classes));
  const lossScale = bench.flat('lossScale', [1]);
  const { dice, crossEntropy, smooth, batchDice } = fixture;
  const shape = { classes, dice, crossEntropy, smooth, batchDice };
  const tensors = { logits: tensor, labels, classWeights, partials };
  lossForward(recorder, 'loss', tensors);
  const samples = { samples: batch, depth };
  const coefficients = lossFinalize(
    recorder,
    'loss',
    { partials, classWeights, results, lossScale },
    samples,
    shape,
  );
  lossBackward(recorder, 'backward', { ...tensors, coefficients });
  await bench.run();
  expectClose((await bench.readFlat(results, 3 + classes)).slice(0, 1), [fixture.loss], 'loss');
  expectClose((await bench.read(tensor)).data, floats(fixture.dLogits), 'gradient of the logits');
});

interface OptimizerFixture {
  lr: number;
  weight_decay: number;
  betas?: number[];
  eps?: number;
  momentum?: number;
  nesterov?: boolean;
  maxNorm: number | null;
  initial: PackedFloats;
  gradients: PackedFloats;
  final: PackedFloats;
}

test.each(Object.entries<OptimizerFixture>(optimizerFixture))('optimizer: %s', async (name, fixture) => {
  const { lr, weight_decay, eps = 0, nesterov = false, maxNorm } = fixture;
  const [beta1 = 0, beta2 = 0] = fixture.betas ?? [fixture.momentum!];
  const kind = name.startsWith('SGD') ? 'sgd' : name === 'AdamW' ? 'adamw' : 'adam';
  const initial = floats(fixture.initial);
  const given = floats(fixture.gradients);
  using bench = new Bench();
  const parameters = bench.flat('parameters', initial);
  const [first, second] = [
    bench.flat(
      'first',
      initial.map(() => 0),
    ),
    bench.flat(
      'second',
      initial.map(() => 0),
    ),
  ];
  const update = bench.flat('update', updateArray());
  const results = bench.flat('results', [0]);
  const lossScale = bench.flat('lossScale', [1, 0]);
  const steps = given.length / initial.length;
  for (let t = 1; t <= steps; t++) {
    const gradients = bench.flat(`g${t}`, given.subarray((t - 1) * initial.length, t * initial.length));
    const values = stepArray({
      learningRate: lr,
      beta1,
      beta2,
      epsilon: eps,
      weightDecay: weight_decay,
      maxNorm: maxNorm ?? Infinity,
      applied: t - 1,
    });
    const step = bench.flat(`step ${t}`, values);
    const tensors = { parameters, gradients, first, second, step, update, results, lossScale };
    optimizerStep(bench.recorder, `step ${t}`, tensors, { kind, length: initial.length, nesterov });
  }
  await bench.run();
  const final = await bench.readFlat(parameters, initial.length);
  const moved = (values: ArrayLike<number>) => initial.map((value, i) => values[i]! - value);
  expect(steps).toBe(6);
  expectClose(moved(final), moved(floats(fixture.final)), 'change of the parameters');
});
