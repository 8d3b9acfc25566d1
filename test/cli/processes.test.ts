/** The built command as a process among others: pipes that close, full disks, signals, two at once, kills. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

const main = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
/** A network of few kernels: each of the processes compiles them again. */
const network = ['--features', '4', '--kernels', '1,1,1'];
const small = [...network, '--epochs', '2', '--batch-size', '1', '--subject-pattern', 'Case_(\\d+)'];
const model = 'model.safetensors';

let data: string;
/** A training that nobody disturbed. */
let run: string;
/** Of this file's processes, so that none is left where a test fails. */
const children = new Set<ChildProcess>();

beforeAll(async () => {
  data = await phantomDataset(6, [4, 4, 4]);
  run = join(await temporaryFolder(), 'run');
  expect((await cli(['train', data, '--out', run, ...small])).exitCode).toBe(0);
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

interface Ended {
  /** Or the signal that ended it. */
  readonly exit: number | NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

function start(program: string, args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (more: string) => (text.out += more));
  child.stderr.setEncoding('utf8').on('data', (more: string) => (text.err += more));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      children.delete(child);
      resolve({ exit: code ?? signal, ...text });
    });
  });
  return { child, ended };
}

const command = (...args: string[]) => start(process.execPath, [main, ...args]);

/** A line of bash, in which "$@" is the command with its arguments. */
const shell = (line: string, ...args: string[]): Promise<Ended> =>
  start('bash', ['-c', line, 'bash', process.execPath, main, ...args]).ended;

/** Resolves when the process prints a line that `wanted` fits. */
async function line(child: ChildProcess, wanted: RegExp): Promise<void> {
  for await (const text of createInterface({ input: child.stdout! })) if (wanted.test(text)) return;
  throw new Error(`the process ended without a line that ${wanted} fits`);
}

const bytes = (folder: string, name = model): Promise<Buffer> => readFile(join(folder, name));
const newFolder = async (): Promise<string> => join(await temporaryFolder(), 'run');

/** Gives the command a descriptor 3 that a reader has closed already. */
const closed = 'exec 3> >(:); wait $!;';

describe.skipIf(process.platform === 'win32')('output that nobody reads', () => {
  test('does not end a training', async () => {
    const out = await newFolder();
    const ran = await shell(
      '"$@" | head -n 1; exit ${PIPESTATUS[0]}',
      ...['train', data, '--out', out, ...small, '--json'],
    );
    expect(ran.out).toMatch(/^\{"type":"start".*\}\n$/);
    expect(ran.exit).toBe(0);
    expect(await bytes(out)).toEqual(await bytes(run));
    expect((await readdir(out)).sort()).toEqual((await readdir(run)).sort());
  });

  test('nor does a closed standard error', async () => {
    const out = await newFolder();
    const ran = await shell(`${closed} "$@" >&3 2>&3`, 'train', data, '--out', out, ...small);
    expect(ran.exit).toBe(0);
    expect(await bytes(out)).toEqual(await bytes(run));
  });

  test('leaves no volume unsegmented', async () => {
    const out = await newFolder();
    const args = ['predict', run, join(data, 'images'), '--out', out, '--json'];
    const ran = await shell(`${closed} "$@" >&3`, ...args);
    expect(ran.exit).toBe(0);
    expect(await readdir(out)).toHaveLength(6);
  });

  test('ends what only prints, as pipes do', async () => {
    const csv = join(await temporaryFolder(), 'metrics.csv');
    const labels = join(data, 'labels');
    for (const args of [
      ['split', data],
      ['check', data],
      ['plan', '--shape', '8,8,8', '--json'],
      ['evaluate', labels, labels, '--csv', csv],
      ['--help'],
    ]) {
      const ran = await shell(`${closed} "$@" >&3`, ...args);
      expect(ran.exit, args[0]).toBe(141);
      expect(ran.err).not.toMatch(/^\s+at |^error/m);
    }
    const whole = join(await temporaryFolder(), 'metrics.csv');
    await cli(['evaluate', labels, labels, '--csv', whole]);
    expect(await readFile(csv)).toEqual(await readFile(whole));
  });

  test.runIf(existsSync('/dev/full'))('a full disk has its name, and a training is finished', async () => {
    const message = 'error: the standard output cannot be written: the disk is full';
    const printed = await shell('"$@" > /dev/full', 'plan', '--shape', '8,8,8');
    expect(printed).toEqual({ exit: 1, out: '', err: `${message}\n` });
    const out = await newFolder();
    const trained = await shell('"$@" > /dev/full', 'train', data, '--out', out, ...small, '--json');
    expect(trained.exit).toBe(1);
    expect(trained.err.trim().split('\n').at(-1)).toBe(message);
    expect(await bytes(out)).toEqual(await bytes(run));
    const silent = await shell('"$@" 2> /dev/full', 'split', data);
    expect(silent).toMatchObject({ exit: 0, err: '' });
  });
});

