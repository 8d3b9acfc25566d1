/** `train --preprocessing nnunet` on CT phantoms in a frame of zeros: decided, stored, replayed, resumed to the bit. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { pad } from '../../src/data/boxes.ts';
import type { Preprocessing } from '../../src/data/preprocessing.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { cli, temporaryFolder, type Ran, type Triple } from './support.ts';

const shape: Triple = [16, 14, 12];
const frame: Triple = [2, 3, 4];
const options = [
  '--preprocessing',
  'nnunet',
  '--augment',
  'nnunet',
  '--features',
  '4,8',
  '--memory',
  '700KiB',
];
const recipe = [...options, '--epochs', '2', '--seed', '3'];
let data: string;
let run: string;
let trained: Ran;

/** Case `subject` with a frame of zeros; every third has larger voxels. */
async function write(folder: string, subject: number, from = subject): Promise<void> {
  const { image, labels } = phantom(from, { shape });
  const mm = subject % 3 === 0 ? 3 : 2;
  const affine = [mm, 0, 0, 0, 0, mm, 0, 0, 0, 0, mm, 0, 0, 0, 0, 1];
  const framed = (values: Float32Array | Uint8Array) => {
    const { data: voxels, size } = pad(values, shape, frame, frame);
    return writeNifti({ data: voxels, shape: size, affine });
  };
  const name = `ct_${String(subject).padStart(3, '0')}`;
  // From 200 on, so that nothing but the frame is 0.
  const intensities = image.map((value) => 2 * value + 200);
  await writeFile(join(folder, 'imagesTr', `${name}_0000.nii.gz`), await framed(intensities));
  await writeFile(join(folder, 'labelsTr', `${name}.nii.gz`), await framed(labels));
}

async function dataset(cases: number): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name));
  for (let subject = 0; subject < cases; subject++) await write(folder, subject);
  const labels = Object.fromEntries(
    ['background', 'a', 'b', 'c', 'd', 'e'].map((name, value) => [name, value]),
  );
  const description = { name: 'ct', channel_names: { 0: 'CT' }, labels, file_ending: '.nii.gz' };
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(description));
  return folder;
}

beforeAll(async () => {
  data = await dataset(10);
  run = join(await temporaryFolder(), 'run');
  trained = await cli(['train', data, '--out', run, ...recipe]);
});

interface Config {
  training: { patch: number[]; margin: number[] };
  preprocessing: Preprocessing;
  decisions: string[];
}
const config = async (folder: string): Promise<Config> =>
  JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Config;

