/**
 * 3×3×3 convolution against float64 loops: one and two inputs, norms in front, odd shapes, tiny bindings. On matrix units,
 * too: those of the adapter, and emulated ones of the sizes that GPUs have.
 */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import { runsOn } from '../../src/gpu/passes.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import {
  fits,
  forwardNeeds,
  forwardTiles,
  isForwardTile,
  isWeightTile,
  weightNeeds,
  weightTiles,
} from '../../src/gpu/tiles.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../src/ops/conv.ts';
import { operandTolerance } from '../../src/gpu/matrix-units.ts';
import { testDevice } from '../support/device.ts';
import { leaveToNode } from '../support/left-to-node.ts';
import { always, kernelsOnMatrices, kernelsOnOthers, tellSizesLeftOut } from '../support/matrices.ts';
import { activate, channels, concatenate } from '../reference/activate.ts';
import { conv, convGradients } from '../reference/conv.ts';
import {
  activatedInput,
  Bench,
  type Dense,
  expectClose,
  expectSameBits,
  halves,
  limitsOf,
  normals,
  randomDense,
  view,
} from '../support/run.ts';

interface Case {
  name: string;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  inputs: readonly [number, number?];
  out: number;
  norm?: boolean;
  slope?: number;
  precision?: Precision;
  /** A device with matrix units, in place of the test device. */
  gpu?: Gpu | undefined;
  limits?: Partial<PlanLimits>;
  /** Of the uncut run, too. */
  common?: Partial<PlanLimits>;
  /** Bindings too small for the partial sums: weight gradients are summed in another order. */
  otherChunks?: boolean;
  /** Tried with every tile; other cases only with typical ones, and not on SwiftShader. */
  forTiles?: boolean;
}

const cases: Case[] = [
  { name: 'odd sizes, 3 → 5', batch: 2, size: [7, 6, 5], inputs: [3], out: 5, forTiles: true },
  { name: 'one channel', batch: 1, size: [9, 5, 4], inputs: [1], out: 8 },
  { name: 'whole tiles, 8 → 16', batch: 2, size: [16, 8, 4], inputs: [8], out: 16 },
  {
    name: 'several blocks of every tile',
    batch: 2,
    size: [69, 19, 5],
    inputs: [2],
    out: 17,
    norm: true,
    forTiles: true,
  },
  {
    name: 'fours of quads, the last cut',
    batch: 1,
    size: [30, 6, 4],
    inputs: [3],
    out: 9,
    norm: true,
    slope: 0,
  },
  {
    name: 'samples that begin in the middle of two planes',
    batch: 2,
    size: [13, 9, 3],
    inputs: [2],
    out: 7,
    norm: true,
    slope: 0.01,
  },
  { name: 'one voxel', batch: 1, size: [1, 1, 1], inputs: [2], out: 3 },
  { name: 'behind a norm with ReLU', batch: 2, size: [6, 5, 3], inputs: [4], out: 9, norm: true, slope: 0 },
  {
    name: 'two inputs, first behind a leaky norm',
    forTiles: true,
    batch: 2,
    size: [5, 7, 3],
    inputs: [3, 6],
    out: 4,
    norm: true,
    slope: 0.01,
  },
  {
    name: 'two inputs in float16',
    batch: 1,
    size: [10, 5, 3],
    inputs: [2, 3],
    out: 4,
    norm: true,
    slope: 0.01,
    precision: 'f16',
  },
  {
    name: 'z-slabs forced by the binding limit',
    batch: 2,
    size: [16, 8, 6],
    inputs: [4, 2],
    out: 4,
    norm: true,
    slope: 0,
    limits: { maxBindingBytes: 8192 },
    otherChunks: true,
  },
  {
    name: 'z-slabs of odd planes',
    forTiles: true,
    batch: 2,
    size: [11, 9, 6],
    inputs: [3, 2],
    out: 3,
    norm: true,
    slope: 0.01,
    limits: { maxBindingBytes: 12288 },
  },
  {
    name: 'cut by work',
    forTiles: true,
    batch: 2,
    size: [7, 6, 5],
    inputs: [3],
    out: 5,
    limits: { maxDispatchFlops: 60000 },
  },
  {
    name: 'cut by work inside chunks of planes',
    forTiles: true,
    batch: 2,
    size: [7, 6, 5],
    inputs: [3],
    out: 5,
    common: { maxBindingBytes: 12288 },
    limits: { maxDispatchFlops: 60000 },
  },
  {
    name: 'cut by work inside chunks, by blocks of channels',
    batch: 1,
    size: [5, 3, 2],
    inputs: [18],
    out: 35,
    limits: { maxDispatchFlops: 100_000 },
  },
];

