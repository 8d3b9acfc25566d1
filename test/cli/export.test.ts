/** `export`: the library's bytes in files, and what it refuses before anything is written. */
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { filesIn } from '../../src/data/dataset.node.ts';
import { exportMonai } from '../../src/export/monai.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { exportOnnx } from '../../src/export/onnx.ts';
import { exportPytorch } from '../../src/export/pytorch.ts';
import { exportSafetensors } from '../../src/export/safetensors.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openInit } from '../../src/cli/init-model.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { readSaved } from '../../src/weights/pytorch/read.ts';
import { modelBytes } from '../export/networks.ts';
import { interopFolder, nnunetFixture } from '../support/interop.ts';
import { zipOf } from '../support/zip.ts';
import { cli, temporaryFolder } from './support.ts';

const bytesAt = async (...parts: string[]) => new Uint8Array(await readFile(join(...parts)));

test('each kind, beside the model or where it is wanted', async () => {
  const folder = await temporaryFolder();
  const model = await modelBytes('residual');
  await writeFile(join(folder, 'model.safetensors'), model);
  const run = async (...args: string[]) => {
    const { exitCode, out, err } = await cli(['export', folder, ...args]);
    expect(err.replace(/^warning: .*$/m, ''), args.join(' ')).toBe('');
    expect(exitCode).toBe(0);
    return out.split('\n');
  };
  expect(await run('--to', 'pytorch')).toEqual([join(folder, 'model.pth')]);
  expect(await bytesAt(folder, 'model.pth')).toEqual(await exportPytorch(model));
  await run('--to', 'onnx', '--upsampling', 'shuffled', '--out', join(folder, 'new', 'a.onnx'));
  expect(await bytesAt(folder, 'new', 'a.onnx')).toEqual(await exportOnnx(model, { upsampling: 'shuffled' }));
  await run('--to', 'safetensors', '--precision', 'f16', '--out', join(folder, 'half.safetensors'));
  expect(await bytesAt(folder, 'half.safetensors')).toEqual(
    await exportSafetensors(model, { precision: 'f16' }),
  );
  // Where the usual place is the model's own.
  expect(await run('--to', 'safetensors')).toEqual([join(folder, 'model-exported.safetensors')]);
  expect(await run('--to', 'safetensors', '--precision', 'f16')).toEqual([
    join(folder, 'model-f16.safetensors'),
  ]);
  const written = await run('--to', 'nnunet', '--dataset', 'Dataset042_Parts');
  const { files } = await exportNnunet(model, { dataset: 'Dataset042_Parts' });
  expect(written).toEqual(files.map(({ path }) => join(folder, 'model-nnunet', path)));
  for (const [index, { source }] of files.entries()) expect(await bytesAt(written[index]!)).toEqual(source);
  // What describes the others comes last: where writing ends early, it is not beside weights that it is not of.
  await writeFile(written[0]!, '{}');
  await run('--to', 'nnunet', '--dataset', 'Dataset042_Parts', '--overwrite');
  const times = await Promise.all(written.map((path) => stat(path, { bigint: true })));
  const [plans, ...others] = times.map(({ mtimeNs }) => mtimeNs);
  expect(written[0]).toMatch(/plans\.json$/);
  expect(others.every((time) => time <= plans!)).toBe(true);
  // What was written for PyTorch is a model here too.
  const again = join(folder, 'again.safetensors');
  const { err } = await cli(['export', join(folder, 'model.pth'), '--to', 'safetensors', '--out', again]);
  expect(err).toBe('');
  expect(await bytesAt(again)).toEqual(await exportSafetensors(model));
});

