/**
 * One model with several callers: any two of its calls, started together and in mid-flight, give what they give one
 * after another, to the bit. Calls that wait leave when they are aborted, and end when the model is disposed of.
 */
import { describe, expect, test, vi } from 'vitest';
import { casesInMemory, trainingBatches } from '../../src/data/patches.ts';
import { Aborted, DeviceLost, InvalidOption } from '../../src/errors.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { crossEntropy } from '../../src/model/losses.ts';
import { Turns } from '../../src/model/turns.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { calls, cases, network, resultsOf } from '../support/calls.ts';
import { testDevice } from '../support/device.ts';
import { memory } from '../support/training.ts';

let trained: Promise<Uint8Array> | undefined;

/** A model that has learned a little, the same each time. */
async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  trained ??= (async () => {
    using model = await UNet3D.create({ ...network, device });
    await model.fit(cases, { epochs: 2, batchSize: 1 });
    return await model.save();
  })();
  return UNet3D.load(await trained, { device });
}

const names = Object.keys(calls);

describe.each(names)('%s, and meanwhile', (a) => {
  test.each(names.filter((b) => !(a === 'fit' && b === 'fit')))('%s', async (b) => {
    using model = await create();
    const pair = [calls[a]!, calls[b]!];
    const expected = await resultsOf(model, pair, 'one after another');
    for (const timing of ['together', 'in mid-flight'] as const) {
      using other = await create();
      expect(await resultsOf(other, pair, timing), timing).toEqual(expected);
    }
  });
});

test('a second training is refused by name, and changes nothing of the first', async () => {
  using model = await create();
  const run = model.fit(cases, { epochs: 2, batchSize: 1 });
  const second = model.fit(cases, { epochs: 1 });
  await expect(second).rejects.toThrow(InvalidOption);
  await expect(second).rejects.toThrow('this model is training: wait for the run, or abort it');
  await run;
  using alone = await create();
  await alone.fit(cases, { epochs: 2, batchSize: 1 });
  expect(await model.save()).toEqual(await alone.save());
  await model.fit(cases, { epochs: 1 }); // afterwards it is free
});

test('what is called from the events of a training finds the trained model, and leaves the training as it is', async () => {
  using alone = await create();
  const losses: number[] = [];
  await alone.fit(cases, {
    epochs: 2,
    batchSize: 1,
    onEvent: (event) => event.type === 'step' && losses.push(event.loss),
  });
  using model = await create();
  const seen: number[] = [];
  const asked: Promise<unknown>[] = [];
  await model.fit(cases, {
    epochs: 2,
    batchSize: 1,
    onEvent: (event) => {
      if (event.type !== 'step') return;
      seen.push(event.loss);
      asked.push(model.evaluate([cases[0]], { loss: crossEntropy([0.1, 0.9]) }));
    },
  });
  expect(seen).toEqual(losses);
  expect(await model.save()).toEqual(await alone.save());
  const after = await alone.evaluate([cases[0]], { loss: crossEntropy([0.1, 0.9]) });
  for (const scores of await Promise.all(asked)) expect(scores).toEqual(after);
});

test("the caller's own batches may ask the model, which does not change the training", async () => {
  const inner = trainingBatches(casesInMemory(cases), { batchSize: 1, multiple: 2 });
  const options = { epochs: 2 };
  using alone = await create();
  await alone.fit(inner, options);
  using model = await create();
  let asked = 0;
  const asking: BatchSource = {
    ...inner,
    batch: async (epoch, index) => {
      const [score] = await model.evaluate([cases[index]!]);
      await model.logits(cases[index]!);
      if (score) asked++;
      return inner.batch(epoch, index);
    },
  };
  await model.fit(asking, options);
  expect(asked).toBe(2 * inner.batchesPerEpoch);
  expect(await model.save()).toEqual(await alone.save());
});

test('while batches ask the model, the step has no memory', async () => {
  using model = await create();
  const inner = trainingBatches(casesInMemory(cases), { batchSize: 3, multiple: 2 });
  const seen: number[] = [];
  const asking: BatchSource = {
    ...inner,
    batch: async (epoch, index) => {
      const small = { shape: [4, 4, 4], image: new Float32Array(64) } as const;
      const onProgress = () => void seen.push(model.gpu.allocatedBytes);
      await model.logits(small, { onProgress });
      return inner.batch(epoch, index);
    },
  };
  let stepBytes = 0;
  const onEvent = (event: TrainingEvent): void => {
    if (event.type === 'start') stepBytes = event.gpuBytes;
  };
  await model.fit(asking, { epochs: 3, onEvent });
  expect(seen).toHaveLength(3);
  for (const bytes of seen) expect(bytes).toBeLessThan(stepBytes);
});

