/**
 * Whole training steps give the same bits when repeated, with activation checkpointing, and under limits that cut
 * them into slabs and slices, in float32 and in float16; float16 and accumulated batches stay close to them.
 */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { Gpu } from '../../src/gpu/device.ts';
import type { ForwardKernel, KernelChoices } from '../../src/gpu/choices.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import { toStored } from '../../src/gpu/layout.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import { Program } from '../../src/gpu/program.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { planInference } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import { diceCrossEntropy } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession, type Batch } from '../../src/train/session.ts';
import { featurelessDevice, testDevice } from '../support/device.ts';
import { testLeftToNode } from '../support/left-to-node.ts';
import { always, kernelsOnMatrices } from '../support/matrices.ts';
import { expectSameBits, relativeError } from '../support/run.ts';

const { adapterClass, limits } = await testDevice();
const size = [24, 20, 16] as const;
const batchSize = 2;
const voxels = batchSize * size[0] * size[1] * size[2];
const source = random(11, 'limits');
const batch = {
  image: Float32Array.from({ length: voxels }, () => source.normal()),
  label: Uint8Array.from({ length: voxels }, () => source.int(3)),
};
const completed = (network: Partial<UNet3DConfig> = {}): UNet3DConfig =>
  completeConfig({ inChannels: 1, classes: 3, features: [3, 5, 8], ...network });
const config = completed();

interface Options {
  precision?: Precision;
  checkpointing?: boolean;
  /** The batch's samples one after the other. */
  accumulate?: boolean;
  norm?: 'batch' | 'instance';
  open?: () => Promise<Gpu>;
}

/** Three steps from the same weights on the test device, under its limits or lower ones. */
async function train(limits: Partial<PlanLimits> = {}, options: Options = {}) {
  const { precision = 'f32', checkpointing, accumulate = false, norm = 'batch', open = testDevice } = options;
  const { device } = await open();
  using gpu = await Gpu.open({ device, limits });
  const state = new ModelState(gpu, { ...config, norm }, 17);
  state.precision = precision;
  const session = await TrainingSession.create(state, {
    size,
    batchSize: accumulate ? 1 : batchSize,
    loss: diceCrossEntropy(),
    optimizer: adam(),
    checkpointing,
    accumulate: accumulate ? batchSize : 1,
  });
  const half = voxels / batchSize;
  const samples = [0, half].map((at): Batch => ({
    image: batch.image.subarray(at, at + half),
    label: batch.label.subarray(at, at + half),
  }));
  const losses: number[] = [];
  let gradients: Float32Array | undefined; // of the first step
  for (let t = 1; t <= 3; t++) {
    const { result } = await session.step(accumulate ? samples : [batch], {
      learningRate: 0.01,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
      maxNorm: 1,
      applied: t - 1,
    });
    losses.push((await result).loss);
    gradients ??= await state.read('gradients');
  }
  const { plan } = session;
  const [scale = NaN] = await state.read('lossScale');
  const { parameters, statistics } = await state.readWeights();
  session.dispose();
  state.dispose();
  expect(gpu.allocatedBytes).toBe(0);
  return { losses, parameters, statistics, gradients: gradients!, scale, plan };
}

function expectSameRun(
  actual: Awaited<ReturnType<typeof train>>,
  expected: Awaited<ReturnType<typeof train>>,
): void {
  for (const name of ['losses', 'parameters', 'statistics'] as const)
    expectSameBits(actual[name], expected[name], name);
}

/** The run that others are compared with. */
let kept: ReturnType<typeof train> | undefined;
const reference = () => (kept ??= train());

test('again', async () => {
  const [once, again] = [await reference(), await train()];
  expect(once.losses[2]).toBeLessThan(once.losses[0]!);
  expectSameRun(again, once);
});

test('in z-slabs, where a binding holds a third of a volume', async () => {
  const limits = { maxBindingBytes: 70 * 1024 };
  const [slabs, whole] = [await train(limits), await reference()];
  expect(whole.plan.largestBindingBytes).toBeGreaterThan(2 * limits.maxBindingBytes);
  expect(slabs.plan.largestBindingBytes).toBeLessThanOrEqual(limits.maxBindingBytes);
  expect(slabs.plan.dispatches.length).toBeGreaterThan(whole.plan.dispatches.length);
  expectSameRun(slabs, whole);
});

