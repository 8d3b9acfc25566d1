/** Options of public calls are looked at, by name, kind and range, before anything starts. */
import { afterAll, describe, expect, test } from 'vitest';
import { fromArrays } from '../../src/data/prepare.ts';
import { InvalidOption } from '../../src/errors.ts';
import { weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { oneCycle } from '../../src/train/schedules.ts';
import { nnunetAugmentation } from '../../src/train/augmentation.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { testDevice } from '../support/device.ts';

const { device } = await testDevice();
const network = { inChannels: 1, classes: 2, features: [2, 3] };
const model = await UNet3D.create({ ...network, device });
afterAll(() => model.dispose());
const dims = [4, 4, 4];
const item = fromArrays('a', { data: new Float32Array(64), dims }, { data: new Uint8Array(64), dims });

const refused = async (call: () => PromiseLike<unknown>, message: string | RegExp): Promise<void> => {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (problem: unknown) => problem,
    );
  expect(error).toBeInstanceOf(InvalidOption);
  expect((error as Error).message).toMatch(message);
};

describe('UNet3D.create', () => {
  test.each<[object, RegExp]>([
    [{ memoryBudget: NaN }, /memoryBudget is NaN; give a number of bytes above 0/],
    [{ memoryBudget: -5 }, /memoryBudget is -5; give/],
    [{ memoryBudget: '1GB' }, /memoryBudget is "1GB"; give/],
    [{ limits: { foo: 1 } }, /limits\.foo is not known; give maxBindingBytes/],
    [{ limits: { maxDispatchFlops: NaN } }, /limits\.maxDispatchFlops is NaN; give/],
    [{ limits: { maxBufferByte: 1 } }, /limits\.maxBufferByte is not known; give maxBufferBytes/],
    [{ precision: 'f8' }, /precision is "f8"; give "f32" or "f16"/],
    [{ classes: 0 }, /classes is 0; give a whole number from 1 to 255/],
    [{ classes: 1 }, /classes is 1 without regions; expected 2 or more, or the region/],
    [{ features: 16 }, /features is 16; give 1 to 8 whole numbers/],
    [{ labels: ['a', 'a'] }, /"a" is there twice/],
    [{ labels: ['a', 'b', 'c'] }, /labels has 3 entries; expected 2/],
    [{ preprocessing: { orientation: 'LPS' } }, /preprocessing\.orientation is "LPS"; give "RAS"/],
    [{ device: {} }, /device is an object; give a GPUDevice/],
    [{ seed: 'x' }, /seed is "x"; give a whole number/],
  ])('%o', async (options, message) => {
    await refused(() => UNet3D.create({ ...network, device, ...options }), message);
  });

  test('without an object', () =>
    refused(() => UNet3D.create(null as never), /takes its options as an object/));
});

describe('fit', () => {
  test.each<[object, RegExp]>([
    [{ maxGradientNorm: -1 }, /maxGradientNorm is -1; give a number above 0/],
    [{ maxGradientNorm: 0 }, /maxGradientNorm is 0; give/],
    [{ maxGradientNorm: NaN }, /maxGradientNorm is NaN; give/],
    [{ onNotFinite: 'foo' }, /onNotFinite is "foo"; give "stop" or "skip"/],
    [{ keepBest: 'no' }, /keepBest is "no"; give true or false/],
    [{ loss: null }, /loss is null; give a loss, such as weightedDice\(\)/],
    [{ loss: { ...weightedDice(), smooth: NaN } }, /loss\.smooth is NaN; give a number from 0 on/],
    [{ optimizer: { ...adam(), kind: 'lion' } }, /optimizer\.kind is "lion"; give "adam", "adamw" or "sgd"/],
    [{ optimizer: { ...adam(), weightDecay: -1 } }, /optimizer\.weightDecay is -1; give/],
    [{ schedule: { name: 'steps' } }, /schedule.* give a schedule, such as oneCycle/],
    [
      { schedule: { ...oneCycle({ maxLearningRate: 1 }), maxLearningRate: NaN } },
      /schedule\.maxLearningRate is NaN; give/,
    ],
    [{ augmentation: {} }, /augmentation\.rotation is missing; give/],
    [
      { augmentation: { ...nnunetAugmentation(), mirror: [2, 0, 0] } },
      /augmentation\.mirror\[0\] is 2; give/,
    ],
    [{ epochs: 1.5 }, /epochs is 1\.5; give a whole number from 1 on/],
    [{ batchSize: 0 }, /batchSize is 0; give/],
    [{ validationWindow: [1, 2] }, /validationWindow\[2\] is missing; give/],
    [{ ema: { decay: 1 } }, /ema\.decay is 1; give a number between 0 and 1/],
    [{ earlyStopping: { patience: 0 } }, /earlyStopping\.patience is 0; give/],
    [{ concessions: ['speed'] }, /concessions.* give 'auto', or any of float16/],
    [{ checkpoint: {} }, /checkpoint is an object; give a store with save and load/],
    [{ signal: true }, /signal is true; give an AbortSignal/],
    [{ onEvent: 1 }, /onEvent is 1; give a function/],
    [{ epohcs: 1 }, /fit has no option 'epohcs': did you mean epochs\?/],
  ])('%o', async (options, message) => {
    await refused(() => model.fit([item], options), message);
  });

  test('without cases or batches', async () => {
    await refused(() => model.fit(null as never), /fit: it is null; give a list of cases/);
    await refused(
      () => model.fit([null] as never),
      /fit: \[0\] is null; give a case as prepareCase gives it/,
    );
    await refused(() => model.fit([item], null as never), /fit takes its options as an object, not null/);
  });
});

test('predict, logits, evaluate, choosePostprocessing, describe and plan', async () => {
  const options = (value: object) => value as never;
  await refused(
    () => model.predict('a.nii', options({ ttaa: true })),
    /predict has no option 'ttaa': did you mean tta/,
  );
  await refused(() => model.predict('a.nii', options({ mirrorAxes: 'x' })), /mirrorAxes is "x"; give a list/);
  await refused(
    () => model.predict('a.nii', options({ mirrorAxes: ['w'] })),
    /mirrorAxes\[0\] is "w"; give x, y or z/,
  );
  await refused(
    () => model.predict('a.nii', options({ overlap: 1 })),
    /overlap is 1; give a number from 0 up to/,
  );
  await refused(() => model.logits(item, options({ window: [4, 4] })), /window\[2\] is missing; give/);
  await refused(() => model.logits(options({})), /logits: it is an object; give a case/);
  await refused(() => model.evaluate([item], options({ loss: null })), /loss is null; give a loss/);
  await refused(() => model.evaluate(options({})), /give a list of cases/);
  await refused(
    () => model.choosePostprocessing([item], options({ tta: 1 })),
    /tta is 1; give true or false/,
  );
  expect(() => model.describe(options({ inputSize: [1] }))).toThrow(/inputSize\[1\] is missing; give/);
  expect(() => model.plan(options({ size: [8, 8] }))).toThrow(/size\[2\] is missing; give/);
});
