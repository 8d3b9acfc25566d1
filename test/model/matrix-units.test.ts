/**
 * A whole network on matrix units, all its convolutions but the head, against float64 loops. Where a number in front of a
 * rectifier is rounded to the other side of zero, its gradient changes by more than rounding explains: so each norm moves
 * its channels until zero lies in the widest gap between the numbers in their middle, half of which is many times what
 * they are off by. Gradients come through sixteen products in a row, each of which is off by less than `operandTolerance`
 * of its norm, at random: four times that; in float16 as many volumes between them are rounded on top, which is √2 as
 * much. Then a network as it is used, which learns as it does on the plain kernels.
 */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import { operandTolerance } from '../../src/gpu/matrix-units.ts';
import { withKernel } from '../../src/gpu/passes.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { classWeights, lossShape, weightedDice } from '../../src/model/losses.ts';
import { isUpconv } from '../../src/model/pass-bench.ts';
import { planTraining } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import { adam } from '../../src/train/optimizers.ts';
import { planSession, TrainingSession } from '../../src/train/session.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { twoLevels, type Named } from '../reference/two-levels.ts';
import { always, kernelsOnMatrices, type OnMatrices } from '../support/matrices.ts';
import { expectClose, type Dense } from '../support/run.ts';
import { box } from '../support/training.ts';

const size = [12, 6, 4] as const;
const classes = 3;
const slope = 0.25;
const config = completeConfig({
  inChannels: 1,
  classes,
  features: [8, 10],
  norm: 'instance',
  activation: 'leakyRelu',
  slope,
  down: 'conv',
});
const source = random(7, 'matrix units');
const image = Float32Array.from({ length: size[0] * size[1] * size[2] }, () => source.normal());
const label = Uint8Array.from(image, (value) => (value > 0.5 ? 2 : value > -0.3 ? 1 : 0));
const loss = weightedDice();

/** The widest gap between neighbours in the middle half of some numbers: its middle, and half its width. */
function widestGap(numbers: Float64Array): { middle: number; half: number } {
  const sorted = numbers.toSorted();
  let widest = { middle: 0, half: 0 };
  for (let i = sorted.length >> 2; i < 3 * (sorted.length >> 2); i++) {
    const half = (sorted[i + 1]! - sorted[i]!) / 2;
    if (half > widest.half) widest = { middle: sorted[i]! + half, half };
  }
  return widest;
}

/** Loss and gradients in float64. Moves the norms' channels in the parameters; `nearest` to zero is what comes nearest. */
function expectedStep(parameters: Named) {
  const norm = { kind: 'instance', epsilon: 1e-5, slope } as const;
  const weights = classWeights(loss, classes);
  let nearest = Infinity;
  const given = {
    image: { shape: [1, 1, size[2], size[1], size[0]], data: Float64Array.from(image) } as const,
    labels: label,
    loss: { ...loss, diceWeights: weights.slice(0, classes), entropyWeights: weights.slice(classes) },
    norm,
    before(name: string, { shape: [, channels], data }: Dense) {
      const [gamma, beta] = [parameters.get(`${name}.weight`)!, parameters.get(`${name}.bias`)!];
      const voxels = data.length / channels;
      for (let channel = 0; channel < channels; channel++) {
        const numbers = data.slice(channel * voxels, (channel + 1) * voxels);
        const mean = numbers.reduce((sum, value) => sum + value, 0) / voxels;
        const variance = numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / voxels;
        const scale = gamma[channel]! / Math.sqrt(variance + norm.epsilon);
        const { middle, half } = widestGap(numbers);
        beta[channel] = Math.fround((mean - middle) * scale);
        nearest = Math.min(nearest, half * scale);
      }
    },
  };
  const step = twoLevels(parameters, given);
  return { ...step, nearest };
}

test.for(['f32', 'f16'] as const)('loss and all gradients, volumes in %s', async (precision, { skip }) => {
  const [first] = await kernelsOnMatrices();
  if (!first) return skip('the adapter offers none; tried on lavapipe 26 and on GPUs that have them');
  await expectGradients(first, precision);
});

