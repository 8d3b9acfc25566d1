/**
 * A whole network on matrix units, all its convolutions but the head, against the plain kernels in float32. Where masks of
 * rectifiers or maxima of pools are taken from rounded numbers, some fall the other way, which moves gradients by some per
 * cent: so a network without either. Its gradients come through sixteen products in a row, each of which is off by less
 * than `operandTolerance` of its norm, at random: four times that; a little more is allowed. Then one with rectifiers that
 * learns.
 */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { operandTolerance } from '../../src/gpu/matrix-units.ts';
import { withKernel } from '../../src/gpu/passes.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { planTraining } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { always, kernelsOnMatrices } from '../support/matrices.ts';
import { expectClose } from '../support/run.ts';
import { box } from '../support/training.ts';

const size = [12, 8, 6] as const;
const config = completeConfig({
  inChannels: 1,
  classes: 3,
  features: [8, 10],
  norm: 'instance',
  activation: 'leakyRelu',
  slope: 1,
  down: 'conv',
});
const source = random(7, 'matrix units');
const image = Float32Array.from({ length: size[0] * size[1] * size[2] }, () => source.normal());
const label = Uint8Array.from(image, (value) => (value > 0.5 ? 2 : value > -0.3 ? 1 : 0));

/** Loss and gradients, both without the loss scale. */
async function stepWith(gpu: Gpu, kernels: KernelChoices) {
  const state = new ModelState(gpu, config, 3);
  state.kernels = kernels;
  const session = await TrainingSession.create(state, {
    size,
    batchSize: 1,
    loss: weightedDice(),
    optimizer: adam(),
  });
  const { result } = await session.step([{ image, label }], {
    learningRate: 0,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: Infinity,
    applied: 0,
  });
  const { loss, outcome, lossScale } = await result;
  expect(outcome).toBe('applied');
  const gradients = (await state.read('gradients')).map((value) => value / lossScale);
  session.dispose();
  state.dispose();
  return { loss, lossScale, gradients: namedTensors(state.layout.parameters, gradients) };
}

test('loss and all gradients', async ({ skip }) => {
  const [first] = await kernelsOnMatrices();
  if (!first) return skip('the adapter offers none; tried on lavapipe 26 and on GPUs that have them');
  const { gpu, name: kernel } = first;
  const plain = await stepWith(gpu, kernelChoices.hardware);
  // The table's kernels, too, as they say that gradients are to be scaled for float16.
  const found = await stepWith(gpu, { ...always(kernel), conv3: kernel, conv3Weights: kernel });
  expectClose([found.loss], [plain.loss], 'loss', operandTolerance);
  expect(found.gradients.size).toBe(plain.gradients.size);
  for (const [name, { data }] of found.gradients) {
    const expected = plain.gradients.get(name)!.data;
    // Exactly zero in front of a norm.
    if (expected.some((value) => value !== 0)) expectClose(data, expected, name, 5 * operandTolerance);
    else expect(data, name).toEqual(expected);
  }
  expect(found.lossScale).toBeGreaterThan(1); // else gradients of large volumes were too small for float16
});

/** Epochs, and how far losses may be apart: a few gradients differ by per cents, as masks of numbers near zero do. */
const [epochs, most] = [12, 0.01];

test.for([1, 2, 3])('a training in float16 learns as it does without, seed %i', async (seed, { skip }) => {
  const [first] = await kernelsOnMatrices();
  if (!first) return skip('the adapter offers none; tried on lavapipe 26 and on GPUs that have them');
  const { gpu, name: kernel } = first;
  const cases = [1, 2, 3, 4].map(box);
  const network = { inChannels: 1, classes: 2, features: [8, 10], down: 'conv', precision: 'f16' } as const;

  /** The mean loss of every epoch. */
  async function trained(kernels: KernelChoices) {
    const limits = { kernels };
    using model = await UNet3D.create({
      ...network,
      seed,
      matrixUnits: kernels === onMatrices,
      limits,
    });
    const warnings: string[] = [];
    const { history } = await model.fit(cases, {
      epochs,
      batchSize: 2,
      seed,
      onEvent: (event) => event.type === 'warning' && warnings.push(event.message),
    });
    expect(warnings).toEqual([]);
    return history.map(({ loss }) => loss);
  }
  const { hardware } = kernelChoices;
  const { passes } = planTraining({
    config: completeConfig(network),
    size: [12, 10, 8],
    batch: 2,
    limits: { ...gpu.limits, kernels: hardware },
    precision: 'f16',
    loss: lossShape(weightedDice(), 2),
    optimizer: adam(),
  }).plan;
  const onMatrices = passes.reduce((choices, pass) => withKernel(choices, pass, kernel), hardware);
  const [plain, found] = [await trained(hardware), await trained(onMatrices)];
  expect(found).toHaveLength(epochs);
  expect(found).not.toEqual(plain); // other kernels have run
  for (const [epoch, loss] of found.entries())
    expect(Math.abs(loss / plain[epoch]! - 1), `epoch ${epoch}`).toBeLessThan(most);
  expect(found.at(-1)!).toBeLessThan(0.7 * found[0]!);
});
