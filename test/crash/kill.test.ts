/** A training that is killed three times ends with the same weights; scripts/kill-training.ts does it twenty times. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { cli, phantomDataset, temporaryFolder } from '../cli/support.ts';
import { trainThroughKills } from './kill.ts';

test('killed three times, while writing too, and resumed, it ends with the same bits', async () => {
  const data = await phantomDataset(6, [4, 4, 4]);
  const folder = await temporaryFolder();
  const [whole, out] = [join(folder, 'whole'), join(folder, 'killed')];
  await mkdir(out);
  // A network of few kernels: each of the processes compiles them again.
  const args = [
    data,
    '--features',
    '4',
    '--kernels',
    '1,1,1',
    '--epochs',
    '4',
    '--batch-size',
    '1',
    '--ema',
    '0.9',
  ];
  args.push('--subject-pattern', 'Case_(\\d+)');
  expect((await cli(['train', '--out', whole, ...args])).exitCode).toBe(0);
  const command = [process.execPath, fileURLToPath(new URL('../../dist/cli.js', import.meta.url))] as const;
  const deaths: unknown[] = [];
  await trainThroughKills({
    ...{ command, args, out, steps: 16, stepsPerEpoch: 4, kills: 3, seed: 1 },
    onDeath: (death) => deaths.push(death),
  });
  expect(deaths).toHaveLength(3);
  const model = 'model.safetensors';
  expect(await readFile(join(out, model))).toEqual(await readFile(join(whole, model)));
});
