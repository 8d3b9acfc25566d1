/** `predict` with models of nnU-Net, TotalSegmentator's steps around them, and MONAI's bundles: the labels that those wrote. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readNifti } from '../../src/data/nifti.ts';
import { zipOf } from '../support/zip.ts';
import { cli, temporaryFolder } from './support.ts';

const shared = '../shared/data/interop';
const folderOf = (name: string): string => `${shared}/nnunet-${name}`;
const modelOf = (name: string): string =>
  join(
    folderOf(name),
    (JSON.parse(readFileSync(`${folderOf(name)}/fixture.json`, 'utf8')) as { model: string }).model,
  );
const imageOf = (name: string): string => `${folderOf(name)}/case/images/case_0000.nii.gz`;

/** Voxels that differ, of so many; grids and codes are those of the reference. */
async function compare(path: string, reference: string) {
  const [found, wanted] = [await readNifti(path), await readNifti(reference)];
  expect([found.shape, found.affine]).toEqual([wanted.shape, wanted.affine]);
  return wanted.data.reduce((count, value, voxel) => count + (value === found.data[voxel] ? 0 : 1), 0);
}

describe.skipIf(!existsSync(shared))('as the original wrote them', () => {
  test('a model folder, a chosen fold, a folder of images', async () => {
    const out = await temporaryFolder();
    const file = join(out, 'labels.nii.gz');
    const ran = await cli([
      'predict',
      modelOf('plain-aniso'),
      imageOf('plain-aniso'),
      '--folds',
      '0',
      '--out',
      file,
    ]);
    expect(ran.err).toContain('Dataset902_PlainAniso, 3d_fullres by nnUNetTrainer_onlyMirror01: fold 0');
    expect(ran.exitCode).toBe(0);
    expect(await compare(file, `${folderOf('plain-aniso')}/case/segmentation.nii.gz`)).toBe(0);

    const several = await cli([
      'predict',
      modelOf('plain-regions'),
      `${folderOf('plain-regions')}/case/images`,
      '--out',
      out,
    ]);
    expect([several.exitCode, several.out]).toEqual([0, expect.stringMatching(/1\/1 .*case\.nii\.gz/)]);
    expect(
      await compare(join(out, 'case.nii.gz'), `${folderOf('plain-regions')}/case/segmentation.nii.gz`),
    ).toBe(0);
  });

  test('TotalSegmentator', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const ct = `${folderOf('totalsegmentator')}/case/ct.nii.gz`;
    const ran = await cli([
      'predict',
      `${folderOf('totalsegmentator')}/model`,
      ct,
      '--pipeline',
      'totalsegmentator',
      '--out',
      file,
    ]);
    expect(ran.err).toContain('labels: 0 background, 1 structure_1, 2 structure_2');
    expect(ran.exitCode).toBe(0);
    expect(await compare(file, `${folderOf('totalsegmentator')}/case/final.nii.gz`)).toBe(0);
  });

  test('a bundle of MONAI', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const monai = `${shared}/monai-unet-res2`;
    const command = ['predict', `${monai}/bundle`, `${monai}/case/image.nii.gz`, '--out', file];
    const refused = await cli([...command, '--tta']);
    expect([refused.exitCode, refused.err]).toEqual([
      2,
      expect.stringMatching(/--tta does nothing here: .* is a bundle of MONAI, which keeps its own rules/),
    ]);
    const ran = await cli(command);
    expect(ran.err).toContain('UNet of MONAI: labels background, structure 1');
    expect(ran.exitCode).toBe(0);
    expect(await compare(file, `${monai}/case/segmentation.nii.gz`)).toBe(0);
  });

  test('either in a zip archive', async () => {
    const folder = await temporaryFolder();
    const zipped = async (from: string): Promise<string> => {
      const parts = readdirSync(from, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => ({ path: relative(from, path), content: readFileSync(path), deflated: true }));
      const archive = join(folder, `${parts.length}.zip`);
      writeFileSync(archive, await zipOf(parts));
      return archive;
    };
    for (const [model, image, labels] of [
      [`${folderOf('plain-aniso')}/model`, imageOf('plain-aniso'), folderOf('plain-aniso')],
      [
        `${shared}/monai-unet-res2/bundle`,
        `${shared}/monai-unet-res2/case/image.nii.gz`,
        `${shared}/monai-unet-res2`,
      ],
    ] as const) {
      const file = join(folder, 'labels.nii.gz');
      const ran = await cli(['predict', await zipped(model), image, '--out', file]);
      expect(ran.exitCode, ran.err).toBe(0);
      expect(await compare(file, `${labels}/case/segmentation.nii.gz`)).toBe(0);
    }
  });

  test('what does not go together is refused before a GPU is looked for', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const refused = async (...args: string[]) => {
      const { exitCode, err } = await cli([
        'predict',
        modelOf('plain-iso'),
        imageOf('plain-iso'),
        '--out',
        file,
        ...args,
      ]);
      expect([exitCode, existsSync(file)]).toEqual([2, false]);
      expect(err).not.toContain('GPU');
      return err;
    };
    expect(await refused('--tta')).toMatch(
      /--tta does nothing here: .* is a model of nnU-Net, which keeps its own rules/,
    );
    expect(await refused('--output', 'logits')).toMatch(/--output logits is not there for models of nnU-Net/);
    expect(await refused('--step', '1.5')).toMatch(/share above 0 and up to 1/);
    expect(await refused('--pipeline', 'totalsegmentator', '--no-mirror')).toMatch(/no mirroring/);
    const missing = await cli([
      'predict',
      modelOf('plain-iso'),
      imageOf('plain-iso'),
      '--folds',
      '7',
      '--out',
      file,
    ]);
    expect([missing.exitCode, missing.err]).toEqual([
      1,
      expect.stringMatching(/fold 7 .* is missing; there are "0", "1"/),
    ]);
  });
});
