/**
 * Statistics that convolutions leave tile by tile for the norm behind them, joined: against float64 loops over what was
 * stored, at odd sizes, of two inputs, in float16, far from zero, cut into slabs.
 */
import { describe, expect, test } from 'vitest';
import { kernelChoices, type ForwardKernel } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { matrixKernel } from '../../src/gpu/matrix-units.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import { convForward } from '../../src/ops/conv.ts';
import { tapsOf, usualShape, type ConvShape } from '../../src/ops/conv/shape.ts';
import { normForward, type NormKind } from '../../src/ops/norm.ts';
import { sumForward } from '../../src/ops/sum.ts';
import { transposedForward } from '../../src/ops/transposed.ts';
import type { Size3 } from '../../src/size.ts';
import { norm, runningStatistics } from '../reference/norm.ts';
import { testDevice } from '../support/device.ts';
import { always, kernelsOnMatrices, kernelsOnOthers } from '../support/matrices.ts';
import { Bench, dense, expectClose, expectSameBits, normals, randomDense, view } from '../support/run.ts';

interface Case {
  name: string;
  kind: Exclude<NormKind, 'group'>;
  /** Of the output. */
  size: Size3;
  inputs?: readonly [number, number?];
  out: number;
  shape?: ConvShape;
  transposed?: boolean;
  /** Bias of every channel, far from which its numbers lie by less than a hundredth. */
  far?: number;
  precision?: Precision;
  limits?: Partial<PlanLimits>;
  /** Default: only `channels`. */
  kernels?: readonly ForwardKernel[];
  /** In which its matrix units are used for all walks; default: the device of all tests. */
  gpu?: Gpu;
  /** Compiled without statistics, too: the output must have the same bits. */
  both?: boolean;
  /** On SwiftShader, which compiles each kernel for seconds, only these are tried. */
  fast?: boolean;
}

// Two rows of eight channels, and one of sixteen: these stand for the others.
const tiles = ['tiled 8x8x8, 8', 'tiled 16x8x4, 16'] as const;
const point: ConvShape = { kernel: [1, 1, 1], stride: [1, 1, 1] };
const halving: ConvShape = { kernel: [3, 3, 3], stride: [2, 2, 2] };
const strided: ConvShape = { kernel: [3, 3, 3], stride: [2, 2, 1] };
const cases: Case[] = [
  { name: 'narrow', kind: 'batch', size: [7, 6, 5], out: 5, fast: true },
  { name: 'two quads wide, two inputs', kind: 'instance', size: [8, 9, 5], inputs: [2, 3], out: 9 },
  { name: 'one quad wide, float16', kind: 'batch', size: [3, 5, 6], out: 3, precision: 'f16' },
  {
    name: 'float16, two inputs',
    kind: 'batch',
    size: [37, 11, 3],
    inputs: [3, 2],
    out: 6,
    precision: 'f16',
    kernels: ['channels', 'voxels'],
  },
  { name: 'fours of quads, the last cut', kind: 'instance', size: [30, 9, 5], out: 5 },
  { name: 'far from zero', kind: 'batch', size: [21, 10, 4], out: 4, far: 4000 },
  {
    name: 'several tiles, z-slabs of odd planes',
    kind: 'batch',
    size: [37, 10, 6],
    inputs: [3, 2],
    out: 11,
    limits: { maxBindingBytes: 65536 },
    kernels: ['channels', 'voxels', ...tiles],
    both: true,
  },
  { name: 'cut by work', kind: 'batch', size: [9, 6, 5], out: 5, limits: { maxDispatchFlops: 60000 } },
];
const others: Case[] = [
  { name: 'stride 2', kind: 'batch', size: [35, 17, 3], out: 9, shape: strided, both: true, fast: true },
  {
    name: '1×1×1, far from zero',
    kind: 'batch',
    size: [21, 10, 4],
    out: 4,
    far: 4000,
    shape: point,
  },
  {
    name: 'transposed, several tiles',
    kind: 'instance',
    size: [38, 30, 2],
    out: 3,
    shape: strided,
    transposed: true,
  },
  { name: 'transposed', kind: 'instance', size: [14, 10, 3], out: 5, shape: strided, transposed: true },
];
const { adapterClass } = await testDevice();
const onMatrices = (await kernelsOnMatrices()).flatMap(({ gpu, name, wide }): Case[] => [
  {
    name: 'stride 2, several tiles, z-slabs of odd planes',
    kind: 'batch',
    size: [37, 10, 6],
    inputs: [3, 2],
    out: 19,
    shape: strided,
    limits: { maxBindingBytes: 65536 },
    kernels: [wide],
    gpu,
  },
  {
    name: 'transposed, several runs of a subgroup, float16',
    kind: 'batch',
    size: [38, 10, 3],
    out: 5,
    shape: strided,
    transposed: true,
    precision: 'f16',
    kernels: [name],
    both: true,
    gpu,
  },
  {
    name: 'several runs of a subgroup, two inputs, cut by work',
    kind: 'instance',
    size: [19, 9, 5],
    inputs: [3, 2],
    out: 9,
    limits: { maxDispatchFlops: 100000 },
    kernels: [name],
    gpu,
  },
  {
    name: 'far from zero',
    kind: 'batch',
    size: [21, 10, 4],
    out: 4,
    far: 4000,
    shape: point,
    kernels: [name],
    gpu,
  },
]);
// Of runs of 16 voxels workgroups have fewer subgroups, with more of a plane each, or fewer that share one.
const onEmulated = (await kernelsOnOthers())
  .filter(({ name }) => matrixKernel(name)!.m === 16)
  .flatMap(({ gpu, name }): Case[] =>
    [usualShape, halving].map((shape) => ({
      name: `emulated, stride ${shape.stride.join(', ')}`,
      kind: 'batch',
      size: [19, 9, 5],
      out: 17,
      shape,
      kernels: [name],
      gpu,
    })),
  );
