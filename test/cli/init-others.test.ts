/** `train --init` with models of nnU-Net and MONAI: what is kept of them, and what begins anew. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { initFoldOf, openInit } from '../../src/cli/init-model.ts';
import type { TrainOptions } from '../../src/cli/train-options.ts';
import { filesIn } from '../../src/data/dataset.node.ts';
import { exportMonai } from '../../src/export/monai.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { trainableModel } from '../../src/interop/nnunet/go-on.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { interopFolder, monaiModel, nnunetFixture } from '../support/interop.ts';
import { cli, temporaryFolder, writePhantom } from './support.ts';

/** Three phantoms of 1 mm, so that nothing is resampled. */
async function phantoms(): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['images', 'labels']) await mkdir(join(folder, name));
  for (let subject = 0; subject < 3; subject++) {
    const [image, label] = ['images', 'labels'].map((name) => join(folder, name, `p${subject}.nii.gz`));
    await writePhantom(subject, { shape: [8, 8, 8], spacing: [1, 1, 1] }, image!, label!);
  }
  return folder;
}

const tensorsIn = (bytes: Uint8Array, which: RegExp) =>
  [...readSafetensors(bytes, 'a model').tensors]
    .filter(([name]) => which.test(name))
    .map(([name, { data }]) => [name, [...data]]);

test('images of other channels than the model of nnU-Net takes: its own are told', async ({ skip }) => {
  const found = await nnunetFixture('plain-regions');
  if (!found) return skip(`${interopFolder} is not there`);
  const data = await phantoms();
  const names = ['p0', 'p1', 'p2'].map((name) => `${name}.nii.gz`);
  const training = names.map((name) => ({ image: `images/${name}`, label: `labels/${name}` }));
  const labels = { background: 0, a: 1, b: 2, c: 3, d: 4, e: 5 };
  const description = { name: 'phantoms', channel_names: { 0: 'CT' }, labels, training };
  await writeFile(join(data, 'dataset.json'), JSON.stringify(description));
  const out = join(await temporaryFolder(), 'run');
  const { exitCode, err } = await cli(['train', data, '--out', out, '--init', join(found.folder, 'model')]);
  expect(err).toMatch(/model takes images of 2 channel\(s\) \(.*\), these have 1: give a model for as many/);
  expect(exitCode).toBe(2);
});

test('a folder of nnU-Net: network, preparation and patch, a new head; and its plan', async ({ skip }) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const folder = join(found.folder, 'model');
  const data = await phantoms();
  const out = join(await temporaryFolder(), 'run');
  const options = ['--split', '67,33,0', '--epochs', '1', '--freeze', 'encoder', '--no-tune'];
  const begun = await cli(['train', data, '--out', out, '--init', folder, ...options]);
  expect(begun.exitCode === 0 ? '' : begun.err).toBe('');
  expect(begun.err).toMatch(/fold 0 of Dataset\d+\w*, 3d_fullres\..*unlike in nnU-Net/);
  expect(begun.err).toMatch(/Weights are taken over but for .*head.*, which begin anew/);
  expect(begun.err).toMatch(/^Patches 16 x 16 x 16 voxels/m);
  const original = await convertNnunet(await openNnunet(found.files), '0');
  const trained = await readFile(join(out, 'model.safetensors'));
  expect(tensorsIn(trained, /^encoder/)).toEqual(tensorsIn(original, /^encoder/));
  const { description } = await readModel(trained);
  expect(description.config).toMatchObject({ ...(await readModel(original)).description.config, classes: 6 });
  expect(description.preprocessing).toMatchObject({ crop: 'non-zero', spacing: [1, 1, 1] });
  expect(description.preprocessing!.normalization[0]).toMatchObject({
    clip: [expect.any(Number), expect.any(Number)],
  });
  expect(description.nnunet).toBeUndefined();
  const again = await cli(['train', '--out', out, '--resume']);
  expect(again.exitCode === 0 ? '' : again.err).toBe('');

  const planned = await cli(['plan', '--model', folder, '--json']);
  expect(planned.exitCode === 0 ? '' : planned.err).toBe('');
  expect(JSON.parse(planned.out)).toMatchObject({ size: [16, 16, 16], config: { classes: 3, down: 'conv' } });
  // With data, as `train --init` prepares and cuts it.
  const forData = await cli(['plan', data, '--model', folder, '--json']);
  expect(JSON.parse(forData.out)).toMatchObject({
    shape: [16, 16, 16],
    decisions: [
      expect.stringMatching(/^Cases are prepared as those that .* was trained on, at 1 x 1 x 1 mm\./),
      expect.stringMatching(/^Patches are of 16 x 16 x 16 voxels, as /),
    ],
  });
  expect((await cli(['plan', '--model', folder, '--features', '4,8'])).err).toMatch(/--features .*--model/);
});

test('of several folds of nnU-Net, each of --folds goes on from its own', async ({ skip }) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const init = join(found.folder, 'model');
  const { folds } = await openNnunet(found.files);
  const of = (fold: string, initFold?: string) => initFoldOf({ init, initFold } as TrainOptions, fold);
  for (const { name } of folds) {
    expect(await of(name)).toBe(name);
    expect((await openInit(init, { fold: name })).notes.join()).toContain(`fold ${name} of Dataset901`);
  }
  await expect(of('7')).rejects.toThrow(/fold 7 is to go on from fold 7 of --init, .*: train those alone/);
  expect(await of('7', '0')).toBe('0');
  await expect(openInit(init, { fold: '7' })).rejects.toThrow(/fold 7 .*is missing; there (is|are) "0"/);
});

