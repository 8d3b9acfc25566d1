/**
 * Transposed convolution against float64 loops: odd shapes, norms in front, tiny bindings. On matrix units, too: those of
 * the adapter, and emulated ones of the sizes that GPUs have.
 */
import { describe, expect, test } from 'vitest';
import { kernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { operandTolerance } from '../../src/gpu/matrix-units.ts';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../../src/ops/upconv.ts';
import { activate } from '../reference/activate.ts';
import { always, kernelsOnMatrices, kernelsOnOthers } from '../support/matrices.ts';
import { upconv, upconvGradients } from '../reference/upconv.ts';
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

/** All but 2 along each axis. */
const strides: Size3[] = [1, 2].flatMap((x) =>
  [1, 2].flatMap((y) => [1, 2].filter((z) => x * y * z < 8).map((z): Size3 => [x, y, z])),
);

interface Case {
  name: string;
  batch: number;
  /** Of the input. */
  size: readonly [x: number, y: number, z: number];
  channels: number;
  out: number;
  norm?: boolean;
  slope?: number;
  /** Default: 2 along each axis. */
  stride?: Size3;
  limits?: Partial<PlanLimits>;
  /** Bindings too small for the partial sums: weight gradients are summed in another order. */
  otherChunks?: boolean;
}

const cases: Case[] = [
  { name: 'odd sizes, 3 → 5', batch: 2, size: [7, 6, 5], channels: 3, out: 5 },
  { name: 'whole tiles, 16 → 8', batch: 2, size: [8, 4, 2], channels: 16, out: 8 },
  { name: 'one voxel, 17 → 9', batch: 1, size: [1, 1, 1], channels: 17, out: 9 },
  { name: 'behind a norm with ReLU', batch: 2, size: [6, 5, 3], channels: 4, out: 2, norm: true, slope: 0 },
  {
    name: 'z-slabs behind a leaky norm',
    batch: 2,
    size: [5, 5, 7],
    channels: 5,
    out: 3,
    norm: true,
    slope: 0.01,
    limits: { maxBindingBytes: 7168 },
  },
  {
    name: 'z-slabs that end inside the chunks of the weight gradient',
    batch: 2,
    size: [4, 3, 7],
    channels: 8,
    out: 4,
    limits: { maxBindingBytes: 4096 },
    otherChunks: true,
  },
  ...strides.map((stride): Case => ({
    name: `strides ${stride.join(', ')}`,
    batch: 2,
    size: [5, 6, 7],
    channels: 3,
    out: 5,
    norm: true,
    slope: 0.01,
    stride,
    limits: { maxBindingBytes: 4096 },
  })),
];

interface Variant extends Case {
  /** Which kernels. */
  variant: string;
  kernels: PlanLimits['kernels'];
  /** A device with matrix units, in place of the test device. */
  gpu?: Gpu;
}

const [own, emulated] = await Promise.all([kernelsOnMatrices(), kernelsOnOthers()]);
const variants: Variant[] = [
  ...(['hardware', 'lavapipe'] as const).flatMap((adapter) =>
    cases.map((one) => ({ ...one, variant: `as on ${adapter}`, kernels: kernelChoices[adapter] })),
  ),
  ...own.flatMap(({ gpu, name }) =>
    cases
      .filter(({ stride }) => !stride || ['2,1,1', '1,2,2'].includes(stride.join()))
      .map((one) => {
        const otherChunks = one.limits !== undefined;
        return { ...one, variant: name, kernels: always(name), gpu, otherChunks };
      }),
  ),
  ...emulated.map(({ gpu, name }) => {
    const [batch, size] = [1, [19, 3, 5]] as const;
    const one = { batch, size, channels: 18, out: 17, norm: true, slope: 0.01 };
    return { ...one, name: 'several blocks, emulated', variant: name, kernels: always(name), gpu };
  }),
];

if (own.length === 0)
  test('upconv, matrix units', ({ skip }) => skip('the adapter offers none; they are tried on lavapipe 26'));
if (emulated.length === 0)
  test('upconv, emulated matrix units', ({ skip }) =>
    skip('they are tried in Node, where the adapter has float16'));

describe.each(variants)(
  'upconv, $variant: $name',
  ({ batch, size, channels, out, norm, slope = 0, stride = [2, 2, 2], ...rest }) => {
    const { limits, otherChunks, kernels, gpu } = rest;
    // Numbers that float16 holds: what matrix units compute is then float32's, unless a norm comes between.
    const given = (values: Float64Array): Float64Array => (gpu ? halves(values) : values);
    const volume = (shape: Dense['shape']): Dense => ({ shape, data: given(randomDense(shape).data) });
    const tolerance = gpu && norm ? operandTolerance : undefined;
    const [x, y, z] = size;
    const grown = [stride[0] * x, stride[1] * y, stride[2] * z] as const;
    const source = volume([batch, channels, z, y, x]);
    const scaleShifts = normals(batch * channels * 2);
    const weights = given(normals(channels * out * stride[0] * stride[1] * stride[2]));
    const bias = normals(out);
    const dOutput = volume([batch, out, grown[2], grown[1], grown[0]]);

    async function run(limits: Partial<PlanLimits> = {}) {
      using bench = new Bench({ kernels, ...limits }, 'f32', gpu);
      const { recorder } = bench;
      const tensor = bench.volume('input', source);
      const input = norm ? activatedInput(bench, tensor, scaleShifts, slope) : { tensor };
      const w = view(bench.flat('weights', weights), weights.length);
      const b = view(bench.flat('bias', bias), out);
      const target = bench.output('target', batch, out, grown);
      upconvForward(recorder, 'forward', { input, weights: w, bias: b, target }, stride);
      const upstream = bench.volume('dOutput', dOutput);
      const dInput = bench.output('dInput', batch, channels, size);
      upconvBackwardInput(recorder, 'dInput', { dOutput: upstream, weights: w, dInput }, stride);
      const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
      const toWeights = { input, dOutput: upstream, dWeights: view(dWeights, weights.length) };
      upconvBackwardWeight(recorder, 'dWeights', toWeights, stride);
      const dBias = bench.flat('dBias', new Float64Array(out));
      biasGradient(recorder, 'dBias', upstream, view(dBias, out));
      await bench.run();
      return {
        target: (await bench.read(target)).data,
        dInput: (await bench.read(dInput)).data,
        dWeights: await bench.readFlat(dWeights, weights.length),
        dBias: await bench.readFlat(dBias, out),
        dispatches: recorder.dispatches.length,
      };
    }

    test('forward and gradients', async () => {
      const result = await run(limits);
      const seen = norm ? activate(source, scaleShifts, slope) : source;
      const reference = upconvGradients(seen, weights, dOutput, stride);
      expectClose(result.target, upconv(seen, weights, bias, stride).data, 'output', tolerance);
      expectClose(result.dInput, reference.dInput.data, 'gradient of the input');
      expectClose(result.dWeights, reference.dWeights, 'gradient of the weights', tolerance);
      expectClose(result.dBias, reference.dBias, 'gradient of the bias');
    });

    if (!limits) return;
    test('the same bits however it is cut', async () => {
      const { dispatches, ...cut } = await run(limits);
      const { dispatches: fewer, ...whole } = await run();
      expect(dispatches).toBeGreaterThan(fewer);
      for (const [name, values] of Object.entries(cut)) {
        if (name === 'dWeights' && otherChunks) expectClose(values, whole.dWeights, name, tolerance);
        else expectSameBits(values, whole[name as keyof typeof whole], name);
      }
    });
  },
);

describe('upconv refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const input = { tensor: recorder.volume('input', 1, 2, [4, 4, 4]) };
  const weights = view(recorder.flat('weights', 2 * 3 * 8), 2 * 3 * 8);

  test('a target that is not twice the size', () => {
    const target = recorder.volume('target', 1, 3, [8, 8, 7]);
    const message = 'op: 1×[4,4,4] grows to [8,8,8], not to 1×[8,8,7]';
    expect(() => upconvForward(recorder, 'op', { input, weights, target })).toThrow(InvalidOption);
    expect(() => upconvForward(recorder, 'op', { input, weights, target })).toThrow(message);
    expect(() =>
      upconvBackwardInput(recorder, 'op', { dOutput: target, weights, dInput: input.tensor }),
    ).toThrow(message);
    expect(() => upconvBackwardWeight(recorder, 'op', { input, dOutput: target, dWeights: weights })).toThrow(
      message,
    );
  });

  test('too few weights', () => {
    const target = recorder.volume('target', 1, 4, [8, 8, 8]);
    expect(() => upconvForward(recorder, 'op', { input, weights, target })).toThrow(
      'op: weights holds 48 numbers; 64 are needed',
    );
  });

  test('planes beyond the binding limit', () => {
    const wide = { tensor: recorder.volume('wide', 1, 2, [16, 16, 2]) };
    const target = recorder.volume('target', 1, 3, [32, 32, 4]);
    expect(() => upconvForward(recorder, 'op', { input: wide, weights, target })).toThrow(OutOfMemory);
  });
});
