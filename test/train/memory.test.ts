import { expect, test, vi } from 'vitest';
import type { TrainingShape } from '../../src/model/plan-shape.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { testDevice } from '../support/device.ts';
import { box } from '../support/training.ts';

const planned = vi.hoisted(() => [] as unknown[]);
vi.mock('../../src/model/plan.ts', async (original) => {
  const plans: typeof import('../../src/model/plan.ts') = await original();
  const planTraining = (shape: TrainingShape) => {
    planned.push(shape);
    return plans.planTraining(shape);
  };
  return { ...plans, planTraining };
});

test('a step that fits the memory is planned once', async () => {
  const { device } = await testDevice();
  using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [4, 6], device });
  const options = { epochs: 1, batchSize: 2, tune: false };
  planned.length = 0;
  await model.fit([1, 2].map(box), options);
  expect(planned).toHaveLength(1);
  await model.fit([1, 2].map(box), { ...options, ema: { decay: 0.9 }, accumulate: 2 });
  expect(planned).toHaveLength(2);
});