test('plans of nnU-Net that turn the axes: a training goes on along those of the volumes, and back', async ({
  skip,
}) => {
  const found = await nnunetFixture('plain-aniso');
  if (!found) return skip(`${interopFolder} is not there`);
  const [out, back] = [join(await temporaryFolder(), 'run'), join(await temporaryFolder(), 'back')];
  const converted = join(await temporaryFolder(), 'converted.safetensors');
  await writeFile(converted, await convertNnunet(await openNnunet(found.files)));
  const options = ['--split', '67,33,0', '--epochs', '1', '--freeze', 'encoder', '--no-tune'];
  const begun = await cli(['train', await phantoms(), '--out', out, '--init', converted, ...options]);
  expect(begun.exitCode === 0 ? '' : begun.err).toBe('');
  expect(begun.err).toMatch(/a model of nnU-Net's, 3d_fullres\. [^]*^Patches 8 x 20 x 24 voxels/m);
  const trained = await readFile(join(out, 'model.safetensors'));
  const start = await trainableModel(await readFile(converted));
  expect(tensorsIn(trained, /^encoder/)).toEqual(tensorsIn(start, /^encoder/));

  const exported = await cli(['export', out, '--to', 'nnunet', '--out', back]);
  expect(exported.exitCode === 0 ? '' : exported.err).toBe('');
  const model = await openNnunet((await filesIn(back)).files);
  expect(model.plans).toMatchObject({
    transpose: [0, 1, 2],
    configuration: { patch: [24, 20, 8], spacing: [1, 1, 4] },
  });
  const { description, weights } = await readModel(await convertNnunet(model));
  const ours = await readModel(trained);
  expect(description.config).toEqual(ours.description.config);
  expect(weights).toEqual(ours.weights);
});

test('a bundle of MONAI: the last layer begins anew where the classes differ', async ({ skip }) => {
  const folder = `${interopFolder}/monai-unet-res2/bundle`;
  const files = await filesIn(folder).catch(() => undefined);
  if (!files) return skip(`${interopFolder} is not there`);
  const model = await openMonai(files.files);
  const data = await phantoms();
  const out = join(await temporaryFolder(), 'run');
  const args = [
    'train',
    data,
    '--out',
    out,
    '--init',
    folder,
    '--split',
    '67,33,0',
    '--epochs',
    '1',
    '--no-tune',
  ];
  const begun = await cli([
    ...args,
    '--learning-rate',
    '1e-9',
    '--optimizer',
    'sgd',
    '--schedule',
    'constant',
  ]);
  expect(begun.exitCode === 0 ? '' : begun.err).toBe('');
  expect(begun.err).toMatch(/UNet of MONAI[^]*does not say how its cases were prepared/);
  expect(begun.err).toMatch(/Weights are taken over but for decoder\.0\.\S+.*, which begin anew/);
  const [trained, original] = [await readFile(join(out, 'model.safetensors')), await convertMonai(model)];
  const [ours, theirs] = [trained, original].map((bytes) => tensorsIn(bytes, /^encoder.*weight/));
  for (const [at, [name, values]] of ours!.entries()) {
    expect(name).toBe(theirs![at]![0]);
    (values as number[]).forEach((value, i) =>
      expect(value).toBeCloseTo((theirs![at]![1] as number[])[i]!, 5),
    );
  }
});

test('a state dict of MONAI with its network: what was trained on goes back to it', async ({ skip }) => {
  const model = await monaiModel('segresnet');
  if (!model) return skip(`${interopFolder} is not there`);
  const folder = await temporaryFolder();
  for (const { path, source } of (await exportMonai(await convertMonai(model))).files)
    await writeFile(join(folder, path), source);
  await writeFile(join(folder, 'history.json'), '{}'); // other JSON beside it
  const data = await phantoms();
  const [out, back] = [join(await temporaryFolder(), 'run'), join(await temporaryFolder(), 'tuned')];
  const options = ['--split', '67,33,0', '--epochs', '1', '--no-tune'];
  const begun = await cli(['train', data, '--out', out, '--init', folder, ...options]);
  expect([begun.exitCode, begun.err]).toEqual([0, expect.stringMatching(/SegResNet of MONAI/)]);
  const exported = await cli(['export', out, '--to', 'monai', '--out', back]);
  expect([exported.exitCode, exported.err]).toEqual([0, '']);
  const again = await openMonai((await filesIn(back)).files);
  expect(again.network).toMatchObject({ kind: 'SegResNet', config: { ...model.network.config, classes: 6 } });
  const { weights } = await readModel(await convertMonai(again));
  expect(weights).toEqual((await readModel(await readFile(join(out, 'model.safetensors')))).weights);
  const image = join(data, 'images', 'p0.nii.gz');
  const refused = await cli(['predict', folder, image, '--out', join(out, 'labels.nii.gz')]);
  expect([refused.exitCode, refused.err]).toEqual([
    1,
    expect.stringMatching(/comes without the transforms of a bundle, .* or train it on/),
  ]);
  expect(refused.err).not.toContain('GPU');
});
