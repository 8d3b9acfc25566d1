/**
 * Unknown voxels of two-folder data sets: whatever value they have, the highest, one between those of classes or 255,
 * and whoever says so, --ignore or dataset.json, everything comes out as if they had been marked otherwise.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { cli, temporaryFolder } from './support.ts';

const shape = [12, 10, 8] as const;
const known = 12 * 10 * 6;

/** Classes 0, 1 and 3; two slices of each label are unknown. */
async function written(unknown: number, json?: object): Promise<string> {
  const folder = await temporaryFolder();
  const [images, labels] = json ? ['imagesTr', 'labelsTr'] : ['images', 'labels'];
  for (const name of [images, labels]) await mkdir(join(folder, name));
  for (let subject = 0; subject < 6; subject++) {
    const { image, labels: found, affine } = phantom(subject, { shape, spacing: [6, 7, 8] });
    const data = found.map((value) => [0, 1, 3, 3, 1, 3][value]!).fill(unknown, 0, 12 * 10 * 2);
    const grid = { shape: [...shape], affine };
    const name = `p${subject}.nii.gz`;
    await writeFile(join(folder, images, name), await writeNifti({ data: image, ...grid }));
    await writeFile(join(folder, labels, name), await writeNifti({ data, ...grid }, { datatype: 'uint8' }));
  }
  if (json) await writeFile(join(folder, 'dataset.json'), JSON.stringify(json));
  return folder;
}

async function trained(folder: string, ...more: string[]) {
  const run = join(await temporaryFolder(), 'run');
  const short = ['--features', '4,8', '--epochs', '1', '--no-tune'];
  const { exitCode, err, out } = await cli(['train', folder, '--out', run, ...short, ...more]);
  expect(exitCode === 0 ? '' : err).toBe('');
  const { tensors } = readSafetensors(await readFile(join(run, 'model.safetensors')), 'model');
  const metrics = JSON.parse(await readFile(join(run, 'metrics.json'), 'utf8')) as {
    test: { cases: { name: string; confusion: number[][] }[] };
  };
  const weights = Object.fromEntries([...tensors].map(([name, { data }]) => [name, [...data]]));
  return { run, out, weights, cases: metrics.test.cases };
}

test('a value between the classes, 255 and that of dataset.json: the same training, test and check', async () => {
  const labels = { background: 0, 'class 1': 1, 'class 2': 2, 'class 3': 3, ignore: 255 };
  const json = { channel_names: { 0: 'MR' }, labels, file_ending: '.nii.gz' };
  const folders = [await written(2), await written(255), await written(255, json)] as const;
  const between = await trained(folders[0], '--ignore', '2');
  const above = await trained(folders[1], '--ignore', '255');
  const told = await trained(folders[2]);
  for (const other of [above, told]) {
    expect(other.weights).toEqual(between.weights);
    expect(other.cases.map(({ confusion }) => confusion)).toEqual(
      between.cases.map(({ confusion }) => confusion),
    );
  }
  for (const { name, confusion } of between.cases) {
    expect(confusion.flat().reduce((a, b) => a + b)).toBe(known);
    // Other values stay as they are in the labels.
    const { data } = await readNifti(join(between.run, `predictions/${name}.nii.gz`));
    expect(Math.max(...data)).toBeLessThanOrEqual(3);
  }
  expect(between.out).toMatch(/ignore/);

  const [remarks, untold] = [
    await cli(['check', folders[0], '--ignore', '2']),
    await cli(['check', folders[1]]),
  ];
  expect(remarks.exitCode).toBe(0);
  expect(remarks.out).not.toMatch(/value 2|class 2|no case shows/);
  expect(remarks.out).toMatch(/^p0 +720 +75\.0 % +12 x 10 x 6 +12 x 10 x 8$/m);
  expect(remarks.out).toMatch(/0 cases annotated throughout, 6 in part/);
  expect(untold.exitCode).toBe(1);
  expect(untold.out).toMatch(/255 \(240 voxels\).*--ignore/);
});

test('a named class of dataset.json may be made unknown; a run goes on with it', async () => {
  const json = {
    labels: { 0: 'background', 1: 'bone', 2: 'organ', 3: 'uncertain' },
    modality: { 0: 'MR' },
    training: Array.from({ length: 6 }, (_, i) => ({
      image: `imagesTr/p${i}.nii.gz`,
      label: `labelsTr/p${i}.nii.gz`,
    })),
  };
  const folder = await written(2, json);
  const { run, out } = await trained(folder, '--ignore', '3');
  expect(out).toMatch(/organ/);
  expect(out).not.toMatch(/uncertain/);
  const again = await cli(['train', '--out', run, '--resume']);
  expect(again.exitCode === 0 ? '' : again.err).toBe('');
  expect(again.out.slice(0, again.out.indexOf('Trained'))).toBe(out.slice(0, out.indexOf('Trained')));
  const other = await cli(['check', folder, '--ignore', '256']);
  expect(other.exitCode).toBe(2);
});

test('a case of which nothing is known is refused by check and train alike, with its name', async () => {
  const folder = await written(255);
  const path = join(folder, 'labels', 'p4.nii.gz');
  const { affine } = await readNifti(path);
  const data = new Uint8Array(12 * 10 * 8).fill(255);
  const write = async () => writeFile(path, await writeNifti({ data, shape: [...shape], affine }));
  await write();
  const run = join(await temporaryFolder(), 'run');
  for (const words of [
    ['check', folder],
    ['train', folder, '--out', run],
  ]) {
    const { exitCode, out, err } = await cli([...words, '--ignore', '255']);
    expect(exitCode).toBe(1);
    expect(out + err).toMatch(/Case "p4": no voxel of its label is annotated, all are unknown/);
  }
  // Known in a corner alone, it is refused by trainings that see the middle, before they begin.
  data[0] = 1;
  await write();
  const middle = ['--placement', 'centre', '--patch', '4,4,4', '--features', '4,8', '--split', '100,0,0'];
  const ran = await cli(['train', folder, '--out', run, '--ignore', '255', ...middle, '--dry-run']);
  expect(ran.exitCode).toBe(1);
  expect(ran.err).toMatch(/Case "p4" has no annotated voxel in the patch in its middle; annotate some/);
  expect(ran.err).not.toMatch(/^Patches/m);
});
