/** What `predict` finds where it is given a model, before it looks for a GPU. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import type { PredictOptions } from '../../src/cli/found-model.ts';
import { findModel } from '../../src/cli/predict-models.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { writeModel } from '../../src/weights/model-file.ts';
import { temporaryFolder } from './support.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [1, 2], norm: 'instance' });
const parameters = new Float32Array(layoutParameters(config).parameterWords);
const model = await writeModel(
  { config, labels: [], channels: [] },
  { parameters, statistics: new Float32Array() },
);
const find = (path: string, options: Partial<PredictOptions> = {}, given: readonly string[] = []) =>
  findModel(path, { output: 'labels', mirror: true, postprocess: true, overlap: 0.5, ...options }, given);

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
