/** Going on from another model's weights: what is taken over, what begins anew, what stays frozen to the bit. */
import { expect, test } from 'vitest';
import { Aborted, InvalidModel, InvalidOption } from '../../src/errors.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { planTraining } from '../../src/model/plan.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { sgd } from '../../src/train/optimizers.ts';
import { constant } from '../../src/train/schedules.ts';
import { UNet3D, type CreateOptions, type TrainingOptions } from '../../src/unet3d.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { box, memory } from '../support/training.ts';

const cases = [1, 2].map(box);
const network: Omit<CreateOptions, 'device'> = { inChannels: 1, classes: 2, features: [2, 3], norm: 'batch' };

async function create(changes: Partial<CreateOptions> = {}): Promise<UNet3D> {
  return UNet3D.create({ ...network, seed: 1, ...changes, device: (await testDevice()).device });
}

/** Weights and running statistics by name. */
async function weightsOf(model: UNet3D): Promise<Map<string, number[]>> {
  const { tensors } = readSafetensors(await model.save(), 'the model');
  return new Map([...tensors].map(([name, { data }]) => [name, [...data]]));
}

const encoder = (weights: Map<string, number[]>) =>
  [...weights].filter(([name]) => name.startsWith('encoder.'));

test('a frozen encoder keeps its bits, through weight decay, averages and a resume; the rest learns', async () => {
  const options: TrainingOptions = {
    epochs: 3,
    batchSize: 2,
    freeze: 'encoder',
    optimizer: sgd({ weightDecay: 0.1 }),
    schedule: constant({ learningRate: 0.1 }),
    ema: { decay: 0.9 },
  };
  using model = await create();
  const before = await weightsOf(model);
  const events: TrainingEvent[] = [];
  await model.fit(cases, { ...options, onEvent: (event) => events.push(event) });
  const after = await weightsOf(model);
  expect(encoder(before).length).toBeGreaterThan(0);
  expect(encoder(after)).toEqual(encoder(before));
  for (const name of ['decoder.0.conv1.weight', 'decoder.0.norm1.running_mean', 'head.bias'])
    expect(after.get(name), name).not.toEqual(before.get(name));
  expect(events.find(({ type }) => type === 'start')).toMatchObject({ freeze: 'encoder' });

  using stopped = await create();
  const checkpoint = memory();
  const abort = new AbortController();
  const onEvent = (event: TrainingEvent) => event.type === 'step' && event.step === 1 && abort.abort();
  await expect(stopped.fit(cases, { ...options, checkpoint, signal: abort.signal, onEvent })).rejects.toThrow(
    Aborted,
  );
  using resumed = await create();
  await expect(
    resumed.fit(cases, { ...options, freeze: undefined as never, checkpoint, resume: true }),
  ).rejects.toThrow(/freeze was "encoder" and is absent/);
  await resumed.fit(cases, { ...options, checkpoint, resume: true });
  expect(await resumed.save()).toEqual(await model.save());
});

test('the gradients of what is not frozen are those of the whole network', async () => {
  const step: TrainingOptions = {
    epochs: 1,
    batchSize: 2,
    optimizer: sgd({ momentum: 0, weightDecay: 0 }),
    schedule: constant({ learningRate: 0.5 }),
  };
  const trained = async (freeze?: 'encoder') => {
    // An instance norm computes the same in and out of training.
    using model = await create({ norm: 'instance' });
    await model.fit(cases, { ...step, ...(freeze && { freeze }) });
    return await weightsOf(model);
  };
  const [whole, frozen] = [await trained(), await trained('encoder')];
  const rest = (weights: Map<string, number[]>) =>
    [...weights].filter(([name]) => !name.startsWith('encoder.'));
  expect(rest(frozen)).toEqual(rest(whole));
  expect(encoder(frozen)).not.toEqual(encoder(whole));
});

