/** What another process does while a command is at work: it leaves locks, takes over folders, replaces models. */
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { cp, readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { recordName, stampOf } from '../../src/cli/results-there.ts';
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
  expect(ran.err).toMatch(/the model was replaced while it was opened .*: start again/);
  expect((await readdir(out)).filter((name) => name.endsWith('.nii.gz'))).toHaveLength(1);
});

test('a file that was replaced by one of its size and time is another', async () => {
  const [path, other] = [join(await temporaryFolder(), 'a'), join(await temporaryFolder(), 'b')];
  for (const each of [path, other]) {
    await writeFile(each, 'abc');
    await utimes(each, 1, 1);
  }
  const before = await stampOf([path]);
  expect(await stampOf([path])).toBe(before);
  await rename(other, path);
  expect(await stampOf([path])).not.toBe(before);
});
