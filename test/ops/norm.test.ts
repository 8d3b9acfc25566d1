/** Batch and instance norm with activation against float64 loops: statistics, running statistics, gradients. */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Recorder, type PlanLimits, type Tensor, type VolumeTensor } from '../../src/gpu/plan.ts';
import { conv1Forward } from '../../src/ops/conv1.ts';
import {
  normBackward,
  normForward,
  normInference,
  type NormKind,
  type NormState,
} from '../../src/ops/norm.ts';
import { norm, normGradients, normInference as inference, runningStatistics } from '../reference/norm.ts';
import {
  Bench,
  dense,
  expectClose,
  expectSameBits,
  limitsOf,
  normals,
  randomDense,
  view,
} from '../support/run.ts';

interface Case {
  name: string;
  kind: Exclude<NormKind, 'group'>;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  channels: number;
  slope: number;
  /** Added to every voxel: statistics must not cancel. */
  offset?: number;
  limits?: Partial<PlanLimits>;
}

const cases: Case[] = [
  { name: 'batch, ReLU, odd sizes', kind: 'batch', batch: 2, size: [7, 6, 5], channels: 5, slope: 0 },
  { name: 'batch, whole tiles', kind: 'batch', batch: 2, size: [16, 8, 4], channels: 8, slope: 0.01 },
  {
    name: 'batch, far from zero',
    kind: 'batch',
    batch: 2,
    size: [9, 5, 4],
    channels: 3,
    slope: 0,
    offset: 20,
  },
  { name: 'batch of one, no activation', kind: 'batch', batch: 1, size: [3, 2, 2], channels: 2, slope: 1 },
  { name: 'instance, leaky ReLU', kind: 'instance', batch: 3, size: [7, 6, 5], channels: 4, slope: 0.01 },
  { name: 'instance, ReLU, one plane', kind: 'instance', batch: 2, size: [8, 4, 1], channels: 3, slope: 0 },
  {
    name: 'batch, z-slabs',
    kind: 'batch',
    batch: 2,
    size: [9, 7, 6],
    channels: 3,
    slope: 0.01,
    limits: { maxBindingBytes: 4096 },
  },
  {
    name: 'instance, z-slabs',
    kind: 'instance',
    batch: 2,
    size: [9, 7, 6],
    channels: 3,
    slope: 0,
    limits: { maxBindingBytes: 4096 },
  },
];

const epsilon = 1e-5;
const momentum = 0.1;
/** As the model lays them out: the second of a pair begins at the next binding. */
const second = 64;

function pair(first: Float64Array, other: Float64Array): Float64Array {
  const words = new Float64Array(second + other.length);
  words.set(first);
  words.set(other, second);
  return words;
}

function stateOf(kind: NormKind, weightBias: Tensor, running: Tensor, channels: number): NormState {
  return {
    kind,
    weightBias: view(weightBias, second + channels),
    biasOffset: second,
    running: view(running, second + channels),
    varianceOffset: second,
    epsilon,
    momentum,
  };
}

/** Reads a volume through scale, shift and activation, as every consumer of a norm does. */
function readThrough(bench: Bench, source: VolumeTensor, scaleShifts: Tensor, slope: number): VolumeTensor {
  const { batch, channels, size } = source;
  const identity = Float64Array.from({ length: channels ** 2 }, (_, i) => Number(i % (channels + 1) === 0));
  const target = bench.output('activated', batch, channels, size);
  const weights = view(bench.flat('identity', identity), identity.length);
  const input = { tensor: source, scaleShifts, slope };
  conv1Forward(bench.recorder, 'read', { input, weights, target });
  return target;
}

const variants = (['parallel', 'serial'] as const).flatMap((reduction) =>
  cases.map((one) => ({ ...one, reduction })),
);

