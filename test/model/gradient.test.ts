/**
 * The gradient of the whole loss against finite differences, along the gradient of each parameter tensor. The
 * differences are of losses that plain loops make in float64 from the network's logits.
 */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { toDense, toStored } from '../../src/gpu/layout.ts';
import { Recorder } from '../../src/gpu/plan.ts';
import { Program } from '../../src/gpu/program.ts';
import { completeConfig, type UNet3DConfig } from '../../src/model/config.ts';
import { Network } from '../../src/model/network.ts';
import { ModelState, namedTensors } from '../../src/model/state.ts';
import {
  classWeights,
  crossEntropy,
  diceCrossEntropy,
  weightedDice,
  type Loss,
} from '../../src/train/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { loss as reference } from '../reference/loss.ts';
import { testDevice } from '../support/device.ts';
import { expectClose } from '../support/run.ts';

const cases: { name: string; config: Partial<UNet3DConfig>; loss: Loss }[] = [
  {
    name: 'batch norm, ReLU, weighted Dice',
    config: { norm: 'batch', activation: 'relu' },
    loss: weightedDice([0.2, 0.3, 0.5]),
  },
  {
    name: 'instance norm, leaky ReLU, Dice over the batch + cross-entropy',
    config: { norm: 'instance', activation: 'leakyRelu' },
    loss: diceCrossEntropy({ batch: true, entropyWeights: [0.5, 1, 2] }),
  },
  { name: 'three levels, cross-entropy', config: { features: [2, 3, 4] }, loss: crossEntropy() },
];

const size = [16, 12, 8] as const;
const batchSize = 2;
const classes = 3;
const voxels = batchSize * size[0] * size[1] * size[2];

/** Logits with the statistics of training, from whatever parameters the state holds. */
async function trainingLogits(state: ModelState, image: Float32Array) {
  const { config, gpu, layout } = state;
  const recorder = new Recorder(gpu.limits);
  const model = {
    parameters: recorder.flat('parameters', layout.parameterWords, 'shared'),
    statistics: recorder.flat('statistics', layout.statisticsWords, 'shared'),
  };
  const network = new Network(recorder, config, layout, model, { training: true, checkpointing: false });
  const input = recorder.volume('image', batchSize, 1, size, 'resident');
  const logits = recorder.volume('logits', batchSize, classes, size, 'resident');
  network.logits(network.forward(input), logits);
  const program = await Program.create(gpu, recorder.finish(), state.shared(['parameters', 'statistics']));
  program.write(input, toStored(input, image));
  return {
    async run() {
      await program.run();
      return toDense(logits, await program.read(logits));
    },
    dispose: () => program.dispose(),
  };
}

test.each(cases)('$name', async ({ config, loss }) => {
  const source = random(5, 'gradient');
  const complete = completeConfig({ inChannels: 1, classes, features: [3, 5], ...config });
  const state = new ModelState(await testDevice(), complete, 3);
  const image = Float32Array.from({ length: voxels }, () => source.normal());
  // Classes follow the image, so that there is something to learn; some voxels are ignored.
  const label = Uint8Array.from(image, (value, i) =>
    i % 17 === 0 ? 255 : value > 0.5 ? 2 : value > -0.3 ? 1 : 0,
  );
  const session = await TrainingSession.create(state, { size, batchSize, loss, optimizer: adam() });
  const { result } = await session.step([{ image, label }], {
    learningRate: 0,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    correction1: 0.1,
    correction2: Math.sqrt(0.001),
    maxNorm: Infinity,
  });
  const { loss: stepLoss } = await result;
  const weights = (await state.readWeights()).parameters;
  const gradients = namedTensors(state.layout.parameters, await state.read('gradients'));

  const logits = await trainingLogits(state, image);
  const bothWeights = classWeights(loss, classes);
  const options = {
    ...loss,
    diceWeights: bothWeights.slice(0, classes),
    entropyWeights: bothWeights.slice(classes),
  };
  const evaluate = async () => {
    const data = Float64Array.from(await logits.run());
    return reference({ shape: [batchSize, classes, size[2], size[1], size[0]], data }, label, options).loss;
  };
  expectClose([stepLoss], [await evaluate()], 'loss of the step');

  const errors: number[] = [];
  for (const [name, { data }] of gradients) {
    const norm = Math.hypot(...Array.from(data));
    if (/conv[12]\.bias$/.test(name)) {
      expect(norm, `${name}, in front of a norm`).toBe(0);
      continue;
    }
    const { offset } = state.layout.parameters.get(name)!;
    /** Loss at a distance along the gradient. */
    const at = async (distance: number) => {
      const moved = weights.slice();
      data.forEach((d, i) => (moved[offset + i]! += (distance * d) / norm));
      state.write('parameters', moved);
      return evaluate();
    };
    // Small, because rectifiers and maxima that switch within the step spoil the difference.
    const h = 1e-4;
    const slope = ((await at(h)) - (await at(-h))) / (2 * h);
    const difference = Math.abs(slope - norm);
    expect(difference, `${name}: ${slope} by differences, ${norm}`).toBeLessThanOrEqual(0.02 * norm + 4e-5);
    errors.push(difference / norm);
  }
  errors.sort((a, b) => a - b);
  expect(errors[errors.length >> 1], 'median of the relative errors').toBeLessThan(0.005);
  logits.dispose();
  session.dispose();
  state.dispose();
});
