/** Cross-validation: folds into one folder, stopped and gone on with, scored by cases they have not seen, and as one model. */
import { existsSync, mkdirSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { readNifti } from '../../src/data/nifti.ts';
import { FolderLock } from '../../src/files/lock.node.ts';
import { largestComponents } from '../../src/metrics/components.ts';
import { storedArchive } from '../../src/weights/pytorch/write-archive.ts';
import { cli, temporaryFolder, writePhantom } from './support.ts';

const shape = [8, 8, 8] as const;
const splits = [
  { train: ['p0', 'p1'], val: ['p2', 'p3'] },
  { train: ['p2', 'p3'], val: ['p0', 'p1'] },
];

async function written(): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name));
  for (let subject = 0; subject < 4; subject++)
    await writePhantom(
      subject,
      { shape },
      join(folder, `imagesTr/p${subject}_0000.nii.gz`),
      join(folder, `labelsTr/p${subject}.nii.gz`),
    );
  const labels = { background: 0, body: 1, bones: 2, bladder: 3, rectum: 4, prostate: 5 };
  const json = { channel_names: { 0: 'MR' }, labels, file_ending: '.nii.gz' };
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(json));
  await writeFile(join(folder, 'splits_final.json'), JSON.stringify(splits));
  return folder;
}

const refused = async (...args: string[]) => {
  const { exitCode, err } = await cli(args);
  expect(exitCode).toBe(2);
  return err;
};

test("folds beside a dataset.json that lies a folder further down are the data set's", async () => {
  const outer = await temporaryFolder();
  await rename(await written(), join(outer, 'Dataset001_Pelvis'));
  const out = join(await temporaryFolder(), 'runs');
  const tried = await refused('train', outer, '--out', out, '--folds', '2', '--features', '2,4');
  expect(tried).toMatch(/Folds are those of .*Dataset001_Pelvis.splits_final\.json/);
  expect(tried).toMatch(/there are 2 folds/);
});

