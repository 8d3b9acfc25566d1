/** `predict` in shares: each volume by one of them, what is there left as it is, results of another making refused. */
import { cp, readFile, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { shareOf } from '../../src/cli/results-there.ts';
import { shardOfTask } from '../../src/cli/slurm.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

const count = 5;
let images: string;
/** Two models, and what the first makes of all images in one go. */
let [model, other, whole] = ['', '', ''];

beforeAll(async () => {
  const folder = await temporaryFolder();
  images = join(await phantomDataset(count, [4, 4, 4]), 'images');
  [model, other] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')];
  for (const [seed, file] of [model, other].entries()) {
    const network = await UNet3D.create({
      ...{ inChannels: 1, classes: 3, features: [2], kernels: [[1, 1, 1]], seed },
      initialWeights: 'he',
    });
    await writeFile(file, await network.save());
    network.dispose();
  }
  whole = join(folder, 'whole');
  await predict(model, whole);
});
afterEach(() => vi.unstubAllEnvs());

const predict = async (by: string, out: string, ...more: string[]) => {
  const ran = await cli(['predict', by, images, '--out', out, ...more]);
  expect(ran.exitCode === 0 ? '' : ran.err).toBe('');
  return ran;
};
const refused = async (by: string, out: string, ...more: string[]) => {
  const { exitCode, err } = await cli(['predict', by, images, '--out', out, ...more]);
  expect(exitCode).toBe(2);
  return err;
};
const volumes = async (out: string) => (await readdir(out)).filter((name) => name.endsWith('.nii.gz')).sort();
const expectWhole = async (out: string, expected = whole) => {
  expect(await volumes(out)).toEqual(await volumes(expected));
  for (const name of await volumes(expected))
    expect(await readFile(join(out, name))).toEqual(await readFile(join(expected, name)));
};
const newFolder = async (): Promise<string> => join(await temporaryFolder(), 'out');

test('shares hold every volume once, whatever the order of the listing', () => {
  const jobs = Array.from({ length: 23 }, (_, at) => ({ target: `out/case-${at}.nii.gz` }));
  for (const shards of [1, 4, 23, 40]) {
    const shares = Array.from({ length: shards }, (_, at) => shareOf(jobs, { shard: at + 1, shards }));
    expect(new Set(shares.flat())).toEqual(new Set(jobs));
    expect(shares.flat()).toHaveLength(jobs.length);
    const sizes = shares.map(({ length }) => length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    const turned = [...jobs].reverse();
    expect(shares).toEqual(shares.map((_, at) => shareOf(turned, { shard: at + 1, shards })));
  }
});

describe('the place in an array', () => {
  const task = (id?: string, min?: string, max?: string, tasks?: string, step?: string) => {
    for (const [name, value] of Object.entries({ ID: id, MIN: min, MAX: max, COUNT: tasks, STEP: step }))
      vi.stubEnv(`SLURM_ARRAY_TASK_${name}`, value);
    return shardOfTask();
  };

  test('counts from the number that the array begins with', () => {
    expect(task('0', '0', '39', '40', '1')).toEqual({ shard: 1, shards: 40 });
    expect(task('40', '1', '40', '40', '1')).toEqual({ shard: 40, shards: 40 });
    expect(task('7', '3', '11', '3', '4')).toEqual({ shard: 2, shards: 3 });
  });

  test('is not known outside one, and with gaps', () => {
    expect(() => task()).toThrow(/SLURM_ARRAY_TASK_ID, which is not set: .*--shard 1\/N/);
    expect(() => task('3')).toThrow(/SLURM_ARRAY_TASK_COUNT, which is not set/);
    for (const id of ['2', '3', '9']) expect(() => task(id, '2', '9', '3', '1')).toThrow(/gaps.*--array=1-3/);
    expect(() => task('-1', '0', '1', '2')).toThrow(/SLURM_ARRAY_TASK_ID is "-1"/);
  });
});

test('three shares, one of them stopped and run again, make what one process makes; a last run finds nothing to do', async () => {
  const out = await newFolder();
  vi.stubEnv('SLURM_ARRAY_TASK_ID', '9');
  vi.stubEnv('SLURM_ARRAY_TASK_MIN', '7');
  vi.stubEnv('SLURM_ARRAY_TASK_COUNT', '3');
  expect((await predict(model, out, '--shard', 'auto')).err).toMatch(/^Share 3 of 3: 1 of 5 volume\(s\)\.$/m);
  await predict(model, out, '--shard', '2/3');

  const stop = new AbortController();
  const args = ['predict', model, images, '--out', out, '--shard', '1/3'];
  const stopped = await cli(args, {
    signal: stop.signal,
    onLine: (line) => /^1\/2 /.test(line) && stop.abort(),
  });
  expect(stopped.err).toMatch(/prediction was stopped after 1 of 2 volumes/);
  expect(stopped.exitCode).toBe(130);
  expect(await volumes(out)).toHaveLength(4);
  const [first] = await volumes(out);
  const { mtimeMs } = await stat(join(out, first!));
  expect((await predict(model, out, '--shard', '1/3')).err).toMatch(
    /2 of 5 volume\(s\), of which 1 are there/,
  );
  expect((await stat(join(out, first!))).mtimeMs).toBe(mtimeMs);
  await expectWhole(out);

  const last = await predict(model, out, '--continue');
  expect([last.out, last.err]).toEqual(['', '5 of 5 volume(s), of which 5 are there already.']);
  expect((await predict(model, out, '--shard', '7/9')).err).toMatch(/^Share 7 of 9: 0 of 5/);
});

test('results of another model, option or place are refused, or made anew', async () => {
  const out = await newFolder();
  await predict(model, out, '--shard', '1/2');
  for (const more of [[], ['--continue'], ['--shard', '2/2']])
    expect(await refused(other, out, ...more)).toMatch(/of another model.*predicted-by\.json.*--overwrite/);
  expect(await refused(model, out, '--shard', '2/2', '--tta')).toMatch(/other options/);
  // In whatever order options are typed, also of a record of before.
  const turned = await newFolder();
  const options = [['--tta', '--mirror-axes', 'x'], ['--precision', 'f32'], ['--uncertainty']];
  await predict(model, turned, '--shard', '1/2', ...options.flat());
  await predict(model, turned, '--shard', '2/2', ...options.reverse().flat());
  expect(await volumes(turned)).toHaveLength(2 * count);
  const moved = join(await temporaryFolder(), 'images');
  await cp(images, moved, { recursive: true });
  const elsewhere = await cli(['predict', model, moved, '--out', out, '--continue']);
  expect([elsewhere.exitCode, elsewhere.err]).toEqual([2, expect.stringMatching(/other images/)]);

  // The first to come takes away what is of before; what the second finds is of now.
  const redone = await newFolder();
  await predict(other, redone);
  for (const shard of ['2/2', '1/2', '2/2']) await predict(other, out, '--overwrite', '--shard', shard);
  await expectWhole(out, redone);
});

test('results that nobody has recorded, and older ones than their images, are not taken for whole', async () => {
  const out = await newFolder();
  await predict(model, out);
  expect(await refused(model, out, '--continue')).toMatch(/is there already, and no predicted-by\.json/);
  expect(await refused(model, join(out, 'one.nii.gz'), '--continue')).toMatch(/names a file/);
  await rm(out, { recursive: true });
  await predict(model, out, '--continue');
  const [name] = await volumes(out);
  await writeFile(join(out, name!), 'touched');
  await utimes(join(out, name!), 1, 1);
  expect((await predict(model, out, '--continue')).err).toMatch(/of which 4 are there/);
  await expectWhole(out);
});

test('a result of another making that comes back with its image is made anew', async () => {
  const some = join(await temporaryFolder(), 'images');
  await cp(images, some, { recursive: true, preserveTimestamps: true });
  const out = await newFolder();
  const run = (by: string, ...more: string[]) =>
    cli(['predict', by, some, '--out', out, '--continue', ...more]);
  await run(model);
  const [first] = await readdir(images);
  await rm(join(some, first!));
  await run(other, '--overwrite');
  await cp(join(images, first!), join(some, first!), { preserveTimestamps: true });
  expect((await run(other)).err).toMatch(/5 of 5 volume\(s\), of which 4 are there/);
  const redone = await newFolder();
  await predict(other, redone);
  await expectWhole(out, redone);
});

test('of a pair, a new .img makes its result anew', async () => {
  const [folder, out] = [await temporaryFolder(), await newFolder()];
  const [first] = await readdir(images);
  const { data, shape, affine } = await readNifti(join(images, first!));
  const bytes = await writeNifti({ data, shape, affine }, { gzip: false });
  bytes.set([0x6e, 0x69, 0x31, 0], 344); // ni1: voxels in the other file, from its first byte on
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(108, 0, true);
  await writeFile(join(folder, 'a.hdr'), bytes.subarray(0, 348));
  await writeFile(join(folder, 'a.img'), bytes.subarray(352));
  const run = () => cli(['predict', model, folder, '--out', out, '--continue']);
  expect((await run()).exitCode).toBe(0);
  expect((await run()).err).toMatch(/of which 1 are there/);
  const later = new Date(Date.now() + 60_000);
  await utimes(join(folder, 'a.img'), later, later);
  expect((await run()).err).not.toMatch(/are there/);
});

test('results in the folder of an ensemble are none of its files', async () => {
  const folds = await temporaryFolder();
  for (const [fold, file] of [model, other].entries())
    await cp(file, join(folds, `fold_${fold}/model.safetensors`));
  const out = join(folds, 'predictions');
  await predict(folds, out, '--shard', '1/2');
  await predict(folds, out, '--shard', '2/2');
  expect((await predict(folds, out, '--continue')).err).toMatch(/of which 5 are there/);
});

test('options that no volume can be segmented with are told once', async () => {
  const flat = join(await temporaryFolder(), 'flat.safetensors');
  using network = await UNet3D.load(model);
  network.describe({ mirrorAxes: [] });
  await writeFile(flat, await network.save());
  const told = await refused(flat, await newFolder(), '--tta');
  expect(told.match(/was trained without mirroring/g)).toHaveLength(1);
  expect(await refused(model, await newFolder(), '--tta', '--output', 'logits')).toMatch(/not logits/);
});

test('a folder that another command takes over is written into no more', async () => {
  const out = await newFolder();
  const args = ['predict', model, images, '--out', out, '--shard', '1/1'];
  const record = join(out, 'predicted-by.json');
  let done: Promise<void> | undefined;
  const ran = await cli(args, {
    onLine(line) {
      if (/^1\/5 /.test(line)) done = rm(record).then(() => writeFile(record, '{}'));
    },
  });
  await done;
  expect(ran.err).toMatch(/taken over by another command meanwhile/);
  expect(ran.exitCode).toBe(1);
  expect((await volumes(out)).length).toBeLessThan(count);
});

test.each(['0/3', '4/3', '3', '1/0', 'x'])('--shard %s is refused', async (shard) => {
  expect(await refused(model, await newFolder(), '--shard', shard)).toMatch(/share, counted from 1.*3\/40/);
});
