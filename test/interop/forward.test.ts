/**
 * Networks of nnU-Net with the weights of its own files: logits of all heads, gradients of all parameters and of the
 * input, as nnU-Net's code computes them in float64.
 */
import { expect, test } from 'vitest';
import { toTheirs, weightsOf } from '../../src/interop/mapping.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { trainableModel } from '../../src/interop/nnunet/go-on.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { testDevice } from '../support/device.ts';
import { interopFolder, nnunetFixture, nnunetFolders } from '../support/interop.ts';
import { expectForward } from '../support/network.ts';

const names = typeof window === 'undefined' ? nnunetFolders : ['plain-regions', 'totalsegmentator'];

for (const name of names)
  test(`nnunet-${name}`, async ({ skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { config, folds } = await openNnunet(found.files);
    const weights = await weightsOf(config, folds[0]!.weights);
    expect.hasAssertions();
    await expectForward(found, config, weights, (ours) => toTheirs(nnunetMapping(config), ours));
  });

test('nnunet-plain-aniso along the axes of volumes, as a training goes on from it', async ({ skip }) => {
  skip(typeof window !== 'undefined', 'in Node only');
  const found = await nnunetFixture('plain-aniso');
  if (!found) return skip(`${interopFolder} is not there`);
  const model = await openNnunet(found.files);
  expect(model.plans.transpose).toEqual([2, 0, 1]);
  const bytes = await trainableModel(await convertNnunet(model));
  const { description, weights } = await readModel(bytes);
  // x of a volume is the first axis of nnU-Net's arrays, z the second and y the third.
  expect(description).toMatchObject({
    inputSize: [8, 20, 24],
    patches: true,
    preprocessing: { spacing: [4, 1, 1], normalization: ['z-score inside'] },
    config: {
      kernels: [
        [1, 3, 3],
        [3, 3, 3],
        [3, 3, 3],
      ],
      strides: [
        [1, 2, 2],
        [2, 2, 2],
      ],
    },
  });
  expect(description.nnunet).toBeUndefined();
  await expectForward(found, description.config, weights, (ours) => ours, [1, 2, 0]);
  const converted = await readModel(await convertNnunet(model));
  const nnunet = { ...converted.description.nnunet!, mirrorAxes: [0, 2] };
  const mirrored = await writeModel({ ...converted.description, nnunet }, converted.weights);
  const kept = await readModel(await trainableModel(mirrored));
  expect(kept.description.mirrorAxes).toEqual(['x', 'y']);
  const { device } = await testDevice();
  using own = await UNet3D.create({ ...description.config, device });
  await own.takeWeights(await convertNnunet(model));
  expect((await readModel(await own.save())).weights).toEqual(weights);
  const again = await trainableModel(bytes);
  expect(again).toBe(bytes);
});
