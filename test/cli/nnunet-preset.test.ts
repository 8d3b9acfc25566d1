/** `plan` and `train` with `--preset nnunet`: what its planner decides, and the recipe around it. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { checkDataset } from '../../src/data/check.ts';
import { openDatasetFolder } from '../../src/data/dataset.node.ts';
import { nnunetPreprocessing } from '../../src/data/decide.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import type { Preprocessing } from '../../src/data/preprocessing.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import { wholeConfig, type UNet3DConfig } from '../../src/model/config.ts';
import { lossShape, nnunetLoss } from '../../src/model/losses.ts';
import type { Planner } from '../../src/model/wish.ts';
import type { Size3 } from '../../src/size.ts';
import { augmentationMargin, nnunetAugmentation } from '../../src/train/augmentation.ts';
import { fitStep } from '../../src/train/memory.ts';
import { sgd } from '../../src/train/optimizers.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { cli, phantomDataset, temporaryFolder, type Triple } from './support.ts';

let data: string;
beforeAll(async () => {
  data = await phantomDataset(4, [24, 24, 24]);
});

/** Of a fold's config.json. */
interface Kept {
  readonly network: object;
  readonly preprocessing: object;
  readonly training: object;
}

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

test('plan shows the step of the recipe, to the byte', async () => {
  const plan = async (...more: string[]) => {
    const args = ['plan', data, '--preset', 'nnunet', '--features', '2,3', '--json', ...more];
    const { out, err, exitCode } = await cli(args);
    expect(exitCode, err).toBe(0);
    return JSON.parse(out) as { config: UNet3DConfig; peakBytes: number; flops: number };
  };
  const { config, peakBytes, flops } = await plan();
  const size = [24, 24, 24] as const;
  const step = { config, size, batch: 2, precision: 'f32' } as const;
  const planner = { limits: defaultLimits, loss: lossShape(nnunetLoss(6), 6), optimizer: sgd() };
  const planned = (more: Partial<Planner>) =>
    fitStep(step, { ...planner, ...more }, { budget: Infinity, allowed: [], remedy: '' }).planned.plan;
  const margin = (patch: Size3) => augmentationMargin(nnunetAugmentation(), patch, size);
  expect({ peakBytes, flops }).toEqual(pick(planned({ augment: true, margin })));
  expect(pick(await plan('--augment', 'none'))).toEqual(pick(planned({})));
  const { out } = await cli(['plan', data, '--preset', 'nnunet', '--features', '2,3']);
  expect(out).toContain(', 2 levels of 2, 3 channels.');
  const refused = await cli(['plan', 'not-even-there', '--preset', 'nnunet', '--strides', '2']);
  expect(refused.err).toMatch(/--strides is decided from the data under --preset nnunet/);
  expect(refused.exitCode).toBe(2);
});

const pick = ({ peakBytes, flops }: { peakBytes: number; flops: number }) => ({ peakBytes, flops });

const shared = '../shared/data/interop/plans/hippocampus';

test("of NIfTI files it plans as nnU-Net's own planner of their fingerprint", async ({ skip }) => {
  if (!existsSync(shared)) return skip(`${shared} is not there`);
  const read = async <T>(path: string) => JSON.parse(await readFile(path, 'utf8')) as T;
  const told = await read<{ spacings: number[][]; shapes_after_crop: Triple[] }>(
    `${shared}/dataset_fingerprint.json`,
  );
  expect(new Set(told.spacings.flat())).toEqual(new Set([1]));
  // Twelve, which have the medians of all; how large a batch may be hangs on their number.
  const shapes = told.shapes_after_crop.filter((_, index) => index % 17 === 9);
  const folder = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name));
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  for (const [index, [z, y, x]] of shapes.entries()) {
    const shape = [x, y, z];
    const image = new Uint8Array(x * y * z).fill(1).fill(2 + index, 0, 2);
    const labels = new Uint8Array(image.length).fill(1, 0, 1).fill(2, 1, 2);
    const write = async (path: string, data: Uint8Array) =>
      writeFile(join(folder, path), await writeNifti({ data, shape, affine }, { gzip: false }));
    await write(`imagesTr/h${index}_0000.nii`, image);
    await write(`labelsTr/h${index}.nii`, labels);
  }
  const json = await read<object>(`${shared}/dataset.json`);
  await writeFile(join(folder, 'dataset.json'), JSON.stringify({ ...json, file_ending: '.nii' }));
  const { out, err, exitCode } = await cli(['plan', folder, '--preset', 'nnunet', '--json']);
  expect(exitCode, err).toBe(0);
  const { config, shape } = JSON.parse(out) as Planned & { config: UNet3DConfig };
  const { configurations } = await read<Plans>(`${shared}/nnUNetPlans.json`);
  const { patch_size, architecture } = configurations['3d_fullres'];
  const { features_per_stage, kernel_sizes, strides, n_conv_per_stage } = architecture.arch_kwargs;
  expect(shape).toEqual(patch_size.toReversed());
  const whole = wholeConfig(config);
  expect({
    features_per_stage: whole.features,
    kernel_sizes: whole.kernels.map((axes) => axes.toReversed()),
    strides: [[1, 1, 1], ...whole.strides.map((axes) => axes.toReversed())],
    n_conv_per_stage: whole.encoderBlocks,
  }).toEqual({ features_per_stage, kernel_sizes, strides, n_conv_per_stage });
});

