/** The job scripts of examples/slurm on a real Slurm: what a fold array and shares leave is what one process makes. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { phantomDataset, temporaryFolder, writePhantom } from '../cli/support.ts';
import { isHere, openMpi, slurm as engine } from './engines.ts';
import { LoopbackSlurm, until } from './loopback.ts';
import { command } from './processes.ts';

const script = (name: string): string =>
  fileURLToPath(new URL(`../../examples/slurm/${name}`, import.meta.url));

/**
 * Loaded before the command. Where a file is named as the task, it holds a pattern of what the process prints: there the
 * process stops itself, leaves its number in another file, and waits for what the test does to it.
 */
const holding = (folder: string): string => `
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
const hold = \`${folder}/\${process.env.SLURM_JOB_NAME}-\${process.env.SLURM_ARRAY_TASK_ID}\`;
let pattern;
if (existsSync(hold)) {
  pattern = new RegExp(readFileSync(hold, 'utf8'), 'm');
  rmSync(hold);
}
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write;
  stream.write = function (text, ...more) {
    const written = write.call(this, text, ...more);
    if (!pattern?.test(text)) return written;
    pattern = undefined;
    writeFileSync(hold + '.new', String(process.pid));
    renameSync(hold + '.new', hold + '.held');
    process.kill(process.pid, 'SIGSTOP');
    return written;
  };
}
`;

/** Four cases with labels in two folds, and their images alone, to segment. */
async function written(): Promise<{ data: string; images: string }> {
  const data = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(data, name));
  for (let subject = 0; subject < 4; subject++)
    await writePhantom(
      subject,
      { shape: [4, 4, 4] },
      join(data, `imagesTr/p${subject}_0000.nii.gz`),
      join(data, `labelsTr/p${subject}.nii.gz`),
    );
  const labels = { background: 0, body: 1, bones: 2, bladder: 3, rectum: 4, prostate: 5 };
  const [odd, even] = [
    ['p1', 'p3'],
    ['p0', 'p2'],
  ];
  const splits = [
    { train: odd, val: even },
    { train: even, val: odd },
  ];
  const json = { channel_names: { 0: 'MR' }, labels, file_ending: '.nii.gz' };
  await writeFile(join(data, 'dataset.json'), JSON.stringify(json));
  await writeFile(join(data, 'splits_final.json'), JSON.stringify(splits));
  const images = join(await temporaryFolder(), 'images');
  await cp(join(data, 'imagesTr'), images, { recursive: true });
  return { data, images };
}

const oneProcess = (...args: string[]) => promisify(execFile)(command[0]!, [...command.slice(1), ...args]);

async function expectSame(folder: string, whole: string): Promise<void> {
  const names = async (path: string) =>
    (await readdir(path, { recursive: true })).filter((name) => !name.includes('checkpoint')).sort();
  expect((await names(folder)).filter((name) => name !== 'predicted-by.json')).toEqual(await names(whole));
  // The others have times of the day and the clock in them.
  const timed = /^(config|metrics)\.json$|history\.csv$|report\.html$/;
  for (const name of await names(whole)) {
    if (!/\.\w+$/.test(name) || timed.test(basename(name))) continue;
    expect(await readFile(join(folder, name)), name).toEqual(await readFile(join(whole, name)));
  }
  const metrics = async (path: string, name: string) => {
    const { training, ...others } = JSON.parse(await readFile(join(path, name), 'utf8')) as {
      training: { seconds: number };
    };
    return { ...others, training: { ...training, seconds: undefined } };
  };
  for (const name of (await names(whole)).filter((each) => basename(each) === 'metrics.json'))
    expect(await metrics(folder, name)).toEqual(await metrics(whole, name));
}

/** Its daemons are started as root, whose jobs they run. */
const canStart = isHere(engine) && process.getuid?.() === 0;

