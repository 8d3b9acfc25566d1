/** predict and evaluate on folders with folders below, as data sets come: a folder per case, labels beside images. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { readNifti, UNet3D } from '../../src/node.ts';
import { cli, temporaryFolder, writePhantom } from './support.ts';

let model: string;
let cases: string;
beforeAll(async () => {
  using network = await UNet3D.create({ inChannels: 1, classes: 6, features: [2, 4], seed: 1 });
  model = join(await temporaryFolder(), 'model.safetensors');
  await writeFile(model, await network.save());
  cases = await temporaryFolder();
  for (const subject of [1, 2]) {
    const folder = join(cases, `week 0/p${subject}`);
    await mkdir(folder, { recursive: true });
    const [image, label] = ['scan', 'seg'].map((name) => join(folder, `${name}.nii.gz`)) as [string, string];
    await writePhantom(subject, { shape: [8, 8, 8] }, image, label);
  }
});

test('a folder per case: a file per case, named as it; its labels are left out and told', async () => {
  const out = join(await temporaryFolder(), 'out');
  const { exitCode, err } = await cli(['predict', model, cases, '--out', out]);
  expect(exitCode).toBe(0);
  expect(err).toMatch(/2 file\(s\) in .* are left out, as they are named as labels: ".*seg\.nii\.gz"/);
  expect((await readdir(out)).sort()).toEqual(['p1.nii.gz', 'p2.nii.gz']);
  const compared = await cli(['evaluate', out, cases, '--classes', '6']);
  expect(compared.exitCode === 0 ? '' : compared.err).toBe('');
  expect(compared.out).toMatch(/^2 case\(s\)/);

  const alone = await cli(['evaluate', join(out, 'p1.nii.gz'), join(cases, 'week 0/p1/seg.nii.gz')]);
  expect(alone.out).toMatch(/^1 case\(s\)/);
});

test('uncertainty: a map beside each result, which evaluate leaves out, and the order of the cases to annotate', async () => {
  const out = join(await temporaryFolder(), 'out');
  const { exitCode, out: told } = await cli(['predict', model, cases, '--out', out, '--uncertainty']);
  expect(exitCode).toBe(0);
  const maps = ['p1_uncertainty.nii.gz', 'p2_uncertainty.nii.gz'];
  expect((await readdir(out)).sort()).toEqual(['p1.nii.gz', maps[0], 'p2.nii.gz', maps[1]]);
  expect((await cli(['evaluate', out, cases, '--classes', '6'])).out).toMatch(/^2 case\(s\)/);

  const lines = await cli(['predict', model, cases, '--out', out, '--uncertainty', '--json']);
  const found = lines.out.split('\n').map((line) => {
    const { uncertainty } = JSON.parse(line) as {
      uncertainty: { output: string; mean: number; voxel: [number, number, number]; millimetres: number[] };
    };
    return uncertainty;
  });
  expect(found.map(({ output }) => output)).toEqual(maps.map((name) => join(out, name)));
  for (const { output, mean, voxel, millimetres } of found) {
    const { data, affine, shape } = await readNifti(output);
    expect(shape).toEqual([8, 8, 8]);
    expect(data.reduce((sum, value) => sum + value, 0) / 512).toBeCloseTo(mean, 5);
    const slice = data.subarray(voxel[2] * 64, (voxel[2] + 1) * 64);
    expect(slice[voxel[1] * 8 + voxel[0]]).toBe(Math.max(...slice));
    const at = [0, 1, 2].map((row) =>
      voxel.reduce((sum, n, i) => sum + affine[4 * row + i]! * n, affine[4 * row + 3]!),
    );
    millimetres.forEach((mm, axis) => expect(mm).toBeCloseTo(at[axis]!, 5));
  }
  const rows = told.slice(told.indexOf('to annotate next')).split('\n').slice(2);
  const sorted = found.map(({ mean }) => mean).sort((a, b) => b - a);
  expect(rows.map((row) => row.split(/ {2,}/)[1])).toEqual(sorted.map((mean) => mean.toFixed(4)));
  expect(rows.map((row) => row.trim().split(/ {2,}/)[0]).sort()).toEqual(['p1', 'p2']);
});

test('one folder of a case is read as one of several', async () => {
  const [one, out] = [await temporaryFolder(), join(await temporaryFolder(), 'out')];
  await cp(join(cases, 'week 0/p1'), join(one, 'p1'), { recursive: true });
  const { exitCode, err } = await cli(['predict', model, one, '--out', out]);
  expect([exitCode, await readdir(out)]).toEqual([0, ['p1.nii.gz']]);
  expect(err).toMatch(/1 file\(s\) in .* are left out, as they are named as labels/);
  // One that is named is meant.
  const named = join(one, 'p1/seg.nii.gz');
  expect((await cli(['predict', model, named, join(one, 'p1/scan.nii.gz'), '--out', out])).exitCode).toBe(0);
  expect((await readdir(out)).sort()).toEqual(['p1.nii.gz', 'scan.nii.gz', 'seg.nii.gz']);
});

test('what lies below --out is no input, however often the command is run', async () => {
  const folder = await temporaryFolder();
  for (const name of ['a', 'b'])
    await cp(join(cases, 'week 0/p1/scan.nii.gz'), join(folder, `${name}.nii.gz`));
  const out = join(folder, 'predicted');
  for (const more of [[], ['--overwrite'], []]) {
    const ran = await cli(['predict', model, folder, '--out', out, '--continue', ...more]);
    expect(ran.exitCode, ran.err).toBe(0);
    expect((await readdir(out)).sort()).toEqual(['a.nii.gz', 'b.nii.gz', 'predicted-by.json']);
  }
});

test('the same names in two folders do not replace each other', async () => {
  const [folder, out] = [await temporaryFolder(), join(await temporaryFolder(), 'out')];
  for (const site of ['site A', 'site B'])
    for (const [subject, name] of [
      [1, 'x'],
      [2, 'y'],
    ] as const) {
      await mkdir(join(folder, site), { recursive: true });
      await cp(join(cases, `week 0/p${subject}/scan.nii.gz`), join(folder, site, `${name}.nii.gz`));
    }
  const { exitCode, err } = await cli(['predict', model, folder, '--out', out]);
  expect(exitCode === 0 ? '' : err).toBe('');
  const names = ['site A_x', 'site A_y', 'site B_x', 'site B_y'].map((name) => `${name}.nii.gz`);
  expect((await readdir(out)).sort()).toEqual(names);
});