/** Two blocks along each axis, of channels and of outputs. */
const blocks: Case = {
  name: 'emulated',
  batch: 1,
  size: [19, 5, 5],
  inputs: [18],
  out: 17,
  norm: true,
  slope: 0.01,
};

const { hardware } = kernelChoices;
const { adapterClass, device, abilities } = await testDevice();
const onMatrices = await kernelsOnMatrices();
const emulated = await kernelsOnOthers();
const isOfBlocks = ({ name }: Case): boolean => name === 'several blocks of every tile';
const matrixVariants = [
  ...onMatrices.flatMap(({ gpu, name, widest }) =>
    cases.map((each) => ({ each, gpu, conv3: isOfBlocks(each) ? widest : name })),
  ),
  ...emulated.flatMap(({ gpu, name, flat }, i) =>
    [name, ...(i === 0 ? [flat] : [])].map((conv3) => ({ each: blocks, gpu, conv3 })),
  ),
];
const forwardNames = Object.keys(forwardTiles)
  .filter(isForwardTile)
  .filter((name) => fits(forwardNeeds(forwardTiles[name]), device.limits));
const weightNames = Object.keys(weightTiles)
  .filter(isWeightTile)
  .filter((name) => fits(weightNeeds(weightTiles[name]), device.limits));
// Sizes apart, tiles are one code each with four, eight or sixteen output channels: these stand for the others.
const typical: string[] = [
  'tiled 8x8x8, 8',
  'tiled 16x8x4, 16',
  'tiled 8x16, 16x2, 4',
  'tiled 16x16, 16x2, 8',
];
const slow = adapterClass === 'swiftshader';
const own = slow ? ({ code: 'short' } as const) : {};
// SwiftShader compiles a tile for seconds: there, only those that stand for others are tried.
const leftOut = [...forwardNames, ...weightNames].filter((name) => slow && !typical.includes(name));
const isTried = (name: (typeof leftOut)[number]): boolean => !leftOut.includes(name);
const casesOf = (tile: string): Case[] =>
  cases.filter(({ forTiles = false }) => forTiles || (!slow && typical.includes(tile)));
const hasSubgroup = runsOn('subgroup', abilities);
const simple = ['voxels', 'channels', ...(hasSubgroup ? (['subgroup'] as const) : [])] as const;
const variants = leaveToNode(
  'conv3',
  [
    ...simple.flatMap((conv3) =>
      cases.map((one) => ({ ...one, variant: conv3, kernels: { ...hardware, conv3, ...own } })),
    ),
    ...cases
      .filter(({ out }) => out > 8)
      .map((one) => ({
        ...one,
        variant: 'channels, 16 at a time',
        kernels: { ...hardware, conv3: 'channels' as const, lanes: 16 as const },
      })),
    ...cases
      .filter(({ forTiles }) => forTiles && !slow)
      .map((one) => ({ ...one, variant: 'voxels, short', kernels: { ...hardware, code: 'short' as const } })),
    ...forwardNames.filter(isTried).flatMap((conv3) =>
      casesOf(conv3).map((one) => ({
        ...one,
        variant: `forward ${conv3}`,
        kernels: { ...hardware, conv3 },
      })),
    ),
    ...weightNames.filter(isTried).flatMap((conv3Weights) =>
      casesOf(conv3Weights).map((one) => ({
        ...one,
        variant: `weight gradient ${conv3Weights}`,
        kernels: { ...hardware, conv3Weights },
        otherChunks: one.limits?.maxBindingBytes !== undefined,
      })),
    ),
    ...matrixVariants.map(({ each, gpu, conv3 }) => ({
      ...each,
      variant: conv3,
      kernels: { ...hardware, conv3, conv3Weights: conv3 },
      otherChunks: each.limits?.maxBindingBytes !== undefined,
      gpu,
    })),
  ].map((one) => ({ ...one, name: `${one.variant}: ${one.name}` })),
  ({ name }) => !/^voxels: |odd sizes/.test(name),
);

