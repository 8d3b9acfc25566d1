/** What a network has learnt on patches it sees through windows of their size again, where its norm would notice. */
import { expect, test } from 'vitest';
import { writeNifti } from '../../src/data/nifti.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { Ensemble } from '../../src/ensemble.ts';
import { UNet3D, type LabelledCase } from '../../src/unet3d.ts';
import { cases, network } from '../support/calls.ts';
import { testDevice } from '../support/device.ts';
import { mostMemory } from '../support/most-memory.ts';

const { device } = await testDevice();
const affine = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
const { image, shape } = cases[1];
const file = await writeNifti({ data: image, shape, affine });
const patch = [4, 4, 4] as const;

async function trained(norm: 'batch' | 'instance', options: { patch?: typeof patch }): Promise<UNet3D> {
  const model = await UNet3D.create({ ...network, norm, device });
  await model.fit(cases, { epochs: 1, ...options });
  return model;
}

const logits = async (model: UNet3D | Ensemble, window?: readonly [number, number, number]) =>
  (await model.predict(file, { output: 'logits', ...(window && { window }) })).logits!.data;

test('instance norm: a prediction is that through windows, also of a saved network, scores and ensembles', async () => {
  using model = await trained('instance', { patch });
  expect(model.description).toMatchObject({ inputSize: patch, patches: true });
  const expected = await logits(model, patch);
  expect(await logits(model, [8, 6, 4])).not.toEqual(expected);
  expect(await logits(model)).toEqual(expected);
  const source = await model.save();
  using again = await UNet3D.load(source, { device });
  expect(await logits(again)).toEqual(expected);
  using ensemble = await Ensemble.open([{ path: 'a.safetensors', source }], { device });
  expect(await logits(ensemble)).toEqual(expected);
  const [score] = await model.evaluate([cases[1]]);
  const own = await model.logits(cases[1]);
  const larger = Array.from(image, (_, voxel) => Number(own[image.length + voxel]! > own[voxel]!));
  expect([...score!.predicted]).toEqual(larger);
});

test('one plan at a time is on the device, from predictions to scores and back', async () => {
  using model = await trained('batch', {});
  const most = mostMemory(model.gpu);
  const peak = async (work: Promise<unknown>): Promise<number> => {
    await work;
    return most();
  };
  const scoring = await peak(model.evaluate(cases));
  const predicting = await peak(model.logits(cases[1]));
  expect(Math.min(scoring, predicting)).toBeGreaterThan(0);
  const either = Math.max(scoring, predicting);
  expect(await peak(model.evaluate(cases))).toBeLessThanOrEqual(either);
  expect(await peak(model.evaluate(cases, { tta: true }))).toBeLessThanOrEqual(either);
});

test('a case that goes through windows finds nothing of the one before on the device', async () => {
  using model = await trained('instance', { patch });
  const small = fromArrays(
    'small',
    { data: image.subarray(0, 64), dims: patch },
    { data: cases[1].label.subarray(0, 64), dims: patch },
  ) as LabelledCase;
  const most = mostMemory(model.gpu);
  const peak = async (...given: LabelledCase[]): Promise<number> => {
    await model.evaluate(given);
    return most();
  };
  await peak(small); // what stays is there by then
  const alone = Math.max(await peak(small), await peak(cases[1]));
  expect(await peak(small, cases[1])).toBe(alone);
});

test('on whole volumes, or with batch norm, a volume goes through at once', async () => {
  using whole = await trained('instance', {});
  expect(whole.description.patches).toBe(false);
  expect(await logits(whole)).toEqual(await logits(whole, [8, 6, 4]));
  using batch = await trained('batch', { patch });
  expect(batch.description.patches).toBe(true);
  expect(await logits(batch)).toEqual(await logits(batch, [8, 6, 4]));
});