describe.each(variants)('norm, $reduction: $name', ({ kind, batch, size, channels, slope, ...rest }) => {
  const { offset = 0, limits } = rest;
  const kernels = { ...kernelChoices.hardware, reduction: rest.reduction };
  const [x, y, z] = size;
  const values = randomDense([batch, channels, z, y, x]);
  const source = dense(values.shape, (i) => Math.fround(values.data[i]! + offset));
  const gamma = normals(channels);
  const beta = normals(channels);
  const mean = normals(channels);
  const variance = normals(channels).map((value) => Math.fround(value * value + 0.5));
  const dOutput = randomDense(source.shape);

  async function run(limits: Partial<PlanLimits> = {}) {
    using bench = new Bench({ kernels, ...limits });
    const { recorder } = bench;
    const tensor = bench.volume('source', source);
    const running = bench.flat('running', pair(mean, variance));
    const state = stateOf(kind, bench.flat('weightBias', pair(gamma, beta)), running, channels);
    const result = normForward(recorder, 'norm', tensor, state);
    const activated = readThrough(bench, tensor, result.scaleShifts, slope);
    const dWeightBias = bench.flat('dWeightBias', new Float64Array(second + channels));
    const upstream = bench.volume('dActivated', dOutput);
    const gradients = { dActivated: upstream, dWeightBias: view(dWeightBias, second + channels) };
    normBackward(recorder, 'norm', { source: tensor, result, ...gradients }, { ...state, slope });
    await bench.run();
    const words = await bench.readFlat(dWeightBias, second + channels);
    const statistics = await bench.readFlat(running, second + channels);
    return {
      activated: (await bench.read(activated)).data,
      dInput: (await bench.read(tensor)).data,
      dGamma: words.slice(0, channels),
      dBeta: words.slice(second),
      mean: statistics.slice(0, channels),
      variance: statistics.slice(second),
      dispatches: recorder.dispatches.length,
    };
  }

  test('forward, running statistics and gradients', async () => {
    const result = await run(limits);
    const options = { kind, epsilon, slope };
    const reference = normGradients(source, gamma, beta, dOutput, options);
    expectClose(result.activated, norm(source, gamma, beta, options).data, 'output');
    expectClose(result.dInput, reference.dInput.data, 'gradient of the input');
    expectClose(result.dGamma, reference.dGamma, 'gradient of the weight');
    expectClose(result.dBeta, reference.dBeta, 'gradient of the bias');
    if (kind === 'batch') {
      const next = runningStatistics(source, mean, variance, momentum);
      expectClose(result.mean, next.mean, 'running mean');
      expectClose(result.variance, next.variance, 'running variance');
    } else {
      expectSameBits(result.mean, mean, 'running mean untouched');
      expectSameBits(result.variance, variance, 'running variance untouched');
    }
  });

  if (!limits) return;
  test('the same bits however it is cut', async () => {
    const { dispatches, ...cut } = await run(limits);
    const { dispatches: fewer, ...whole } = await run();
    expect(dispatches).toBeGreaterThan(fewer);
    for (const [name, values] of Object.entries(cut))
      expectSameBits(values, whole[name as keyof typeof whole], name);
  });
});

test.each([0, 0.01, 1])('norm: inference uses the running statistics (slope %s)', async (slope) => {
  const channels = 5;
  const source = randomDense([2, channels, 3, 4, 5]);
  const [gamma, beta, mean] = [normals(channels), normals(channels), normals(channels)];
  const variance = normals(channels).map((value) => Math.fround(value * value));
  using bench = new Bench();
  const tensor = bench.volume('source', source);
  const running = bench.flat('running', pair(mean, variance));
  const state = stateOf('batch', bench.flat('weightBias', pair(gamma, beta)), running, channels);
  const scaleShifts = normInference(bench.recorder, 'norm', 2, channels, state);
  const target = readThrough(bench, tensor, scaleShifts, slope);
  await bench.run();
  const expected = inference(source, gamma, beta, { mean, variance }, { epsilon, slope });
  expectClose((await bench.read(target)).data, expected.data, 'output');
  const after = await bench.readFlat(running, second + channels);
  expectSameBits(after, pair(mean, variance), 'running statistics untouched');
});

describe('norm refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const source = recorder.volume('source', 1, 2, [4, 4, 4]);
  const flat = recorder.flat('weightBias', second + 2);
  const state = stateOf('batch', flat, recorder.flat('running', second + 2), 2);

  test('a gradient of another size', () => {
    const result = { scaleShifts: recorder.flat('scaleShifts', 4), saved: recorder.flat('saved', 4) };
    const other = recorder.volume('other', 1, 2, [4, 5, 4]);
    const tensors = { source, dActivated: other, result, dWeightBias: view(flat, second + 2) };
    const backward = () => normBackward(recorder, 'op', tensors, { ...state, slope: 0 });
    expect(backward).toThrow(InvalidOption);
    expect(backward).toThrow('op: grids differ: 1×[4,4,4] and 1×[4,5,4]; they must be equal');
  });

  test('too few weights', () => {
    const three = recorder.volume('three', 1, 3, [4, 4, 4]);
    expect(() => normForward(recorder, 'op', three, state)).toThrow(
      'op: weightBias holds 66 numbers; 67 are needed',
    );
  });

  test('planes beyond the binding limit', () => {
    const wide = recorder.volume('wide', 1, 2, [32, 32, 4]);
    expect(() => normForward(recorder, 'op', wide, state)).toThrow(OutOfMemory);
  });
});
