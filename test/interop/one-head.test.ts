/**
 * Networks of one sigmoid channel alone: those of the fixtures with the first channel of their heads, whose logits are the
 * first of the tools' own.
 */
import { expect, test } from 'vitest';
import { soleRegion, type Region } from '../../src/data/regions.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { exportMonai } from '../../src/export/monai.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { MonaiPredictor } from '../../src/interop/monai/predictor.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { NnunetPredictor } from '../../src/interop/nnunet/pipeline/predictor.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { readModel, writeModel, type ModelDescription } from '../../src/weights/model-file.ts';
import { testDevice } from '../support/device.ts';
import {
  interopFixture,
  interopFolder,
  monaiModel,
  nnunetFixture,
  type StoredArray,
} from '../support/interop.ts';
import { turned } from '../support/network.ts';

/** The network with the first channel of each head. */
async function firstChannel(
  model: Uint8Array,
  regions: readonly Region[],
  changed: Partial<ModelDescription> = {},
): Promise<Uint8Array> {
  const { description, weights } = await readModel(model);
  const config = { ...description.config, classes: 1 };
  const [given, own] = [layoutParameters(description.config), layoutParameters(config)];
  const parameters = new Float32Array(own.parameterWords);
  for (const { name, offset, length } of own.parameters.values()) {
    const from = given.parameters.get(name)!.offset;
    parameters.set(weights.parameters.subarray(from, from + length), offset);
  }
  return writeModel({ ...description, config, labels: [], regions, ...changed }, { ...weights, parameters });
}

const largestDifference = (found: ArrayLike<number>, expected: ArrayLike<number>): number => {
  expect(found.length).toBe(expected.length);
  return Array.from(expected).reduce((most, value, at) => Math.max(most, Math.abs(found[at]! - value)), 0);
};

test('of MONAI: opened, trained on, exported, and a bundle from file to labels', async ({ skip }) => {
  const found = await interopFixture('monai-basicunet');
  const original = await monaiModel('basicunet');
  if (!found || !original) return skip(`${interopFolder} is not there`);
  const bytes = await firstChannel(await convertMonai(original), soleRegion());
  const { files } = await exportMonai(bytes);
  const model = await openMonai(files);
  expect(model.network.config.classes).toBe(1);
  const { description } = await readModel(await convertMonai(model));
  expect(description.regions).toEqual([{ name: 'foreground', labels: [1], written: 1 }]);
  const { input, outputs } = found.fixture.forward;
  const [, , x, y, z] = input.shape as [number, number, number, number, number];
  /** The first channel of the first sample. */
  const first = async ({ file }: StoredArray) => {
    const data = Float64Array.from((await found.floatsAt(`forward/${file}`)).subarray(0, x * y * z));
    return turned({ shape: [1, 1, x, y, z], data }).data;
  };
  const [image, wanted] = [await first(input), await first(outputs[0]!)];
  const step = (_target_: string, given: object = {}) => ({ _target_, ...given });
  const bundled = (outcome: object[], channels: object) => {
    const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    const network = JSON.parse(new TextDecoder().decode(files[1]!.source)) as object;
    return [
      { path: 'models/model.pt', source: files[0]!.source },
      {
        path: 'configs/metadata.json',
        source: json({ network_data_format: { outputs: { pred: { channel_def: channels } } } }),
      },
      {
        path: 'configs/inference.json',
        source: json({
          network_def: network,
          preprocessing: step('Compose', { transforms: [step('LoadImaged')] }),
          inferer: step('SimpleInferer'),
          postprocessing: step('Compose', { transforms: outcome }),
        }),
      },
    ];
  };
  const sigmoid = [
    step('Activationsd', { sigmoid: true }),
    step('AsDiscreted', { threshold: 0.5 }),
    step('Invertd', { nearest_interp: true }),
  ];
  const source = await writeNifti({
    data: image,
    shape: [x, y, z],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  });
  const opened = await openMonai(bundled(sigmoid, { 0: 'background', 1: 'spleen' }));
  expect(opened.labels).toEqual(['background', 'spleen']);
  expect((await openMonai(bundled(sigmoid, { 0: 'spleen' }))).labels).toEqual(['background', 'spleen']);
  using predictor = await MonaiPredictor.of(opened, { device: (await testDevice()).device });
  const { labels, probabilities } = await predictor.predict(source, { probabilities: true });
  expect([labels.shape, probabilities!.shape]).toEqual([
    [x, y, z],
    [x, y, z, 1],
  ]);
  const { data } = await readNifti(await writeNifti(labels));
  expect(data).toEqual(Float32Array.from(probabilities!.data, (p) => Number(p >= 0.5)));
  expect(new Set(data).size).toBe(2);
  const sigmoids = wanted.map((logit) => 1 / (1 + Math.exp(-logit)));
  expect(largestDifference(probabilities!.data, sigmoids)).toBeLessThan(2e-4);
  const argmax = bundled([step('AsDiscreted', { argmax: true }), step('Invertd')], {});
  await expect(openMonai(argmax)).rejects.toThrow(/sigmoid and threshold, as of one channel alone/);
});

test('of nnU-Net: one region, from file to labels', async ({ skip }) => {
  const found = await nnunetFixture('plain-regions');
  if (!found) return skip(`${interopFolder} is not there`);
  const { fixture, floatsAt, bytesAt, files } = found;
  const original = await openNnunet(files);
  const dataset = JSON.stringify({
    ...(JSON.parse(original.origin.dataset) as object),
    labels: { background: 0, whole: [1, 2, 3], ignore: 4 },
    regions_class_order: [2],
  });
  const regions = [{ name: 'whole', labels: [1, 2, 3], written: 2 }];
  const nnunet = { ...original.origin, dataset };
  const bytes = await firstChannel(await convertNnunet(original), regions, { nnunet });
  const model = await openNnunet((await exportNnunet(bytes)).files);
  expect([model.labels.regions, model.labels.heads, model.config.classes]).toEqual([true, regions, 1]);
  const images: Uint8Array[] = [];
  for (const path of fixture.endToEnd.images) images.push(await bytesAt(path));
  using predictor = await NnunetPredictor.of(model, { device: (await testDevice()).device });
  const { labels, probabilities } = await predictor.predict(images, { probabilities: true });
  const told = (await floatsAt('case/probabilities.f32')).subarray(0, labels.data.length);
  expect(largestDifference(probabilities!.data, told)).toBeLessThan(1e-3);
  expect([...labels.data]).toEqual(Array.from(probabilities!.data, (p) => (p > 0.5 ? 2 : 0)));
  expect(new Set(labels.data).size).toBe(2);
});
