/** 1×1×1 convolution against float64 loops: odd shapes, norms in front, ranges of planes, tiny bindings. */
import { describe, expect, test } from 'vitest';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import { biasGradient, biasSum } from '../../src/ops/common.ts';
import {
  conv1BackwardInput,
  conv1BackwardWeight,
  conv1Forward,
  conv1WeightSum,
} from '../../src/ops/conv1.ts';
import { activate } from '../reference/activate.ts';
import { conv1, conv1Gradients } from '../reference/conv1.ts';
import {
  activatedInput,
  Bench,
  expectClose,
  expectSameBits,
  limitsOf,
  normals,
  randomDense,
  view,
} from '../support/run.ts';

interface Case {
  name: string;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  channels: number;
  out: number;
  norm?: boolean;
  slope?: number;
  limits?: Partial<PlanLimits>;
  /** Bindings too small for the partial sums: weight gradients are summed in another order. */
  otherChunks?: boolean;
}

const cases: Case[] = [
  { name: 'odd sizes, 3 → 5', batch: 2, size: [7, 6, 5], channels: 3, out: 5 },
  { name: 'whole tiles, 16 → 8', batch: 2, size: [16, 8, 4], channels: 16, out: 8 },
  { name: 'more channels than a workgroup', batch: 1, size: [3, 2, 2], channels: 17, out: 9 },
  { name: 'behind a norm with ReLU', batch: 2, size: [6, 5, 3], channels: 4, out: 3, norm: true, slope: 0 },
  {
    name: 'z-slabs behind a leaky norm',
    batch: 2,
    size: [9, 5, 7],
    channels: 5,
    out: 3,
    norm: true,
    slope: 0.01,
    limits: { maxBindingBytes: 4096 },
  },
  {
    name: 'z-slabs that end inside the chunks of the weight gradient',
    batch: 2,
    size: [4, 3, 7],
    channels: 16,
    out: 16,
    limits: { maxBindingBytes: 4096 },
    otherChunks: true,
  },
];

const variants = (['hardware', 'lavapipe'] as const).flatMap((adapter) =>
  cases.map((one) => ({ ...one, adapter })),
);

describe.each(variants)(
  'conv1 as on $adapter: $name',
  ({ batch, size, channels, out, norm, slope = 0, ...rest }) => {
    const { limits, otherChunks } = rest;
    const kernels = kernelChoices[rest.adapter];
    const [x, y, z] = size;
    const source = randomDense([batch, channels, z, y, x]);
    const scaleShifts = normals(batch * channels * 2);
    const weights = normals(out * channels);
    const bias = normals(out);
    const dOutput = randomDense([batch, out, z, y, x]);

    async function run(limits: Partial<PlanLimits> = {}) {
      using bench = new Bench({ kernels, ...limits });
      const { recorder } = bench;
      const tensor = bench.volume('input', source);
      const input = norm ? activatedInput(bench, tensor, scaleShifts, slope) : { tensor };
      const w = view(bench.flat('weights', weights), weights.length);
      const b = view(bench.flat('bias', bias), out);
      const target = bench.output('target', batch, out, size);
      conv1Forward(recorder, 'forward', { input, weights: w, bias: b, target });
      const upstream = bench.volume('dOutput', dOutput);
      const dInput = bench.output('dInput', batch, channels, size);
      conv1BackwardInput(recorder, 'dInput', { dOutput: upstream, weights: w, dInput });
      const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
      const toWeights = { input, dOutput: upstream, dWeights: view(dWeights, weights.length) };
      conv1BackwardWeight(recorder, 'dWeights', toWeights);
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
      const reference = conv1Gradients(seen, weights, dOutput);
      expectClose(result.target, conv1(seen, weights, bias).data, 'output');
      expectClose(result.dInput, reference.dInput.data, 'gradient of the input');
      expectClose(result.dWeights, reference.dWeights, 'gradient of the weights');
      expectClose(result.dBias, reference.dBias, 'gradient of the bias');
    });

    if (!limits) return;
    test('the same bits however it is cut', async () => {
      const { dispatches, ...cut } = await run(limits);
      const { dispatches: fewer, ...whole } = await run();
      expect(dispatches).toBeGreaterThan(fewer);
      for (const [name, values] of Object.entries(cut)) {
        if (name === 'dWeights' && otherChunks) expectClose(values, whole.dWeights, name);
        else expectSameBits(values, whole[name as keyof typeof whole], name);
      }
    });
  },
);

