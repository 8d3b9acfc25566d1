/** From files to labels as nnU-Net does it, step by step, against its own arrays; in both runtimes. */
import { describe, expect, test } from 'vitest';
import { convertNnunet } from '../../../src/interop/nnunet/convert.ts';
import { InvalidOption, OutOfMemory } from '../../../src/errors.ts';
import { UNet3D } from '../../../src/unet3d.ts';
import { readNifti } from '../../../src/data/nifti.ts';
import { fromCanonical } from '../../../src/data/volume.ts';
import { openNnunet } from '../../../src/interop/nnunet/folder.ts';
import { fastestFirst } from '../../../src/interop/nnunet/pipeline/axes.ts';
import { readImage } from '../../../src/interop/nnunet/pipeline/image.ts';
import { logitPlanes, windowGrid } from '../../../src/interop/nnunet/pipeline/logits.ts';
import { NnunetPredictor } from '../../../src/interop/nnunet/pipeline/predictor.ts';
import { nnunetInput } from '../../../src/interop/nnunet/pipeline/preprocess.ts';
import { labelsOfPlanes, type NnunetSegmentation } from '../../../src/interop/nnunet/pipeline/segment.ts';
import { testDevice } from '../../support/device.ts';
import { planesOf } from '../../support/planes.ts';
import { interopFolder, nnunetFixture, nnunetFolders } from '../../support/interop.ts';

const largestDifference = (a: Float32Array, b: Float32Array): number => {
  let most = 0;
  a.forEach((value, at) => (most = Math.max(most, Math.abs(value - b[at]!))));
  return a.length === b.length ? most : Infinity;
};

/** A fixture with its model and its images; undefined where it is not there. */
async function caseOf(name: string) {
  const found = await nnunetFixture(name);
  if (!found) return undefined;
  const { fixture, files, bytesAt, floatsAt } = found;
  const model = await openNnunet(files);
  const images: Uint8Array[] = [];
  for (const path of fixture.endToEnd.images) images.push(await bytesAt(path));
  const wanted = await readNifti(await bytesAt('case/segmentation.nii.gz'));
  const told = await floatsAt('case/probabilities.f32');
  // nnU-Net's are on the grid that its reader gives.
  const probabilities = model.plans.reader === 'NibabelIOWithReorient' ? fromCanonical(told, wanted) : told;

  /** Equal but where the two best, or a region's probability and one half, are nearer than 1e-3. */
  const requireLabels = ({ labels, probabilities: own }: NnunetSegmentation, tolerance: number): number => {
    expect(labels.shape).toEqual(wanted.shape);
    expect(largestDifference(own!.data, probabilities)).toBeLessThan(tolerance);
    const voxels = wanted.data.length;
    let different = 0;
    wanted.data.forEach((value, voxel) => {
      if (value === labels.data[voxel]) return;
      different++;
      const all = model.labels.heads
        .map((_, head) => probabilities[head * voxels + voxel]!)
        .sort((a, b) => b - a);
      const gap = model.labels.regions ? Math.min(...all.map((p) => Math.abs(p - 0.5))) : all[0]! - all[1]!;
      expect(gap).toBeLessThan(1e-3);
    });
    return different;
  };
  return { ...found, model, images, requireLabels };
}

describe.each(nnunetFolders)('nnunet-%s', (name) => {
  test('the prepared image, and labels from logits', async ({ skip }) => {
    const found = await caseOf(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { model, images, fixture, floatsAt, requireLabels } = found;
    const { plans, labels } = model;
    const { endToEnd } = fixture;
    const image = await readImage(images, plans);
    expect([...image.size].reverse()).toEqual(endToEnd.shapeBeforeCropping);
    expect([...image.spacing].reverse()).toEqual(plans.transpose.map((axis) => endToEnd.spacing[axis]));
    const input = nnunetInput(image, plans);
    expect([...input.box.start].reverse()).toEqual(endToEnd.box.map(([start]) => start));
    expect([...input.box.size].reverse()).toEqual(endToEnd.box.map(([start, end]) => end - start));
    const voxels = input.size.reduce((product, n) => product * n);
    expect([input.data.length / voxels, ...[...input.size].reverse()]).toEqual(endToEnd.preprocessed.shape);
    expect(largestDifference(input.data, await floatsAt('case/preprocessed.f32'))).toBeLessThan(1e-4);
    const grid = windowGrid(input.size, fastestFirst(plans.configuration.patch), endToEnd.stepSize);
    expect([...grid.starts].reverse()).toEqual(endToEnd.windows);
    const logits = await floatsAt('case/logits.f32');
    const planes = planesOf(logits, labels.heads.length, input.size);
    // From the same logits no voxel is nearer to a tie than float32 tells.
    expect(requireLabels(await labelsOfPlanes(model, image, input, planes, true), 1e-5)).toBe(0);
  });

  test('through the network', async ({ skip }) => {
    // In a browser one of them will do: what is left to the runtime is the device.
    skip(typeof window !== 'undefined' && name !== 'totalsegmentator', 'in Node only');
    const found = await caseOf(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { images, fixture, files, floatsAt, requireLabels } = found;
    using predictor = await NnunetPredictor.load(files, { device: (await testDevice()).device });
    const { model, networks } = predictor;
    const image = await readImage(images, model.plans);
    const input = nnunetInput(image, model.plans);
    const size = fastestFirst(model.plans.configuration.patch);
    const { stepSize: step, logits } = fixture.endToEnd;
    const wanted = [...planesOf(await floatsAt('case/logits.f32'), model.labels.heads.length, input.size)];
    const planes: Float32Array[] = [];
    for await (const plane of logitPlanes(input, size, networks, { step, mirrorAxes: model.mirrorAxes })) {
      const off = largestDifference(plane, wanted[planes.length]!);
      expect(off).toBeLessThan(1e-3 * Math.max(1, logits.maxAbs));
      planes.push(plane);
    }
    expect(planes.length).toBe(input.size[2]);
    requireLabels(await labelsOfPlanes(model, image, input, planes, true), 1e-3);
  });
});

test('a fold as a model file of this package follows the same rules', async ({ skip }) => {
  const found = await caseOf('totalsegmentator');
  if (!found) return skip(`${interopFolder} is not there`);
  const { model, images, fixture, requireLabels } = found;
  using own = await UNet3D.load(await convertNnunet(model), { device: (await testDevice()).device });
  const overlap = 1 - fixture.endToEnd.stepSize;
  const result = await own.predict(images, { overlap, output: 'probabilities' });
  requireLabels(result, 1e-3);
  await expect(own.predict(images, { window: [8, 8, 8] })).rejects.toThrow(/no place for window/);
  await expect(own.predict(images, { output: 'logits' })).rejects.toThrow(InvalidOption);
  using tight = await UNet3D.load(await own.save(), { device: own.gpu.device, memoryBudget: 2 ** 16 });
  await expect(tight.predict(images)).rejects.toThrow(OutOfMemory);
});
