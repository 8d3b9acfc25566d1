/**
 * One model with several callers: any two of its calls, started together and in mid-flight, give what they give one
 * after another, to the bit. Calls that wait leave when they are aborted, and end when the model is disposed of.
 */
import { describe, expect, test } from 'vitest';
import { casesInMemory, trainingBatches } from '../../src/data/patches.ts';
import { Aborted, DeviceLost, InvalidOption } from '../../src/errors.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { crossEntropy } from '../../src/model/losses.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { calls, cases, network, resultsOf } from '../support/calls.ts';
import { testDevice } from '../support/device.ts';

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

test('a file that cannot be read fails alone', async () => {
  using model = await create();
  const damaged = model.predict(new Uint8Array(4));
  const sound = model.logits(cases[0]);
  await expect(damaged).rejects.toThrow();
  expect(await sound).toEqual(await model.logits(cases[0]));
});
