/** Max-pool and average-pool against float64 loops: odd sizes, ties, norms in front, gradients on top of others, tiny bindings. */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import {
  averagePoolBackward,
  coarserLabels,
  poolBackward,
  poolForward,
  pooledSize,
} from '../../src/ops/pool.ts';
import { activate } from '../reference/activate.ts';
import { averagePool, averagePoolGradient, pool, poolGradient } from '../reference/pool.ts';
import {
  activatedInput,
  Bench,
  dense,
  expectClose,
  expectSameBits,
  limitsOf,
  normals,
  randomDense,
  type Dense,
} from '../support/run.ts';

/** All but 2 along each axis. */
const strides: Size3[] = [1, 2].flatMap((x) =>
  [1, 2].flatMap((y) => [1, 2].filter((z) => x * y * z < 8).map((z): Size3 => [x, y, z])),
);

interface Case {
  name: string;
  batch: number;
  size: readonly [x: number, y: number, z: number];
  channels: number;
  norm?: boolean;
  slope?: number;
  /** Default: 2 along each axis. */
  stride?: Size3;
  limits?: Partial<PlanLimits>;
}

const cases: Case[] = [
  { name: 'odd sizes', batch: 2, size: [7, 5, 3], channels: 3 },
  { name: 'whole tiles', batch: 2, size: [16, 8, 4], channels: 8 },
  { name: 'one voxel left', batch: 1, size: [2, 2, 2], channels: 5 },
  { name: 'behind a norm with ReLU', batch: 2, size: [6, 8, 4], channels: 4, norm: true, slope: 0 },
  { name: 'behind a leaky norm', batch: 2, size: [10, 6, 4], channels: 3, norm: true, slope: 0.01 },
  {
    name: 'z-slabs',
    batch: 2,
    size: [10, 7, 10],
    channels: 3,
    norm: true,
    slope: 0.01,
    limits: { maxBindingBytes: 6144 },
  },
  {
    name: 'z-slabs over many samples of odd depth',
    batch: 9,
    size: [4, 4, 3],
    channels: 2,
    limits: { maxBindingBytes: 2048 },
  },
  ...strides.map((stride): Case => ({
    name: `strides ${stride.join(', ')}`,
    batch: 2,
    size: [13, 7, 5],
    channels: 3,
    norm: true,
    slope: 0.01,
    stride,
    limits: { maxBindingBytes: 7168 },
  })),
];

async function run(
  source: Dense,
  before: Dense,
  dOutput: Dense,
  norm: { scaleShifts: Float64Array; slope: number } | undefined,
  limits: Partial<PlanLimits> = {},
  stride: Size3 = [2, 2, 2],
) {
  const [batch, channels, z, y, x] = source.shape;
  using bench = new Bench(limits);
  const tensor = bench.volume('input', source);
  const input = norm ? activatedInput(bench, tensor, norm.scaleShifts, norm.slope) : { tensor };
  const target = bench.output('target', batch, channels, pooledSize([x, y, z], stride));
  poolForward(bench.recorder, 'forward', { source: input, target }, stride);
  const dInput = bench.volume('dInput', before);
  const upstream = bench.volume('dOutput', dOutput);
  poolBackward(bench.recorder, 'backward', { source: input, dTarget: upstream, dSource: dInput }, stride);
  const mean = bench.output('mean', batch, channels, target.size);
  poolForward(bench.recorder, 'mean', { source: input, target: mean }, stride, 'average');
  const [assigned, added] = [
    bench.output('dMean', batch, channels, [x, y, z]),
    bench.volume('added', before),
  ];
  averagePoolBackward(bench.recorder, 'dMean', { dTarget: upstream, dSource: assigned }, stride);
  averagePoolBackward(bench.recorder, 'added', { dTarget: upstream, dSource: added }, stride, true);
  await bench.run();
  return {
    target: (await bench.read(target)).data,
    dInput: (await bench.read(dInput)).data,
    mean: (await bench.read(mean)).data,
    dMean: (await bench.read(assigned)).data,
    added: (await bench.read(added)).data,
    dispatches: bench.recorder.dispatches.length,
  };
}

describe.each(cases)(
  'pool: $name',
  ({ batch, size, channels, norm, slope = 0, stride = [2, 2, 2], limits }) => {
    const [x, y, z] = size;
    const [w, h, d] = pooledSize(size, stride);
    const source = randomDense([batch, channels, z, y, x]);
    const before = randomDense(source.shape);
    const dOutput = randomDense([batch, channels, d, h, w]);
    const scaleShifts = normals(batch * channels * 2);
    const front = norm ? { scaleShifts, slope } : undefined;

    test('forward, and the gradient added to what was there', async () => {
      const result = await run(source, before, dOutput, front, limits, stride);
      const seen = norm ? activate(source, scaleShifts, slope) : source;
      expectClose(result.target, pool(seen, stride).data, 'output');
      expectClose(result.dInput, poolGradient(seen, dOutput, before, stride).data, 'gradient of the input');
      expectClose(result.mean, averagePool(seen, stride).data, 'mean');
      const nothing = dense(source.shape);
      const dMean = averagePoolGradient(dOutput, nothing, stride).data;
      expectClose(result.dMean, dMean, 'gradient of the mean');
      const added = averagePoolGradient(dOutput, before, stride).data;
      expectClose(result.added, added, 'gradient of the mean on top of another');
    });

    if (!limits) return;
    test('the same bits however it is cut', async () => {
      const { dispatches, ...cut } = await run(source, before, dOutput, front, limits, stride);
      const { dispatches: fewer, ...whole } = await run(source, before, dOutput, front, {}, stride);
      expect(dispatches).toBeGreaterThan(fewer);
      for (const what of ['target', 'dInput', 'mean', 'dMean', 'added'] as const)
        expectSameBits(cut[what], whole[what], what);
    });
  },
);