test('a description that is added between two steps is of its own call', async () => {
  using model = await create();
  const inner = trainingBatches(casesInMemory(cases), { batchSize: 3, multiple: 2 });
  const saved: Uint8Array[] = [];
  const asking: BatchSource = {
    ...inner,
    batch: async (epoch, index) => {
      model.describe({ labels: ['nothing', 'corner'] });
      saved.push(await model.save());
      return inner.batch(epoch, index);
    },
  };
  const run = model.fit(asking, { epochs: 1 });
  model.describe({ channels: ['bright'] });
  await run;
  const { description } = await readModel(saved[0]!);
  expect(description).toMatchObject({ labels: ['nothing', 'corner'], channels: [] });
  await model.save();
  expect(model.description).toMatchObject({ labels: ['nothing', 'corner'], channels: ['bright'] });
});

test('a call that reads leaves at once when it is aborted, and the next has its turn', async () => {
  const turns = new Turns();
  const { signal, abort } = listened();
  const ahead = () => new Promise<never>(() => undefined);
  const reading = turns.take({ name: 'prediction', signal, ahead }, () => 'read');
  const next = turns.take({ name: 'save' }, () => 'saved');
  abort();
  await expect(reading).rejects.toThrow(new Aborted('prediction was stopped while it read its files'));
  expect(await next).toBe('saved');
});

test('a call that has ended, however it does, no longer listens to its signal', async () => {
  const turns = new Turns();
  const { signal, listeners } = listened();
  const ahead = () => Promise.resolve('read');
  expect(await turns.take({ name: 'first', signal, ahead }, (read) => read)).toBe('read');
  const running = turns.take({ name: 'second' }, () => new Promise<never>(() => undefined));
  const waiting = turns.take({ name: 'third', signal }, () => 'never');
  expect(listeners()).toBe(1);
  turns.close(new DeviceLost('gone'));
  for (const call of [running, waiting]) await expect(call).rejects.toThrow('gone');
  expect(listeners()).toBe(0);
});

/** A signal, and how many listen to it. */
function listened() {
  const controller = new AbortController();
  const { signal } = controller;
  const [add, remove] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
  const listeners = (): number => {
    const left = new Set(add.mock.calls.map(([, listener]) => listener));
    for (const [, listener] of remove.mock.calls) left.delete(listener);
    return left.size;
  };
  return { signal, abort: () => controller.abort(), listeners };
}

test('a call that waits leaves at once when it is aborted; the others go on', async () => {
  using model = await create();
  const abort = new AbortController();
  const order: string[] = [];
  const note = (name: string) => () => void order.push(name);
  const before = model.logits(cases[0]).finally(note('before'));
  const aborted = model.predict(new Uint8Array(4), { signal: abort.signal }).finally(note('aborted'));
  const after = model.logits(cases[1]).finally(note('after'));
  abort.abort();
  await expect(aborted).rejects.toThrow(Aborted);
  await expect(aborted).rejects.toThrow(
    "prediction was stopped while it waited for the model's earlier calls",
  );
  await Promise.all([before, after]);
  expect(order).toEqual(['aborted', 'before', 'after']);
  const late = model.logits(cases[0], { signal: abort.signal });
  await expect(late).rejects.toThrow(Aborted);
});

test('dispose ends what runs and what waits with a named error', async () => {
  const model = await create();
  const running = ['fit', 'predict', 'evaluate', 'save', 'logits through windows'].map((name) =>
    calls[name]!(model, () => undefined),
  );
  const outcomes = Promise.allSettled(running);
  await new Promise((resolve) => setTimeout(resolve, 1));
  model.dispose();
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(DeviceLost) as unknown });
    expect((outcome as PromiseRejectedResult).reason).toMatchObject({
      message: expect.stringMatching(/^the model or its GPU was disposed/) as unknown,
    });
  }
});

test('when dispose has ended a training, its store is let go', async () => {
  const model = await create();
  let isHeld = false;
  const checkpoint = {
    ...memory(),
    hold() {
      isHeld = true;
      return Promise.resolve({ [Symbol.dispose]: () => void (isHeld = false) });
    },
  };
  const inner = trainingBatches(casesInMemory(cases), { batchSize: 3, multiple: 2 });
  let isAsked = (): void => undefined;
  const asked = new Promise<void>((resolve) => (isAsked = resolve));
  const endless: BatchSource = { ...inner, batch: () => (isAsked(), new Promise<never>(() => undefined)) };
  const run = model.fit(endless, { epochs: 1, checkpoint });
  await asked;
  expect(isHeld).toBe(true);
  model.dispose();
  await expect(run).rejects.toThrow(DeviceLost);
  expect(isHeld).toBe(false);
});

test('a file that cannot be read fails alone', async () => {
  using model = await create();
  const damaged = model.predict(new Uint8Array(4));
  const sound = model.logits(cases[0]);
  await expect(damaged).rejects.toThrow();
  expect(await sound).toEqual(await model.logits(cases[0]));
});
