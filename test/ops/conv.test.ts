/**
 * Convolution with kernels of 1 and 3 and strides of 1 and 2 along each axis against float64 loops: one and two inputs,
 * norms in front, odd shapes, float16, gradients on top of others, tiny bindings. test/ops/conv3.test.ts has the
 * kernels of the 3×3×3 convolution. The same on matrix units, for some of them: those of the adapter, and emulated ones
 * of the sizes that GPUs have.
 */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../src/ops/conv.ts';
import { convolvedSize, tapsOf } from '../../src/ops/conv/shape.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { operandTolerance } from '../../src/gpu/matrix-units.ts';
import { leaveToNode } from '../support/left-to-node.ts';
import { always, kernelsOnMatrices, kernelsOnOthers } from '../support/matrices.ts';
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
  kernel: Size3;
  stride: Size3;
  batch: number;
  size: Size3;
  inputs: readonly [number, number?];
  out: number;
  /** Of the norm in front of the first input; without, there is none. */
  slope?: number;
  bias?: false;
  precision?: Precision;
  limits?: Partial<PlanLimits>;
  /** A device with matrix units, in place of the test device, and the choice of kernels on them. */
  gpu?: Gpu;
  kernels?: PlanLimits['kernels'];
  /** Tried on them, too. */
  onMatrices?: true;
  /** Bindings too small for the partial sums: weight gradients are summed in another order. */
  otherChunks?: boolean;
}

const ones: Size3 = [1, 1, 1];
const twos: Size3 = [2, 2, 2];
/** Every pair of a kernel and a stride along one axis with every pair along another. */
const axes = [1, 3].flatMap((kernel) => [1, 2].map((stride) => ({ kernel, stride })));
const all = axes.flatMap((x, i) =>
  axes.map((y, j): Case => {
    const z = axes[(i + j + 1) % axes.length]!;
    const kernel: Size3 = [x.kernel, y.kernel, z.kernel];
    const stride: Size3 = [x.stride, y.stride, z.stride];
    const name = `kernel ${kernel.join('×')}, stride ${stride.join(', ')}`;
    return { name, kernel, stride, batch: 2, size: [7, 5, 3], inputs: [2], out: 3, slope: 0.01 };
  }),
);

const others: Case[] = [
  {
    name: 'whole quads and blocks of channels',
    kernel: [3, 3, 3],
    stride: twos,
    batch: 2,
    size: [16, 8, 4],
    inputs: [8],
    out: 16,
  },
  { name: 'one voxel', kernel: [3, 3, 3], stride: twos, batch: 2, size: ones, inputs: [2], out: 3 },
  {
    name: 'two inputs, 1×1×1, several blocks of matrices',
    kernel: ones,
    stride: ones,
    batch: 2,
    size: [37, 9, 5],
    inputs: [9, 4],
    out: 17,
    slope: 0,
    onMatrices: true,
  },
  {
    name: 'two inputs, 3×3×1',
    kernel: [3, 3, 1],
    stride: ones,
    batch: 2,
    size: [9, 6, 3],
    inputs: [3, 6],
    out: 9,
    slope: 0,
  },
  {
    name: 'two inputs, strided',
    kernel: [3, 3, 3],
    stride: [2, 2, 1],
    batch: 1,
    size: [10, 7, 4],
    inputs: [5, 2],
    out: 4,
    slope: 0.3,
    onMatrices: true,
  },
  {
    name: 'a shortcut, without bias',
    kernel: ones,
    stride: twos,
    batch: 2,
    size: [12, 9, 4],
    inputs: [4],
    out: 11,
    slope: -0.2,
    bias: false,
    onMatrices: true,
  },
  {
    name: 'planes of more quads than a workgroup has threads',
    kernel: [1, 3, 3],
    stride: [2, 1, 1],
    batch: 1,
    size: [70, 71, 3],
    inputs: [2],
    out: 5,
  },
  ...([twos, ones] as const).map((stride): Case => ({
    name: `float16, stride ${stride.join(', ')}`,
    kernel: [3, 3, 1],
    stride,
    batch: 2,
    size: [10, 5, 3],
    inputs: [2, 3],
    out: 4,
    slope: 0.01,
    precision: 'f16',
    onMatrices: true,
  })),
  {
    name: 'z-slabs forced by the binding limit',
    kernel: [3, 3, 3],
    stride: twos,
    batch: 3,
    size: [13, 8, 7],
    inputs: [2, 1],
    out: 3,
    slope: 0.01,
    limits: { maxBindingBytes: 8192 },
    onMatrices: true,
  },
  {
    name: 'z-slabs that begin inside the chunks of the weight gradient',
    kernel: [3, 1, 3],
    stride: [1, 2, 2],
    batch: 2,
    size: [8, 4, 9],
    inputs: [8],
    out: 16,
    limits: { maxBindingBytes: 6144 },
    onMatrices: true,
    otherChunks: true,
  },
  {
    name: 'z-slabs over many samples of one plane',
    kernel: ones,
    stride: twos,
    batch: 9,
    size: [8, 6, 1],
    inputs: [4],
    out: 4,
    limits: { maxBindingBytes: 2048 },
  },
  {
    name: 'cut by work',
    kernel: [3, 3, 1],
    stride: ones,
    batch: 2,
    size: [7, 6, 5],
    inputs: [3],
    out: 5,
    limits: { maxDispatchFlops: 20000 },
    onMatrices: true,
  },
];