test.skipIf(!canStart)(
  'a fold stopped by its signal and a share that was killed, both requeued, leave the files of one process',
  async () => {
    const { data, images } = await written();
    const [work, programs] = [await temporaryFolder(), await temporaryFolder()];
    const at = (name: string): string => join(work, name);
    const recipe = [
      '--features',
      '2',
      '--kernels',
      '1,1,1',
      '--epochs',
      '4',
      '--batch-size',
      '1',
      '--no-tune',
    ];
    await oneProcess('train', data, '--out', at('whole'), '--folds', 'all', ...recipe);
    await oneProcess('predict', at('whole'), images, '--out', at('whole-results'));

    const [program, before] = [join(programs, 'unet3d-gpu'), join(programs, 'hold.mjs')];
    await writeFile(before, holding(programs));
    const [node, main] = command;
    await writeFile(program, `#!/bin/sh\nexec '${node}' --import '${before}' '${main}' "$@"\n`);
    await chmod(program, 0o755);
    const hold = (task: string, line: string) => writeFile(join(programs, task), line);
    const held = async (task: string): Promise<number> => {
      const file = join(programs, `${task}.held`);
      await until(`${task} is held`, () => Promise.resolve(existsSync(file)));
      return Number(await readFile(file, 'utf8'));
    };
    await using slurm = await LoopbackSlurm.start({
      PATH: `${programs}:${process.env['PATH'] ?? ''}:/usr/sbin`,
    });

    // Both folds at once; one gets the signal after its first epoch, asks to be requeued and goes on.
    await hold('folds-0', '^epoch 1/4');
    const folds = await slurm.submit(
      '--array=0-1',
      script('folds.sh'),
      data,
      '--out',
      at('folds'),
      ...recipe,
    );
    const first = await held('folds-0');
    await slurm.reaches(`${folds}_1`, 'COMPLETED');
    expect(existsSync(at('folds/fold_0/model.safetensors'))).toBe(false);
    await slurm.run('scancel', '--signal=USR1', `${folds}_0`);
    process.kill(first, 'SIGCONT');
    await slurm.reaches(`${folds}_0`, 'COMPLETED');
    expect(await slurm.run('scontrol', 'show', 'job', `${folds}_0`)).toMatch(/Restarts=1/);
    expect(await slurm.run('scontrol', 'show', 'job', `${folds}_1`)).toMatch(/Restarts=0/);
    expect(await slurm.logs()).toMatch(/Going on from step/);
    await expectSame(at('folds'), at('whole'));

    // The ensemble in two shares; one is killed in the middle, and requeued.
    await hold('predict-1', '^1/2 ');
    const given = [at('folds'), images, '--out', at('results')];
    const shares = await slurm.submit('--array=1-2', script('predict.sh'), ...given);
    process.kill(await held('predict-1'), 'SIGKILL');
    await slurm.reaches(`${shares}_2`, 'COMPLETED');
    await until('the killed share has failed', async () => (await slurm.state(`${shares}_1`)) === 'FAILED');
    expect(await readdir(at('results'))).toHaveLength(3 + 1);
    await slurm.run('scontrol', 'requeue', `${shares}_1`);
    await until('it is queued again', async () => (await slurm.state(`${shares}_1`)) !== 'FAILED');
    await slurm.reaches(`${shares}_1`, 'COMPLETED');
    expect(await slurm.logs()).toMatch(/Share 1 of 2: 2 of 4 volume\(s\), of which 1 are there already/);
    await expectSame(at('results'), at('whole-results'));

    const last = await slurm.submit(script('finish.sh'), ...given);
    await slurm.reaches(last, 'COMPLETED');
    expect(await slurm.logs()).toMatch(/4 of 4 volume\(s\), of which 4 are there already/);
  },
);

test.skipIf(!canStart || !isHere(openMpi))(
  'two tasks of srun share a training: the losses of accumulation in one process',
  async () => {
    const [work, programs] = [await temporaryFolder(), await temporaryFolder()];
    const program = join(programs, 'unet3d-gpu');
    const quoted = command.map((word) => `'${word}'`).join(' ');
    await writeFile(program, `#!/bin/sh\nexec ${quoted} "$@"\n`);
    await chmod(program, 0o755);
    const data = await phantomDataset(10, [8, 8, 8]);
    const options = ['--features', '4,8', '--epochs', '2', '--no-postprocess'];
    const out = (name: string): string[] => ['--out', join(work, name)];
    await oneProcess('train', data, ...options, ...out('alone'), '--batch-size', '1', '--accumulate', '2');

    await using slurm = await LoopbackSlurm.start({ PATH: `${programs}:${process.env['PATH'] ?? ''}` });
    const given = [data, ...options, ...out('shared'), '--batch-size', '2'];
    const job = await slurm.submit('--ntasks=2', script('ranks.sh'), ...given);
    await slurm.reaches(job, 'COMPLETED');
    const losses = async (name: string): Promise<number[]> => {
      const [, ...rows] = (await readFile(join(work, name, 'history.csv'), 'utf8')).trim().split('\n');
      return rows.map((row) => Number(row.split(',')[1]));
    };
    const [alone, shared] = [await losses('alone'), await losses('shared')];
    expect(alone).toHaveLength(2);
    expect(shared).toHaveLength(2);
    shared.forEach((loss, epoch) => expect(Math.abs(loss / alone[epoch]! - 1)).toBeLessThan(1e-6));
    expect((await slurm.logs()).match(/^(\d: )?GPU/gm)?.length).toBeGreaterThan(0);
  },
);