describe.skipIf(process.platform === 'win32')('signals', () => {
  test.each([
    ['SIGTERM', 143, ['--resume']],
    ['SIGHUP', 129, ['--resume']],
    ['SIGUSR1', 138, ['--continue']],
  ] as const)('%s saves a checkpoint and leaves with %d; %s goes on', async (signal, exitCode, [again]) => {
    const out = await newFolder();
    const whole = ['train', data, '--out', out, ...small, '--continue'];
    const begin = again === '--continue' ? whole : whole.slice(0, -1);
    const { child, ended } = command(...begin, '--json');
    await line(child, /"type":"step".*"step":0,/);
    // Another while it saves changes nothing.
    child.stderr!.on('data', (text: string) => text.includes('Stopping') && child.kill('SIGTERM'));
    child.kill(signal);
    const { exit, err } = await ended;
    expect(err).toMatch(/^Go on with: .*--resume$/m);
    expect(exit).toBe(exitCode);
    expect(await readdir(out)).toContain('checkpoint.safetensors');
    expect(await readdir(out)).not.toContain(model);
    const resumed = await cli(again === '--continue' ? whole : ['train', '--out', out, again]);
    expect(resumed.err).toMatch(/^Going on from step \d/m);
    expect(resumed.exitCode).toBe(0);
    expect(await bytes(out)).toEqual(await bytes(run));
    if (again !== '--continue') return;
    const made = await stat(join(out, model));
    const done = await cli(whole);
    expect(done.err).toMatch(/The training in .* is done/);
    expect(done.exitCode).toBe(0);
    expect((await stat(join(out, model))).mtimeMs).toBe(made.mtimeMs);
    for (const [other, message] of [
      [[...whole, '--seed', '3'], /was begun with --seed left out, which is now 3/],
      [whole.with(whole.indexOf('--epochs') + 1, '3'), /was begun with --epochs 2, which is now 3/],
    ] as const) {
      const refused = await cli(other);
      expect(refused.err).toMatch(message);
      expect(refused.exitCode).toBe(2);
    }
  });
});

describe.skipIf(process.platform === 'win32')('two processes', () => {
  test('one folder holds one training at a time, and no predictions of others meanwhile', async () => {
    const out = await newFolder();
    const { child, ended } = command('train', data, '--out', out, ...small, '--json');
    await line(child, /"type":"start"/);
    child.kill('SIGSTOP');
    const inUse = new RegExp(`error: .*run is in use by process ${child.pid}, which writes into it`);
    for (const args of [
      ['train', data, '--out', out, ...small],
      ['train', data, '--out', out, ...small, '--overwrite'],
      ['train', data, '--out', out, ...small, '--dry-run'],
      ['train', '--out', out, '--resume'],
      ['demo', '--out', out],
    ]) {
      const ran = await cli(args);
      expect(ran.err).toMatch(inUse);
      expect(ran.exitCode).toBe(1);
    }
    for (const place of [out, join(out, 'predictions')]) {
      const ran = await cli(['predict', run, join(data, 'images'), '--out', `${place}/`]);
      expect(ran.err).toMatch(inUse);
      expect(ran.exitCode).toBe(1);
    }
    child.kill('SIGCONT');
    expect((await ended).exit).toBe(0);
    expect(await bytes(out)).toEqual(await bytes(run));
    expect((await readdir(out)).sort()).toEqual((await readdir(run)).sort());
  });

  test('started together, one trains and the other is refused or finds the work done', async () => {
    const out = await newFolder();
    const args = ['train', data, '--out', out, ...small];
    const ran = await Promise.all([command(...args).ended, command(...args).ended]);
    const [one, other] = ran.sort((a, b) => Number(a.exit) - Number(b.exit));
    expect(one.exit).toBe(0);
    expect(other.err).toMatch(/is in use by process|holds a training already/);
    expect([1, 2]).toContain(other.exit);
    expect(await bytes(out)).toEqual(await bytes(run));
  });

  test('what a killed training has left is told, taken over and swept', async () => {
    const out = await newFolder();
    const { child, ended } = command('train', data, '--out', out, ...small, '--json');
    await line(child, /"type":"checkpoint"/);
    child.kill('SIGKILL');
    expect((await ended).exit).toBe('SIGKILL');
    const lock = (await readdir(out)).find((name) => name.startsWith('.lock-'))!;
    const [owner] = (await readFile(join(out, lock), 'utf8')).split('\n');
    const half = `.unet3d-${owner!}-00000000.tmp`;
    await mkdir(join(out, 'predictions'), { recursive: true });
    for (const folder of [out, join(out, 'predictions')]) await writeFile(join(folder, half), 'half');
    const resumed = await cli(['train', '--out', out, '--resume']);
    expect(resumed.err).toContain(`warning: process ${child.pid}, which no longer runs, had left`);
    expect(resumed.exitCode).toBe(0);
    expect(await bytes(out)).toEqual(await bytes(run));
    expect((await readdir(out)).sort()).toEqual((await readdir(run)).sort());
    expect(await readdir(join(out, 'predictions'))).toEqual(await readdir(join(run, 'predictions')));
  });
});

