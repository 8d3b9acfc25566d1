/** Networks whose heads decide on regions: loss, labels and scores against float64 loops over their own logits. */
import { expect, test } from 'vitest';
import { fromArrays } from '../../src/data/prepare.ts';
import { random } from '../../src/data/random.ts';
import { InvalidDataset, InvalidOption } from '../../src/errors.ts';
import { diceCrossEntropy, nnunetRegionLoss, weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { constant } from '../../src/train/schedules.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { regionLoss } from '../reference/region-loss.ts';
import { testDevice } from '../support/device.ts';
import { dense } from '../support/run.ts';
import { memory } from '../support/training.ts';

const regions = [
  { name: 'whole', labels: [1, 2], written: 2 },
  { name: 'core', labels: [2], written: 1 },
];
const sets = regions.map(({ labels }) => labels);
const shape = [8, 6, 4] as const;

function made(id: string) {
  const source = random(5, id);
  const label = Uint8Array.from({ length: 192 }, () => [0, 1, 2, 255][source.int(4)]!);
  const image = Float32Array.from(label, (value) => (value % 255) + source.normal(0, 0.5));
  return { ...fromArrays(id, { data: image, dims: [...shape] }), label };
}
const cases = ['a', 'b', 'c'].map(made);

const { device } = await testDevice();
const options = {
  inChannels: 1,
  classes: 2,
  features: [4, 8],
  norm: 'instance',
  labels: ['none', 'rim', 'core'],
} as const;

test('evaluation and training follow the regions, and the file keeps them', async () => {
  using model = await UNet3D.create({ ...options, regions, seed: 2, device });
  const loss = diceCrossEntropy({ diceWeights: [0.25, 0.75] });
  const item = cases[0]!;
  const logits = await model.logits(item);
  const weights = {
    dice: 1,
    crossEntropy: 1 / 2,
    smooth: 1e-5,
    batchDice: false,
    diceWeights: Float32Array.of(0.25, 0.75),
  };
  const reference = regionLoss(
    dense([1, 2, 4, 6, 8], (at) => logits[at]!),
    item.label,
    sets,
    weights,
  );
  const [score] = await model.evaluate([item], { loss });
  expect(score!.loss).toBeCloseTo(reference.loss, 5);
  const wanted = Uint8Array.from(item.label, (_, voxel) =>
    logits[192 + voxel]! > 0 ? 1 : logits[voxel]! > 0 ? 2 : 0,
  );
  expect([...score!.predicted]).toEqual([...wanted]);
  expect(new Set(wanted).size).toBeGreaterThan(1);
  expect(score!.dice).toHaveLength(3);

  const store = memory();
  const run = {
    epochs: 4,
    batchSize: 2,
    loss,
    optimizer: adam(),
    schedule: constant({ learningRate: 0.01 }),
    tune: false,
  };
  const stop = new AbortController();
  const steps: number[] = [];
  const training = { ...run, validation: [cases[2]!], checkpoint: store };
  await expect(
    model.fit(cases.slice(0, 2), {
      ...training,
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === 'step') steps.push(event.loss);
        if (event.type === 'epoch' && event.row.epoch === 1) stop.abort();
      },
    }),
  ).rejects.toThrow(/stopped/);
  using resumed = await UNet3D.create({ ...options, regions, seed: 7, device });
  const { history } = await resumed.fit(cases.slice(0, 2), { ...training, resume: true });
  expect(history).toHaveLength(4);
  expect(history[3]!.loss).toBeLessThan(steps[0]!);
  const [after] = await resumed.evaluate([cases[2]!], { loss, postprocess: false });
  const best = history.reduce((a, b) => (b.smoothedDice > a.smoothedDice ? b : a));
  expect(after!.dice).toEqual(best.validationDice);

  using other = await UNet3D.create({ ...options, regions: regions.toReversed(), device });
  await expect(other.fit(cases.slice(0, 2), { ...training, resume: true })).rejects.toThrow(/loss|other/);

  const bytes = await resumed.save();
  expect((await readModel(bytes)).description).toMatchObject({ regions, labels: options.labels });
  using loaded = await UNet3D.load(bytes, { device });
  expect(await loaded.evaluate([cases[1]!], { loss })).toEqual(await resumed.evaluate([cases[1]!], { loss }));
});

test('one region alone: one head, whose sigmoid decides', async () => {
  const foreground = [{ name: 'all', labels: [1, 2], written: 1 }];
  using model = await UNet3D.create({ ...options, classes: 1, regions: foreground, seed: 2, device });
  const item = cases[0]!;
  const logits = await model.logits(item);
  expect(logits).toHaveLength(192);
  const reference = regionLoss(
    dense([1, 1, 4, 6, 8], (at) => logits[at]!),
    item.label,
    [[1, 2]],
    {
      dice: 1,
      crossEntropy: 1,
      smooth: 1e-5,
      batchDice: false,
      negativeDice: true,
      diceWeights: Float32Array.of(1),
    },
  );
  const loss = nnunetRegionLoss(foreground);
  const [score] = await model.evaluate([item], { loss });
  expect(score!.loss).toBeCloseTo(reference.loss, 5);
  expect([...score!.predicted]).toEqual(Array.from(logits, (value) => Number(value > 0)));
  expect(new Set(score!.predicted).size).toBe(2);
  const { history } = await model.fit(cases.slice(0, 2), {
    epochs: 4,
    batchSize: 2,
    loss,
    schedule: constant({ learningRate: 0.01 }),
    tune: false,
    validation: [cases[2]!],
  });
  expect(history[3]!.loss).toBeLessThan(history[0]!.loss);
  expect(history[3]!.validationDice).toHaveLength(2);
  const bytes = await model.save();
  using loaded = await UNet3D.load(bytes, { device });
  expect(await loaded.logits(item)).toEqual(await model.logits(item));

  // Weights alone tell that much of the head.
  const { tensors } = readSafetensors(bytes, 'a model');
  const bare = await readModel(writeSafetensors({ tensors, metadata: {} }));
  expect(bare.description).toMatchObject({
    config: { classes: 1 },
    regions: [{ name: 'foreground', labels: [1], written: 1 }],
  });
});

test('what does not fit is refused', async () => {
  using model = await UNet3D.create({ ...options, regions, device });
  const beyond = { ...cases[0]!, label: cases[0]!.label.map((value) => (value === 2 ? 3 : value)) };
  await expect(model.evaluate([beyond])).rejects.toThrow(InvalidDataset);
  const other = nnunetRegionLoss([regions[0]!, { ...regions[1]!, labels: [1] }]);
  await expect(model.evaluate([cases[0]!], { loss: other })).rejects.toThrow(/other regions/);
  await expect(
    model.fit([cases[0]!], { loss: diceCrossEntropy({ entropyWeights: [1, 1] }) }),
  ).rejects.toThrow(/entropyWeights/);
  expect(model.plan({ size: shape, loss: weightedDice([1, 1]) }).peakBytes).toBeGreaterThan(0);
  using classes = await UNet3D.create({ ...options, classes: 3, device });
  await expect(classes.evaluate([cases[0]!], { loss: nnunetRegionLoss(regions) })).rejects.toThrow(
    InvalidOption,
  );
  for (const wrong of [{ classes: 3 }, { labels: ['none', 'rim'] }])
    await expect(UNet3D.create({ ...options, ...wrong, regions, device })).rejects.toThrow(InvalidOption);
});