interface Plans {
  readonly configurations: {
    readonly '3d_fullres': {
      readonly patch_size: readonly number[];
      readonly architecture: { readonly arch_kwargs: Readonly<Record<string, unknown>> };
    };
  };
}

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
  // As an earlier version decided, which resampled otherwise.
  const kept = join(out, 'config.json');
  const { preprocessing, ...rest } = JSON.parse(await readFile(kept, 'utf8')) as {
    preprocessing: Preprocessing;
  };
  expect(preprocessing.resampling).toBe('cubic');
  await writeFile(
    kept,
    JSON.stringify({ ...rest, preprocessing: { ...preprocessing, resampling: undefined } }),
  );
  const { err, exitCode } = await cli(['train', '--out', out, '--resume']);
  expect(exitCode, err).toBe(0);
  const { description } = await readModel(await readFile(join(out, 'model.safetensors')));
  expect(description.preprocessing).toEqual({ ...preprocessing, resampling: undefined });
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

test('with --folds all every fold has the plan and the preparation of all cases, and there is one model of them', async () => {
  const small = await phantomDataset(4, [16, 16, 16]);
  const folder = await temporaryFolder();
  const [out, splits] = [join(folder, 'folds'), join(folder, 'splits_final.json')];
  const ids = [0, 1, 2, 3].map((subject) => `Case_0${subject}_Week0`);
  const halves = [ids.slice(0, 2), ids.slice(2)] as const;
  const told = halves.map((val, fold) => ({ train: halves[1 - fold], val }));
  await writeFile(splits, JSON.stringify(told));
  const smaller = [
    '--features',
    '2,3',
    '--steps-per-epoch',
    '1',
    '--epochs',
    '1',
    '--augment',
    'none',
    '--no-tune',
  ];
  const args = ['train', small, '--preset', 'nnunet', '--folds', 'all', '--split', splits, '--out', out];
  const { err, exitCode } = await cli([...args, ...smaller]);
  expect(exitCode, err).toBe(0);
  expect(err.match(/^nnU-Net's planner \(plain\): patches of 16 x 16 x 16/gm)).toHaveLength(2);
  const read = async (name: string) => JSON.parse(await readFile(join(out, name), 'utf8')) as never;
  const [first, second] = [await read('fold_0/config.json'), await read('fold_1/config.json')] as Kept[];
  expect(first!.preprocessing).toEqual(second!.preprocessing);
  expect(first!.network).toEqual(second!.network);
  const whole = await checkDataset(await openDatasetFolder(small));
  expect(first!.preprocessing).toEqual(nnunetPreprocessing(whole.fingerprint!).preprocessing);
  expect(first!.training).toMatchObject({ patch: [16, 16, 16], batchSize: 2, loss: { negativeDice: true } });
  expect(await read('splits_final.json')).toEqual(told);
  expect(await read('ensemble.json')).toHaveProperty('postprocessing.largestComponent');
  const table = (await readFile(join(out, 'cross-validation.csv'), 'utf8')).trim().split('\n').slice(1);
  expect(new Set(table.map((row) => row.split(',')[0]))).toEqual(new Set(ids));
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
