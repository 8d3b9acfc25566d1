/** What stands where taking away an earlier training was cut short. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { RunFolder } from '../../src/cli/run-folder.ts';
import type { Io } from '../../src/cli/io.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.node.ts';
import { temporaryFolder } from '../support/temporary.node.ts';

/** Fails at the removal that it counts down to, as a kill does. */
const kill = vi.hoisted(() => ({ after: Infinity }));
vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>();
  const rm: typeof actual.rm = (...args) => {
    if (--kill.after < 0) throw new Error('killed');
    return actual.rm(...args);
  };
  return { ...actual, rm };
});

const part = (...cases: string[]) => ({ subjects: cases, cases });
const split = {
  seed: 1,
  fractions: [0.5, 0.25, 0.25],
  train: part('a'),
  validation: part('b'),
  test: part('c', 'd'),
};
const beginnings = ['config.json', 'split.json'];
const predictions = ['c.nii.gz', 'd.nii.gz'];

/** A training that has come to its end, and was gone on with far enough to have its checkpoint. */
async function finishedRun(): Promise<string> {
  const folder = join(await temporaryFolder(), 'run');
  await mkdir(join(folder, 'predictions'), { recursive: true });
  const results = [
    'model.safetensors',
    'metrics.json',
    'history.csv',
    'report.html',
    'checkpoint.safetensors',
  ];
  for (const name of [...results, 'config.json']) await writeFile(join(folder, name), 'x');
  for (const name of predictions) await writeFile(join(folder, 'predictions', name), 'x');
  await writeFile(join(folder, 'split.json'), JSON.stringify(split));
  return folder;
}

test('wherever taking away an earlier training ends, what is left is neither done nor gone on with by halves', async () => {
  const io = { err: () => undefined, out: () => undefined } as unknown as Io;
  let steps = 0;
  for (let isKilled = true; isKilled; steps++) {
    const folder = await finishedRun();
    using opened = await RunFolder.open(folder, io);
    expect([opened.isDone, hasCheckpoint(folder)]).toEqual([true, true]);
    kill.after = steps;
    isKilled = await opened.clear().then(
      () => false,
      () => true,
    );
    kill.after = Infinity;
    expect(opened.isDone).toBe(steps === 0);
    const isWhole = beginnings.every((name) => opened.has(name));
    if (opened.holdsTraining) expect(isWhole).toBe(true);
    // By split.json they are known: what is left of them is taken away the next time.
    if (!opened.has('split.json')) expect(await readdir(join(folder, 'predictions'))).toEqual([]);
    if (!isKilled)
      expect((await readdir(folder)).filter((name) => !name.startsWith('.lock'))).toEqual(['predictions']);
  }
  expect(steps).toBeGreaterThan(10);
});
