/** `predict` with models of nnU-Net, TotalSegmentator's steps around them, and MONAI's bundles: the labels that those wrote. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesIn } from '../../src/data/dataset.node.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { isOnePart } from '../../src/interop/totalsegmentator.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { copyOf } from '../support/copy.node.ts';
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

  test('another checkpoint than the last', async () => {
    const folder = await copyOf(modelOf('plain-aniso'));
    const [fold] = readdirSync(folder).filter((name) => name.startsWith('fold_'));
    renameSync(join(folder, fold!, 'checkpoint_final.pth'), join(folder, fold!, 'checkpoint_best.pth'));
    const file = join(folder, 'labels.nii.gz');
    const command = ['predict', folder, imageOf('plain-aniso'), '--out', file];
    expect((await cli(command)).err).toMatch(/no fold has a checkpoint_final\.pth; .* or another checkpoint/);
    const { exitCode } = await cli([...command, '--checkpoint', 'checkpoint_best.pth']);
    expect(exitCode).toBe(0);
    expect(await compare(file, `${folderOf('plain-aniso')}/case/segmentation.nii.gz`)).toBe(0);
  });

  test('what a large volume takes beside the GPU is told before it is read', async () => {
    const folder = await temporaryFolder();
    const big = join(folder, 'big.nii');
    // The header of 512 x 512 x 520 voxels of 1 mm, and no more than that of the volume.
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const bytes = await writeNifti({ data: new Float32Array(1), shape: [1, 1, 1], affine }, { gzip: false });
    const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    [512, 512, 520].forEach((length, axis) => header.setInt16(42 + 2 * axis, length, true));
    writeFileSync(big, bytes);
    const out = join(folder, 'labels.nii.gz');
    const command = ['predict', modelOf('plain-iso'), big, '--folds', '0', '--out', out];
    const { exitCode, err } = await cli(command);
    // Twice 130 million float32 while the volume is cropped, then one of it, and a byte of each.
    expect(err).toMatch(
      /^big\.nii takes 1\.02 GiB at most beside the GPU: 1\.02 GiB while the image is prepared, then 520 MiB for it, \S+ MiB for logits and 130 MiB for labels\.$/m,
    );
    expect(err.indexOf('error:')).toBeGreaterThan(err.indexOf('big.nii takes'));
    const more = await cli([...command, '--output', 'probabilities']);
    expect(more.err).toMatch(
      /and 130 MiB for labels; \S+ GiB for probabilities, and twice as much again while they are written\.$/m,
    );
    expect(exitCode).toBe(1);
  });

  test('volumes in float16; no window but that of the model', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const [model, image] = [modelOf('totalsegmentator'), imageOf('totalsegmentator')];
    const command = ['predict', model, image, '--step', '0.8', '--out', file];
    const tight = await cli([...command, '--memory', '64KiB']);
    expect([tight.exitCode, tight.err]).toEqual([
      1,
      expect.stringMatching(
        /a window of 16 x 16 x 16 voxels, the patch of this model, needs .* --memory\), or .* --precision f16\)/,
      ),
    ]);
    const half = await cli([...command, '--precision', 'f16']);
    expect([half.exitCode, half.err]).toEqual([0, expect.not.stringContaining('beside the GPU')]);
    const reference = `${folderOf('totalsegmentator')}/case/segmentation.nii.gz`;
    const { data } = await readNifti(reference);
    expect(await compare(file, reference)).toBeLessThan(data.length / 50);
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
    // Without it the labels are nnU-Net's own, which is told.
    const hint = /^as nnU-Net alone; TotalSegmentator's own labels take --pipeline totalsegmentator/m;
    const alone = ['predict', `${folderOf('totalsegmentator')}/model`, imageOf('totalsegmentator')];
    expect((await cli([...alone, '--step', '0.8', '--out', file])).err).toMatch(hint);
    expect(await compare(file, `${folderOf('totalsegmentator')}/case/segmentation.nii.gz`)).toBe(0);
    expect(ran.err).not.toMatch(hint);
    const refused = await cli([...alone, '--zoom', 'cubic', '--out', file]);
    expect(refused.err).toMatch(/^error: --zoom does nothing here: it is of --pipeline totalsegmentator/m);
  });

  test('TotalSegmentator with the cubic zoom of its releases', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const [model, ct] = [
      `${folderOf('totalsegmentator')}/model`,
      `${folderOf('totalsegmentator')}/case/ct.nii.gz`,
    ];
    const pipeline = ['--pipeline', 'totalsegmentator', '--zoom', 'cubic'];
    expect((await cli(['predict', model, ct, ...pipeline, '--out', file])).exitCode).toBe(0);
    expect(await compare(file, 'test/fixtures/totalsegmentator/cubic.nii.gz')).toBe(0);
  });

  test.each([['fold_0'], ['plans.json']])(
    'a part of TotalSegmentator that lacks its %s is refused',
    async (lacking) => {
      const folder = await temporaryFolder();
      for (const part of ['first', 'second'])
        renameSync(await copyOf(modelOf('totalsegmentator')), join(folder, part));
      rmSync(join(folder, 'second', lacking), { recursive: true });
      // nnU-Net's own folder beside the folds is no part.
      mkdirSync(join(folder, 'first', 'crossval_results_folds_0'));
      writeFileSync(join(folder, 'first', 'crossval_results_folds_0', 'plans.json'), '{}');
      const ct = `${folderOf('totalsegmentator')}/case/ct.nii.gz`;
      const out = join(folder, 'labels.nii.gz');
      const ran = await cli(['predict', folder, ct, '--pipeline', 'totalsegmentator', '--out', out]);
      expect(ran.err).toMatch(/^error: second\/ lacks plans.json or its folds/m);
      expect([ran.exitCode, existsSync(out)]).toEqual([1, false]);
    },
  );

  test('two parts of TotalSegmentator, in a folder and in an archive: by their names, the later wins', async () => {
    const folder = await temporaryFolder();
    const model = await openNnunet((await filesIn(`${folderOf('totalsegmentator')}/model`)).files);
    const { description, weights } = await readModel(await convertNnunet(model));
    const { plans, dataset } = description.nnunet!;
    const described = (text: string, more: object): string =>
      JSON.stringify({ ...JSON.parse(text), ...more });
    /** With its second structure alone, which it calls otherwise than the other part does. */
    const { offset } = layoutParameters(description.config).parameters.get('head.bias')!;
    const parameters = weights.parameters.slice();
    for (const label of [1, 3, 4, 5]) parameters[offset + label] = -1e4;
    const names = ['background', 'structure_1', 'other', 'structure_3', 'structure_4', 'structure_5'];
    const labels = Object.fromEntries(names.map((name, label) => [name, label]));
    const second = await writeModel(
      {
        ...description,
        labels: [],
        nnunet: {
          ...description.nnunet!,
          plans: described(plans, { dataset_name: 'Dataset998_TotalSegmentator_second' }),
          dataset: described(dataset, { labels }),
        },
      },
      { ...weights, parameters },
    );
    const parts = {
      first: await exportNnunet(await convertNnunet(model)),
      second: await exportNnunet(second),
    };
    const files = Object.values(parts).flatMap((part) => part.files);
    for (const { path, source } of files) {
      mkdirSync(join(folder, 'both', dirname(path)), { recursive: true });
      writeFileSync(join(folder, 'both', path), source);
    }
    const content = files.map(({ path, source }) => ({
      path,
      content: source as Uint8Array,
      deflated: true,
    }));
    writeFileSync(join(folder, 'both.zip'), await zipOf(content));
    const { files: alone } = await filesIn(`${folderOf('totalsegmentator')}/model`);
    const { files: another } = await filesIn(`${folderOf('plain-iso')}/model`);
    expect(await Promise.all([alone, another, join(folder, 'both.zip')].map(isOnePart))).toEqual([
      true,
      false,
      false,
    ]);
    const ct = `${folderOf('totalsegmentator')}/case/ct.nii.gz`;
    const labelsOf = async (path: string) => {
      const out = join(folder, 'labels.nii.gz');
      const ran = await cli(['predict', path, ct, '--pipeline', 'totalsegmentator', '--out', out]);
      expect([ran.exitCode, ran.err]).toEqual([0, expect.stringContaining('labels: 0 background, ')]);
      return { labels: (await readNifti(out)).data, told: ran.err };
    };
    const { labels: later } = await labelsOf(join(folder, 'both', dirname(parts.second.files[0]!.path)));
    const { data: earlier } = await readNifti(`${folderOf('totalsegmentator')}/case/final.nii.gz`);
    expect(new Set(later)).toEqual(new Set([0, 2]));
    const wanted = earlier.map((label, voxel) => (later[voxel] === 2 ? 6 : label));
    expect(wanted.some((label) => label > 0 && label < 6)).toBe(true);
    for (const path of ['both', 'both.zip']) {
      const found = await labelsOf(join(folder, path));
      expect(found.told).toContain(
        '1 structure_1, 2 structure_2, 3 structure_3, 4 structure_4, 5 structure_5, 6 other',
      );
      expect(found.labels).toEqual(wanted);
    }
  });

  test('a bundle of MONAI', async () => {
    const file = join(await temporaryFolder(), 'labels.nii.gz');
    const monai = `${shared}/monai-unet-res2`;
    const command = ['predict', `${monai}/bundle`, `${monai}/case/image.nii.gz`, '--out', file];
    const refused = await cli([...command, '--tta']);
    expect([refused.exitCode, refused.err]).toEqual([
      2,
      expect.stringMatching(/--tta does nothing here: .* is a model of MONAI, which keeps its own rules/),
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

  test('of a zip with several configurations the one that is named, or the only one in three dimensions', async () => {
    const folder = await temporaryFolder();
    /** The model under each of these configurations, and as one in two dimensions. */
    const zipped = async (name: string, configurations: readonly string[]) => {
      const model = await openNnunet((await filesIn(`${folderOf(name)}/model`)).files);
      const { description, weights } = await readModel(await convertNnunet(model));
      const plans = JSON.parse(description.nnunet!.plans) as { configurations: Record<string, object> };
      plans.configurations['3d_lowres'] = { inherits_from: '3d_fullres', batch_size: 5 };
      plans.configurations['2d'] = { inherits_from: '3d_fullres', patch_size: [24, 20] };
      const parts: Parameters<typeof zipOf>[0][number][] = [];
      for (const configuration of configurations) {
        const nnunet = { ...description.nnunet!, plans: JSON.stringify(plans), configuration };
        const { files } = await exportNnunet(await writeModel({ ...description, nnunet }, weights));
        for (const { path, source } of files) {
          parts.push({ path, content: source });
          if (configuration === '3d_fullres')
            parts.push({ path: path.replace('3d_fullres', '2d'), content: source });
        }
      }
      const archive = join(folder, `${name}.zip`);
      writeFileSync(archive, await zipOf(parts));
      return archive;
    };
    const one = await zipped('plain-aniso', ['3d_fullres']);
    const all = await zipped('totalsegmentator', ['3d_fullres', '3d_lowres']);
    const labels = join(folder, 'labels.nii.gz');
    const predict = ['predict', one, imageOf('plain-aniso'), '--out', labels];
    const ran = await cli(predict);
    expect(ran.exitCode === 0 ? '' : ran.err).toBe('');
    expect(await compare(labels, `${folderOf('plain-aniso')}/case/segmentation.nii.gz`)).toBe(0);

    const write = ['export', all, '--to', 'safetensors', '--out'];
    for (const command of [predict.with(1, all), [...write, labels], ['plan', '--model', all]])
      expect((await cli(command)).err, command[0]).toMatch(
        /several models .* choose by configuration: "3d_fullres", "3d_lowres" \(--configuration 3d_fullres\)/,
      );
    for (const [name, configuration] of [
      ['3d_lowres', '3d_lowres'],
      ['nnUNetPlans__3d_fullres', '3d_fullres'],
    ] as const) {
      const out = join(folder, `${name}.safetensors`);
      expect((await cli([...write, out, '--configuration', name])).exitCode).toBe(0);
      expect((await readModel(readFileSync(out))).description.nnunet).toMatchObject({ configuration });
    }
    const planned = await cli(['plan', '--model', all, '--configuration', '3d_lowres']);
    expect([planned.exitCode, planned.err]).toEqual([0, expect.stringContaining('_random, 3d_lowres.')]);
    expect((await cli([...predict, '--configuration', '3d_cascade_fullres'])).err).toMatch(
      /of configuration 3d_cascade_fullres; there are "2d", "3d_fullres"/,
    );
    const ours = ['export', join(folder, '3d_lowres.safetensors'), '--to', 'pytorch'];
    expect((await cli([...ours, '--configuration', '2d'])).err).toMatch(/--configuration does nothing here/);
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
    expect(await refused('--step', '1.5')).toMatch(/share from 0.001 to 1/);
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
