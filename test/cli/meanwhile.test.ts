/** What another process does while a command is at work: it leaves locks, takes over folders, replaces models. */
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { cp, mkdir, readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { PredictOptions } from '../../src/cli/found-model.ts';
import { findModel } from '../../src/cli/predict-models.ts';
import { recordName } from '../../src/cli/results-there.ts';
import { stampAt } from '../../src/files/stamp.node.ts';
import { interopFolder, nnunetFixture } from '../support/interop.ts';
import { cli, phantomDataset, temporaryFolder, type Ran } from './support.ts';

let data: string;
let run: string;

beforeAll(async () => {
  data = await phantomDataset(4);
  run = join(await temporaryFolder(), 'run');
  const options = [
    '--features',
    '2',
    '--kernels',
    '1,1,1',
    '--epochs',
    '1',
    '--no-tune',
    '--split',
    '50,25,25',
  ];
  expect((await cli(['train', data, '--out', run, ...options])).exitCode).toBe(0);
});

/** Segments the four volumes; `act` is called when the first is done. */
async function predict(out: string, act: () => void, model = run, ...more: readonly string[]): Promise<Ran> {
  let isDone = false;
  return cli(['predict', model, join(data, 'images'), '--out', out, ...more], {
    onLine(line) {
      if (isDone || !/^1\/4 /.test(line)) return;
      isDone = true;
      act();
    },
  });
}

test('a lock that somebody has left holds nobody up who goes on', async () => {
  const out = join(await temporaryFolder(), 'out');
  const ran = await predict(
    out,
    () => writeFileSync(join(out, '.lock-9'), 'elsewhere-12-345\n'),
    run,
    '--continue',
  );
  expect(ran.exitCode).toBe(0);
  expect((await readdir(out)).filter((name) => name.endsWith('.nii.gz'))).toHaveLength(4);
});

test('results that another command has begun to record are not written over', async () => {
  const out = join(await temporaryFolder(), 'out');
  const ran = await predict(out, () => writeFileSync(join(out, recordName), '{}'));
  expect(ran.exitCode).toBe(1);
  expect(ran.err).toMatch(/was taken over by another command meanwhile/);
  expect((await readdir(out)).filter((name) => name.endsWith('.nii.gz'))).toHaveLength(1);
});

test('a model that is replaced makes no results in the name of the one before', async () => {
  const [model, out] = [await temporaryFolder(), join(await temporaryFolder(), 'out')];
  const file = join(model, 'model.safetensors');
  await cp(join(run, 'model.safetensors'), file);
  const replace = (): void => {
    copyFileSync(file, `${file}.new`);
    renameSync(`${file}.new`, file);
  };
  const ran = await predict(out, replace, file, '--shard', '1/1');
  expect(ran.exitCode).toBe(1);
  expect(ran.err).toMatch(/the model was replaced since it was opened \(.*model\.safetensors\): start again/);
  expect((await readdir(out)).filter((name) => name.endsWith('.nii.gz'))).toHaveLength(1);
});

test('an empty record is that of no model: results beside it are taken away only where that is asked for', async () => {
  const out = join(await temporaryFolder(), 'out');
  expect((await predict(out, () => undefined)).exitCode).toBe(0);
  await writeFile(join(out, recordName), '');
  const before = await readdir(out);
  const ran = await predict(out, () => undefined, run, '--continue');
  expect(ran.exitCode).toBe(2);
  expect(ran.err).toMatch(/are of another model, other options or other images.*--overwrite/);
  expect(await readdir(out)).toEqual(before);
});

test('of a folder of nnU-Net, what is read of it is the model: what else lies there may come and go', async ({
  skip,
}) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const folder = join(await temporaryFolder(), 'model');
  await cp(`${found.folder}/model`, folder, { recursive: true });
  const partsOf = async (): Promise<readonly string[]> =>
    (await findModel(folder, { folds: ['0'] } as unknown as PredictOptions, [])).files;
  const before = await partsOf();
  expect(before.map((file) => basename(file)).sort()).toEqual([
    'checkpoint_final.pth',
    'dataset.json',
    'plans.json',
  ]);
  const fold = dirname(before.find((file) => file.endsWith('.pth'))!);
  await mkdir(join(fold, 'validation'));
  await writeFile(join(fold, 'validation', 'case.nii.gz'), '');
  await writeFile(join(fold, 'checkpoint_latest.pth'), '');
  expect(await partsOf()).toEqual(before);
});

test('a file that was replaced by one of its size and time is another', async () => {
  const [path, other] = [join(await temporaryFolder(), 'a'), join(await temporaryFolder(), 'b')];
  for (const each of [path, other]) {
    await writeFile(each, 'abc');
    await utimes(each, 1, 1);
  }
  const before = await stampAt(path);
  expect(await stampAt(path)).toBe(before);
  await rename(other, path);
  expect(await stampAt(path)).not.toBe(before);
  expect(await stampAt(other)).toBe('');
});
