/** The demo on tiny phantoms. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import type { Split } from '../../src/data/split.ts';
import { dice } from '../../src/metrics/dice.ts';
import { cli, temporaryFolder } from './support.ts';

const options = ['--subjects', '7', '--shape', '8,8,8', '--features', '4,8', '--epochs', '1', '--seed', '3'];

test('a folder that holds a training is left alone, unless it may be replaced', async () => {
  const out = await temporaryFolder();
  const model = join(out, 'model.safetensors');
  await writeFile(model, 'of a training');
  const refused = await cli(['demo', '--out', out, ...options]);
  expect(refused.exitCode).toBe(2);
  expect(refused.err).toMatch(/holds a training already: start anew there \(--overwrite\)/);
  expect(await readFile(model, 'utf8')).toBe('of a training');

  // What an earlier training left goes; what else is there stays.
  const split = { train: { cases: [] }, validation: { cases: [] }, test: { cases: ['old', '../kept'] } };
  await writeFile(join(out, 'split.json'), JSON.stringify(split));
  await mkdir(join(out, 'predictions'));
  const kept = [join(out, 'kept.nii.gz'), join(out, 'predictions', 'own.nii.gz')];
  const gone = [join(out, 'augmentation.png'), join(out, 'predictions', 'old.nii.gz')];
  for (const path of [...kept, ...gone]) await writeFile(path, 'earlier');

  const ran = await cli(['demo', '--out', out, ...options, '--overwrite', '--json']);
  expect([...kept, ...gone].filter((path) => existsSync(path))).toEqual(kept);
  expect([0, 1]).toContain(ran.exitCode); // 1 for a low Dice
  // What it says of the test is what its files hold.
  const result = JSON.parse(ran.out.split('\n').at(-1)!) as { type: string; dice: number[] };
  expect(result.type).toBe('result');
  const { test: tested } = JSON.parse(await readFile(join(out, 'split.json'), 'utf8')) as Split;
  expect(tested.cases.length).toBeGreaterThan(0);
  const scores = await Promise.all(
    tested.cases.map(async (id) => {
      const { data } = await readNifti(join(out, 'predictions', `${id}.nii.gz`));
      const { labels } = phantom(Number(id.slice(-3)), { shape: [8, 8, 8], seed: 3 });
      return dice(new Uint8Array(data), labels, 6);
    }),
  );
  const mean = result.dice.map((_, label) => {
    const defined = scores.map((score) => score[label]!).filter((value) => !Number.isNaN(value));
    return defined.reduce((sum, value) => sum + value, 0) / defined.length;
  });
  result.dice.forEach((value, label) => {
    if (value !== null) expect(value).toBeCloseTo(mean[label]!, 6);
  });

  for (const how of ['--resume', '--continue']) {
    const goOn = await cli(['train', out, '--out', out, how]);
    expect(goOn.err).toMatch(
      /the training in .* is that of demo, whose phantoms are kept nowhere: give another/,
    );
    expect(goOn.exitCode).toBe(2);
  }
});