test('two folds, stopped in the second, gone on with, scored, and predicted with as one', async () => {
  const data = await written();
  const out = join(await temporaryFolder(), 'runs');
  const options = ['--features', '2,4', '--epochs', '2', '--no-tune', '--learning-rate', '0.05'];
  expect(await refused('train', data, '--out', out, '--folds', '2', ...options)).toMatch(/there are 2 folds/);
  expect(await refused('train', data, '--out', out, '--folds', 'all', '--fold', '1/2')).toMatch(/leave one/);

  // A training by itself where a fold would go stays as it is.
  const own = join(await temporaryFolder(), 'fold_1');
  await mkdir(own);
  for (const name of ['model.safetensors', 'split.json']) await writeFile(join(own, name), 'own');
  for (const more of [[], ['--overwrite']])
    expect(await refused('train', data, '--out', dirname(own), '--folds', 'all', ...more)).toMatch(
      /fold_1 in .* holds a training of its own/,
    );
  expect((await readdir(dirname(own))).filter((name) => name.includes('.json'))).toEqual([]);
  expect(await readFile(join(own, 'split.json'), 'utf8')).toBe('own');

  const history = join(out, 'fold_1/history.csv');
  const stop = new AbortController();
  let fold = '';
  const stopped = await cli(['train', data, '--out', out, '--folds', 'all', ...options], {
    signal: stop.signal,
    onLine(line) {
      fold = /^Fold (\d) of/.exec(line)?.[1] ?? fold;
      if (fold !== '1' || !/^epoch 1\/2/.test(line)) return;
      mkdirSync(history); // cannot be written now
      stop.abort();
    },
  });
  expect(stopped.exitCode).toBe(130);
  expect(stopped.err).toMatch(/fold 1: training was stopped.*\n.*train --out \S+runs --resume/);
  expect(stopped.err.match(/warning: cannot write .*/g)).toEqual([
    expect.stringMatching(
      / history\.csv and progress\.png \(.*\); this is tried again after the next epoch$/,
    ),
  ]);
  await rm(history, { recursive: true });
  expect(await refused('train', data, '--out', out, '--folds', 'all')).toMatch(/holds a training already/);
  expect(await refused('train', data, '--out', out)).toMatch(/holds a training already/);
  const first = join(out, 'fold_0/model.safetensors');
  const before = [await readFile(first), (await stat(first)).mtimeMs];

  const resumed = await cli(['train', '--out', out, '--resume']);
  expect(resumed.exitCode === 0 ? '' : resumed.err).toBe('');
  expect(resumed.err).toMatch(/Fold 0 is done\.[^]*Going on from step 1/);
  expect([await readFile(first), (await stat(first)).mtimeMs]).toEqual(before);
  expect((await readFile(history, 'utf8')).trim().split('\n')).toHaveLength(3);
  expect(resumed.out).toMatch(/Mean foreground Dice by fold: 0: .*, 1: /);

  expect(resumed.err).not.toContain('stay as they were trained');
  const faster = await cli(['train', '--out', out, '--resume', '--folds', '0', '--learning-rate', '0.5']);
  expect(faster.err).toMatch(
    /folds that are done \(0, 1\) stay as they were trained, not with --learning-rate 0.5 \(/,
  );
  expect([await readFile(first), (await stat(first)).mtimeMs]).toEqual(before);

  // Every case by the fold that has not seen it, in plain loops over the files.
  const { postprocessing } = JSON.parse(await readFile(join(out, 'ensemble.json'), 'utf8')) as {
    postprocessing: { largestComponent: number[] };
  };
  const table = (await readFile(join(out, 'cross-validation.csv'), 'utf8')).trim().split('\n').slice(1);
  const rows = table.map((line) => line.split(','));
  expect(rows.map(([name]) => name)).toEqual(
    ['p2', 'p3', 'p0', 'p1'].flatMap((name) => Array.from({ length: 6 }, () => name)),
  );
  for (const [name, label, , dice] of rows) {
    const unseen = splits.findIndex(({ val }) => val.includes(name!));
    const truth = await readNifti(join(data, `labelsTr/${name}.nii.gz`));
    const raw = await readNifti(join(out, `fold_${unseen}/predictions/${name}.nii.gz`));
    const classes = postprocessing.largestComponent;
    const found = classes.length > 0 ? largestComponents(raw.data, shape, { classes }) : raw.data;
    let [both, either] = [0, 0];
    truth.data.forEach((t, voxel) => {
      const [inTruth, inFound] = [t === Number(label), found[voxel] === Number(label)];
      both += Number(inTruth && inFound);
      either += Number(inTruth) + Number(inFound);
    });
    if (either > 0) expect(Number(dice)).toBeCloseTo((2 * both) / either, 9);
  }
  expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('new to a single network only');

  const scan = join(data, 'imagesTr/p0_0000.nii.gz');
  const segmented = async (model: string, name: string, ...more: string[]) => {
    const file = join(out, `${name}.nii.gz`);
    const { exitCode, err } = await cli(['predict', model, scan, '--out', file, ...more]);
    expect(exitCode === 0 ? '' : err).toBe('');
    return [...(await readNifti(file)).data];
  };
  const logits = ['--output', 'logits'];
  const [both, one, alone, other] = [
    await segmented(out, 'both', ...logits),
    await segmented(out, 'one', '--folds', '1', ...logits),
    await segmented(join(out, 'fold_1'), 'alone', ...logits),
    await segmented(join(out, 'fold_0'), 'other', ...logits),
  ];
  expect(one).toEqual(alone);
  both.forEach((value, at) => expect(value).toBeCloseTo((alone[at]! + other[at]!) / 2, 5));
  expect(await segmented(out, 'labels')).toHaveLength(512);

  const zip = join(await temporaryFolder(), 'folds.zip');
  const packed = [['fold_0/model.safetensors', new Uint8Array(await readFile(first))]] as const;
  await writeFile(
    zip,
    storedArchive(packed, () => new Error('large')),
  );
  const tried = await cli(['train', data, '--out', `${out}-zip`, '--init', zip, '--dry-run']);
  expect(tried.exitCode === 0 ? '' : tried.err).toBe('');
  expect(tried.err).toContain('folds.zip/fold_0/model.safetensors is taken');

  const self = ['train', data, '--out', out, '--folds', '1', '--overwrite', '--init', join(out, 'fold_0')];
  expect(await refused(...self)).toMatch(/--init .*fold_0 lies in .*give another --out/);
  const within = join(out, 'fold_0/data');
  await cp(data, within, { recursive: true });
  expect(await refused('train', within, '--out', out, '--folds', '0', '--overwrite')).toMatch(
    /data\S* lies in .*, which --overwrite clears/,
  );
  expect(existsSync(first)).toBe(true);

  // Begun anew, nothing of the folds before is scored or predicted with.
  const anew = await cli(['train', data, '--out', out, '--folds', '1', '--overwrite', ...options]);
  expect(anew.exitCode === 0 ? '' : anew.err).toBe('');
  expect(anew.out).toMatch(/Mean foreground Dice by fold: 1: [\d.]+\./);
  expect(existsSync(first)).toBe(false);
  expect(existsSync(join(out, 'fold_0/predictions/p2.nii.gz'))).toBe(false);
  expect(existsSync(join(out, 'both.nii.gz'))).toBe(true);
});

const tiny = ['--features', '2', '--kernels', '1,1,1', '--epochs', '1', '--no-tune'];

test('a fold goes on from the fold of its number in --init, and what that was trained on is told', async () => {
  const data = await written();
  const folder = await temporaryFolder();
  const base = join(folder, 'base');
  const train = async (out: string, ...args: string[]) => {
    const ran = await cli(['train', data, '--out', join(folder, out), ...args]);
    expect(ran.exitCode, ran.err).toBe(0);
    return ran;
  };
  const { out } = await train('base', ...tiny, '--folds', 'all', '--no-postprocess');
  expect(out).toContain('by the network that has not seen it');
  const unasked = 'Post-processing: none, as --no-postprocess asks.';
  const { notes } = JSON.parse(await readFile(join(base, 'ensemble.json'), 'utf8')) as { notes: string[] };
  for (const told of [out, notes.join('\n'), await readFile(join(base, 'report.html'), 'utf8')]) {
    expect(told).toContain(unasked);
    expect(told).not.toContain('as no mean Dice rises');
  }

  // One that has ended is concluded by a dry run no more.
  const { mtimeMs } = await stat(join(base, 'report.html'));
  expect((await cli(['train', '--out', base, '--resume', '--dry-run'])).exitCode).toBe(0);
  expect((await stat(join(base, 'report.html'))).mtimeMs).toBe(mtimeMs);

  const more = ['--init', base, '--epochs', '1', '--no-tune'];
  const tuned = await train('tuned', ...more, '--folds', 'all');
  for (const fold of ['fold_0', 'fold_1']) {
    const config = JSON.parse(await readFile(join(folder, 'tuned', fold, 'config.json'), 'utf8')) as {
      training: object;
    };
    expect(config.training).toMatchObject({ init: join(base, fold, 'model.safetensors') });
  }
  expect(tuned.err).not.toMatch(/was trained on \d of/);
  // Said as it was, or not at all, it is no other model.
  for (const said of [[], ['--init', base]]) {
    const { err, exitCode } = await cli([
      ...['train', '--out', join(folder, 'tuned'), '--resume', '--dry-run', ...said],
    ]);
    expect(exitCode, err).toBe(0);
  }
  // Whether the model had seen a case before is not known.
  expect(tuned.out).toContain('each by the fold that leaves it out');
  const report = await readFile(join(folder, 'tuned/report.html'), 'utf8');
  for (const text of [tuned.out, report]) {
    expect(text).not.toContain('has not seen');
    expect(text).toContain(
      `The folds went on from ${base}: a case that this was trained on is not new to them.`,
    );
  }

  const other = await train('other', ...more, '--folds', 'all', '--init-fold', '0', '--dry-run');
  expect(other.err).not.toMatch(/was trained on \d of/);
  const seen =
    /warning: .*fold_0\S+ was trained on 2 of the 2 cases that are validated or tested here, .*: "p0", "p1"/;
  const swapped = await train('other', ...more, '--folds', '1', '--init-fold', '0', '--dry-run');
  expect(swapped.err).toMatch(seen);
  const single = await train('one', ...more.with(1, join(base, 'fold_0')), '--dry-run', '--fold', '1/2');
  expect(single.err).toMatch(/fold_0\S+ was trained on [12] of the 2 cases/);

  const zip = join(folder, 'one.zip');
  const packed = ['model.safetensors', 'split.json'].map(
    async (name) => [`fold_0/${name}`, new Uint8Array(await readFile(join(base, 'fold_0', name)))] as const,
  );
  await writeFile(
    zip,
    storedArchive(await Promise.all(packed), () => new Error('large')),
  );
  const unpaired = ['train', data, '--out', join(folder, 'zip'), ...more.with(1, zip), '--folds', 'all'];
  expect(await refused(...unpaired)).toMatch(
    /fold 1 is to go on from fold 1 of --init, .* and \S+one\.zip has 0: train those alone \(--folds 0\)/,
  );
  expect(existsSync(join(folder, 'zip'))).toBe(false);
  expect((await train('zip', ...more.with(1, zip), '--dry-run', '--split', '25,75,0')).err).toMatch(
    /one\.zip\/fold_0\S+ was trained on \d of the 3 cases/,
  );
});

test('what is refused before its first step is no training that was begun', async () => {
  const data = await written();
  const out = join(await temporaryFolder(), 'folds');
  const args = ['train', data, '--out', out, ...tiny, '--folds', 'all'];
  expect(await refused(...args, '--class-weights', '1')).toMatch(/--class-weights has 1 number/);
  expect((await readdir(out)).sort()).toEqual(['config.json', 'fold_0', 'splits_final.json']);
  const dry = await cli(['train', '--out', out, '--resume', '--class-weights', '1,1,1,1,1,1', '--dry-run']);
  expect(dry.exitCode, dry.err).toBe(0);
  const one = (fold: string, ...more: string[]) => [...args.with(args.indexOf('all'), fold), ...more];
  const ran = await cli(one('0'));
  expect(ran.exitCode, ran.err).toBe(0);
  const kept = async () => {
    const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as { arguments: object };
    return config.arguments;
  };
  const first = await kept();
  expect(first).not.toHaveProperty('options.classWeights');
  expect(await refused(...one('1'))).toMatch(
    /holds a training already: go on .* other folds .* by --continue/,
  );

  // One more has the data of those before.
  const label = join(data, 'labelsTr/p0.nii.gz');
  const json = join(data, 'dataset.json');
  for (const [file, others, told] of [
    [label, await readFile(join(data, 'labelsTr/p1.nii.gz')), /1 case\(s\) have other voxels .*: "p0"/],
    [
      json,
      (await readFile(json, 'utf8')).replace('"body"', '"skin"'),
      /The data have the classes background, skin, .* began with the classes background, body, /,
    ],
  ] as const) {
    const own = await readFile(file);
    await writeFile(file, others);
    const { err, exitCode } = await cli(one('1', '--continue', '--dry-run'));
    expect(err).toMatch(told);
    expect(err).toMatch(
      /the training in \S+fold_0 began.*give it those again, or train all folds anew in another/,
    );
    expect(exitCode).toBe(1);
    await writeFile(file, own);
  }
  const resume = ['train', '--out', out, '--resume', '--folds', '1', '--learning-rate', '0.05'];
  expect(await refused(...resume, '--init', out)).toMatch(/--init .* goes on with its own: leave --init out/);
  expect(await refused(...resume, '--class-weights', '1')).toMatch(/--class-weights has 1 number/);
  for (const args of [one('1', '--continue'), resume]) {
    const { err, exitCode } = await cli([...args, '--dry-run']);
    expect(exitCode, err).toBe(0);
  }
  expect(await kept()).toEqual(first);

  // What is given to one of them holds for those that follow, whoever goes on.
  const second = await cli(resume);
  expect(second.exitCode, second.err).toBe(0);
  expect(second.out).toMatch(/Mean foreground Dice by fold: 0: .*, 1: /);
  expect(await kept()).toMatchObject({ options: { learningRate: 0.05, folds: ['0', '1'], epochs: 1 } });

  // With --continue all that is there stays, with --resume it is made again.
  const made = async () => (await stat(join(out, 'report.html'))).mtimeMs;
  const before = await made();
  const again = await cli([...args, '--learning-rate', '0.05', '--continue']);
  expect(again.err).toMatch(/Fold 0 is done\.\nFold 1 is done\.\nThe cross-validation in .*folds is done\.$/);
  expect(await made()).toBe(before);
  expect(await kept()).toHaveProperty('options.folds', ['all']);
  expect((await cli(['train', '--out', out, '--resume'])).exitCode).toBe(0);
  expect(await made()).toBeGreaterThan(before);
  expect(await refused(...args)).toMatch(/holds a training already/);
});

test('shares of --split are no folds', async () => {
  const out = join(await temporaryFolder(), 'folds');
  const err = await refused('train', await written(), '--out', out, '--folds', 'all', '--split', '80,20,0');
  expect(err).toMatch(/--split 80,20,0 has shares, and folds are those of a file .*: leave --split out/);
});

describe('--fold auto', () => {
  const options = tiny;
  /** As a task of an array of Slurm. */
  const task = async (
    number: string | undefined,
    args: readonly string[],
    last = '1',
    onLine: (line: string) => void = () => undefined,
  ) => {
    vi.stubEnv('SLURM_ARRAY_TASK_ID', number);
    vi.stubEnv('SLURM_ARRAY_TASK_MAX', last);
    try {
      return await cli(['train', ...args, '--fold', 'auto'], { onLine });
    } finally {
      vi.unstubAllEnvs();
    }
  };

  test('tasks of an array, the last fold first, make the same files as one process', async () => {
    const data = await written();
    const folder = await temporaryFolder();
    const [whole, out] = [join(folder, 'whole'), join(folder, 'tasks')];
    const one = await cli(['train', data, '--out', whole, ...options, '--folds', 'all']);
    expect(one.exitCode === 0 ? '' : one.err).toBe('');
    const args = [data, '--out', out, ...options];

    const first = await task('1', args);
    expect(first.exitCode === 0 ? '' : first.err).toBe('');
    expect(first.err).toMatch(/1 of 2 folds are done; the last to end makes the cross-validation/);
    expect((await readdir(out)).sort()).toEqual(['config.json', 'fold_1', 'splits_final.json']);
    const other = await task('0', args.with(args.indexOf('--epochs') + 1, '2'));
    expect([other.exitCode, other.err]).toEqual([
      2,
      expect.stringMatching(/begun with --epochs 1, which is now 2/),
    ]);
    const held = FolderLock.take(join(out, 'fold_1'));
    const anew = await cli(['train', data, '--out', out, '--folds', 'all', ...options, '--overwrite']);
    held[Symbol.dispose]();
    expect(anew.err).toMatch(/fold_1 is in use/);
    const second = await task('0', args);
    expect(second.exitCode === 0 ? '' : second.err).toBe('');

    const files = async (path: string) => (await readdir(path, { recursive: true })).sort();
    expect(await files(out)).toEqual(await files(whole));
    const same = (await files(whole)).filter((name) =>
      /\.(safetensors|gz|csv)$|^[^/]*\.json$|split\.json$/.test(name),
    );
    expect(same).toContain('fold_1/predictions/p0.nii.gz');
    for (const name of same.filter((name) => !/history|checkpoint/.test(name)))
      expect((await readFile(join(out, name), 'utf8')).replaceAll(out, whole), name).toBe(
        await readFile(join(whole, name), 'utf8'),
      );

    // Run again, all is there; what is missing of the conclusion is made.
    const { mtimeMs } = await stat(join(out, 'ensemble.json'));
    const again = await task('0', args);
    expect(again.err).toMatch(/Fold 0 is done\./);
    expect((await stat(join(out, 'ensemble.json'))).mtimeMs).toBe(mtimeMs);
    await rm(join(out, 'report.html'));
    // However long another has the folder of all.
    const busy = FolderLock.take(out);
    const now = performance.now.bind(performance);
    let asked = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000 * asked++);
    const patience = vi.spyOn(Math, 'random').mockReturnValue(0);
    const waited = await task('0', args, '1', (line) => {
      if (line.startsWith('Waiting: ')) busy[Symbol.dispose]();
    });
    for (const mock of [clock, patience]) mock.mockRestore();
    busy[Symbol.dispose]();
    expect(waited.err).toMatch(/Waiting: .*tasks is in use by process \d+/);
    expect(waited.exitCode, waited.err).toBe(0);
    expect(await files(out)).toEqual(await files(whole));
  });

  test('outside an array, and in one that has more numbers than folds, it is refused', async () => {
    const data = await written();
    const out = join(await temporaryFolder(), 'folds');
    const args = [data, '--out', out, ...options];
    for (const [number, last, more, message] of [
      [undefined, '1', [], /SLURM_ARRAY_TASK_ID, which is not set: submit an array .*--folds/],
      ['x', '1', [], /SLURM_ARRAY_TASK_ID is "x"/],
      ['2', '1', [], /goes up to 2, but there are 2 folds, numbered from 0: .*--array=0-1/],
      ['1', '2', [], /goes up to 2/],
      ['0', '1', ['--overwrite'], /would take away what other tasks have begun/],
      ['0', '1', ['--resume'], /leave --resume out/],
      ['0', '1', ['--folds', '0'], /leave one of the two out/],
    ] as const) {
      const ran = await task(number, [...args, ...more], last);
      expect([ran.exitCode, ran.err]).toEqual([2, expect.stringMatching(message)]);
      expect(existsSync(out)).toBe(false);
    }
  });
});
