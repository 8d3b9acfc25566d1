/** The command that repeats a training, as its report and config.json have it: typed again, it does. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

let data: string;
let base: string;
const tiny = ['--features', '2', '--kernels', '1', '--epochs', '1', '--no-tune'];

beforeAll(async () => {
  data = await phantomDataset(5, [16, 16, 16]);
  // Of two channels that have no names.
  for (const name of await readdir(join(data, 'images'))) {
    const file = join(data, 'images', name);
    const { data: image, shape, affine } = await readNifti(await readFile(file));
    const both = Float32Array.from([...image, ...image.map((value) => value * value)]);
    await writeFile(file, await writeNifti({ data: both, shape: [...shape, 2], affine }));
  }
  base = join(await temporaryFolder(), 'base');
  const { exitCode, err } = await cli(['train', data, '--out', base, ...tiny]);
  expect(exitCode, err).toBe(0);
  expect(await readFile(join(base, 'report.html'), 'utf8')).toMatch(/<dt>channels<\/dt>\s*<dd>2</);
});

/** The words of a command line as the package writes it. */
const wordsIn = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!).slice(1);

const cases: [string, () => string[]][] = [
  ['plain', () => [...tiny, '--checkpointing']],
  ['--fold', () => [...tiny, '--fold', '2/5']],
  [
    '--preset nnunet',
    () => [
      ...['--preset', 'nnunet', '--features', '2,3', '--epochs', '1', '--steps-per-epoch', '1'],
      '--no-tune',
    ],
  ],
  [
    '--preset pelvis-mr',
    () => [
      ...['--preset', 'pelvis-mr', '--subject-pattern', 'Case_(\\d+)', '--patch', '8,8,8'],
      ...['--features', '2,4', '--epochs', '1', '--no-tune'],
    ],
  ],
  ['--init', () => ['--init', base, '--epochs', '1', '--no-tune', '--split', '60,20,20']],
  [
    '--init with a preset',
    () => [
      ...['--init', base, '--preset', 'pelvis-mr', '--subject-pattern', '(.*)', '--patch', '8,8,8'],
      ...['--epochs', '1', '--no-tune'],
    ],
  ],
  ['--folds', () => [...tiny, '--folds', '1']],
];

test.each(cases)('%s', async (_, options) => {
  const folder = await temporaryFolder();
  const out = join(folder, 'run');
  const first = await cli(['train', data, '--out', out, ...options()]);
  expect(first.exitCode, first.err).toBe(0);
  const within = options().includes('--folds') ? 'fold_1' : '.';
  const command = async (path: string): Promise<string[]> =>
    wordsIn((JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as { command: string }).command);
  const words = await command(out);
  expect(words.slice(0, 2)).toEqual(['train', data]);
  const again = join(folder, 'again');
  const second = await cli(words.with(words.indexOf('--out') + 1, again));
  expect(second.exitCode, second.err).toBe(0);
  const model = (run: string) => readFile(join(run, within, 'model.safetensors'));
  expect(await model(again)).toEqual(await model(out));

  // Of a training that was gone on with, too.
  const path = join(out, within);
  const resumed = await cli(['train', '--out', path, '--resume']);
  expect(resumed.exitCode, resumed.err).toBe(0);
  const third = await command(path);
  const dry = await cli([...third.with(third.indexOf('--out') + 1, join(folder, 'dry')), '--dry-run']);
  expect(dry.exitCode, dry.err).toBe(0);
});