/** Two inputs behind a norm, strides, slabs and blocks of channels. */
const stands = [
  'whole quads and blocks of channels',
  'two inputs, strided',
  'z-slabs forced by the binding limit',
];
/** There several threads share the sums of a plane, which on a software adapter one has alone. */
const asOnGpus = others
  .filter(({ name }) =>
    ['two inputs, strided', 'planes of more quads than a workgroup has threads'].includes(name),
  )
  .map((one): Case => ({ ...one, name: `${one.name}, as on GPUs`, kernels: kernelChoices.hardware }));

const onMatrices = (await kernelsOnMatrices()).flatMap(({ gpu, name }) =>
  others
    .filter((one) => one.onMatrices)
    .map((one): Case => ({
      ...one,
      name: `${name}: ${one.name}`,
      gpu,
      kernels: always(name),
      otherChunks: one.limits?.maxBindingBytes !== undefined,
    })),
);
if (onMatrices.length === 0)
  test('conv, matrix units', ({ skip }) => skip('the adapter offers none; they are tried on lavapipe 26'));

/** Two blocks along each axis, of channels and of outputs. */
const blocks = { batch: 1, size: [37, 9, 5], inputs: [18], out: 17 } as const;
const onEmulated = (await kernelsOnOthers()).flatMap(({ gpu, name }) =>
  [
    { walk: '1×1×1', kernel: ones, stride: ones },
    { walk: 'strided', kernel: [3, 3, 3], stride: twos } as const,
  ].map(({ walk, ...shape }): Case => ({
    ...blocks,
    ...shape,
    name: `${name}: emulated, ${walk}`,
    gpu,
    kernels: always(name),
  })),
);
if (onEmulated.length === 0)
  test('conv, emulated matrix units', ({ skip }) =>
    skip('they are tried in Node, where the adapter has float16'));
const cases = leaveToNode(
  'conv',
  [...all, ...others, ...asOnGpus, ...onMatrices, ...onEmulated],
  ({ name }) => !stands.includes(name),
);

