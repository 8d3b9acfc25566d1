/** Transposed convolutions with padding against float64 loops and PyTorch: odd sizes, two inputs, tiny bindings, matrix units. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { grownSize, tapsOf, type ConvShape } from '../../src/ops/conv/shape.ts';
import {
  transposedBackwardInput,
  transposedBackwardWeight,
  transposedForward,
} from '../../src/ops/transposed.ts';
import fixtures from '../fixtures/torch/transposed.json';
import { channels, concatenate } from '../reference/activate.ts';
import { always, kernelsOnMatrices, kernelsOnOthers } from '../support/matrices.ts';
import { sum } from '../reference/sum.ts';
import { transposed, transposedGradients } from '../reference/transposed.ts';
import {
  Bench,
  expectClose,
  expectSameBits,
  halves,
  normals,
  randomDense,
  view,
  type Dense,
} from '../support/run.ts';
import { floats, volume } from '../support/torch.ts';

interface Case {
  name: string;
  size: Size3;
  channels: readonly number[];
  out: number;
  shape: ConvShape;
  precision?: Precision;
  limits?: Partial<PlanLimits>;
  /** A device with matrix units, in place of the test device, and the choice of kernels on them. */
  gpu?: Gpu;
  common?: Partial<PlanLimits>;
}

const batch = 2;
const doubling: ConvShape = { kernel: [3, 3, 3], stride: [2, 2, 2] };
const cases: Case[] = [
  { name: 'odd sizes, 3 → 5', size: [7, 3, 5], channels: [3], out: 5, shape: doubling },
  {
    name: 'two inputs, float16',
    size: [5, 4, 3],
    channels: [2, 3],
    out: 9,
    shape: doubling,
    precision: 'f16',
  },
  {
    name: 'z-slabs of two inputs',
    size: [5, 3, 7],
    channels: [2, 3],
    out: 3,
    shape: doubling,
    limits: { maxBindingBytes: 5120 },
  },
  {
    name: 'stride 1 along x',
    size: [6, 3, 5],
    channels: [3],
    out: 2,
    shape: { kernel: [3, 3, 3], stride: [1, 2, 2] },
    limits: { maxBindingBytes: 4096 },
  },
];

interface Given {
  inputs: readonly Dense[];
  weights: Float64Array;
  bias: Float64Array;
  dOutput: Dense;
  before?: readonly Dense[];
  shape: ConvShape;
}

async function run(given: Given, limits: Partial<PlanLimits> = {}, precision?: Precision, gpu?: Gpu) {
  using bench = new Bench(limits, precision, gpu);
  const { recorder } = bench;
  const { shape, bias } = given;
  const [first, second] = given.inputs.map((values, i) => ({ tensor: bench.volume(`input ${i}`, values) }));
  const inputs = second ? ([first!, second] as const) : ([first!] as const);
  const inChannels = inputs.reduce((count, { tensor }) => count + tensor.channels, 0);
  const weights = view(bench.flat('weights', given.weights), given.weights.length);
  const { size } = first!.tensor;
  const target = bench.output('target', first!.tensor.batch, bias.length, grownSize(size, shape.stride));
  const shift = view(bench.flat('bias', bias), bias.length);
  transposedForward(recorder, 'forward', { inputs, weights, bias: shift, target }, shape);
  const dOutput = bench.volume('dOutput', given.dOutput);
  const dWeights = bench.flat('dWeights', new Float64Array(given.weights.length));
  const dBias = bench.flat('dBias', new Float64Array(bias.length));
  const dInputs = inputs.map((input, i) => {
    const place = { inChannels, first: i === 0 ? 0 : first!.tensor.channels };
    const toWeights = { input, dOutput, dWeights: view(dWeights, given.weights.length) };
    transposedBackwardWeight(recorder, `dW ${i}`, toWeights, place, shape);
    const { batch, channels } = input.tensor;
    const dInput = bench.output(`dInput ${i}`, batch, channels, size);
    transposedBackwardInput(recorder, `dX ${i}`, { dOutput, weights, dInput }, place, shape);
    const added = given.before && bench.volume(`added ${i}`, given.before[i]!);
    if (added) {
      const options = { ...place, add: true };
      transposedBackwardInput(recorder, `added ${i}`, { dOutput, weights, dInput: added }, options, shape);
    }
    return { dInput, added };
  });
  biasGradient(recorder, 'dBias', dOutput, view(dBias, bias.length));
  await bench.run();
  const parts: Record<string, ArrayLike<number>> = {};
  for (const [i, { dInput, added }] of dInputs.entries()) {
    parts[`dInput ${i}`] = (await bench.read(dInput)).data;
    if (added) parts[`added ${i}`] = (await bench.read(added)).data;
  }
  return {
    ...parts,
    output: (await bench.read(target)).data,
    dWeights: await bench.readFlat(dWeights, given.weights.length),
    dBias: await bench.readFlat(dBias, bias.length),
    dispatches: recorder.dispatches.length,
  };
}

// Chromium on SwiftShader leaves strides that differ by axis to Node, which compiles faster.
const isNode = typeof window === 'undefined';