test('with statistics that convolutions leave for norms: close to those of whole volumes, the same bits in slabs and slices', async ({
  skip,
}) => {
  skip(
    adapterClass === 'swiftshader',
    'SwiftShader compiles each of its kernels for seconds; lavapipe tries it',
  );
  const kernels = { ...limits.kernels, statistics: 'joined' } as const;
  const cuts = { maxBindingBytes: 70 * 1024, maxDispatchFlops: 2e6 };
  const [cut, joined] = [
    await train({ kernels, ...cuts }, { checkpointing: true }),
    await train({ kernels }),
  ];
  const whole = await reference();
  const has = (run: typeof whole, name: string) => run.plan.dispatches.some(({ shader }) => shader === name);
  expect(has(joined, 'norm/join')).toBe(true);
  expect(has(joined, 'norm/statistics')).toBe(false);
  expect(has(whole, 'norm/join')).toBe(limits.kernels.statistics === 'joined');
  expectSameRun(cut, joined);
  expect(relativeError(joined.losses, whole.losses)).toBeLessThan(1e-5);
  expect(relativeError(joined.gradients, whole.gradients)).toBeLessThan(1e-4);
});

test('in slices of work', async () => {
  const [slices, whole] = [await train({ maxDispatchFlops: 5e5 }), await reference()];
  expect(slices.plan.dispatches.length).toBeGreaterThan(2 * whole.plan.dispatches.length);
  expectSameRun(slices, whole);
});

test('with activation checkpointing, in less memory', async () => {
  const [less, whole] = [await train({}, { checkpointing: true }), await reference()];
  expect(less.plan.peakBytes).toBeLessThan(whole.plan.peakBytes);
  expect(less.plan.flops).toBeGreaterThan(whole.plan.flops);
  expectSameRun(less, whole);
});

test('in float16, as this device keeps it: close to float32', async () => {
  const [half, whole] = [await train({}, { precision: 'f16' }), await reference()];
  expect(half.plan.peakBytes).toBeLessThan(0.6 * whole.plan.peakBytes);
  expect(half.scale).toBe(65536);
  expect(relativeError(half.losses, whole.losses)).toBeLessThan(2e-3);
  const unscaled = half.gradients.map((g) => g / half.scale);
  expect(relativeError(unscaled, whole.gradients)).toBeLessThan(3e-2);
});

/** Logits of the batch from weights of a seed, as they are stored. */
async function infer(device: GPUDevice, limits: Partial<PlanLimits>, network: Partial<UNet3DConfig>) {
  using gpu = await Gpu.open({ device, limits });
  const state = new ModelState(gpu, { ...config, norm: 'instance', ...network }, 17);
  const planned = planInference({ config: state.config, size, batch: batchSize, limits: gpu.limits });
  using program = await Program.create(gpu, planned.plan, await state.shared(['parameters', 'statistics']));
  program.write(planned.image, toStored(planned.image, batch.image));
  await program.run();
  const logits = new Float32Array(await program.read(planned.logits));
  const madeOf = (node: string) =>
    planned.plan.tensors.filter(({ name, first }) => name === node && first >= 0);
  state.dispose();
  return { logits, madeOf };
}

/** Slabs of what a decoder raises take the place of each other, and make the logits that all at once makes. */
async function expectInferenceByPlanes(
  device: GPUDevice,
  kernels: KernelChoices,
  network: Partial<UNet3DConfig> = {},
  maxBindingBytes = 70 * 1024,
) {
  const [slabs, whole] = [
    await infer(device, { kernels, maxBindingBytes, maxDispatchFlops: 2e6 }, network),
    await infer(device, { kernels }, network),
  ];
  const [raised, atOnce] = [slabs.madeOf('decoder.0.up'), whole.madeOf('decoder.0.up')];
  expect(atOnce).toHaveLength(1);
  expect(raised.length).toBeGreaterThan(2);
  // Two, where slabs of both inputs of a convolution are there at a time.
  expect(new Set(raised.map(({ buffer }) => buffer)).size).toBeLessThanOrEqual(2);
  for (const { bytes } of raised) expect(bytes).toBeLessThan(atOnce[0]!.bytes / 2);
  expectSameBits(slabs.logits, whole.logits, 'logits');
  return { slabs, whole };
}

