/** `mpirun … train`: losses are those of accumulation, a rank that is killed ends all, others go on from the checkpoint. */
import { existsSync } from 'node:fs';
import { cp, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { phantomDataset, temporaryFolder } from '../cli/support.ts';
import { isHere, mpich, openMpi } from './engines.ts';
import { command, start, workersOf, type Ended } from './processes.ts';

const openMpiRun = (ranks: number): readonly string[] => [
  ...['mpirun.openmpi', '--allow-run-as-root', '--oversubscribe', '-np', String(ranks)],
  ...command,
];
const mpichRun = (ranks: number): readonly string[] => ['mpirun.mpich', '-np', String(ranks), ...command];

let folder = '';
let options: readonly string[] = [];
let alone: Ended;

beforeAll(async () => {
  folder = await temporaryFolder();
  const data = await phantomDataset(10, [8, 8, 8]);
  options = [data, '--features', '4,8', '--epochs', '2', '--norm', 'batch', '--no-postprocess', '--json'];
  // Seven cases to train on: a second step with one batch less than there are ranks.
  alone = await start([...command, ...train('alone', ['--batch-size', '1', '--accumulate', '4'])]);
});

const train = (out: string, given: readonly string[] = []): string[] => [
  ...['train', ...options],
  ...['--out', join(folder, out), ...given],
];

const losses = ({ events }: Ended): number[] =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));

function expectLosses(found: readonly number[]): void {
  const expected = losses(alone);
  expect(found).toHaveLength(expected.length);
  found.forEach((loss, i) => expect(Math.abs(loss / expected[i]! - 1)).toBeLessThan(1e-6));
}

test('the process alone comes to its end', () => {
  expect(alone).toMatchObject({ exitCode: 0 });
  expect(losses(alone)).toHaveLength(4);
});

test.runIf(isHere(openMpi))(
  'Open MPI, 2 ranks: the losses of accumulation, and the files of one process',
  async () => {
    const ran = await start([...openMpiRun(2), ...train('two', ['--batch-size', '1', '--accumulate', '4'])]);
    expect(ran, ran.err).toMatchObject({ exitCode: 0 });
    expectLosses(losses(ran));
    expect(ran.events.find(({ type }) => type === 'start')).toMatchObject({ ranks: 2 });
    expect(ran.events.find(({ type }) => type === 'exchange')).toMatchObject({ steps: 4 });
    expect(ran.err.match(/^GPU/gm)).toHaveLength(2);
    for (const name of ['model.safetensors', 'report.html', 'metrics.json', 'history.csv'])
      expect(existsSync(join(folder, 'two', name)), name).toBe(true);
  },
);

test.runIf(isHere(openMpi))('ranks that have left MPI do not join again', async () => {
  const library = new URL('../../dist/node.js', import.meta.url).href;
  const code =
    `const { joinRanks } = await import(${JSON.stringify(library)}); await (await joinRanks()).finish(); ` +
    'await joinRanks().catch(({ name, message }) => console.error(name, message));';
  const mpirun = openMpiRun(2).slice(0, -command.length);
  const ran = await start([...mpirun, process.execPath, '--input-type=module', '--eval', code]);
  expect(ran.exitCode, ran.err).toBe(0);
  expect(ran.err.match(/UNet3DError these ranks have left MPI/g)).toHaveLength(2);
});

test.runIf(isHere(openMpi))('ranks that read other voxels under the same names do not begin', async () => {
  const other = join(await temporaryFolder(), basename(options[0]!));
  await cp(options[0]!, other, { recursive: true });
  const labels = join(other, 'labels');
  const [first, second] = (await readdir(labels)).sort();
  await cp(join(labels, second!), join(labels, first!));
  const [, ...rest] = train('copies');
  const ran = await start([
    ...openMpiRun(1),
    'train',
    ...rest,
    ':',
    '-np',
    '1',
    ...command,
    'train',
    other,
    ...rest.slice(1),
  ]);
  expect(ran.exitCode).not.toBe(0);
  expect(ran.err).toContain(
    `ranks 0 and 1 have not read the same voxels of the case "${basename(first!, '.nii.gz')}": give all processes`,
  );
});

describe.runIf(isHere(openMpi))('Open MPI, 4 ranks', () => {
  let killed: Ended;

  test('one that is killed ends all, with the checkpoint kept', async () => {
    let isKilled = false;
    killed = await start([...openMpiRun(4), ...train('four', ['--batch-size', '4'])], (event, pid) => {
      if (isKilled || event.type !== 'step' || event.step < 2) return;
      isKilled = true;
      process.kill(workersOf(pid).at(-1)!, 'SIGKILL');
    });
    expect(killed.exitCode, killed.err).not.toBe(0);
    expect(existsSync(join(folder, 'four', 'checkpoint.safetensors'))).toBe(true);
    expect(existsSync(join(folder, 'four', 'metrics.json'))).toBe(false);
  });

  // With another library where there is one: nothing of it is in the files.
  const [name, resumeRun] = isHere(mpich) ? ['MPICH', mpichRun] : ['Open MPI', openMpiRun];
  test(`2 ranks of ${name} go on from there to the same losses, and say that their number has changed`, async () => {
    const out = join(folder, 'four');
    const resumed = await start([...resumeRun(2), 'train', '--out', out, '--resume', '--json']);
    expect(resumed, resumed.err).toMatchObject({ exitCode: 0 });
    const first = resumed.events.flatMap((event) => (event.type === 'start' ? [event.step] : []));
    expectLosses([...losses(killed).slice(0, first[0]), ...losses(resumed)]);
    const warnings = resumed.events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    expect(warnings).toEqual([expect.stringMatching(/^4 ranks computed the checkpoint, and 2 ranks/)]);
  });
});

test.runIf(isHere(mpich) && isHere(openMpi))('a library of another mpirun is told', async () => {
  const [program, ...args] = mpichRun(2);
  const env = ['env', 'UNET3D_MPI=libmpi.so.40'];
  const ran = await start([program!, ...args.slice(0, 2), ...env, ...args.slice(2), ...train('other')]);
  expect(ran.exitCode).not.toBe(0);
  expect(ran.err).toMatch(/has started 2 processes, but the MPI library libmpi.so.40 sees 1/);
  expect(existsSync(join(folder, 'other'))).toBe(false);
});