describe.each(cases)('conv: $name', ({ kernel, stride, batch, size, inputs, out, slope, gpu, ...rest }) => {
  // Numbers that float16 holds: what matrix units compute is then float32's, unless a norm comes between.
  const given = (values: Float64Array): Float64Array => (gpu ? halves(values) : values);
  const volume = (shape: Dense['shape']): Dense => ({ shape, data: given(randomDense(shape).data) });
  const shape = { kernel, stride };
  const [x, y, z] = size;
  const [w, h, d] = convolvedSize(size, stride);
  const [ca, cb = 0] = inputs;
  const inChannels = ca + cb;
  const a = volume([batch, ca, z, y, x]);
  const b = cb > 0 ? volume([batch, cb, z, y, x]) : undefined;
  const scaleShifts = normals(batch * ca * 2);
  const weights = given(normals(out * inChannels * tapsOf(kernel)));
  const bias = rest.bias === false ? undefined : normals(out);
  const dOutput = volume([batch, out, d, h, w]);

  async function run(limits: Partial<PlanLimits> = {}) {
    const { kernels } = rest;
    using bench = new Bench({ ...(kernels && { kernels }), ...limits }, rest.precision, gpu);
    const { recorder } = bench;
    const tensorA = bench.volume('a', a);
    const first =
      slope === undefined ? { tensor: tensorA } : activatedInput(bench, tensorA, scaleShifts, slope);
    const second = b && { tensor: bench.volume('b', b) };
    const target = bench.output('target', batch, out, [w, h, d]);
    const tensors = {
      inputs: second ? ([first, second] as const) : ([first] as const),
      weights: view(bench.flat('weights', weights), weights.length),
      bias: bias && view(bench.flat('bias', bias), out),
      target,
    };
    convForward(recorder, 'forward', tensors, shape);
    const toInput = { dOutput: bench.volume('dOutput', dOutput), weights: tensors.weights };
    const dA = bench.output('dA', batch, ca, size);
    convBackwardInput(recorder, 'dA', { ...toInput, dInput: dA }, { inChannels }, shape);
    const added = bench.volume('added', a);
    convBackwardInput(recorder, 'added', { ...toInput, dInput: added }, { inChannels, add: true }, shape);
    const dB = b && bench.output('dB', batch, cb, size);
    if (dB) convBackwardInput(recorder, 'dB', { ...toInput, dInput: dB }, { inChannels, first: ca }, shape);
    const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
    const toWeights = { dOutput: toInput.dOutput, dWeights: view(dWeights, weights.length) };
    convBackwardWeight(recorder, 'dW a', { ...toWeights, input: first }, { inChannels }, shape);
    if (second) {
      const place = { inChannels, first: ca };
      convBackwardWeight(recorder, 'dW b', { ...toWeights, input: second }, place, shape);
    }
    await bench.run();
    return {
      target: (await bench.read(target)).data,
      dA: (await bench.read(dA)).data,
      added: (await bench.read(added)).data,
      ...(dB && { dB: (await bench.read(dB)).data }),
      dWeights: await bench.readFlat(dWeights, weights.length),
      dispatches: recorder.dispatches.length,
    };
  }

  test('forward and gradients', async () => {
    const result = await run(rest.limits);
    const seen = slope === undefined ? a : activate(a, scaleShifts, slope);
    const input = b ? concatenate(seen, b) : seen;
    const reference = convGradients(input, weights, dOutput, shape);
    const isNormed = gpu !== undefined && slope !== undefined;
    const close = (
      actual: ArrayLike<number>,
      expected: ArrayLike<number>,
      label: string,
      readsNorm = false,
    ) => {
      const tolerance = isNormed && readsNorm ? operandTolerance : undefined;
      expectClose(actual, expected, label, rest.precision === 'f16' ? 1e-3 : tolerance);
    };
    const noBias = new Float64Array(out);
    close(result.target, conv(input, weights, bias ?? noBias, out, shape).data, 'output', true);
    const expectedA = channels(reference.dInput, 0, ca).data;
    close(result.dA, expectedA, 'gradient of the first input');
    const sum = expectedA.map((value, i) => value + a.data[i]!);
    close(result.added, sum, 'gradient of the first input on top of another');
    if (result.dB) {
      const expectedB = channels(reference.dInput, ca, inChannels).data;
      close(result.dB, expectedB, 'gradient of the second input');
    }
    close(result.dWeights, reference.dWeights, 'gradient of the weights', true);
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
});

describe('conv refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const input = { tensor: recorder.volume('input', 1, 2, [7, 4, 4]) };
  const weights = view(recorder.flat('weights', 4 * 2 * 9), 4 * 2 * 9);
  const forward = (size: Size3, kernel: Size3, stride: Size3, out = 4) => {
    const target = recorder.volume('target', 1, out, size);
    return () => convForward(recorder, 'op', { inputs: [input], weights, target }, { kernel, stride });
  };

  test('an output of another size', () => {
    expect(forward([3, 4, 4], [3, 3, 1], [2, 1, 1])).toThrow(InvalidOption);
    expect(forward([3, 4, 4], [3, 3, 1], [2, 1, 1])).toThrow(
      'op: 1×[7,4,4] with stride [2,1,1] gives [4,4,4], not 1×[3,4,4]',
    );
  });

  test('kernels and strides that there are no kernels for', () => {
    const message = (kernel: string, stride: string) =>
      `op: kernel [${kernel}] with stride [${stride}]; along each axis a kernel is 1 or 3, a stride 1 or 2`;
    expect(forward([7, 4, 4], [5, 3, 1], ones)).toThrow(message('5,3,1', '1,1,1'));
    expect(forward([3, 4, 4], [3, 3, 1], [3, 1, 1])).toThrow(message('3,3,1', '3,1,1'));
  });

  test('too few weights', () => {
    expect(forward([7, 4, 4], [3, 3, 1], ones, 5)).toThrow('op: weights holds 72 numbers; 90 are needed');
  });

  test('planes beyond the binding limit', () => {
    const wide = { tensor: recorder.volume('wide', 1, 2, [16, 16, 4]) };
    const target = recorder.volume('target', 1, 1, [8, 8, 2]);
    const strided = { kernel: ones, stride: twos };
    expect(() => convForward(recorder, 'op', { inputs: [wide], weights, target }, strided)).toThrow(
      OutOfMemory,
    );
  });
});
