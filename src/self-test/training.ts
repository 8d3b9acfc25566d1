/** Five steps of a small network, twice: losses beside PyTorch's, and the same bits. */
import { random } from '../data/random.ts';
import type { Gpu } from '../gpu/device.ts';
import { weightedDice } from '../model/losses.ts';
import type { Size3 } from '../size.ts';
import type { BatchSource } from '../train/fit.ts';
import { adam } from '../train/optimizers.ts';
import { constant } from '../train/schedules.ts';
import { UNet3D } from '../unet3d.ts';
import { losses as expected } from './answers.ts';

export const steps = 5;
export const batchSize = 2;
export const classes = 3;
export const size: Size3 = [12, 8, 8];
export const learningRate = 0.01;
export const diceWeights = [0.25, 0.25, 0.5];
export const network = { inChannels: 1, classes, features: [4, 8], norm: 'instance', seed: 5 } as const;

/** Differences of rounding that five steps make of it: those of two adapters are a tenth of it. */
const tolerance = 1e-4;

/** What the steps went like. */
export interface TrainingRow {
  /** Of the steps. */
  readonly losses: readonly number[];
  /** Of PyTorch in float64, from the same weights and batches. */
  readonly expected: readonly number[];
  /** Whether they agree. */
  readonly right: boolean;
  /** Whether a second training from the same weights ended with the same bits. */
  readonly sameBits: boolean;
  /** What stopped it. */
  readonly problem?: string | undefined;
}

/** Batches whose labels follow from their images. */
export function batchOf(step: number): { image: Float32Array<ArrayBuffer>; label: Uint8Array<ArrayBuffer> } {
  const source = random(7, 'self-test', step);
  const image = new Float32Array(batchSize * size[0] * size[1] * size[2]);
  for (let i = 0; i < image.length; i++) image[i] = Math.round(128 * source.normal()) / 128;
  const label = Uint8Array.from(image, (value) => (value < -0.5 ? 0 : value < 0.75 ? 1 : 2));
  return { image, label };
}

const source: BatchSource = {
  batchSize,
  size,
  batchesPerEpoch: steps,
  identity: 'self-test',
  batch: (_, index) => Promise.resolve(batchOf(index)),
};

async function train({ device, limits }: Gpu) {
  using model = await UNet3D.create({ ...network, device, limits });
  const losses: number[] = [];
  await model.fit(source, {
    epochs: 1,
    loss: weightedDice(diceWeights),
    optimizer: adam(),
    schedule: constant({ learningRate }),
    tune: false,
    onEvent: (event) => void (event.type === 'step' && losses.push(event.loss)),
  });
  return { losses, weights: await model.save() };
}

/** A training that stops is a wrong result, but for a lost device. @throws DeviceLost */
export async function tryTraining(gpu: Gpu): Promise<TrainingRow> {
  let one, two;
  try {
    [one, two] = [await train(gpu), await train(gpu)];
  } catch (error) {
    if (await gpu.isLost()) throw gpu.lossError();
    return { losses: [], expected, right: false, sameBits: false, problem: (error as Error).message };
  }
  return {
    losses: one.losses,
    expected,
    right:
      one.losses.length === steps &&
      one.losses.every((loss, i) => Math.abs(loss - expected[i]!) <= tolerance * expected[i]!),
    sameBits: one.weights.length === two.weights.length && one.weights.every((b, i) => b === two.weights[i]),
  };
}