test('frozen batch norms compute with their running statistics', async () => {
  const firstLoss = async (freeze: 'encoder' | undefined, mean: number) => {
    using model = await create();
    const { tensors, metadata } = readSafetensors(await model.save(), 'the model');
    const moved = { shape: [2], data: new Float32Array(2).fill(mean) };
    const changed = new Map([...tensors, ['encoder.0.norm1.running_mean', moved] as const]);
    await model.takeWeights(
      writeSafetensors({ tensors: changed, metadata: { 'unet3d-gpu': metadata['unet3d-gpu']! } }),
    );
    const { history } = await model.fit(cases, { epochs: 1, batchSize: 2, ...(freeze && { freeze }) });
    return history[0]!.loss;
  };
  expect(await firstLoss(undefined, 0)).toBe(await firstLoss(undefined, 3));
  expect(await firstLoss('encoder', 0)).not.toBe(await firstLoss('encoder', 3));
});

test('a frozen encoder needs less memory and less work', () => {
  const config = completeConfig({ inChannels: 1, classes: 2, features: [8, 16, 32] });
  const shape = { config, size: [32, 32, 32] as const, batch: 2, limits: defaultLimits, optimizer: sgd() };
  const plan = (freeze?: 'encoder') =>
    planTraining({ ...shape, loss: lossShape(weightedDice(), 2), freeze }).plan;
  const [whole, frozen] = [plan(), plan('encoder')];
  expect(frozen.peakBytes).toBeLessThan(whole.peakBytes);
  expect(frozen.flops).toBeLessThan(whole.flops);
});

test('weights are taken over but for heads that do not fit, which are named', async () => {
  using source = await create({ seed: 7, labels: ['background', 'box'] });
  const saved = await source.save();
  const from = await weightsOf(source);
  const taken = async (changes: Partial<CreateOptions>, heads?: 'auto' | 'keep' | 'new') => {
    using model = await create(changes);
    const before = await weightsOf(model);
    const anew = await model.takeWeights(saved, heads && { heads });
    const after = await weightsOf(model);
    for (const [name, values] of after)
      expect(values, name).toEqual((name.startsWith('head.') && anew.length > 0 ? before : from).get(name));
    return anew;
  };
  expect(await taken({})).toEqual([]);
  expect(await taken({ labels: ['background', 'box'] })).toEqual([]);
  expect(await taken({ labels: ['background', 'ball'] })).toEqual(['head']);
  expect(await taken({ labels: ['background', 'ball'] }, 'keep')).toEqual([]);
  expect(await taken({}, 'new')).toEqual(['head']);
  expect(await taken({ classes: 3 })).toEqual(['head']);
  await expect(taken({ classes: 3 }, 'keep')).rejects.toThrow(
    /heads of the model file are for 2 classes, those of this network for 3/,
  );
  await expect(taken({ features: [2, 4] })).rejects.toThrow(InvalidModel);
  await expect(taken({ features: [2, 3, 4] })).rejects.toThrow(/encoder\.2\.conv1\.weight .* is missing/);
  await expect(taken({ norm: 'instance' })).rejects.toThrow(/running_mean has no place here/);
});

test('the next training tells which heads begin anew, and the one after it nothing', async () => {
  using source = await create();
  using model = await create({ classes: 3 });
  await model.takeWeights(await source.save());
  // One that does not begin is none.
  await expect(model.fit(cases, { earlyStopping: { patience: 1 } })).rejects.toThrow(InvalidOption);
  const starts: TrainingEvent[] = [];
  const onEvent = (event: TrainingEvent) => event.type === 'start' && starts.push(event);
  for (let run = 0; run < 2; run++) await model.fit(cases, { epochs: 1, batchSize: 2, onEvent });
  expect(starts[0]).toMatchObject({ anew: ['head'] });
  expect(starts[1]).not.toHaveProperty('anew');
});

test('what cannot be frozen is refused', async () => {
  using model = await create();
  await expect(model.fit(cases, { freeze: 'decoder' as never })).rejects.toThrow(InvalidOption);
});
