/** `train --init`: a training that goes on from a model. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { assertChannels } from '../../src/cli/init-model.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

const preprocessing = defaultPreprocessing(1, [40, 40, 40]);
let data: string;
let base: string;

beforeAll(async () => {
  data = await phantomDataset(4);
  base = join(await temporaryFolder(), 'base.safetensors');
  const { device } = await testDevice();
  using model = await UNet3D.create({ inChannels: 1, classes: 4, features: [2, 3], preprocessing, device });
  model.describe({ mirrorAxes: ['x'], channels: ['T1'] });
  await writeFile(base, await model.save());
});

const encoder = async (file: string) =>
  [...readSafetensors(await readFile(file), file).tensors]
    .filter(([name]) => name.startsWith('encoder.'))
    .map(([name, { data: values }]) => [name, [...values]]);

test('network, preprocessing and encoder are those of the model, the head is new, and a resume knows it all', async () => {
  const run = join(await temporaryFolder(), 'run');
  const split = ['--split', '50,50,0', '--epochs', '2', '--batch-size', '2'];
  const abort = new AbortController();
  const onLine = (line: string): void => {
    if (line.includes('"type":"epoch"')) abort.abort();
  };
  const args = ['train', data, '--out', run, '--init', base, '--freeze', 'encoder', ...split];
  const begun = await cli([...args, '--json'], { signal: abort.signal, onLine });
  expect(begun.exitCode).toBe(130);
  expect(begun.err).toMatch(
    /^Cases are prepared as those that .*base\.safetensors was trained on, at 40 x 40 x 40 mm/m,
  );
  const start = begun.out.split('\n').find((line) => line.includes('"type":"start"'))!;
  expect(JSON.parse(start)).toMatchObject({ anew: ['head'], freeze: 'encoder' });
  // The model may be gone by then: the checkpoint has the weights.
  await rename(base, `${base}.gone`);
  const { err, exitCode } = await cli(['train', '--out', run, '--resume']);
  await rename(`${base}.gone`, base);
  expect(exitCode, err).toBe(0);
  expect(err).toMatch(/^Going on from step 1\. The encoder is frozen\.$/m);
  const config: unknown = JSON.parse(await readFile(join(run, 'config.json'), 'utf8'));
  expect(config).toMatchObject({ network: { features: [2, 3], norm: 'batch', classes: 6 }, preprocessing });
  const trained = await readFile(join(run, 'model.safetensors'));
  expect((await readModel(trained)).description).toMatchObject({ mirrorAxes: ['x'], preprocessing });
  expect(await encoder(join(run, 'model.safetensors'))).toEqual(await encoder(base));
});

test.each([
  [['--init', 'BASE', '--features', '4,8'], /--features asks for 4\/8, but .*base\.safetensors has 2\/3/],
  [['--init', 'BASE', '--norm', 'instance'], /--norm asks for instance, but .* has batch/],
  [['--init', 'BASE', '--init-heads', 'keep'], /heads .* 4 classes, those of this network for 6/],
  [['--init', 'nowhere.safetensors'], /cannot read the model nowhere\.safetensors/],
  [
    ['--init', 'BASE', '--tta', '--class-names', 'background,left hip,a,b,c,d'],
    /--tta flips along the axes that training mirrors, and here it mirrors none/,
  ],
  [['--freeze', 'encoder'], /give --init/],
  [['--init-heads', 'new'], /no --init/],
  [['--preprocessing', 'model'], /follows the model of --init/],
  [
    ['--init', 'BASE', '--preprocessing', 'model', '--spacing', 'own'],
    /--spacing is own, but --preprocessing model takes that of .*base\.safetensors/,
  ],
])('%j is refused', async (args, message) => {
  const given = args.map((word) => (word === 'BASE' ? base : word));
  const { exitCode, err } = await cli(['train', data, '--out', await temporaryFolder(), ...given]);
  expect(err).toMatch(message);
  expect(exitCode).not.toBe(0);
});

test('channels of a model in another order are refused', () => {
  const config = completeConfig({ inChannels: 2, classes: 2 });
  const init = {
    file: 'base.safetensors',
    description: { config, labels: [], channels: ['CT', 'PET'] },
  } as never;
  expect(() => assertChannels(init, 2, ['pet', 'ct'])).toThrow(
    /base\.safetensors takes its channels in the order CT, PET, and these images have pet, ct/,
  );
  assertChannels(init, 2, ['ct', 'pet']);
  assertChannels(init, 2);
  expect(() => assertChannels(init, 3)).toThrow(/takes images of 2 channel\(s\) \(CT, PET\), these have 3/);
});