test('what is refused, and nothing is written', async () => {
  const folder = await temporaryFolder();
  const model = join(folder, 'model.safetensors');
  await writeFile(model, await modelBytes('batch'));
  await writeFile(join(folder, 'model.pth'), 'mine');
  await writeFile(join(folder, 'scan.nii.gz'), 'no model');
  await mkdir(join(folder, 'empty'));
  const before = await readdir(folder);
  const refused = async (...args: string[]) => {
    const { exitCode, out, err } = await cli(['export', ...args]);
    expect(out).toBe('');
    return `${exitCode} ${err}`;
  };
  expect(await refused(model, '--to', 'pytorch')).toMatch(/^2 .*model\.pth is there already: .*--overwrite/);
  expect(await refused(model, '--to', 'safetensors', '--out', model)).toMatch(
    /^2 .*would overwrite its input/,
  );
  expect(await refused(model, '--to', 'tensorflow')).toMatch(/^2 .*Allowed choices are pytorch/);
  expect(await refused(model)).toMatch(/^2 .*required option '--to <kind>'/);
  expect(await refused(model, '--to', 'onnx', '--out', folder)).toMatch(/^2 .*is a folder: give the name/);
  expect(await refused(model, '--to', 'onnx', '--precision', 'f16')).toMatch(
    /^2 .*--precision is for --to saf/,
  );
  expect(await refused(model, '--to', 'nnunet')).toMatch(/^1 .*has .*norm "batch".* and nnU-Net’s classes/);
  expect(await refused(model, '--to', 'nnunet', '--dataset', '../a')).toMatch(
    /^2 .*a name such as Dataset042/,
  );
  const folds = await temporaryFolder();
  for (const fold of ['fold_0', 'fold_1']) {
    await mkdir(join(folds, fold));
    await writeFile(join(folds, fold, 'model.safetensors'), await modelBytes('batch'));
  }
  expect(await refused(folds, '--to', 'onnx')).toMatch(
    /^2 .*has the folds 0, 1: give one of them with --fold/,
  );
  expect(await refused(folds, '--to', 'onnx', '--fold', '2')).toMatch(
    /^1 .*fold 2 is missing; there are "0", "1"/,
  );
  expect(await refused(model, '--to', 'onnx', '--fold', '0')).toMatch(
    /^2 .*--fold is for folders of several folds/,
  );
  expect(await refused(join(folder, 'empty'), '--to', 'onnx')).toMatch(
    /^1 .*model\.safetensors: it does not exist/,
  );
  expect(await refused(join(folder, 'scan.nii.gz'), '--to', 'onnx')).toMatch(/^1 .*it is text/);
  expect(await readdir(folder)).toEqual(before);
  // Longer than Node's readFile takes: what is wrong is said all the same.
  const long = join(await temporaryFolder(), 'long.safetensors');
  await writeFile(long, await modelBytes('batch'));
  await truncate(long, 2 ** 31 + 8);
  expect(await refused(long, '--to', 'onnx')).toMatch(
    /^1 .*long\.safetensors.*tensors end at byte \d+ of 2147/,
  );
  await expect(openInit(long, {})).rejects.toThrow(/long\.safetensors.*tensors end at byte \d+ of 2147/);
  expect(await readFile(join(folder, 'model.pth'), 'utf8')).toBe('mine');
  const { exitCode } = await cli(['export', model, '--to', 'pytorch', '--overwrite']);
  expect(exitCode).toBe(0);
  expect(await bytesAt(folder, 'model.pth')).toEqual(await exportPytorch(await modelBytes('batch')));
});

test('a folder of nnU-Net, one of its folds', async ({ skip }) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const folder = `${found.folder}/model`;
  const out = join(await temporaryFolder(), 'a.onnx');
  const several = await cli(['export', folder, '--to', 'onnx', '--out', out]);
  expect(several.err).toMatch(/has the folds 0, 1: give one of them with --fold/);
  const { exitCode, err } = await cli(['export', folder, '--to', 'onnx', '--fold', '1', '--out', out]);
  expect([exitCode, err]).toEqual([0, '']);
  expect((await readFile(out)).length).toBeGreaterThan(100_000);
});

