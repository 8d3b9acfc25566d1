/** 3×3×3 convolution against float64 loops: one and two inputs, norms in front, odd shapes, tiny bindings. */
import { describe, expect, test } from 'vitest';
import { conv3BackwardInput, conv3BackwardWeight, conv3Forward } from '../../src/ops/conv3.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { activate, channels, concatenate } from '../reference/activate.ts';
import { conv3, conv3Gradients } from '../reference/conv3.ts';
import { activatedInput, Bench, expectClose, normals, randomDense } from '../support/run.ts';

interface Case {
  name: string;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  inputs: readonly [number, number?];
  out: number;
  norm?: boolean;
  slope?: number;
  maxBindingBytes?: number;
  maxDispatchFlops?: number;
}

const cases: Case[] = [
  { name: 'odd sizes, 3 → 5', batch: 2, size: [7, 6, 5], inputs: [3], out: 5 },
  { name: 'one channel', batch: 1, size: [9, 5, 4], inputs: [1], out: 8 },
  { name: 'whole tiles, 8 → 16', batch: 2, size: [16, 8, 4], inputs: [8], out: 16 },
  { name: 'one voxel', batch: 1, size: [1, 1, 1], inputs: [2], out: 3 },
  { name: 'behind a norm with ReLU', batch: 2, size: [6, 5, 3], inputs: [4], out: 9, norm: true, slope: 0 },
  {
    name: 'two inputs, first behind a leaky norm',
    batch: 2,
    size: [5, 7, 3],
    inputs: [3, 6],
    out: 4,
    norm: true,
    slope: 0.01,
  },
  {
    name: 'z-slabs forced by the binding limit',
    batch: 2,
    size: [16, 8, 6],
    inputs: [4, 2],
    out: 4,
    norm: true,
    slope: 0,
    maxBindingBytes: 8192,
  },
  { name: 'cut by work', batch: 2, size: [7, 6, 5], inputs: [3], out: 5, maxDispatchFlops: 60000 },
];

describe.each(cases)('conv3: $name', ({ batch, size, inputs, out, norm, slope = 0, ...limits }) => {
  const [x, y, z] = size;
  const [ca, cb = 0] = inputs;
  const a = randomDense([batch, ca, z, y, x]);
  const b = cb > 0 ? randomDense([batch, cb, z, y, x]) : undefined;
  const weights = normals(out * (ca + cb) * 27);
  const bias = normals(out);
  const dOutput = randomDense([batch, out, z, y, x]);

  async function run() {
    using bench = new Bench(limits);
    const { recorder } = bench;
    const tensorA = bench.volume('a', a);
    const first = norm
      ? activatedInput(bench, tensorA, slope)
      : { input: { tensor: tensorA }, affine: undefined };
    const second = b ? { tensor: bench.volume('b', b) } : undefined;
    const w = bench.flat('weights', weights);
    const view = { tensor: w, offset: 0, size: w.bytes };
    const biasTensor = bench.flat('bias', bias);
    const target = bench.output('target', batch, out, size);
    conv3Forward(
      recorder,
      'forward',
      [first.input, second],
      view,
      { tensor: biasTensor, offset: 0, size: out * 4 },
      target,
    );

    const upstream = bench.volume('dOutput', dOutput);
    const dA = bench.output('dA', batch, ca, size);
    conv3BackwardInput(recorder, 'dA', upstream, view, dA, { inChannels: ca + cb, first: 0 });
    const dB = second && bench.output('dB', batch, cb, size);
    if (dB) conv3BackwardInput(recorder, 'dB', upstream, view, dB, { inChannels: ca + cb, first: ca });
    const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
    const dView = { tensor: dWeights, offset: 0, size: dWeights.bytes };
    conv3BackwardWeight(recorder, 'dW a', first.input, upstream, dView, { inChannels: ca + cb, first: 0 });
    if (second)
      conv3BackwardWeight(recorder, 'dW b', second, upstream, dView, { inChannels: ca + cb, first: ca });
    const dBias = bench.flat('dBias', new Float64Array(out));
    biasGradient(recorder, 'dBias', upstream, { tensor: dBias, offset: 0, size: dBias.bytes });
    await bench.run();
    return {
      affine: first.affine,
      target: await bench.read(target),
      dA: await bench.read(dA),
      dB: dB && (await bench.read(dB)),
      dWeights: await bench.readFlat(dWeights, weights.length),
      dBias: await bench.readFlat(dBias, out),
      dispatches: recorder.dispatches.length,
    };
  }

  test('forward and gradients', async () => {
    const result = await run();
    const seen = result.affine ? activate(a, result.affine, slope) : a;
    const input = b ? concatenate(seen, b) : seen;
    const reference = conv3Gradients(input, weights, dOutput);
    expectClose(result.target.data, conv3(input, weights, bias, out).data, 'output');
    expectClose(result.dA.data, channels(reference.dInput, 0, ca).data, 'gradient of the first input');
    if (result.dB)
      expectClose(
        result.dB.data,
        channels(reference.dInput, ca, ca + cb).data,
        'gradient of the second input',
      );
    expectClose(result.dWeights, reference.dWeights, 'gradient of the weights');
    expectClose(result.dBias, reference.dBias, 'gradient of the bias');
    if (limits.maxBindingBytes || limits.maxDispatchFlops) expect(result.dispatches).toBeGreaterThan(12);
  });
});
