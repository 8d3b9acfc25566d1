/** `plan` and `train` with `--preset nnunet`: what its planner decides, and the recipe around it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

let data: string;
beforeAll(async () => {
  data = await phantomDataset(4, [24, 24, 24]);
});

interface Planned {
  config: { features: number[]; block?: string };
  shape: number[];
  batchSize: number;
  decisions: string[];
}

test('plan shows what the planner decides, and says so', async () => {
  const plan = async (...more: string[]) => {
    const { out, err, exitCode } = await cli(['plan', data, '--json', ...more]);
    expect(exitCode, err).toBe(0);
    return JSON.parse(out) as Planned;
  };
  const plain = await plan('--preset', 'nnunet');
  expect(plain).toMatchObject({
    config: { features: [32, 64, 128, 256], down: 'conv', activation: 'leakyRelu', norm: 'instance' },
    shape: [24, 24, 24],
    batchSize: 2, // 5 % of four volumes of that size are less than one
  });
  expect(plain.decisions.join('\n')).toMatch(
    /planner \(plain\): patches of 24 x 24 x 24 voxels in batches of 2, 4 levels/,
  );
  const residual = await plan('--preset', 'nnunet-resenc-m', '--features', '4,8');
  expect(residual).toMatchObject({
    config: { features: [4, 8], block: 'residual', encoderBlocks: [1, 3], decoderBlocks: [1] },
    batchSize: 4,
  });
});

test('train takes the recipe and the plan, options that are given win, and a resume plans the same', async () => {
  const out = join(await temporaryFolder(), 'run');
  const smaller = ['--features', '2,3', '--steps-per-epoch', '2', '--epochs', '2', '--augment', 'none'];
  const abort = new AbortController();
  const onLine = (line: string): void => {
    if (line.startsWith('epoch 1/2')) abort.abort();
  };
  const args = ['train', data, '--preset', 'nnunet', '--out', out, '--split', '75,25,0', ...smaller];
  const begun = await cli(args, { signal: abort.signal, onLine });
  expect(begun.exitCode, begun.err).toBe(130);
  expect(begun.err).toMatch(/^nnU-Net's planner \(plain\): patches of 24 x 24 x 24/m);
  const { err, exitCode } = await cli(['train', '--out', out, '--resume']);
  expect(exitCode, err).toBe(0);
  expect(JSON.parse(await readFile(join(out, 'config.json'), 'utf8'))).toMatchObject({
    network: { features: [2, 3], activation: 'leakyRelu', down: 'conv' },
    training: {
      epochs: 2,
      batchSize: 2,
      patch: [24, 24, 24],
      loss: { negativeDice: true, diceWeights: [0, 0.2, 0.2, 0.2, 0.2, 0.2] },
      optimizer: { kind: 'sgd', beta1: 0.99, nesterov: true, weightDecay: 3e-5 },
      schedule: { name: 'poly', learningRate: 0.01, power: 0.9, stages: 2 },
      maxGradientNorm: 12,
    },
    preprocessing: { crop: 'non-zero' },
  });
});

test.each([
  [['--strides', '2'], /--strides is decided from the data under --preset nnunet/],
  [['--features', '2,3,4,5,6'], /5 levels, but nnU-Net's planner finds 4/],
  [['--class-weights', '1,1,1,1,1,1'], /--class-weights has no place in --loss nnunet/],
])('%j is refused', async (args, message) => {
  const { exitCode, err } = await cli([
    'train',
    data,
    '--preset',
    'nnunet',
    '--out',
    await temporaryFolder(),
    ...args,
  ]);
  expect(err).toMatch(message);
  expect(exitCode).not.toBe(0);
});

test('--preset without a data set is refused', async () => {
  const { exitCode, err } = await cli(['plan', '--shape', '8,8,8', '--preset', 'nnunet']);
  expect(err).toMatch(/--preset nnunet plans for a data set/);
  expect(exitCode).not.toBe(0);
});
