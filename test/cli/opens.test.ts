/** How often a training opens the files of its data, and by which names it keeps their hashes. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileHashes } from '../../src/cli/provenance.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { platform, setPlatform } from '../../src/data/source.ts';
import type { Split } from '../../src/data/split.ts';
import { cli, temporaryFolder } from './support.ts';

/** Ten cases, the voxels of every third of which are half as long again. */
async function dataset(): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['images', 'labels']) await mkdir(join(folder, name));
  for (let subject = 0; subject < 10; subject++) {
    const { image, labels, affine } = phantom(subject, { shape: [8, 8, 8] });
    const scale = subject % 3 === 0 ? 1.5 : 1;
    const grid = { shape: [8, 8, 8], affine: affine.map((value, at) => (at < 12 ? value * scale : value)) };
    const file = `case_${subject}.nii.gz`;
    await writeFile(join(folder, 'images', file), await writeNifti({ data: image, ...grid }));
    await writeFile(join(folder, 'labels', file), await writeNifti({ data: labels, ...grid }));
  }
  return folder;
}

/** Counts how often each file is opened, by its kind and the name of its case. */
function countOpens(): Map<string, number> {
  const before = platform();
  const opens = new Map<string, number>();
  onTestFinished(() => setPlatform(before));
  setPlatform({
    ...before,
    openFile(path) {
      const name = `${basename(dirname(String(path)))}/${basename(String(path), '.nii.gz')}`;
      opens.set(name, (opens.get(name) ?? 0) + 1);
      return before.openFile(path);
    },
  });
  return opens;
}

test.each([
  ['with resampled volumes', []],
  ['with volumes as they are', ['--spacing', 'own']],
  ['that looks at the data first', ['--preprocessing', 'nnunet', '--patch', '8,8,8']],
])('a training %s opens an image to train on once, and no label more than twice', async (_, options) => {
  const [data, out] = [await dataset(), join(await temporaryFolder(), 'run')];
  const opens = countOpens();
  const ran = await cli(['train', data, '--out', out, '--features', '4,8', '--epochs', '1', ...options]);
  expect(ran.err).not.toContain('error');
  expect(ran.exitCode).toBe(0);
  const split = JSON.parse(await readFile(join(out, 'split.json'), 'utf8')) as Split;
  expect(split.test.cases.length).toBeGreaterThan(0);
  for (const id of split.train.cases) expect([id, opens.get(`images/${id}`)]).toEqual([id, 1]);
  const all = [...split.train.cases, ...split.validation.cases, ...split.test.cases];
  expect(all).toHaveLength(10);
  for (const id of all) expect([id, opens.get(`labels/${id}`)]).toEqual([id, 2]);
});

test('files of one name in the folders of their cases have a hash each', async () => {
  const folder = await temporaryFolder();
  const cases = ['sub-1', 'sub-2'].map((id) => {
    const [t1, t2, label] = ['t1/scan.nii', 't2/scan.nii', 'seg.nii'].map((name) => join(folder, id, name));
    return { id, subject: id, images: [t1!, t2!], label: label! };
  });
  for (const path of cases.flatMap(({ images, label }) => [...images, label])) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, path);
  }
  using hashes = new FileHashes();
  const names = ['images/sub-1/t1/scan.nii', 'images/sub-1/t2/scan.nii'];
  const found = await hashes.of(cases);
  expect(Object.keys(found)).toEqual([
    ...names,
    ...names.map((name) => name.replace('sub-1', 'sub-2')),
    ...['labels/sub-1/seg.nii', 'labels/sub-2/seg.nii'],
  ]);
  const path = join(folder, 'sub-2/t1/scan.nii');
  expect(found['images/sub-2/t1/scan.nii']).toBe(createHash('sha256').update(path).digest('hex'));
  // Where all lie in one folder, that folder is not told.
  expect(Object.keys(await hashes.of(cases.slice(0, 1)))).toEqual([
    'images/t1/scan.nii',
    'images/t2/scan.nii',
    'labels/seg.nii',
  ]);
});
