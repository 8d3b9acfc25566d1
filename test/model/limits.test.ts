/** Whole training steps give the same bits when repeated, and under limits that cut them into slabs and slices. */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { Gpu } from '../../src/gpu/device.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import { completeConfig } from '../../src/model/config.ts';
import { ModelState } from '../../src/model/state.ts';
import { diceCrossEntropy } from '../../src/train/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { testDevice } from '../support/device.ts';
import { expectSameBits } from '../support/run.ts';

const size = [32, 24, 16] as const;
const batchSize = 2;
const voxels = batchSize * size[0] * size[1] * size[2];
const source = random(11, 'limits');
const batch = {
  image: Float32Array.from({ length: voxels }, () => source.normal()),
  label: Uint8Array.from({ length: voxels }, () => source.int(3)),
};
const config = completeConfig({ inChannels: 1, classes: 3, features: [3, 5, 8] });

/** Three steps from the same weights on the test device, under its limits or lower ones. */
async function train(limits: Partial<PlanLimits> = {}) {
  const { device } = await testDevice();
  using gpu = await Gpu.open({ device, limits });
  const state = new ModelState(gpu, config, 17);
  const session = await TrainingSession.create(state, {
    size,
    batchSize,
    loss: diceCrossEntropy(),
    optimizer: adam(),
  });
  const losses: number[] = [];
  for (let t = 1; t <= 3; t++) {
    const { result } = await session.step([batch], {
      learningRate: 0.01,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
      correction1: 1 - 0.9 ** t,
      correction2: Math.sqrt(1 - 0.999 ** t),
      maxNorm: 1,
    });
    losses.push((await result).loss);
  }
  const { plan } = session;
  const { parameters, statistics } = await state.readWeights();
  session.dispose();
  state.dispose();
  expect(gpu.allocatedBytes).toBe(0);
  return { losses, parameters, statistics, plan };
}

function expectSameRun(
  actual: Awaited<ReturnType<typeof train>>,
  expected: Awaited<ReturnType<typeof train>>,
): void {
  for (const name of ['losses', 'parameters', 'statistics'] as const)
    expectSameBits(actual[name], expected[name], name);
}

test('again', async () => {
  const [once, again] = [await train(), await train()];
  expect(once.losses[2]).toBeLessThan(once.losses[0]!);
  expectSameRun(again, once);
});

test('in z-slabs, where a binding holds a third of a volume', async () => {
  const limits = { maxBindingBytes: 100 * 1024 };
  const [slabs, whole] = [await train(limits), await train()];
  expect(whole.plan.largestBindingBytes).toBeGreaterThan(2 * limits.maxBindingBytes);
  expect(slabs.plan.largestBindingBytes).toBeLessThanOrEqual(limits.maxBindingBytes);
  expect(slabs.plan.dispatches.length).toBeGreaterThan(whole.plan.dispatches.length);
  expectSameRun(slabs, whole);
});

test('in slices of work', async () => {
  const [slices, whole] = [await train({ maxDispatchFlops: 5e5 }), await train()];
  expect(slices.plan.dispatches.length).toBeGreaterThan(2 * whole.plan.dispatches.length);
  expectSameRun(slices, whole);
});
