/** Cases prepared by this package's words for nnU-Net's preparation, against the arrays of nnU-Net itself. */
import { expect, test } from 'vitest';
import { writeNifti } from '../../../src/data/nifti.ts';
import { prepareCase } from '../../../src/data/prepare.ts';
import { flip } from '../../../src/infer/probabilities.ts';
import { openNnunet } from '../../../src/interop/nnunet/folder.ts';
import { trainingStart } from '../../../src/interop/nnunet/go-on.ts';
import { backFrom } from '../../../src/interop/nnunet/network.ts';
import { interopFolder, nnunetFixture } from '../../support/interop.ts';
import { turned } from '../../support/network.ts';

/** Axes of the files that run to the left or the back, which are turned here. */
test.for([
  ['plain-iso', []],
  ['plain-aniso', ['x', 'y']],
  ['plain-regions', ['x']],
  ['resenc', []],
] as const)('nnunet-%s', async ([name, flipped], { skip }) => {
  const found = await nnunetFixture(name);
  if (!found) return skip(`${interopFolder} is not there`);
  const { fixture, files, bytesAt, floatsAt } = found;
  const model = await openNnunet(files);
  const { preprocessing } = trainingStart(model);
  expect(preprocessing.resampling).toBe('cubic');
  const images: Uint8Array[] = [];
  for (const path of fixture.endToEnd.images) images.push(await bytesAt(path));
  const prepared = await prepareCase({ id: name, subject: name, images }, preprocessing);
  const [channels, d0, d1, d2] = fixture.endToEnd.preprocessed.shape as [number, number, number, number];
  const data = Float64Array.from(await floatsAt('case/preprocessed.f32'));
  const wanted = turned({ shape: [1, channels, d0, d1, d2], data }, backFrom(model.plans.transpose));
  const [, , z, y, x] = wanted.shape;
  expect([prepared.channels, ...prepared.shape]).toEqual([channels, x, y, z]);
  const expected = flip(Float32Array.from(wanted.data), [x, y, z], flipped);
  const most = expected.reduce((max, value, at) => Math.max(max, Math.abs(value - prepared.image[at]!)), 0);
  expect(most).toBeLessThan(1e-4);
});

test('plans without resampling, and colours', async ({ skip }) => {
  const found = await nnunetFixture('plain-iso');
  if (!found) return skip(`${interopFolder} is not there`);
  const { plans, config } = await openNnunet(found.files);
  const { resampling } = plans.configuration;
  const changed = {
    spacing: [1, 1, 1],
    normalization: [{ scheme: 'RGBTo01Normalization' }],
    resampling: { ...resampling, data: { method: 'none' } },
  } as const;
  const { preprocessing } = trainingStart({
    plans: { ...plans, configuration: { ...plans.configuration, ...changed } },
    config: { ...config, inChannels: 1 },
  });
  const affine = [3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1];
  const data = Float32Array.of(255, 1, 51, 0, 0, 0, 0, 102);
  const image = await writeNifti({ data, shape: [2, 2, 2], affine });
  const prepared = await prepareCase({ id: 'a', subject: 'a', images: [image] }, preprocessing);
  // nnU-Net divides by 255.
  expect([...prepared.shape, ...prepared.image]).toEqual([2, 2, 2, ...data.map((value) => value / 255)]);
});