test('pool: of equal maxima the first in z, y, x takes the gradient', async () => {
  const few = normals(1 * 3 * 4 * 6 * 8);
  const source = dense([1, 3, 4, 6, 8], (i) => Math.round(few[i]!) + 0); // mostly -1, 0 and 1
  const before = dense(source.shape);
  const dOutput = randomDense([1, 3, 2, 3, 4]);
  const result = await run(source, before, dOutput, undefined);
  expectSameBits(result.target, pool(source).data, 'output');
  expectSameBits(result.dInput, poolGradient(source, dOutput, before).data, 'gradient of the input');
});

test('pool: where ReLU makes all eight zero, the first takes the gradient', async () => {
  const source = dense([1, 1, 2, 2, 4], (i) => -1 - i);
  const before = dense(source.shape);
  const dOutput = dense([1, 1, 1, 1, 2], (i) => 5 + i);
  const result = await run(source, before, dOutput, { scaleShifts: Float64Array.of(1, 0), slope: 0 });
  expect(result.target.map(Math.abs)).toEqual(Float64Array.of(0, 0));
  expect([...result.dInput]).toEqual([5, 0, 6, 0, ...new Array<number>(12).fill(0)]);
});

test.each<[Size3, Size3, number?]>([
  [
    [9, 6, 5],
    [2, 2, 2],
  ],
  [
    [16, 6, 4],
    [2, 2, 2],
  ],
  [[32, 12, 6], [2, 2, 2], 2048],
  [[32, 12, 23], [4, 2, 4], 4096],
  ...strides.map((stride): [Size3, Size3] => [[13, 7, 5], stride]),
])('pool: first labels of %j in windows of %j', async ([x, y, z], stride, maxBindingBytes) => {
  const batch = 2;
  const labels = Uint8Array.from({ length: batch * x * y * z }, (_, i) => (i * 7919) % 251);
  using bench = new Bench(maxBindingBytes ? { maxBindingBytes } : {});
  const source = bench.labels('labels', [x, y, z], batch, labels);
  const [w, h, d] = pooledSize([x, y, z], stride);
  const target = bench.labels('halved', [w, h, d], batch, []);
  coarserLabels(bench.recorder, 'halve', { source, target }, stride, 'first');
  await bench.run();
  const at = (i: number) => {
    const [n, k, j] = [Math.floor(i / (w * h * d)), Math.floor(i / (w * h)) % d, Math.floor(i / w) % h];
    return labels[((n * z + stride[2] * k) * y + stride[1] * j) * x + stride[0] * (i % w)]!;
  };
  const expected = Uint8Array.from({ length: batch * w * h * d }, (_, i) => at(i));
  expect(await bench.readLabels(target)).toEqual(expected);
  if (maxBindingBytes) expect(bench.recorder.dispatches.length).toBeGreaterThan(1);
});

describe('pool refuses', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096 }));
  const source = { tensor: recorder.volume('input', 1, 2, [8, 7, 6]) };

  test('a target of another size', () => {
    const target = recorder.volume('target', 1, 2, [4, 4, 3]);
    const message = 'op: 1×2×[8,7,6] pools to [4,3,3], not to 1×2×[4,4,3]';
    expect(() => poolForward(recorder, 'op', { source, target })).toThrow(InvalidOption);
    expect(() => poolForward(recorder, 'op', { source, target })).toThrow(message);
    expect(() => poolBackward(recorder, 'op', { source, dTarget: target, dSource: source.tensor })).toThrow(
      message,
    );
  });

  test('an axis of one voxel', () => {
    const flat = { tensor: recorder.volume('flat', 1, 2, [8, 8, 1]) };
    const target = recorder.volume('target', 1, 2, [4, 4, 0]);
    expect(() => poolForward(recorder, 'op', { source: flat, target })).toThrow('pools to [4,4,0]');
  });

  test('planes beyond the binding limit', () => {
    const wide = { tensor: recorder.volume('wide', 1, 2, [32, 16, 2]) };
    const target = recorder.volume('target', 1, 2, [16, 8, 1]);
    expect(() => poolForward(recorder, 'op', { source: wide, target })).toThrow(OutOfMemory);
  });
});
