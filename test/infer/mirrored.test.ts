/** Test-time augmentation flips the axes that training mirrored: the model keeps them, and so does the file. */
import { expect, test } from 'vitest';
import type { FileEntry } from '../../src/data/case.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { Ensemble } from '../../src/ensemble.ts';
import { InvalidOption } from '../../src/errors.ts';
import type { Axis } from '../../src/size.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { nnunetAugmentation } from '../../src/train/augmentation.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { cases, network } from '../support/calls.ts';
import { bestModel, lastModel } from '../../src/train/best-model.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { testDevice } from '../support/device.ts';
import { memory } from '../support/training.ts';

const { device } = await testDevice();
const affine = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
const { image, shape } = cases[1];
const file = await writeNifti({ data: image, shape, affine });

async function trained(mirror: readonly [number, number, number]): Promise<UNet3D> {
  const model = await UNet3D.create({ ...network, device });
  await model.fit(cases, { epochs: 1, augmentation: nnunetAugmentation({ mirror }) });
  return model;
}

async function probabilities(model: UNet3D | Ensemble, mirrorAxes?: readonly Axis[]) {
  const options = { output: 'probabilities', tta: true, ...(mirrorAxes && { mirrorAxes }) } as const;
  return (await model.predict(file, options)).probabilities!.data;
}

test('a model flips what its training mirrored, also when saved, scored, and gone on with', async () => {
  using model = await trained([0, 0.5, 0.2]);
  expect(model.description.mirrorAxes).toEqual(['y', 'z']);
  const expected = await probabilities(model, ['y', 'z']);
  expect(await probabilities(model)).toEqual(expected);
  expect(await probabilities(model, ['x', 'y', 'z'])).not.toEqual(expected);
  using again = await UNet3D.load(await model.save(), { device });
  expect(await probabilities(again)).toEqual(expected);

  // Cases that the axes decide about.
  const scored = (tta: object) => model.evaluate(cases, tta);
  expect(await scored({ tta: true })).toEqual(await scored({ mirrorAxes: ['y', 'z'] }));
  const chosen = await model.choosePostprocessing(cases, { tta: true });
  expect(chosen).toEqual(await model.choosePostprocessing(cases, { mirrorAxes: ['y', 'z'] }));

  await again.fit(cases, { epochs: 1 });
  expect(again.description.mirrorAxes).toEqual(['y', 'z']);
  await again.fit(cases, { epochs: 1, augmentation: nnunetAugmentation() });
  expect(again.description.mirrorAxes).toEqual(['x', 'y', 'z']);
});

test('without augmentation nothing is known, and all is flipped; trained without mirroring, flips are refused', async () => {
  using plain = await UNet3D.create({ ...network, device });
  await plain.fit(cases, { epochs: 1 });
  expect(plain.description.mirrorAxes).toBeUndefined();
  expect(await probabilities(plain)).toEqual(await probabilities(plain, ['x', 'y', 'z']));
  plain.describe({ mirrorAxes: [] });
  const refusal = /tta is true, but this model was trained without mirroring: leave tta out, or name/;
  for (const call of [
    () => plain.predict(file, { tta: true }),
    () => plain.evaluate(cases, { tta: true }),
    () => plain.choosePostprocessing(cases, { tta: true }),
  ]) {
    await expect(call()).rejects.toThrow(refusal);
    await expect(call()).rejects.toThrow(InvalidOption);
  }
  expect(await probabilities(plain, ['x'])).not.toEqual(await probabilities(plain, []));
});

test('so does a model out of a checkpoint', async () => {
  using model = await UNet3D.create({ ...network, device });
  const fresh = await model.save();
  const checkpoint = memory();
  const augmentation = nnunetAugmentation({ mirror: [0, 0.5, 0] });
  await model.fit(cases, { epochs: 1, patch: [4, 4, 4], augmentation, checkpoint, validation: cases });
  const kept = checkpoint.files.get(checkpointName)!;
  for (const made of [await lastModel(kept, fresh), await bestModel(kept, fresh)])
    expect((await readModel(made!)).description).toMatchObject({
      mirrorAxes: ['y'],
      inputSize: [4, 4, 4],
      patches: true,
    });
  // What was chosen for other weights is not theirs.
  model.describe({ postprocessing: { largestComponent: [1] } });
  const made = await lastModel(kept, await model.save());
  expect((await readModel(made!)).description.postprocessing).toBeUndefined();
});

test('of labels that tell left from right, nothing is flipped along x, and mirroring along it is warned of', async () => {
  using model = await UNet3D.create({ ...network, labels: ['background', 'kidney_left'], device });
  expect(await probabilities(model)).toEqual(await probabilities(model, ['y', 'z']));
  const heard: string[] = [];
  const onEvent = (event: TrainingEvent): void => {
    if (event.type === 'warning') heard.push(event.message);
  };
  const mirrored = (mirror: [number, number, number]) =>
    model.fit(cases, { epochs: 1, augmentation: nnunetAugmentation({ mirror }), onEvent });
  await mirrored([0, 0.5, 0.5]);
  expect(heard).toEqual([]);
  await mirrored([0.5, 0.5, 0.5]);
  expect(heard).toEqual([
    expect.stringMatching(/"kidney_left" tells left from right, and augmentation mirrors along x/),
  ]);
  expect(await probabilities(model)).toEqual(await probabilities(model, ['x', 'y', 'z']));
});

test('an ensemble flips what all of its networks have seen mirrored', async () => {
  using model = await trained([0.5, 0.5, 0]);
  const saved = async (mirrorAxes: Axis[] | undefined, path: string): Promise<FileEntry> => {
    model.describe({ mirrorAxes });
    return { path, source: await model.save() };
  };
  const [xy, yz, any] = [
    await saved(['x', 'y'], 'a.safetensors'),
    await saved(['y', 'z'], 'b.safetensors'),
    await saved(undefined, 'c.safetensors'),
  ];
  for (const [files, axes] of [
    [[xy, yz, any], ['y']],
    [
      [any, xy],
      ['x', 'y'],
    ],
    [[any, any], undefined],
  ] as const) {
    using ensemble = await Ensemble.open(
      files.map((entry, at) => ({ ...entry, path: `${at}/${entry.path}` })),
      {
        device,
      },
    );
    expect(ensemble.description.mirrorAxes).toEqual(axes);
    expect(await probabilities(ensemble)).toEqual(await probabilities(ensemble, axes ?? ['x', 'y', 'z']));
    const [own, named] = [{ tta: true }, { mirrorAxes: axes ?? (['x', 'y', 'z'] as const) }];
    expect(await ensemble.evaluate(cases, own)).toEqual(await ensemble.evaluate(cases, named));
  }
});