test.skipIf(process.platform === 'win32')(
  'names of files and classes reach a terminal as text, JSON and files as they are',
  async () => {
    const evil = 'a\u001b[2J\u009b2J\u202eb\nerror: c\u001b]8;;http://d\u0007';
    const folder = await temporaryFolder();
    const file = `${evil.replaceAll('/', '')}.nii.gz`;
    for (const kind of ['imagesTr', 'labelsTr']) await mkdir(join(folder, kind));
    const names = await readdir(join(data, 'images'));
    for (const [index, name] of names.entries()) {
      const as = index === 0 ? file : name;
      await writeFile(
        join(folder, 'imagesTr', as.replace('.nii', '_0000.nii')),
        await bytes(data, `images/${name}`),
      );
      await writeFile(join(folder, 'labelsTr', as), await bytes(data, `labels/${name}`));
    }
    const classes = Object.fromEntries(
      ['background', evil, 'c', 'd', 'e', 'f'].map((name, label) => [name, label]),
    );
    const description = {
      channel_names: { 0: 'MR' },
      labels: classes,
      numTraining: 6,
      file_ending: '.nii.gz',
    };
    await writeFile(join(folder, 'dataset.json'), JSON.stringify(description));
    const out = await newFolder();
    const kept = join(await temporaryFolder(), 'split.json');
    const labels = join(folder, 'labelsTr');
    const named = ['--names', `background,${evil},c,d,e,f`];
    const texts: Ended[] = [];
    for (const args of [
      ['check', folder],
      ['split', folder, '--out', kept],
      ['evaluate', labels, labels, ...named],
      ['train', folder, '--out', out, ...network, '--epochs', '1', '--split', '60,20,20'],
      [
        'predict',
        out,
        join(folder, 'imagesTr', file.replace('.nii', '_0000.nii')),
        '--out',
        await newFolder(),
      ],
      ['predict', join(folder, file), join(folder, 'imagesTr'), '--out', out],
      ['render', join(folder, file), '--out', join(folder, 'a.png')],
    ])
      texts.push(await command(...args).ended);
    expect(texts.map(({ exit }) => exit)).toEqual([0, 0, 0, 0, 0, 2, 1]);

    const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]|^error: c/m;
    for (const { out, err } of texts) expect(out + err).not.toMatch(acting);
    expect(texts[0]!.out).toContain(String.raw`a\u001b[2J\u009b2J\u202eb\u000aerror: c\u001b]8`);

    const json = await command('evaluate', labels, labels, ...named, '--json').ended;
    expect(json.out).not.toMatch(acting);
    const { cases } = JSON.parse(json.out) as { cases: { name: string; classes: object }[] };
    expect(cases.map(({ name }) => name)).toContain(file.replace('.nii.gz', ''));
    expect(Object.keys(cases[0]!.classes)).toContain(evil);
    expect(await readFile(kept, 'utf8')).toContain(JSON.stringify(file.replace('.nii.gz', '')));
  },
);

test.skipIf(process.platform === 'win32')('64 open files are enough, also to draw', async () => {
  const picture = join(await temporaryFolder(), 'memory.svg');
  const ran = await shell('ulimit -n 64; "$@"', 'plan', '--shape', '8,8,8', '--picture', picture);
  expect(ran).toMatchObject({ exit: 0, err: '' });
  expect(await readFile(picture, 'utf8')).toMatch(/^<svg /);
});