const onMatrices = (await kernelsOnMatrices()).flatMap(({ gpu, name }) =>
  cases.map((one): Case => ({
    ...one,
    name: `${name}: ${one.name}`,
    gpu,
    common: { kernels: always(name) },
  })),
);
if (onMatrices.length === 0)
  test('transposed conv, matrix units', ({ skip }) =>
    skip('the adapter offers none; they are tried on lavapipe 26'));

const onEmulated = (await kernelsOnOthers()).map(({ gpu, name }): Case => ({
  name: `${name}: emulated`,
  size: [19, 3, 5],
  channels: [18],
  out: 17,
  shape: doubling,
  gpu,
  common: { kernels: always(name) },
}));
if (onEmulated.length === 0)
  test('transposed conv, emulated matrix units', ({ skip }) =>
    skip('they are tried in Node, where the adapter has float16'));

describe.each([...(isNode ? cases : cases.slice(0, 3)), ...onMatrices, ...onEmulated])(
  'transposed conv: $name',
  ({ size, channels: counts, out, shape, precision, limits, gpu, common }) => {
    // Numbers that float16 holds: what matrix units compute is then float32's.
    const exact = (values: Float64Array): Float64Array => (gpu ? halves(values) : values);
    const drawn = (shape: Dense['shape']): Dense => ({ shape, data: exact(randomDense(shape).data) });
    const [x, y, z] = size;
    const [sx, sy, sz] = shape.stride;
    const inputs = counts.map((count) => drawn([batch, count, z, y, x]));
    const before = counts.map((count) => randomDense([batch, count, z, y, x]));
    const joined = inputs.length > 1 ? concatenate(inputs[0]!, inputs[1]!) : inputs[0]!;
    const weights = exact(normals(joined.shape[1] * out * tapsOf(shape.kernel)));
    const bias = normals(out);
    const dOutput = drawn([batch, out, sz * z, sy * y, sx * x]);
    const given = { inputs, weights, bias, dOutput, before, shape };

    test('forward and gradients', async () => {
      const found: Record<string, ArrayLike<number> | number> = await run(
        given,
        { ...common, ...limits },
        precision,
        gpu,
      );
      const expected = transposedGradients(joined, weights, dOutput, shape);
      const tolerance = precision === 'f16' ? 1e-3 : undefined;
      const close = (name: string, values: ArrayLike<number>) =>
        expectClose(found[name] as ArrayLike<number>, values, name, tolerance);
      close('output', transposed(joined, weights, bias, shape).data);
      close('dWeights', expected.dWeights);
      close('dBias', expected.dBias);
      let first = 0;
      for (const [i, count] of counts.entries()) {
        const dInput = channels(expected.dInput, first, first + count);
        close(`dInput ${i}`, dInput.data);
        close(`added ${i}`, sum(dInput, before[i]!).data);
        first += count;
      }
    });

    if (!limits) return;
    test('the same bits however it is cut', async () => {
      const { dispatches, ...cut } = await run(given, { ...common, ...limits }, precision, gpu);
      const { dispatches: fewer, ...whole } = await run(given, common, precision, gpu);
      expect(dispatches).toBeGreaterThan(fewer);
      for (const [name, values] of Object.entries(cut))
        if (name !== 'dWeights') expectSameBits(values, whole[name as 'output'], name);
      // Bindings are too small for the partial sums: weight gradients are summed in another order.
      expectClose(cut.dWeights, whole.dWeights, 'dWeights');
    });
  },
);

test.each(Object.entries(fixtures).slice(0, isNode ? 2 : 1))(
  'transposed conv as PyTorch computes it: %s',
  async (_, fixture) => {
    const [sz, sy, sx] = fixture.stride as [number, number, number];
    const shape: ConvShape = { kernel: [3, 3, 3], stride: [sx, sy, sz] };
    const found: Record<string, ArrayLike<number> | number> = await run({
      inputs: [volume(fixture.input)],
      weights: floats(fixture.weight),
      bias: floats(fixture.bias),
      dOutput: volume(fixture.dOutput),
      shape,
    });
    const names = { output: 'output', 'dInput 0': 'dInput', dWeights: 'dWeight', dBias: 'dBias' } as const;
    for (const [ours, theirs] of Object.entries(names))
      expectClose(found[ours] as ArrayLike<number>, floats(fixture[theirs]), ours);
  },
);

test('transposed conv refuses sizes and inputs that do not fit', () => {
  const recorder = new Recorder();
  const volume = (name: string, size: Size3) => recorder.volume(name, 1, 2, size);
  const [input, target] = [volume('input', [4, 4, 4]), volume('target', [8, 8, 7])];
  const weights = view(recorder.flat('weights', 108), 108);
  const forward = () =>
    transposedForward(recorder, 'op', { inputs: [{ tensor: input }], weights, target }, doubling);
  expect(forward).toThrow(InvalidOption);
  expect(forward).toThrow('op: 1×[4,4,4] grows to [8,8,8], not to 1×[8,8,7]');
  const seen = { tensor: input, scaleShifts: recorder.flat('scaleShifts', 4), slope: 0 };
  const tensors = { input: seen, dOutput: volume('d', [8, 8, 8]), dWeights: weights };
  const place = { inChannels: 2, first: 0 };
  expect(() => transposedBackwardWeight(recorder, 'op', tensors, place, doubling)).toThrow(
    'op: input has a norm or an activation to apply: store what they make of it',
  );
});
