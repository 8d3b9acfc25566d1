/**
 * The gradient of the whole loss against finite differences, along the gradient of each parameter tensor. The
 * differences are of losses that plain loops make in float64 from the network's logits.
 */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { toDense, toStored } from '../../src/gpu/layout.ts';
import { Recorder } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import { Program } from '../../src/gpu/program.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { Recording } from '../../src/model/recording.ts';
import { ModelState } from '../../src/model/state.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { unet } from '../../src/model/unet.ts';
import {
  classWeights,
  crossEntropy,
  diceCrossEntropy,
  weightedDice,
  type Loss,
} from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { loss as reference } from '../reference/loss.ts';
import { testDevice } from '../support/device.ts';
import { expectClose, type Dense } from '../support/run.ts';

const cases: { name: string; config: Partial<UNet3DConfig>; loss: Loss; size?: Size3; only?: RegExp }[] = [
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
  {
    name: 'strides of 1 along some axes',
    config: {
      features: [2, 3, 4],
      strides: [
        [2, 2, 1],
        [1, 2, 2],
      ],
      norm: 'instance',
    },
    loss: diceCrossEntropy({ diceWeights: [0.2, 0.3, 0.5] }),
    size: [10, 8, 6],
  },
  {
    name: 'deep supervision',
    config: { features: [2, 3, 2, 2], norm: 'instance', deepSupervision: true },
    loss: diceCrossEntropy({ diceWeights: [0.2, 0.3, 0.5] }),
    size: [16, 16, 8],
    only: /head|decoder\.1|encoder\.2/, // what the coarser head reaches first
  },
];

const batchSize = 2;
const classes = 3;

/** Logits with the statistics of training, of every output, from whatever parameters the state holds. */
async function trainingLogits(state: ModelState, size: Size3, image: Float32Array) {
  const { config, gpu, layout } = state;
  const recorder = new Recorder(gpu.limits);
  const model = {
    layout,
    parameters: recorder.flat('parameters', layout.parameterWords, 'shared'),
    statistics: recorder.flat('statistics', layout.statisticsWords, 'shared'),
  };
  const { graph, heads } = unet(config, { batch: batchSize, size });
  const recording = new Recording(recorder, graph, model, true);
  const input = recorder.volume('image', batchSize, 1, size, 'resident');
  recording.forward(input);
  const outputs = heads.map((head) => {
    const logits = recorder.volume(head.name, batchSize, classes, head.shape.size, 'resident');
    recording.of(head).logits(logits);
    return logits;
  });
  const program = await Program.create(
    gpu,
    recorder.finish(),
    await state.shared(['parameters', 'statistics']),
  );
  program.write(input, toStored(input, image));
  return {
    async run() {
      await program.run();
      return Promise.all(
        outputs.map(async (logits): Promise<Dense> => {
          const [x, y, z] = logits.size;
          const data = Float64Array.from(toDense(logits, await program.read(logits)));
          return { shape: [batchSize, classes, z, y, x], data };
        }),
      );
    },
    dispose: () => program.dispose(),
  };
}

const sizeAt = (size: Size3, level: number): Size3 => [size[0] >> level, size[1] >> level, size[2] >> level];

/** The second of each two labels of [n][z][y][x] along each axis: that which lies nearest to the middle, ties upwards. */
function halved(labels: Uint8Array, [x, y, z]: Size3): Uint8Array {
  return labels.filter(
    (_, i) => i % 2 === 1 && Math.floor(i / x) % 2 === 1 && (Math.floor(i / (x * y)) % z) % 2 === 1,
  );
}

test.each(cases)('$name', async ({ config, loss, size = [16, 12, 8], only = /./ }) => {
  const voxels = batchSize * size[0] * size[1] * size[2];
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
    maxNorm: Infinity,
    applied: 0,
  });
  const { loss: stepLoss } = await result;
  const weights = (await state.readWeights()).parameters;
  const gradients = namedTensors(state.layout.parameters, await state.read('gradients'));

  const logits = await trainingLogits(state, size, image);
  const bothWeights = classWeights(loss, classes);
  const options = {
    ...loss,
    diceWeights: bothWeights.slice(0, classes),
    entropyWeights: bothWeights.slice(classes),
  };
  const evaluate = async () => {
    const outputs = await logits.run();
    let truth: Uint8Array = label;
    const losses = outputs.map((output, level) => {
      if (level > 0) truth = halved(truth, sizeAt(size, level - 1));
      return reference(output, truth, options).loss;
    });
    // Half as much per level, 1 in all.
    const total = losses.reduce((sum, _, level) => sum + 2 ** -level, 0);
    return losses.reduce((sum, value, level) => sum + (value * 2 ** -level) / total, 0);
  };
  expectClose([stepLoss], [await evaluate()], 'loss of the step');

  const errors: number[] = [];
  for (const [name, { data }] of gradients) {
    if (!only.test(name)) continue;
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