describe('train --preprocessing nnunet', () => {
  test('says what it decides and why', () => {
    expect(trained.err).not.toMatch(/^error/m);
    expect(trained.exitCode).toBe(0);
    expect(trained.err).toMatch(/cropped to what is not zero, which leaves 34 % of the median one/);
    expect(trained.err).toMatch(/Channel 0 \(CT\): clipped to \d+.*foreground/);
    expect(trained.err).toMatch(/Spacings differ: resampled to the median, 2 x 2 x 2 mm/);
    expect(trained.err).toMatch(
      /Patches of .* voxels: as much of the median volume of 16 x 14 x 12 as fits 700/,
    );
  });

  test('keeps it in config.json and in the model', async () => {
    const { training, preprocessing, decisions } = await config(run);
    expect(decisions).toHaveLength(4);
    expect(preprocessing).toMatchObject({
      crop: 'non-zero',
      spacing: [2, 2, 2],
      normalization: [{ clip: [expect.any(Number), expect.any(Number)] }],
    });
    expect(training.patch.some((n, axis) => n < shape[axis]!)).toBe(true);
    expect(training.margin.some((n) => n > 0)).toBe(true);
    const { description } = await readModel(await readFile(join(run, 'model.safetensors')));
    expect(description.preprocessing).toEqual(preprocessing);
    expect(description.inputSize).toEqual(training.patch);
  });

  test('replays it in predictions: on the source grid, background in the frame', async () => {
    const { test: part } = JSON.parse(await readFile(join(run, 'split.json'), 'utf8')) as {
      test: { cases: string[] };
    };
    const id = part.cases[0]!;
    const out = join(run, 'again.nii.gz');
    const image = join(data, 'imagesTr', `${id}_0000.nii.gz`);
    const { exitCode } = await cli(['predict', run, image, '--out', out]);
    expect(exitCode).toBe(0);
    const [again, first] = [await readNifti(out), await readNifti(join(run, 'predictions', `${id}.nii.gz`))];
    expect(again.data).toEqual(first.data);
    expect(again.shape).toEqual([20, 20, 20]);
    const inFrame = again.data.filter((_, voxel) =>
      [voxel % 20, Math.floor(voxel / 20) % 20, Math.floor(voxel / 400)].some(
        (at, axis) => at < frame[axis]! || at >= 20 - frame[axis]!,
      ),
    );
    expect(new Set(inFrame)).toEqual(new Set([0]));
    expect(new Set(again.data).size).toBeGreaterThan(1);
  });

  test('resumes to the same weights, with the patch that was decided, where there is more memory now', async () => {
    const out = join(await temporaryFolder(), 'run');
    const stop = new AbortController();
    const stopped = await cli(['train', data, '--out', out, ...recipe, '--json'], {
      signal: stop.signal,
      onLine: (line) => {
        if (line.includes('"type":"step"') && line.includes('"step":2,')) stop.abort();
      },
    });
    expect(stopped.exitCode).toBe(130);
    const decisions = async () => {
      const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as { decisions: unknown };
      return config.decisions;
    };
    const before = await decisions();
    expect((await cli(['train', '--out', out, '--resume', '--memory', '2GiB'])).exitCode).toBe(0);
    expect(await decisions()).toEqual(before);
    // What else the model file says may differ: predicting takes larger windows with more memory.
    const weights = async (folder: string) =>
      (await readModel(await readFile(join(folder, 'model.safetensors')))).weights;
    expect(await weights(out)).toEqual(await weights(run));
  });

  test('plan tells the same without a GPU', async () => {
    const { exitCode, out } = await cli([
      'plan',
      data,
      '--features',
      '4,8',
      '--memory',
      '700KiB',
      '--augment',
      'nnunet',
    ]);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/Spacings differ.*2 x 2 x 2 mm/);
    const { training } = await config(run);
    expect(out).toContain(`Patches of ${training.patch.join(' x ')} voxels`);
    const json = await cli(['plan', data, '--features', '4,8', '--json']);
    const { decisions, size } = JSON.parse(json.out) as { decisions: string[]; size: number[] };
    expect(decisions[3]).toContain('Patches of 16 x 14 x 12 voxels: the median volume');
    expect(size).toEqual([16, 14, 12]);
  });
});

describe('before the first step', () => {
  // Of ten cases with seed 0, the same ones are in the test part whatever the files hold.
  const testCases = async (folder: string): Promise<string[]> => {
    const { out } = await cli(['split', folder, '--json']);
    return (JSON.parse(out) as { test: { cases: string[] } }).test.cases;
  };
  const start = async (folder: string): Promise<Ran> =>
    cli([
      'train',
      folder,
      '--out',
      join(folder, '.run'),
      '--features',
      '2,4',
      '--epochs',
      '1',
      '--patch',
      '8,8,8',
    ]);

  test('a damaged test case is found', async () => {
    const folder = await dataset(10);
    const [id] = await testCases(folder);
    const label = join(folder, 'labelsTr', `${id}.nii.gz`);
    await writeFile(label, (await readFile(label)).subarray(0, 60));
    const { exitCode, err } = await start(folder);
    expect(err).toMatch(new RegExp(`error: Case "${id}"`));
    expect(err).not.toMatch(/^(GPU|epoch)/m);
    expect(exitCode).toBe(1);
  });

  test('a volume that is trained on and tested is refused', async () => {
    const folder = await dataset(10);
    const [id] = await testCases(folder);
    const number = Number(id!.slice(3));
    const other = number === 1 ? 2 : 1; // of the same spacing or not: contents count
    await write(folder, number, other);
    const { exitCode, err } = await start(folder);
    expect(err).toMatch(/The same volume is in two parts of the split: .*\(test\)/);
    expect(exitCode).toBe(1);
  });
});
