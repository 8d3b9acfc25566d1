/** How many dispatches a training step has, for each costs some microseconds whatever it does: plans without a GPU. */
import { expect, test } from 'vitest';
import { kernelChoices } from '../../src/gpu/choices.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { planTraining } from '../../src/model/plan.ts';
import { adam } from '../../src/train/optimizers.ts';
import { always } from '../support/matrices.ts';

const config = completeConfig({ inChannels: 1, classes: 6, features: [16, 32, 64, 128] });
const most = 300;
/** As GPUs have them; slower ones cut large dispatches by their work. */
const limits = { maxBindingBytes: 2 ** 31 - 4, maxBufferBytes: 2 ** 32, maxDispatchFlops: Infinity };
const tables = [
  ['of GPUs', kernelChoices.hardware],
  ['on matrix units', always('matrix 16x16x16, 16')],
] as const;
const cases = tables.flatMap(([name, kernels]) =>
  (['f32', 'f16'] as const).flatMap((precision) =>
    (
      [
        [64, 64, 64],
        [256, 256, 128],
      ] as const
    ).map((size) => ({ name, kernels, precision, size })),
  ),
);

test.each(cases)(
  'a training step has at most 300 with kernels $name, in $precision at $size',
  ({ kernels, precision, size }) => {
    const given: PlanLimits = { ...limits, kernels };
    const loss = lossShape(weightedDice(), config.classes);
    const shape = { config, size, batch: 2, precision, limits: given, loss, optimizer: adam() };
    expect(planTraining(shape).plan.dispatches.length).toBeLessThanOrEqual(most);
  },
);
