/** predict and evaluate on folders with folders below, as data sets come: a folder per case, labels beside images. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { UNet3D } from '../../src/node.ts';
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
