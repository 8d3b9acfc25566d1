/** What `predict` finds where it is given a model, before it looks for a GPU. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import type { PredictOptions } from '../../src/cli/found-model.ts';
import { findModel, likeNnunet } from '../../src/cli/predict-models.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { optionsForNnunet } from '../../src/interop/nnunet/pipeline/segment.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { writeModel } from '../../src/weights/model-file.ts';
import { modelBytes } from '../export/networks.ts';
import { temporaryFolder } from './support.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [1, 2], norm: 'instance' });
const parameters = new Float32Array(layoutParameters(config).parameterWords);
const model = await writeModel(
  { config, labels: [], channels: [] },
  { parameters, statistics: new Float32Array() },
);
const usual: PredictOptions = { output: 'labels', mirror: true, postprocess: true, overlap: 0.5 };
const find = (path: string, options: Partial<PredictOptions> = {}, given: readonly string[] = []) =>
  findModel(path, { ...usual, ...options }, given);

test.each(['', 'cv/'])('folds in "%s" and their post-processing are what results depend on', async (root) => {
  const folder = await temporaryFolder();
  const files = ['fold_0/model.safetensors', 'fold_1/model.safetensors', 'fold_0/log.txt', 'ensemble.json'];
  for (const file of files) {
    await mkdir(dirname(join(folder, root, file)), { recursive: true });
    await writeFile(join(folder, root, file), file.endsWith('.safetensors') ? model : '{}');
  }
  const partsOf = async (folds?: readonly string[]) =>
    (await find(folder, folds && { folds })).parts?.map((part) => relative(folder, part)).sort();
  const [first, second, , ensemble] = files.map((file) => join(root, file));
  expect(await partsOf()).toEqual([ensemble, first, second]);
  expect(await partsOf(['1'])).toEqual([ensemble, second]);
});

test('one network of nnU-Net in a file takes nnU-Net’s words for what its rules leave open', async () => {
  const file = join(await temporaryFolder(), 'fold.safetensors');
  const { files } = await exportNnunet(await modelBytes('residual'));
  await writeFile(file, await convertNnunet(await openNnunet(files)));
  const options = { ...usual, step: 0.1, mirror: false };
  await expect(find(file, options, ['step', 'mirror'])).resolves.toMatchObject({ files: [file] });
  const { overlap, tta } = likeNnunet(file, options, ['step', 'mirror']);
  expect(optionsForNnunet({ overlap, tta: tta! })).toMatchObject({ step: 0.1, mirror: false });
  expect(likeNnunet(file, usual, [])).toEqual(usual);
  for (const [given, message] of [
    [['postprocess'], /--no-postprocess does nothing here: .* follows nnU-Net's rules/],
    [['window'], /--window does nothing here/],
    [['previousStage'], /--previous-stage does nothing here: it is for model folders of nnU-Net/],
    [['overlap', 'step'], /--overlap and --step are about the same: give one of them/],
    [['tta', 'mirror'], /--tta and --no-mirror/],
  ] as const)
    await expect(find(file, {}, given)).rejects.toThrow(message);
  await expect(find(file, { output: 'logits' })).rejects.toThrow(/--output logits is not there/);
  await writeFile(file, model);
  await expect(find(file, options, ['step'])).rejects.toThrow(
    /--step does nothing here: .* is no model of nnU-Net/,
  );
});
