/**
 * One data set twice, its labels stored in the axes of their images and in others, unknown voxels among them: a
 * training, its tables and pictures, `check`, `evaluate` and `render` tell no difference.
 */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { writeNifti } from '../../src/data/nifti.ts';
import { phantom, phantomLabels } from '../../src/data/phantom.ts';
import { readSources, segmentVolumes } from '../../src/infer/predict.ts';
import { inPlanes } from '../support/planes.ts';
import { cli, temporaryFolder, turned, type Ran } from './support.ts';

const shape = [12, 10, 8] as const;
const unknown = 255;

/** Phantoms, a corner of whose labels is unknown. */
async function written(change: typeof turned): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name));
  for (let subject = 0; subject < 8; subject++) {
    const { image, labels, affine } = phantom(subject, { shape, spacing: [6, 7, 8] });
    labels.fill(unknown, 0, 12 * 10 * 2);
    const file = await writeNifti({ data: image, shape: [...shape], affine });
    await writeFile(join(folder, `imagesTr/p${subject}_0000.nii.gz`), file);
    const label = await writeNifti(change({ data: labels, shape, affine }), { datatype: 'uint8' });
    await writeFile(join(folder, `labelsTr/p${subject}.nii.gz`), label);
  }
  const labels: Record<string, number> = { ignore: unknown };
  phantomLabels.forEach((name, value) => (labels[name] = value));
  const json = { channel_names: { 0: 'MR' }, labels, file_ending: '.nii.gz' };
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(json));
  return folder;
}

let folders: string[];
let runs: string[];
let trained: Ran[];
beforeAll(async () => {
  folders = [
    await written(({ data, ...grid }) => ({
      data: Float32Array.from(data),
      shape: [...grid.shape],
      affine: [...grid.affine],
    })),
    await written(turned),
  ];
  runs = [];
  trained = [];
  for (const folder of folders) {
    const run = join(await temporaryFolder(), 'run');
    runs.push(run);
    trained.push(
      await cli(['train', folder, '--out', run, '--features', '4,8', '--epochs', '1', '--no-tune']),
    );
  }
});
const both = <T>(read: (index: 0 | 1) => Promise<T>): Promise<[T, T]> => Promise.all([read(0), read(1)]);

test('check has nothing against either, and says the same', async () => {
  const [straight, other] = await both((index) => cli(['check', folders[index]!]));
  expect([straight.exitCode, other.exitCode]).toEqual([0, 0]);
  const body = ({ out }: Ran): string => out.split('\n').slice(1).join('\n');
  expect(body(other)).toBe(body(straight));
  expect(body(straight)).not.toMatch(/255/);
});

test('training, test table, metrics, predictions and pictures are the same', async () => {
  expect(trained.map(({ err, exitCode }) => (exitCode === 0 ? 0 : err))).toEqual([0, 0]);
  const table = ({ out }: Ran): string => out.slice(out.indexOf('class'), out.indexOf('Trained for'));
  expect(table(trained[1]!)).toBe(table(trained[0]!));
  const metrics = await both(async (index) => {
    const { training, ...rest } = JSON.parse(
      await readFile(join(runs[index]!, 'metrics.json'), 'utf8'),
    ) as Record<string, unknown>;
    expect(training).toBeDefined(); // its seconds differ
    return rest;
  });
  expect(metrics[1]).toEqual(metrics[0]);
  const predictions = await readdir(join(runs[0]!, 'predictions'));
  for (const name of [
    'model.safetensors',
    'slices.png',
    ...predictions.map((file) => join('predictions', file)),
  ]) {
    const [straight, other] = await both((index) => readFile(join(runs[index]!, name)));
    expect(other.equals(straight), name).toBe(true);
  }
});

test('evaluate tells what the test told, from labels in any axes', async () => {
  const [straight, other] = await both((index) =>
    cli([
      'evaluate',
      join(runs[0]!, 'predictions'),
      join(folders[index]!, 'labelsTr'),
      '--only-predicted',
      '--ignore',
      '255',
      '--names',
      phantomLabels.join(','),
      '--json',
    ]),
  );
  interface Told {
    readonly cases: readonly { name: string; confusion: number[][] }[];
  }
  const [a, b] = [straight, other].map(({ out }) => (JSON.parse(out) as Told).cases) as [
    Told['cases'],
    Told['cases'],
  ];
  expect(b.map(({ confusion }) => confusion)).toEqual(a.map(({ confusion }) => confusion));
  const { test: told } = JSON.parse(await readFile(join(runs[0]!, 'metrics.json'), 'utf8')) as { test: Told };
  expect(a.map(({ confusion }) => confusion)).toEqual(told.cases.map(({ confusion }) => confusion));
  for (const { confusion } of a) expect(confusion.flat().reduce((x, y) => x + y)).toBe(12 * 10 * 6);

  // Without a word of unknown voxels they are no class.
  const untold = await cli([
    'evaluate',
    join(runs[0]!, 'predictions'),
    join(folders[0]!, 'labelsTr'),
    '--only-predicted',
  ]);
  expect(untold.exitCode).toBe(1);
  expect(untold.err).toMatch(/the value 255/);
});

test('render draws one picture', async () => {
  const [prediction] = await readdir(join(runs[0]!, 'predictions'));
  const out = await temporaryFolder();
  const name = prediction!.replace('.nii.gz', '');
  const pictures = await both(async (index) => {
    const path = join(out, `${index}.png`);
    const { exitCode, err } = await cli([
      'render',
      join(folders[0]!, `imagesTr/${name}_0000.nii.gz`),
      '--ignore',
      '255',
      '--labels',
      join(folders[index]!, `labelsTr/${name}.nii.gz`),
      '--prediction',
      join(runs[0]!, 'predictions', prediction!),
      '--out',
      path,
    ]);
    expect(err).toBe('');
    expect(exitCode).toBe(0);
    return readFile(path);
  });
  expect(pictures[1].equals(pictures[0])).toBe(true);
});

test('predict refuses channels of two places, with both files and the distance', async () => {
  const folder = await temporaryFolder();
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const paths = ['a_0000.nii.gz', 'a_0001.nii.gz'].map((name) => join(folder, name));
  for (const [index, path] of paths.entries())
    await writeFile(
      path,
      await writeNifti({
        data: new Float32Array(27).fill(index),
        shape: [3, 3, 3],
        affine: affine.with(7, 76 * index),
      }),
    );
  const model = {
    config: { inChannels: 2, classes: 2 },
    description: {},
    planes: inPlanes(() => Promise.reject(new Error('was segmented'))),
  };
  const told = segmentVolumes(model, await readSources(paths));
  await expect(told).rejects.toThrow(/76\.0 mm apart/);
  for (const path of paths) await expect(told).rejects.toThrow(path);
});

test('evaluate and render refuse a map of another place, with both files and the distance', async () => {
  const folder = await temporaryFolder();
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const paths = ['here.nii.gz', 'there.nii.gz'].map((name) => join(folder, name)) as [string, string];
  for (const [index, path] of paths.entries())
    await writeFile(
      path,
      await writeNifti({ data: new Uint8Array(27), shape: [3, 3, 3], affine: affine.with(7, 76 * index) }),
    );
  const picture = ['--out', join(folder, 'a.png')];
  for (const args of [
    ['evaluate', ...paths],
    ['render', paths[0], '--labels', paths[1], ...picture],
    ['render', paths[0], '--prediction', paths[1], ...picture],
  ]) {
    const { err, exitCode } = await cli(args);
    expect(err).toMatch(/76\.0 mm apart/);
    for (const path of paths) expect(err).toContain(path);
    expect(exitCode).toBe(1);
  }
});