test('folds of nnU-Net go into one folder, at once or one after the other', async ({ skip }) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const run = async (out: string, ...args: string[]) => {
    const ran = await cli(['export', `${found.folder}/model`, '--to', 'nnunet', '--out', out, ...args]);
    return `${ran.exitCode} ${ran.err}`;
  };
  const [together, apart] = [await temporaryFolder(), await temporaryFolder()];
  expect(await run(together)).toBe('0 ');
  const { files } = await filesIn(together);
  const [ours, theirs] = [await openNnunet(files), await openNnunet(found.files)];
  expect(ours.folds.map(({ name }) => name)).toEqual(['0', '1']);
  for (const [at, { weights }] of theirs.folds.entries())
    for (const [name, tensor] of weights) {
      const [here, there] = [await ours.folds[at]!.weights.get(name)!.read(), await tensor.read()];
      expect(Buffer.from(here.buffer).equals(Buffer.from(there.buffer)), `${at} ${name}`).toBe(true);
    }
  for (const fold of ['1', '0']) expect(await run(apart, '--fold', fold)).toBe('0 ');
  for (const { path, source } of files)
    expect((await readFile(join(apart, path))).equals(await readFile(source as string)), path).toBe(true);
  const { path } = files.find((file) => file.path.includes('fold_1'))!;
  const saved = (await readSaved(await bytesAt(together, path), path)).value as Map<string, unknown>;
  expect((saved.get('init_args') as Map<string, unknown>).get('fold')).toBe(1);

  expect(await run(apart, '--fold', '1')).toMatch(/^2 .*fold_1.checkpoint_final\.pth is there already/);
  expect(await run(apart, '--fold', '1', '--overwrite')).toBe('0 ');
  const other = join(await temporaryFolder(), 'model.safetensors');
  await writeFile(other, await modelBytes('residual'));
  const { exitCode, err } = await cli([
    ...['export', other, '--to', 'nnunet', '--dataset', 'Dataset901_PlainIso', '--fold', '1'],
    ...['--out', apart, '--overwrite'],
  ]);
  expect([exitCode, err]).toEqual([
    2,
    expect.stringMatching(/holds fold_0 of other plans than these: give another --out/),
  ]);
  expect((await openNnunet((await filesIn(apart)).files)).folds).toHaveLength(2);
});

test('folds of a training as one folder of nnU-Net', async () => {
  const folds = join(await temporaryFolder(), 'folds');
  const bytes = [
    await modelBytes('residual'),
    await modelBytes('residual', (data, name) => name === 'head.bias' && data.fill(0.5)),
  ];
  for (const fold of [0, 1]) {
    await mkdir(join(folds, `fold_${fold}`), { recursive: true });
    await writeFile(join(folds, `fold_${fold}`, 'model.safetensors'), bytes[fold]!);
  }
  await writeFile(join(folds, 'ensemble.json'), '{"postprocessing":{"largestComponent":[2]}}');
  const { exitCode, err } = await cli(['export', folds, '--to', 'nnunet']);
  expect([exitCode, err.match(/of labels \d/g)]).toEqual([0, ['of labels 2']]);
  const model = await openNnunet((await filesIn(`${folds}-nnunet`)).files);
  for (const fold of [0, 1])
    expect((await readModel(await convertNnunet(model, `${fold}`))).weights.parameters).toEqual(
      (await readModel(bytes[fold]!)).weights.parameters,
    );

  // One alone goes on as the fold that it is, by its folder or by what its file says.
  const alone = join(await temporaryFolder(), 'alone.safetensors');
  const run = async (...args: string[]) => {
    const ran = await cli(['export', ...args]);
    expect(ran.exitCode, ran.err).toBe(0);
    return ran.out;
  };
  await run(folds, '--to', 'safetensors', '--fold', '1', '--out', alone);
  const cleaned = (await readModel(await readFile(alone))).description.postprocessing;
  expect(cleaned).toEqual({ largestComponent: [2] });
  const half = `${alone}.half`;
  await run(alone, '--to', 'safetensors', '--precision', 'f16', '--out', half);
  const own = join(folds, 'fold_1');
  for (const [at, model] of [alone, half, own, join(own, 'model.safetensors')].entries())
    expect(await run(model, '--to', 'nnunet', '--out', `${alone}-${at}`)).toMatch(/fold_1.checkpoint_final/);
  const other = await run(alone, '--to', 'nnunet', '--fold', '2', '--out', `${alone}-other`);
  expect(other).toMatch(/fold_2.checkpoint_final/);
  // Beside a fold of the same training, what both have in common is not even touched.
  const plans = join(
    dirname(dirname(other.split('\n').find((line) => line.endsWith('.pth'))!)),
    'plans.json',
  );
  await utimes(plans, 1, 1);
  await run(alone, '--to', 'nnunet', '--fold', '3', '--out', `${alone}-other`);
  expect((await stat(plans)).mtimeMs).toBe(1000);

  // What lies below the folds is no part of the model, and is no model of its own.
  await run(own, '--to', 'nnunet');
  expect(await run(folds, '--to', 'onnx', '--fold', '0')).toMatch(/model\.onnx/);
  await mkdir(join(folds, 'fold_0', 'model-monai'));
  for (const name of ['model.pt', 'network.json'])
    await writeFile(join(folds, 'fold_0', 'model-monai', name), '{}');
  const { notes } = await openInit(folds, { fold: '1' });
  expect(notes).toEqual([expect.stringMatching(/^Of several folds, .*fold_1.model\.safetensors is taken/)]);

  const { description, weights } = await readModel(bytes[1]!);
  const larger = await writeModel({ ...description, inputSize: [16, 16, 16] }, weights);
  await writeFile(join(folds, 'fold_1', 'model.safetensors'), larger);
  const differ = await cli(['export', folds, '--to', 'nnunet', '--out', join(folds, 'new')]);
  expect([differ.exitCode, differ.err]).toEqual([
    1,
    expect.stringMatching(/plans\.json of fold 1 is not that of fold 0/),
  ]);
});