describe.each(variants)(
  'conv3, $name',
  ({ batch, size, inputs, out, norm, kernels, common, precision, gpu, ...rest }) => {
    const { slope = 0 } = rest;
    const given = (values: Float64Array): Float64Array => (gpu ? halves(values) : values);
    const [x, y, z] = size;
    const [ca, cb = 0] = inputs;
    const volume = (channels: number): Dense => {
      const values = randomDense([batch, channels, z, y, x]);
      return { ...values, data: given(values.data) };
    };
    const a = volume(ca);
    const b = cb > 0 ? volume(cb) : undefined;
    const scaleShifts = normals(batch * ca * 2);
    const weights = given(normals(out * (ca + cb) * 27));
    const bias = normals(out);
    const dOutput = volume(out);

    async function run(limits: Partial<PlanLimits> = {}) {
      using bench = new Bench({ kernels, ...common, ...limits }, precision, gpu);
      const { recorder } = bench;
      const tensorA = bench.volume('a', a);
      const first = norm ? activatedInput(bench, tensorA, scaleShifts, slope) : { tensor: tensorA };
      const second = b ? { tensor: bench.volume('b', b) } : undefined;
      const w = view(bench.flat('weights', weights), weights.length);
      const target = bench.output('target', batch, out, size);
      const both = second ? ([first, second] as const) : ([first] as const);
      const b0 = view(bench.flat('bias', bias), out);
      convForward(recorder, 'forward', { inputs: both, weights: w, bias: b0, target });

      const inChannels = ca + cb;
      const upstream = bench.volume('dOutput', dOutput);
      const gradients = { dOutput: upstream, weights: w };
      const dA = bench.output('dA', batch, ca, size);
      convBackwardInput(recorder, 'dA', { ...gradients, dInput: dA }, { inChannels, first: 0 });
      const added = bench.volume('added', a);
      const addTo = { ...gradients, dInput: added };
      convBackwardInput(recorder, 'added', addTo, { inChannels, first: 0, add: true });
      const dB = second && bench.output('dB', batch, cb, size);
      if (dB) convBackwardInput(recorder, 'dB', { ...gradients, dInput: dB }, { inChannels, first: ca });
      const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
      const dView = view(dWeights, weights.length);
      const toWeights = { dOutput: upstream, dWeights: dView };
      convBackwardWeight(recorder, 'dW a', { ...toWeights, input: first }, { inChannels, first: 0 });
      if (second)
        convBackwardWeight(recorder, 'dW b', { ...toWeights, input: second }, { inChannels, first: ca });
      const dBias = bench.flat('dBias', new Float64Array(out));
      biasGradient(recorder, 'dBias', upstream, view(dBias, out));
      await bench.run();
      return {
        target: (await bench.read(target)).data,
        dA: (await bench.read(dA)).data,
        added: (await bench.read(added)).data,
        ...(dB && { dB: (await bench.read(dB)).data }),
        dWeights: await bench.readFlat(dWeights, weights.length),
        dBias: await bench.readFlat(dBias, out),
        dispatches: recorder.dispatches.length,
      };
    }

    test('forward and gradients', async () => {
      const result = await run(rest.limits);
      const seen = norm ? activate(a, scaleShifts, slope) : a;
      const input = b ? concatenate(seen, b) : seen;
      const reference = convGradients(input, weights, dOutput);
      // Matrix units are given numbers that float16 holds: what they compute is then float32's, unless a norm comes between.
      const close = (
        actual: ArrayLike<number>,
        expected: ArrayLike<number>,
        label: string,
        rounded = false,
      ) => {
        const tolerance = rounded ? operandTolerance : undefined;
        expectClose(actual, expected, label, precision === 'f16' ? 1e-3 : tolerance);
      };
      const normed = gpu !== undefined && norm === true;
      close(result.target, conv(input, weights, bias, out).data, 'output', normed);
      const dA = channels(reference.dInput, 0, ca).data;
      close(result.dA, dA, 'gradient of the first input');
      const sum = dA.map((d, i) => d + a.data[i]!);
      close(result.added, sum, 'gradient of the first input on top of another');
      if (result.dB)
        close(result.dB, channels(reference.dInput, ca, ca + cb).data, 'gradient of the second input');
      close(result.dWeights, reference.dWeights, 'gradient of the weights', normed);
      close(result.dBias, reference.dBias, 'gradient of the bias');
    });

    if (!rest.limits) return;
    test('the same bits however it is cut', async () => {
      const { dispatches, ...cut } = await run(rest.limits);
      const { dispatches: fewer, ...whole } = await run();
      expect(dispatches).toBeGreaterThan(fewer);
      for (const [name, values] of Object.entries(cut)) {
        if (name === 'dWeights' && rest.otherChunks)
          expectClose(values, whole.dWeights, name, gpu && operandTolerance);
        else expectSameBits(values, whole[name as keyof typeof whole]!, name);
      }
    });
  },
);

