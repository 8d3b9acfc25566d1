/** Deep supervision: against PyTorch in float64 (test/fixtures/pytorch.py), and resumed as it was begun. */
import { expect, test } from 'vitest';
import type { Size3 } from '../../src/size.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { diceCrossEntropy } from '../../src/model/losses.ts';
import { ModelState } from '../../src/model/state.ts';
import { previousName } from '../../src/files/store.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import { adam } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { flatFrom, namedTensors } from '../../src/weights/named-tensors.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import fixture from '../fixtures/torch/supervised.json';
import { testDevice } from '../support/device.ts';
import { expectClose, relativeError } from '../support/run.ts';
import { bytes, floats, type PackedFloats } from '../support/torch.ts';
import { box, memory } from '../support/training.ts';

const size3 = ([x, y, z]: readonly number[]): Size3 => [x!, y!, z!];

test('the loss of three heads and its gradients, with strides of their own along each axis', async () => {
  const { classes, features } = fixture;
  const [size, strides] = [size3(fixture.size), fixture.strides.map(size3)];
  const config = completeConfig({ inChannels: 1, classes, features, strides, deepSupervision: true });
  const state = new ModelState(await testDevice(), config, 0);
  const weights: Record<string, PackedFloats> = fixture.weights;
  const tensors = new Map(
    Object.entries(weights).map(([name, one]) => [
      name,
      { shape: one.shape, data: Float32Array.from(floats(one)) },
    ]),
  );
  const { layout } = state;
  state.writeWeights({
    parameters: flatFrom(layout.parameters, layout.parameterWords, tensors),
    statistics: flatFrom(layout.statistics, layout.statisticsWords, tensors),
  });
  const loss = diceCrossEntropy({ diceWeights: fixture.diceWeights });
  const session = await TrainingSession.create(state, { size, batchSize: 2, loss, optimizer: adam() });
  const batch = { image: Float32Array.from(floats(fixture.image)), label: bytes(fixture.labels) };
  const still = { learningRate: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };
  const { result } = await session.step([batch], { ...still, maxNorm: Infinity, applied: 0 });
  expectClose([(await result).loss], [fixture.loss], 'loss', 1e-5);
  const found = namedTensors(layout.parameters, await state.read('gradients'));
  const gradients: Record<string, PackedFloats> = fixture.gradients;
  for (const [name, expected] of Object.entries(gradients))
    expect(relativeError(found.get(name)!.data, floats(expected)), name).toBeLessThanOrEqual(1e-3);
  session.dispose();
  state.dispose();
});

test('a training begun with the truth of older versions goes on with it', async () => {
  const network = { inChannels: 1, classes: 2, features: [2, 2, 2, 2], deepSupervision: true, seed: 3 };
  const options: TrainingOptions = { epochs: 2, batchSize: 2, seed: 5 };
  const trained = async (more: TrainingOptions) => {
    using model = await UNet3D.create({ ...network, device: (await testDevice()).device });
    const whole = await model.fit([1, 2, 3, 4].map(box), { ...options, ...more }).then(
      () => true,
      () => false,
    );
    return { whole, weights: await model.save() };
  };
  const stopAt = (step: number): TrainingOptions => {
    const abort = new AbortController();
    const onEvent: TrainingOptions['onEvent'] = (event) =>
      event.type === 'step' && event.step === step && abort.abort();
    return { signal: abort.signal, onEvent };
  };
  /** What is kept before the first step, as older versions wrote it. */
  const older = async () => {
    const checkpoint = memory();
    expect((await trained({ checkpoint, ...stopAt(1) })).whole).toBe(false);
    const before = checkpoint.files.get(previousName(checkpointName))!;
    const { tensors, metadata } = readSafetensors(before, 'checkpoint');
    expect(metadata['coarserTruth']).toBe('"nearest"');
    const kept = new Map(Object.entries({ ...metadata, 'unet3d-gpu checkpoint': '3' }));
    for (const added of ['coarserTruth', 'sha256']) kept.delete(added);
    checkpoint.files.set(checkpointName, writeSafetensors({ tensors, metadata: Object.fromEntries(kept) }));
    checkpoint.files.delete(previousName(checkpointName));
    return checkpoint;
  };
  const now = await trained({});
  const before = await trained({ checkpoint: await older(), resume: true });
  expect(before.weights).not.toEqual(now.weights);

  const checkpoint = await older();
  expect((await trained({ checkpoint, resume: true, ...stopAt(1) })).whole).toBe(false);
  const resumed = await trained({ checkpoint, resume: true });
  expect(resumed).toEqual(before);
});
