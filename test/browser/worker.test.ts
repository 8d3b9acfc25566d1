/** The model in a worker: the same results as on the page, abort and resume, a killed worker, a lost device. */
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { Aborted, DeviceLost, InvalidOption } from '../../src/errors.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { phantom } from '../../src/data/phantom.ts';
import { UNet3D as Local, type LabelledCase } from '../../src/unet3d.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import { privateStore, QuotaExceeded } from '../../src/files/private.browser.ts';
import { bestModel, lastModel } from '../../src/train/best-model.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { UNet3D } from '../../src/worker/client.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { calls, network, resultsOf, type Timing } from '../support/calls.ts';

const options = { inChannels: 1, classes: 6, features: [4, 8], seed: 3 };
/** Of few kernels: each device that is not shared compiles them again. */
const tiny = { ...options, features: [4], kernels: [[1, 1, 1]] } as const;
const epochs = 3;

function makeCase(subject: number): LabelledCase {
  const { image, labels, shape, affine } = phantom(subject, { shape: [8, 8, 8] });
  const dims = [...shape];
  return fromArrays(
    `case ${subject}`,
    { data: image, dims, affine },
    { data: labels, dims, affine },
  ) as LabelledCase;
}
const training = [makeCase(0), makeCase(1)];
const validation = [makeCase(2)];

const workers: Worker[] = [];
const thread = (): Worker => {
  const worker = new Worker(new URL('../../src/worker/thread.ts', import.meta.url), { type: 'module' });
  workers.push(worker);
  return worker;
};
afterEach(() => workers.splice(0).forEach((worker) => worker.terminate()));

/** One for all tests that leave it as they found it: the models that it holds one after another share a device. */
let shared: Worker | undefined;
const sharedThread = (): Worker =>
  (shared ??= new Worker(new URL('./sharing.worker.ts', import.meta.url), { type: 'module' }));
afterAll(() => shared?.terminate());

const store = async (name: string) => {
  const opened = await privateStore(`test ${name}`);
  for (const file of await opened.list()) await opened.remove(file);
  return opened;
};

/** Losses and weights of the same training without a worker. */
async function localRun(network: typeof options | typeof tiny) {
  using model = await Local.create(network);
  const { history } = await model.fit(training, { epochs, validation });
  const weights = await model.save();
  return { losses: history.map(({ loss }) => loss), weights };
}
let local: ReturnType<typeof localRun> | undefined;
const expected = () => (local ??= localRun(options));