async function expectGradients({ gpu, name: kernel }: OnMatrices, precision: Precision): Promise<void> {
  const state = new ModelState(gpu, config, 3);
  state.precision = precision;
  // The table's kernels, too, as they say that gradients are to be scaled for float16.
  state.kernels = { ...always(kernel), conv3: kernel, conv3Weights: kernel };
  const { parameters } = await state.readWeights();
  const named = new Map(
    [...namedTensors(state.layout.parameters, parameters)].map(([name, { data }]) => [
      name,
      Float64Array.from(data),
    ]),
  );
  const expected = expectedStep(named);
  expect(expected.nearest).toBeGreaterThan(10 * operandTolerance);
  for (const [name, values] of named) parameters.set(values, state.layout.parameters.get(name)!.offset);
  state.write('parameters', parameters);

  const session = await TrainingSession.create(state, { size, batchSize: 1, loss, optimizer: adam() });
  const shaders = new Set(session.plan.dispatches.map(({ shader }) => shader));
  expect([...shaders].filter((shader) => /^(conv|conv3|upconv)\//.test(shader))).toEqual([]);
  const { result } = await session.step([{ image, label }], {
    learningRate: 0,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: Infinity,
    applied: 0,
  });
  const found = await result;
  expect(found.outcome).toBe('applied');
  expect(found.lossScale).toBeGreaterThan(1); // else gradients of large volumes were too small for float16
  const gradients = (await state.read('gradients')).map((value) => value / found.lossScale);
  session.dispose();
  state.dispose();

  expectClose([found.loss], [expected.loss], 'loss', operandTolerance);
  const tolerance = 4 * operandTolerance * (precision === 'f16' ? Math.SQRT2 : 1);
  const tensors = namedTensors(state.layout.parameters, gradients);
  expect([...tensors.keys()].sort()).toEqual([...expected.gradients.keys()].sort());
  for (const [name, { data }] of tensors)
    if (/conv[12]\.bias$/.test(name)) expect(data, `${name}, in front of a norm`).toEqual(data.map(() => 0));
    else expectClose(data, expected.gradients.get(name)!, name, tolerance);
}

test.for([
  ['forward', 'convolutions'],
  ['weights', 'convolutions'],
  ['forward', 'transposed ones'],
  ['weights', 'transposed ones'],
] as const)(
  'gradients in float32 that are too large for float16 are seen, by kernels of kind %s of %s',
  async ([kind, of], { skip }) => {
    const [first] = await kernelsOnMatrices();
    if (!first) return skip('the adapter offers none; tried on lavapipe 26 and on GPUs that have them');
    const { gpu, name: kernel } = first;
    const state = new ModelState(gpu, config, 3);
    const shape = { size, batchSize: 1, loss, optimizer: adam() };
    const { passes } = planSession(state, shape).plan;
    const chosen = passes.filter(
      (pass) => pass.kind === kind && isUpconv(pass.walk) === (of !== 'convolutions'),
    );
    state.kernels = chosen.reduce((kernels, pass) => withKernel(kernels, pass, kernel), state.kernels);
    const session = await TrainingSession.create(state, shape);
    const outcomes: string[] = [];
    for (const scale of [2 ** 40, 2 ** 16]) {
      state.write('lossScale', new Float32Array([scale, 0]));
      const { result } = await session.step([{ image, label }], {
        ...{ learningRate: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
        ...{ maxNorm: Infinity, applied: 0 },
      });
      const { outcome, gradientNorm } = await result;
      outcomes.push(outcome);
      expect(Number.isFinite(gradientNorm)).toBe(outcome === 'applied');
      const [next] = await state.read('lossScale');
      expect(next).toBe(outcome === 'applied' ? scale : scale / 2);
    }
    expect(outcomes).toEqual(['overflowed', 'applied']);
    session.dispose();
    state.dispose();
  },
);

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