test('conv1 by ranges of planes, through tensors that store only those, gives the same bits', async () => {
  const [batch, channels, out, size] = [2, 3, 4, [5, 3, 4]] as const;
  const source = randomDense([batch, channels, size[2], size[1], size[0]]);
  const weights = normals(out * channels);
  const bias = normals(out);
  const bottom = normals(4 * out * size[2] * size[1] * 8);

  const run = async (step: number) => {
    using bench = new Bench();
    const { recorder } = bench;
    const input = { tensor: bench.volume('input', source) };
    const identity = new Float64Array(out * out).map((_, i) => Number(i % (out + 1) === 0));
    const w = view(bench.flat('weights', weights), weights.length);
    const b = view(bench.flat('bias', bias), out);
    const one = view(bench.flat('identity', identity), identity.length);
    const whole = bench.output('whole', batch, out, size);
    const sum = conv1WeightSum(recorder, 'dW', input, out);
    const sumOfBias = biasSum(recorder, 'db', out, whole.planes);
    for (let from = 0; from < whole.planes; from += step) {
      const planes = [from, Math.min(whole.planes, from + step)] as const;
      const slab = recorder.slab('slab', { batch, channels: out, size }, planes);
      conv1Forward(recorder, 'slab', { input, weights: w, bias: b, target: slab }, { planes });
      conv1BackwardInput(recorder, 'copy', { dOutput: slab, weights: one, dInput: whole }, { planes });
      sum.add(slab, ...planes);
      sumOfBias.add(slab, ...planes);
    }
    const dWeights = bench.flat('dWeights', bottom.subarray(0, weights.length));
    const dBias = bench.flat('dBias', bottom.subarray(0, out));
    sum.finish(view(dWeights, weights.length));
    sumOfBias.finish(view(dBias, out));
    await bench.run();
    return {
      whole: (await bench.read(whole)).data,
      dWeights: await bench.readFlat(dWeights, weights.length),
      dBias: await bench.readFlat(dBias, out),
    };
  };

  const [slabs, whole] = [await run(3), await run(8)];
  const output = conv1(source, weights, bias);
  const reference = conv1Gradients(source, weights, output);
  expectClose(slabs.whole, output.data, 'output');
  expectClose(slabs.dWeights, reference.dWeights, 'gradient of the weights');
  expectClose(slabs.dBias, reference.dBias, 'gradient of the bias');
  for (const name of ['whole', 'dWeights', 'dBias'] as const) expectSameBits(slabs[name], whole[name], name);
});

describe('conv1 refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const input = { tensor: recorder.volume('input', 1, 2, [4, 4, 4]) };
  const weights = view(recorder.flat('weights', 6), 6);

  test('another grid', () => {
    const target = recorder.volume('target', 2, 3, [4, 4, 4]);
    const message = 'op: grids differ: 1×[4,4,4] and 2×[4,4,4]; they must be equal';
    expect(() => conv1Forward(recorder, 'op', { input, weights, target })).toThrow(InvalidOption);
    expect(() => conv1Forward(recorder, 'op', { input, weights, target })).toThrow(message);
    expect(() => conv1BackwardWeight(recorder, 'op', { input, dOutput: target, dWeights: weights })).toThrow(
      message,
    );
  });

  test('too few weights', () => {
    const target = recorder.volume('target', 1, 4, [4, 4, 4]);
    expect(() => conv1Forward(recorder, 'op', { input, weights, target })).toThrow(
      'op: weights holds 6 numbers; 8 are needed',
    );
  });

  test('planes beyond the binding limit', () => {
    const wide = { tensor: recorder.volume('wide', 1, 2, [32, 16, 2]) };
    const target = recorder.volume('target', 1, 3, [32, 16, 2]);
    expect(() => conv1Forward(recorder, 'op', { input: wide, weights, target })).toThrow(OutOfMemory);
  });
});
