/** Networks of other tools go on learning: loaded, trained for some steps, saved, and what they learnt loads again. */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { fromArrays, type PreparedCase } from '../../src/data/prepare.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { trainableModel } from '../../src/interop/nnunet/go-on.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { leastSize } from '../../src/model/sizes.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { constant } from '../../src/train/schedules.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { testDevice } from '../support/device.ts';
import { interopFolder, monaiFolders, monaiModel, nnunetFixture, nnunetFolders } from '../support/interop.ts';

/** Labels that the first channel shows, at a size that the network takes, with two voxels where it is coarsest. */
function shownCases({ inChannels, ...config }: UNet3DConfig, values: readonly number[]): PreparedCase[] {
  const dims = leastSize({ inChannels, ...config }).map((n, axis) => Math.max(8, axis === 0 ? 2 * n : n));
  const voxels = dims.reduce((product, n) => product * n, 1);
  return [1, 2].map((seed) => {
    const source = random(seed, 'shown');
    const label = Uint8Array.from(
      { length: voxels },
      (_, at) => values[Math.floor(at / 64) % values.length]!,
    );
    const images = Array.from({ length: inChannels }, () => ({
      data: Float32Array.from(label, (value) => value + source.normal(0, 0.1)),
      dims,
    }));
    return fromArrays(`case ${seed}`, images, { data: label, dims });
  });
}

async function goesOnLearning(bytes: Uint8Array): Promise<void> {
  const { device } = await testDevice();
  using model = await UNet3D.load(bytes, { device });
  const { labels, regions } = model.description;
  const values = regions
    ? [...new Set(regions.flatMap((region) => region.labels)), 0].slice(0, 3)
    : [...labels.keys(), 0, 1].slice(0, 3);
  const cases = shownCases(model.config, values);
  const options = { epochs: 4, batchSize: 1, tune: false, schedule: constant({ learningRate: 0.003 }) };
  const { history } = await model.fit(cases, options);
  const losses = history.map(({ loss }) => loss);
  expect(losses.at(-1)!, losses.join(' ')).toBeLessThan(0.9 * losses[0]!);
  const saved = await model.save();
  using again = await UNet3D.load(saved, { device });
  expect(await again.logits(cases[0]!)).toEqual(await model.logits(cases[0]!));

  // With other classes the last layer begins anew, the rest is kept.
  const { config } = model;
  using other = await UNet3D.create({ ...config, classes: config.classes + 2, device });
  const anew = await other.takeWeights(bytes);
  expect(anew.length).toBeGreaterThan(0);
  const tuned = await other.fit(shownCases(config, [0, 1, 2]), { ...options, freeze: 'encoder' });
  expect(tuned.history.at(-1)!.loss).toBeLessThan(tuned.history[0]!.loss);
}

describe('goes on learning', () => {
  test.for(nnunetFolders)('nnunet-%s', async (name, { skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const model = await openNnunet(found.files);
    expect.hasAssertions();
    await goesOnLearning(await trainableModel(await convertNnunet(model, model.folds[0]!.name)));
  });

  test.for(monaiFolders)('monai-%s', async (name, { skip }) => {
    const model = await monaiModel(name);
    if (!model) return skip(`${interopFolder} is not there`);
    expect.hasAssertions();
    await goesOnLearning(await convertMonai(model));
  });
});