test('folds of a training are mirrored in nnU-Net along the axes that all of them have seen', async () => {
  const folds = join(await temporaryFolder(), 'folds');
  const { description, weights } = await readModel(await modelBytes('residual'));
  const seen = [['x', 'y'], ['y', 'z'], undefined] as const;
  for (const [fold, mirrorAxes] of seen.entries()) {
    await mkdir(join(folds, `fold_${fold}`), { recursive: true });
    const bytes = await writeModel({ ...description, mirrorAxes }, weights);
    await writeFile(join(folds, `fold_${fold}`, 'model.safetensors'), bytes);
  }
  const run = async (model: string, ...args: string[]) => {
    const { exitCode, err } = await cli(['export', model, '--to', 'nnunet', ...args]);
    return `${exitCode} ${err}`;
  };
  const axesIn = async (folder: string) => (await openNnunet((await filesIn(folder)).files)).mirrorAxes;
  const out = await temporaryFolder();
  // nnU-Net counts axes as z, y, x.
  expect(await run(folds, '--out', out)).toMatch(/^0/);
  expect(await axesIn(out)).toEqual([1]);
  expect(await run(folds, '--out', out, '--fold', '0', '--overwrite')).toMatch(/^0/);
  expect(await axesIn(out)).toEqual([1]);
  const own = join(folds, 'fold_0');
  expect(await run(own, '--out', out, '--overwrite')).toMatch(
    /^2 [^]*fold_1.checkpoint_final\.pth is mirrored along the axes \[1\], this fold along \[1, 2\].*all folds at once/,
  );
});

test('a bundle of MONAI, its folder or a zip of it', async ({ skip }) => {
  const bundle = `${interopFolder}/monai-unet-res2/bundle`;
  const found = await filesIn(bundle).catch(() => undefined);
  if (!found) return skip(`${interopFolder} is not there`);
  const folder = await temporaryFolder();
  const model = await convertMonai(await openMonai(found.files));
  /** @param told on standard error */
  const run = async (args: string[], told = /^$/) => {
    const { exitCode, out, err } = await cli(['export', ...args]);
    expect([exitCode, err]).toEqual([0, expect.stringMatching(told)]);
    return out.split('\n');
  };
  const models = join(folder, 'models');
  expect(await run([bundle, '--to', 'monai', '--out', models])).toEqual(
    ['model.pt', 'network.json'].map((name) => join(models, name)),
  );
  const { files } = await exportMonai(model);
  for (const { path, source } of files) expect(await bytesAt(models, path)).toEqual(source);

  // What is written beside the model is no part of it: it is opened again.
  const inMonai = /unet3d\.py does not have this network: it is MONAI's UNet, for which --to monai/;
  expect(await run([models, '--to', 'pytorch'], inMonai)).toEqual([`${models}.pth`]);
  expect(await run([models, '--to', 'safetensors'])).toEqual([`${models}.safetensors`]);

  const parts = found.files.map(({ path, source }) => ({ path, content: readFileSync(source as string) }));
  const archive = join(folder, 'bundle.zip');
  await writeFile(archive, await zipOf(parts));
  const around = /: Orientation, Spacing, NormalizeIntensity, SlidingWindowInferer; its configs/;
  expect(await run([archive, '--to', 'onnx'], around)).toEqual([join(folder, 'bundle.onnx')]);
  expect(await bytesAt(folder, 'bundle.onnx')).toEqual(await exportOnnx(model));
  const { exitCode, err } = await cli(['export', bundle, '--to', 'onnx', '--fold', '0']);
  expect([exitCode, err]).toEqual([2, expect.stringMatching(/--fold is for folders of several folds/)]);
});