await tellSizesLeftOut();
if (emulated.length === 0)
  test('conv3, emulated matrix units', ({ skip }) =>
    skip('they are tried in Node, where the adapter has float16'));
if (onMatrices.length === 0)
  test('conv3, matrix units', ({ skip }) => {
    skip('the adapter offers none; they are tried on lavapipe 26 and on GPUs that have them');
  });

if (leftOut.length > 0)
  test(`conv3, ${leftOut.join('; ')}`, ({ skip }) => {
    skip('SwiftShader compiles each for seconds; they are tried on lavapipe and on hardware');
  });

test.skipIf(hasSubgroup)('conv3, subgroup', ({ skip }) => {
  skip('it takes subgroups of 16 threads, as lavapipe has on processors with vectors of 512 bits');
});

describe('conv3 refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const input = { tensor: recorder.volume('input', 1, 2, [4, 4, 4]) };
  const weights = view(recorder.flat('weights', 4 * 2 * 27), 4 * 2 * 27);

  test('another grid', () => {
    const target = recorder.volume('target', 1, 4, [4, 4, 3]);
    const forward = () => convForward(recorder, 'op', { inputs: [input], weights, target });
    expect(forward).toThrow(InvalidOption);
    const message = 'op: 1×[4,4,4] with stride [1,1,1] gives [4,4,4], not 1×[4,4,3]';
    expect(forward).toThrow(message);
    const toWeights = { input, dOutput: target, dWeights: weights };
    expect(() => convBackwardWeight(recorder, 'op', toWeights)).toThrow(message);
    const toInput = { dOutput: target, weights, dInput: input.tensor };
    expect(() => convBackwardInput(recorder, 'op', toInput)).toThrow(message);
  });

  test('too few weights', () => {
    const target = recorder.volume('target', 1, 5, [4, 4, 4]);
    expect(() => convForward(recorder, 'op', { inputs: [input], weights, target })).toThrow(
      'op: weights holds 216 numbers; 270 are needed',
    );
  });

  test('planes beyond the binding limit', () => {
    const wide = { tensor: recorder.volume('wide', 1, 2, [16, 16, 4]) };
    const target = recorder.volume('target', 1, 1, [16, 16, 4]);
    const conv = () => convForward(recorder, 'op', { inputs: [wide], weights, target });
    expect(conv).toThrow(OutOfMemory);
    expect(conv).toThrow('wide: 3 planes of 2.00 KiB exceed the device');
  });
});

test.each<readonly [string, KernelChoices]>([
  ['tiled 8x16, 16x2, 4', { ...hardware, conv3Weights: 'tiled 8x16, 16x2, 4' }],
  ['tiled 16x16, 16x2, 8', { ...hardware, conv3Weights: 'tiled 16x16, 16x2, 8' }],
  ['matrix 16x16x16, 16', always('matrix 16x16x16, 16')],
])('of weights of many channels, no dispatch exceeds the limit of work: %s', (_, kernels) => {
  const maxDispatchFlops = 1e10;
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 2 ** 31 - 4, maxDispatchFlops, kernels }));
  const input = { tensor: recorder.volume('input', 2, 256, [64, 64, 64]) };
  const dOutput = recorder.volume('dOutput', 2, 256, [64, 64, 64]);
  const dWeights = view(recorder.flat('dWeights', 256 * 256 * 27), 256 * 256 * 27);
  convBackwardWeight(recorder, 'weights', { input, dOutput, dWeights });
  const works = recorder.dispatches.filter(({ label }) => label === 'weights').map(({ flops }) => flops);
  expect(Math.max(...works)).toBeLessThanOrEqual(maxDispatchFlops);
  expect(works.reduce((sum, work) => sum + work, 0)).toBeCloseTo(2 * 27 * 256 ** 2 * 2 * 64 ** 3, -3);
});

test('conv3 takes more weights than one axis of the grid counts', () => {
  const recorder = new Recorder();
  const input = { tensor: recorder.volume('input', 1, 512, [4, 4, 4]) };
  const target = recorder.volume('target', 1, 512, [4, 4, 4]);
  const weights = view(recorder.flat('weights', 512 * 512 * 27), 512 * 512 * 27);
  convForward(recorder, 'forward', { inputs: [input], weights, target });
  convBackwardWeight(recorder, 'weights', { input, dOutput: target, dWeights: weights });
  const threads = recorder.dispatches
    .filter(({ shader }) => shader === 'conv/pack')
    .map(({ workgroups: [x, y, z] }) => x * y * z * 64);
  expect(threads).toEqual([512 * 512]); // of 27 weights each
});