describe('inference makes what a decoder raises by planes, with the same bits as all at once, for convolutions', () => {
  test.each<ForwardKernel>(['voxels', 'channels', 'tiled 16x8x4, 8'])('by %s', async (conv3) => {
    const { device } = await testDevice();
    const { slabs, whole } = await expectInferenceByPlanes(device, { ...limits.kernels, conv3 });
    // What is made of a skip takes its place: nobody else reads it by then.
    expect(slabs.madeOf('decoder.0.conv1')).toHaveLength(0);
    expect(whole.madeOf('decoder.0.conv1')).toHaveLength(1);
  });

  test('of residual blocks, which take the place of what they begin with where nobody reads that again', async () => {
    const { device } = await testDevice();
    const network = completed({ block: 'residual', encoderBlocks: [2, 2, 2] });
    const { slabs, whole } = await expectInferenceByPlanes(device, limits.kernels, network);
    const own = ({ madeOf }: typeof whole, name: string) =>
      madeOf(name).filter(({ bytes }) => bytes === whole.madeOf(name)[0]!.bytes).length;
    const names = ['conv1', 'conv2', 'sum'].map((name) => `encoder.0.block2.${name}`);
    expect(names.map((name) => own(whole, name))).toEqual([1, 1, 1]);
    expect(names.map((name) => own(slabs, name))).toEqual([1, 0, 0]);
  });

  test.each([
    ['a shortcut', { block: 'residual' }, 'encoder.stem.conv1'],
    ['a skip', { encoderBlocks: [1, 2, 2] }, 'encoder.0.conv1'],
  ] as const)(
    'of %s that is made of the image alone, again where it is read again',
    async (_, network, name) => {
      const { device } = await testDevice();
      const { slabs, whole } = await expectInferenceByPlanes(device, limits.kernels, completed(network));
      const [first, again, ...more] = slabs.madeOf(name);
      // The place of the first is taken meanwhile, where something of its size is made of it.
      expect(again!.first).toBeGreaterThan(first!.first + 1);
      expect(more.length).toBeGreaterThan(1);
      expect(whole.madeOf(name)).toHaveLength(2);
    },
  );

  test('of a shortcut that is averaged, by planes, too', async () => {
    const { device } = await testDevice();
    const network = completed({ block: 'residual', down: 'conv' });
    const { slabs, whole } = await expectInferenceByPlanes(device, limits.kernels, network, 24 * 1024);
    const made = ({ madeOf }: typeof whole) => madeOf('encoder.1.block1.skip.pool').length;
    expect([made(slabs), made(whole)]).toEqual([2, 1]);
  });

  test('on matrix units', async ({ skip }) => {
    const [first] = await kernelsOnMatrices();
    if (!first) return skip('the adapter offers none; tried on lavapipe 26 and on GPUs that have them');
    await expectInferenceByPlanes(first.gpu.device, always(first.name));
  });
});

testLeftToNode(
  'in float16, packed in pairs: close to float32, the same bits in slabs and slices with checkpointing',
  async () => {
    const options = { precision: 'f16', open: featurelessDevice } as const;
    const limits = { maxBindingBytes: 60 * 1024, maxDispatchFlops: 2e6 };
    const [half, cut, whole] = [
      await train({}, options),
      await train(limits, { ...options, checkpointing: true }),
      await reference(),
    ];
    expect(cut.plan.largestBindingBytes).toBeLessThanOrEqual(limits.maxBindingBytes);
    expectSameRun(cut, half);
    expect(relativeError(half.losses, whole.losses)).toBeLessThan(2e-3);
  },
);

test('instance norm: samples one after the other make the step of the whole batch', async () => {
  const norm = 'instance';
  const [parts, whole] = [await train({}, { norm, accumulate: true }), await train({}, { norm })];
  expect(parts.plan.peakBytes).toBeLessThan(0.7 * whole.plan.peakBytes);
  expect(relativeError(parts.losses, whole.losses)).toBeLessThan(1e-5);
  expect(relativeError(parts.parameters, whole.parameters)).toBeLessThan(1e-4);
});