const all = [...cases, ...others, ...onMatrices, ...onEmulated];
const left = all.filter(({ fast = false }) => !fast && adapterClass === 'swiftshader');
if (left.length > 0)
  test(`statistics of a convolution: ${left.map(({ name }) => name).join('; ')}`, ({ skip }) =>
    skip('SwiftShader compiles each for seconds; they are tried on lavapipe and on hardware'));
if (onMatrices.length === 0)
  test('statistics of a convolution, matrix units', ({ skip }) =>
    skip('the adapter offers none; they are tried on lavapipe 26'));
if (onEmulated.length === 0)
  test('statistics of a convolution, emulated matrix units', ({ skip }) =>
    skip('they are tried in Node, where the adapter has float16'));
const variants = all
  .filter((one) => !left.includes(one))
  .flatMap(({ kernels = ['channels'], ...one }) => kernels.map((conv3) => ({ ...one, conv3 })));

const batch = 2;
const epsilon = 1e-5;
const slope = 0.01;

describe.each(variants)('statistics of a convolution, $name, $conv3', (one) => {
  const { kind, size, inputs = [3], out, shape = usualShape, far = 0, precision = 'f32' } = one;
  const [x, y, z] = size;
  const [ca, cb = 0] = inputs;
  const scaled = (length: number, axis: number): number => {
    const stride = shape.stride[axis]!;
    return one.transposed ? length / stride : length * stride - (stride > 1 ? 1 : 0);
  };
  const source = [scaled(x, 0), scaled(y, 1), scaled(z, 2)] as const;
  const volumes = [ca, cb].map((channels) => randomDense([batch, channels, source[2], source[1], source[0]]));
  const weights = normals((ca + cb) * out * tapsOf(shape.kernel));
  const bias = normals(out).map((value) => value + far);
  const gamma = normals(out);
  const beta = normals(out);

  async function run(statistics: 'joined' | 'apart', limits: Partial<PlanLimits> = {}) {
    const reduction = adapterClass === 'swiftshader' ? 'serial' : 'parallel';
    const { conv3 } = one;
    const choices = one.gpu ? always(conv3) : { ...kernelChoices.hardware, conv3 };
    const kernels = { ...choices, reduction, statistics } as const;
    using bench = new Bench({ kernels, ...limits }, precision, one.gpu);
    const { recorder } = bench;
    const read = volumes.filter(({ shape }) => shape[1] > 0);
    const [first, second] = read.map((values, i) => ({ tensor: bench.volume(`input ${i}`, values) }));
    const target = bench.output('target', batch, out, size);
    const tensors = {
      inputs: second ? ([first!, second] as const) : ([first!] as const),
      weights: view(bench.flat('weights', weights), weights.length),
      bias: view(bench.flat('bias', bias), out),
      target,
      measured: true,
    };
    const record = one.transposed ? transposedForward : convForward;
    const parts = record(recorder, 'conv', tensors, shape);
    const weightBias = bench.flat('weightBias', [...gamma, ...beta]);
    // With a momentum of 1 the running statistics are the batch's.
    const running = bench.flat('running', new Float64Array(2 * out));
    const state = {
      kind,
      weightBias: view(weightBias, 2 * out),
      biasOffset: out,
      running: view(running, 2 * out),
      varianceOffset: out,
      epsilon,
      momentum: 1,
    };
    const { scaleShifts } = normForward(recorder, 'norm', target, state, parts);
    const output = bench.output('output', batch, out, size);
    const zeros = { tensor: bench.volume('zeros', dense([batch, out, z, y, x])) };
    sumForward(recorder, 'read', [{ tensor: target, scaleShifts, slope }, zeros], output);
    await bench.run();
    return {
      stored: await bench.read(target),
      output: (await bench.read(output)).data,
      running: await bench.readFlat(running, 2 * out),
      shaders: recorder.dispatches.map(({ shader }) => shader),
    };
  }

  test('those of what is stored', async () => {
    const { stored, output, running, shaders } = await run('joined', one.limits);
    expect(shaders).toContain('norm/join');
    expect(shaders).not.toContain('norm/statistics');
    const expected = norm(stored, gamma, beta, { kind, epsilon, slope }).data;
    // Far from zero, what is left of y · scale + shift has lost digits, whatever the statistics.
    if (far === 0) expectClose(output, expected, 'output', precision === 'f16' ? 1e-3 : 1e-5);
    if (kind === 'batch') {
      const zero = new Float64Array(out);
      const { mean, variance } = runningStatistics(stored, zero, zero, 1);
      expectClose(running.slice(0, out), mean, 'mean', 1e-6);
      expectClose(running.slice(out), variance, 'variance');
    }
    if (!one.both) return;
    const apart = await run('apart', one.limits);
    expect(apart.shaders).not.toContain('norm/join');
    expectSameBits(apart.stored.data, stored.data, 'output of the convolution');
  });

  if (!one.limits) return;
  test('the same bits however it is cut', async () => {
    const [cut, whole] = [await run('joined', one.limits), await run('joined')];
    expect(cut.shaders.length).toBeGreaterThan(whole.shaders.length);
    expectSameBits(cut.running, whole.running, 'mean and variance');
  });
});