test('trains, evaluates and saves as the model on the page does, to the last bit', async () => {
  using model = await UNet3D.create({ ...options, worker: sharedThread() });
  const events: TrainingEvent[] = [];
  const run = model.fit(training, { epochs, validation, preview: validation[0]! });
  for await (const event of run) events.push(event);
  const { history } = await run;
  const { losses, weights } = await expected();
  expect(history.map(({ loss }) => loss)).toEqual(losses);
  expect(await model.save()).toEqual(weights);
  const previews = events.filter((event) => event.type === 'preview');
  expect(previews.map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
  expect(previews[0]!.score.predicted).toHaveLength(8 ** 3);
  expect(training[0]!.image).toHaveLength(8 ** 3); // copied, not moved

  const list = [...validation];
  const scores = model.evaluate(list);
  list.length = 0; // not seen by the call
  const [score] = await scores;
  expect(score!.dice).toHaveLength(6);
  expect(model.plan({ size: [8, 8, 8] }).peakBytes).toBeGreaterThan(0);
  expect(model.description.inputSize).toEqual([8, 8, 8]);
});

test('cases may carry the files that they were prepared from, URLs among them; these stay here', async () => {
  const files = { images: [new URL('https://site.test/scan.nii')], subject: 'one' };
  const carrying = (cases: readonly LabelledCase[]) =>
    cases.map((item) => ({ ...item, image: item.image.slice(), label: item.label.slice(), ...files }));
  using model = await UNet3D.create({ ...tiny, worker: sharedThread() });
  const [train, held] = [carrying(training), carrying(validation)];
  expect((await model.evaluate(held)).length).toBe(1);
  expect((await model.logits(held[0]!)).length).toBe(6 * 512);
  await model.choosePostprocessing(held);
  const bytes = new Uint8Array(8);
  const given = train.map((item) => ({ ...item, images: [bytes] }));
  await model.fit(given, { epochs: 1, validation: held, preview: held[0]!, transfer: true });
  expect([given[0]!.image.length, bytes.length]).toEqual([0, 8]);
});

test('without randomUUID, which pages over plain HTTP lack, a model opens all the same', async () => {
  vi.spyOn(crypto, 'randomUUID').mockImplementation(() => {
    throw new TypeError('crypto.randomUUID is not a function');
  });
  (await UNet3D.create({ ...tiny, worker: sharedThread() })).dispose();
  vi.restoreAllMocks();
});

test('nothing in place of a source is refused as on the page', async () => {
  using model = await UNet3D.create({ ...tiny, worker: sharedThread() });
  await expect(model.predict(null as unknown as Blob)).rejects.toThrow(InvalidOption);
});

test('takes a network of residual blocks with kernels and strides per axis', async () => {
  const network = {
    ...options,
    norm: 'instance',
    strides: [[2, 2, 1]],
    kernels: [
      [3, 3, 1],
      [3, 3, 3],
    ],
    block: 'residual',
    encoderBlocks: [1, 2],
    down: 'conv',
  } as const;
  using inWorker = await UNet3D.create({ ...network, worker: sharedThread() });
  using onPage = await Local.create(network);
  expect(inWorker.config).toMatchObject({ block: 'residual', kernels: network.kernels });
  const [found, expected] = [await inWorker.logits(training[0]!), await onPage.logits(training[0]!)];
  expect(found).toEqual(expected);
  expect(await inWorker.save()).toEqual(await onPage.save());
  await expect(
    UNet3D.create({ ...network, kernels: [[3, 3, 2]] as never, worker: thread() }),
  ).rejects.toThrow(/kernels\[0\]\[2\] is 2; give x, y, z of 1 or 3 for each level/);
});

test("the caller's own batches are copied, or moved where that is asked for", async () => {
  using model = await UNet3D.create({ ...tiny, worker: sharedThread() });
  const { image, label } = makeCase(0);
  const kept = { image, label };
  const source = { size: [8, 8, 8], batchSize: 1, batchesPerEpoch: 2, identity: 'kept' } as const;
  await model.fit({ ...source, batch: () => kept }, { epochs: 1 });
  expect(kept.image).toHaveLength(8 ** 3);
  const fresh = { ...source, batchesPerEpoch: 1, batch: () => kept };
  await model.fit(fresh, { epochs: 1, transfer: true });
  expect(kept.image).toHaveLength(0);
});

test('an abort saves, and resuming gives what an uninterrupted run gives', async () => {
  const worker = sharedThread();
  using model = await UNet3D.create({ ...options, worker });
  const checkpoint = await store('resume');
  const controller = new AbortController();
  const stopped = model.fit(training, {
    epochs,
    validation,
    checkpoint,
    signal: controller.signal,
    onEvent: (event) => {
      if (event.type === 'epoch' && event.row.epoch === 0) controller.abort();
    },
  });
  await expect(stopped).rejects.toBeInstanceOf(Aborted);
  expect(model.description.inputSize).toEqual([8, 8, 8]);
  const best = await bestModel((await checkpoint.load(checkpointName))!, await model.save());
  const now = await model.save();
  expect(readSafetensors(best!).tensors.size).toBe(readSafetensors(now).tensors.size);
  const last = await lastModel((await checkpoint.load(checkpointName))!, now);
  expect(readSafetensors(last!).tensors).toEqual(readSafetensors(now).tensors);
  model.dispose();

  using second = await UNet3D.create({ ...options, worker });
  const { history } = await second.fit(training, { epochs, validation, checkpoint, resume: true });
  const { losses, weights } = await expected();
  expect(history.map(({ loss }) => loss)).toEqual(losses);
  expect(await second.save()).toEqual(weights);
  second.dispose();

  // The worker reads the file itself.
  using third = await UNet3D.load(new Blob([weights]), { worker });
  expect(readSafetensors(await third.save()).tensors).toEqual(readSafetensors(weights).tensors);
});

test('a device that is lost in training is replaced, and training ends as if nothing had happened', async () => {
  const worker = new Worker(new URL('./losing.worker.ts', import.meta.url), { type: 'module' });
  workers.push(worker);
  using model = await UNet3D.create({ ...tiny, worker });
  const recovered: string[] = [];
  const { history } = await model.fit(training, {
    epochs,
    validation,
    checkpoint: await store('lost device'),
    onEvent: (event) => {
      if (event.type === 'recovered') recovered.push(event.message);
    },
  });
  expect(recovered).toHaveLength(1);
  expect(recovered[0]).toContain('goes on from the last checkpoint');
  expect(history.map(({ loss }) => loss)).toEqual((await localRun(tiny)).losses);
});

test('a worker that the caller made holds one model at a time; what one has asked is no answer to the next', async () => {
  const saved = async (seed: number) => {
    using model = await Local.create({ ...options, seed });
    return await model.save();
  };
  const worker = thread();
  const first = await UNet3D.create({ ...options, worker });
  await expect(UNet3D.create({ ...options, seed: 4, worker })).rejects.toThrow(
    /this worker holds another model: dispose of that one first/,
  );
  expect(await first.save()).toEqual(await saved(3));
  const asked = Promise.allSettled([first.save(), first.save(), first.save()]);
  await Promise.resolve(); // they are sent
  first.dispose();
  const second = await UNet3D.create({ ...options, seed: 5, worker });
  for (const answer of await asked) expect(answer).toMatchObject({ reason: { name: 'DeviceLost' } });
  expect(await second.save()).toEqual(await saved(5));
  second.dispose();
});

test('a killed worker rejects what is pending and what follows', async () => {
  const worker = thread();
  const model = await UNet3D.create({ ...tiny, worker });
  const run = model.fit(training, {
    epochs: 1000,
    onEvent: (event) => {
      if (event.type === 'start') worker.terminate();
    },
  });
  await expect(run).rejects.toBeInstanceOf(DeviceLost);
  await expect(model.save()).rejects.toThrow('resume from the last checkpoint');
});

test('errors keep their class and their message on the way over', async () => {
  await expect(UNet3D.create({ ...options, classes: 1, worker: thread() })).rejects.toSatisfy(
    (error) => error instanceof InvalidOption && error.message.includes('classes is 1'),
  );
});

test('so do those of the page, which the worker passes on', async () => {
  using model = await UNet3D.create({ ...tiny, worker: sharedThread() });
  const full = new QuotaExceeded('the disk is full', 9, 5);
  const checkpoint = { save: () => Promise.reject(full), load: () => Promise.resolve(undefined) };
  await expect(model.fit(training, { epochs: 1, checkpoint })).rejects.toSatisfy(
    (error) => error instanceof QuotaExceeded && error.needed === 9 && error.available === 5,
  );
});

test('a model is opened by its address', async () => {
  using model = await UNet3D.create({ ...tiny, worker: sharedThread() });
  const address = new URL(URL.createObjectURL(new Blob([await model.save()])));
  model.dispose();
  using again = await UNet3D.load(address, { worker: sharedThread() });
  expect(again.config).toMatchObject({ classes: 6, features: [4] });
});

test('a worker whose script is not there is an error, not a wait', async () => {
  const worker = new Worker(new URL('/no/such/file.js', location.href), { type: 'module' });
  await expect(UNet3D.create({ ...options, worker })).rejects.toBeInstanceOf(DeviceLost);
});

// Two orders, so that each call comes before and after each other one; test/model/turns.test.ts has both timings of both.
test.each([
  ['together', Object.values(calls)],
  ['in mid-flight', Object.values(calls).reverse()],
] as const)('all calls, %s: what each gives does not change', async (timing, sequence) => {
  const worker = sharedThread();
  const results = async (timing: Timing) => {
    using model = await UNet3D.create({ ...network, worker });
    return await resultsOf(model, sequence, timing);
  };
  expect(await results(timing)).toEqual(await results('one after another'));
});

test('a store that is held only when its training is over is let go', async () => {
  const model = await UNet3D.create({ ...options, worker: thread() });
  let isAsked = (): void => undefined;
  const asked = new Promise<void>((resolve) => (isAsked = resolve));
  let give = (_lock: Disposable): void => undefined;
  const checkpoint = {
    save: () => Promise.resolve(),
    load: () => Promise.resolve(undefined),
    hold() {
      isAsked();
      return new Promise<Disposable>((resolve) => (give = resolve));
    },
  };
  const run = model.fit(training, { epochs, checkpoint });
  await asked;
  model.dispose();
  await expect(run).rejects.toThrow(DeviceLost);
  const letGo = new Promise<void>((resolve) => give({ [Symbol.dispose]: resolve }));
  await letGo;
});
