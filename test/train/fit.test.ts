/** The training loop: repeats to the bit, resumes to the bit, stops at what is not finite, refuses what does not fit. */
import { describe, expect, test } from 'vitest';
import { casesInMemory, trainingBatches } from '../../src/data/patches.ts';
import { Aborted, NotFinite, OutOfMemory } from '../../src/errors.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { nnunetAugmentation, type Augmentation } from '../../src/train/augmentation.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { lastModel } from '../../src/train/best-model.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import { adam, adamW } from '../../src/train/optimizers.ts';
import { constant } from '../../src/train/schedules.ts';
import { planTraining } from '../../src/model/plan.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { previousName } from '../../src/files/store.ts';
import { writeHashed } from '../../src/weights/content-hash.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { alteredDevice } from '../support/altered-device.ts';
import { testDevice } from '../support/device.ts';
import { box, memory } from '../support/training.ts';

const cases = [1, 2, 3, 4].map(box);
const options: TrainingOptions = { epochs: 3, batchSize: 2, seed: 5, validation: [box(9)] };

async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  return UNet3D.create({ inChannels: 1, classes: 2, features: [4, 6], seed: 3, device });
}

describe('fit', () => {
  test('two runs with one seed give the same bits; stopped and resumed as well', async () => {
    using whole = await create();
    const result = await whole.fit(cases, options);
    expect(result.history).toHaveLength(3);
    expect(result.history[2]!.loss).toBeLessThan(result.history[0]!.loss);
    const expected = await whole.save();

    using again = await create();
    await again.fit(cases, options);
    expect(await again.save()).toEqual(expected);

    using stopped = await create();
    const checkpoint = memory();
    const abort = new AbortController();
    const run = stopped.fit(cases, {
      ...options,
      checkpoint,
      signal: abort.signal,
      onEvent: (event) => event.type === 'step' && event.step === 2 && abort.abort(),
    });
    await expect(run).rejects.toThrow(Aborted);
    using resumed = await create();
    const rest = await resumed.fit(cases, { ...options, checkpoint, resume: true });
    expect(rest.history.map(({ loss }) => loss)).toEqual(result.history.map(({ loss }) => loss));
    expect(await resumed.save()).toEqual(expected);

    // Where none are to be the best, those of before are not, either.
    for (const more of [{ keepBest: false }, { validation: [] }]) {
      const last = await resumed.fit(cases, { ...options, ...more, checkpoint, resume: true });
      expect(last).toMatchObject({ bestEpoch: 2, bestDice: NaN });
      const file = await lastModel(checkpoint.files.get(checkpointName)!, expected);
      expect((await readModel(await resumed.save())).weights).toEqual((await readModel(file!)).weights);
    }
  });

  test('stopped while it validates, it keeps the steps of the epoch', async () => {
    using stopped = await create();
    const abort = new AbortController();
    const [saved, steps]: number[][] = [[], []];
    const onEvent = (event: TrainingEvent): void => {
      if (event.type === 'start') steps!.push(event.stepsPerEpoch);
      if (event.type === 'checkpoint') saved!.push(event.step);
      if (event.type === 'validation') abort.abort(); // before the second case
    };
    const { signal } = abort;
    const given = { ...options, validation: [cases[0]!, cases[1]!], checkpoint: memory(), signal, onEvent };
    const error: unknown = await stopped.fit(cases, given).catch((found: unknown) => found);
    expect(error).toBeInstanceOf(Aborted);
    expect((error as Aborted).message).toContain(`after step ${steps![0]} of`);
    expect(saved).toEqual([0, steps![0]]);
  });

  test('asked to stop before its first step, it leaves the store and the model as they are', async () => {
    using model = await create();
    const checkpoint = memory();
    await model.fit(cases, { ...options, epochs: 1, checkpoint });
    const [files, description] = [new Map(checkpoint.files), model.description];
    const patch = [8, 8, 8] as const;
    const events: TrainingEvent[] = [];
    const onEvent = (event: TrainingEvent) => void events.push(event);
    const late = { ...options, patch, checkpoint, onEvent, signal: AbortSignal.abort() };
    await expect(model.fit(cases, late)).rejects.toThrow(Aborted);
    expect(events).toEqual([]);
    // While it is made ready.
    const abort = new AbortController();
    const load = () => (abort.abort(), Promise.resolve(undefined));
    const stopped = { ...late, checkpoint: { ...checkpoint, load }, resume: true, signal: abort.signal };
    await expect(model.fit(cases, stopped)).rejects.toThrow('training was stopped before it began');
    // While that it starts is told, and while its first batch is made.
    const inner = trainingBatches(casesInMemory(cases), { batchSize: 1, multiple: 2 });
    for (const when of ['start', 'batch'] as const) {
      const abort = new AbortController();
      const onEvent = ({ type }: TrainingEvent) => type === when && abort.abort();
      const batch = (epoch: number, index: number) => {
        if (when === 'batch') abort.abort();
        return inner.batch(epoch, index);
      };
      const run = model.fit({ ...inner, batch }, { epochs: 1, checkpoint, onEvent, signal: abort.signal });
      await expect(run).rejects.toThrow('training was stopped before it began');
    }
    expect(checkpoint.files).toEqual(files);
    expect(model.description).toEqual(description);
  });

  test('a checkpoint is saved once for each place', async () => {
    using model = await create();
    const abort = new AbortController();
    const saved: number[] = [];
    const onEvent = (event: TrainingEvent): void => {
      if (event.type === 'checkpoint') saved.push(event.step);
      if (event.type === 'epoch') abort.abort();
    };
    const run = model.fit(cases, { ...options, checkpoint: memory(), signal: abort.signal, onEvent });
    await expect(run).rejects.toThrow(/after step 2 of 6; resume/);
    expect(saved).toEqual([0, 2]);
  });

  test('with augmentation: the same bits again, and after a resume; other than without', async () => {
    const augmentation = nnunetAugmentation();
    const short: TrainingOptions = { ...options, epochs: 2, validation: [], augmentation };
    using whole = await create();
    await whole.fit(cases, short);
    const expected = await whole.save();

    using stopped = await create();
    const checkpoint = memory();
    const abort = new AbortController();
    const onEvent = (event: TrainingEvent) => event.type === 'step' && event.step === 1 && abort.abort();
    await expect(stopped.fit(cases, { ...short, checkpoint, signal: abort.signal, onEvent })).rejects.toThrow(
      Aborted,
    );
    using resumed = await create();
    await resumed.fit(cases, { ...short, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(expected);

    using plain = await create();
    const without = { ...short, augmentation: undefined };
    await expect(plain.fit(cases, { ...without, checkpoint, resume: true })).rejects.toThrow(
      /augmentation was/,
    );
    await plain.fit(cases, without);
    expect(await plain.save()).not.toEqual(expected);

    // Where nothing is ever drawn, training is as without augmentation.
    using idle = await create();
    const { mirror, ...rest } = augmentation;
    const never = Object.entries(rest).map(([name, entry]) => [name, { ...entry, probability: 0 }] as const);
    const nothing = { ...Object.fromEntries(never), mirror: mirror.map(() => 0) } as unknown as Augmentation;
    await idle.fit(cases, { ...short, augmentation: nothing });
    const [drawn, none] = [await readModel(await idle.save()), await readModel(await plain.save())];
    expect(drawn.weights).toEqual(none.weights);
  });

  test('a checkpoint of another training is refused, naming the difference', async () => {
    using model = await create();
    const checkpoint = memory();
    await model.fit(cases, { ...options, epochs: 1, checkpoint });
    const other = model.fit(cases, { ...options, epochs: 2, checkpoint, resume: true });
    await expect(other).rejects.toThrow(/epochs was 1 and is 2/);
  });

  test("a caller's batches may come in the same arrays, and go on only in epochs of the same length", async () => {
    using model = await create();
    const inner = trainingBatches(casesInMemory(cases), { batchSize: 1, multiple: 2 });
    const checkpoint = memory();
    const given: TrainingOptions = { epochs: 2, accumulate: 2, checkpoint };
    await model.fit(inner, given);
    using again = await create();
    const held = await inner.batch(0, 0);
    const refilled: BatchSource = {
      ...inner,
      async batch(epoch, index) {
        const { image, label } = await inner.batch(epoch, index);
        held.image.set(image);
        held.label.set(label);
        return held;
      },
    };
    await again.fit(refilled, given);
    expect(await again.save()).toEqual(await model.save());

    for (const batchesPerEpoch of [1, 2, 6])
      await expect(again.fit({ ...inner, batchesPerEpoch }, { ...given, resume: true })).rejects.toThrow(
        /2 of its epochs had ended by step 4, and now an epoch has [13] step\(s\).*as many batches in an epoch/,
      );
  });

  test('one that is refused leaves the model as it was described', async () => {
    using model = await create();
    const checkpoint = memory();
    await model.fit(cases, { ...options, epochs: 1, checkpoint });
    model.describe({ postprocessing: { largestComponent: [1] } });
    const before = model.description;
    const patch = [8, 8, 8] as const;
    const other = model.fit(cases, { ...options, epochs: 1, patch, checkpoint, resume: true });
    await expect(other).rejects.toThrow(/size\.0 was 12 and is 8/);
    expect(model.description).toEqual(before);
    await model.fit(cases, { ...options, epochs: 1, patch });
    expect(model.description).toMatchObject({ inputSize: patch, patches: true, postprocessing: undefined });
  });

  test('one that fails leaves the model as it was described, unless a step was applied', async () => {
    using model = await create();
    const inner = trainingBatches(casesInMemory(cases), { batchSize: 1, multiple: 2 });
    const failing = (at: number): BatchSource => ({
      ...inner,
      batch: (epoch, index) =>
        index < at ? inner.batch(epoch, index) : Promise.reject(new Error('no file')),
    });
    model.describe({ postprocessing: { largestComponent: [1] } });
    const before = model.description;
    const checkpoint = memory();
    checkpoint.files.set('checkpoint.safetensors', new Uint8Array(1));
    await expect(model.fit(failing(0), { epochs: 1, checkpoint })).rejects.toThrow('no file');
    expect(checkpoint.files.get('checkpoint.safetensors')).toHaveLength(1);
    expect(model.description).toEqual(before);
    await expect(model.fit(failing(1), { epochs: 1 })).rejects.toThrow('no file');
    expect(model.description).toMatchObject({ inputSize: inner.size, postprocessing: undefined });
  });

  test('validation without any foreground does not choose: the last weights are kept, and that is told', async () => {
    const empty = { ...box(9), label: new Uint8Array(11 * 9 * 8) };
    const heard: string[] = [];
    const onEvent = (event: TrainingEvent): void => {
      if (event.type === 'warning') heard.push(event.message);
    };
    using model = await create();
    const earlyStopping = { patience: 1 };
    const { history, bestEpoch } = await model.fit(cases, {
      ...options,
      validation: [empty],
      earlyStopping,
      onEvent,
    });
    expect([history.length, bestEpoch]).toEqual([3, 2]);
    expect(heard).toEqual([
      expect.stringMatching(/no case of the validation has any foreground.*does not stop early/),
    ]);
    using plain = await create();
    await plain.fit(cases, { ...options, validation: [] });
    expect((await readModel(await model.save())).weights).toEqual(
      (await readModel(await plain.save())).weights,
    );
  });

  test('what is not finite stops with step and layer, and the weights stay', async () => {
    using model = await create();
    model.describe({ postprocessing: { largestComponent: [1] } });
    const before = await model.save();
    const broken = cases.map((item) => ({
      ...item,
      image: item.image.map((value, i) => (i === 7 ? NaN : value)),
    }));
    const run = model.fit(broken, {
      ...options,
      validation: [],
      optimizer: adam(),
      schedule: constant({ learningRate: 1e-3 }),
    });
    const error: unknown = await run.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(NotFinite);
    expect((error as NotFinite).step).toBe(0);
    expect((error as NotFinite).where).toMatch(/^(encoder|decoder|head)\./);
    expect((error as NotFinite).message).toMatch(/voxels of the images in its batch are NaN or infinite/);
    expect(await model.save()).toEqual(before);
  });

  test('options that are undefined are left to their defaults', async () => {
    expect(adamW({ weightDecay: undefined } as object)).toEqual(adamW());
    expect(adamW().weightDecay).toBe(0.01);
    using model = await create();
    await model.fit(cases, { ...options, epochs: 1 });
    using other = await create();
    const undefinedOnes = {
      optimizer: undefined,
      schedule: undefined,
      precision: undefined,
      loss: undefined,
    };
    await other.fit(cases, { ...options, ...undefinedOnes, epochs: 1 } as unknown as TrainingOptions);
    expect(await other.save()).toEqual(await model.save());
    const { history } = await other.fit(cases, { epochs: undefined } as unknown as TrainingOptions);
    expect(history).toHaveLength(20);
  });

  test('float16: a step whose gradients overflow is skipped, and training goes on and resumes to the bit', async () => {
    // A loss so steep that 65536 times its gradients exceed float16.
    const loss = weightedDice([0, 3000]);
    const settings: TrainingOptions = { ...options, precision: 'f16', loss, epochs: 6, validation: [] };
    const skipped: number[] = [];
    using whole = await create();
    const onEvent = (event: TrainingEvent) => event.type === 'skip' && skipped.push(event.lossScale);
    const result = await whole.fit(cases, { ...settings, onEvent });
    expect(skipped[0]).toBe(65536);
    expect(skipped.length).toBeLessThan(result.steps);
    expect(result.history[5]!.loss).toBeLessThan(3000);

    using stopped = await create();
    const checkpoint = memory();
    const abort = new AbortController();
    const stop = (event: TrainingEvent) => event.type === 'step' && abort.abort();
    const run = stopped.fit(cases, { ...settings, checkpoint, signal: abort.signal, onEvent: stop });
    await expect(run).rejects.toThrow(Aborted);
    using resumed = await create();
    await resumed.fit(cases, { ...settings, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(await whole.save());
  });

  test('float32: the loss scale of a checkpoint is nothing to go on with', async () => {
    using whole = await create();
    const checkpoint = memory();
    await whole.fit(cases, { ...options, epochs: 2, checkpoint });
    const { tensors, metadata } = readSafetensors(
      checkpoint.files.get(previousName(checkpointName))!,
      'a checkpoint',
    );
    const lossScale = { shape: [2], data: new Float32Array([4096, 7]) };
    checkpoint.files.set(
      checkpointName,
      await writeHashed({ tensors: new Map([...tensors, ['lossScale', lossScale]]), metadata }),
    );
    using resumed = await create();
    await resumed.fit(cases, { ...options, epochs: 2, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(await whole.save());
    const now = readSafetensors(checkpoint.files.get(checkpointName)!, 'a checkpoint');
    expect([...now.tensors.get('lossScale')!.data]).toEqual([1, 0]);
  });

  test('what may be given up for memory is given up in order, and told', async () => {
    const { device } = await testDevice();
    using wished = await UNet3D.create({
      inChannels: 1,
      classes: 2,
      features: [8, 16], // so few that not all is nearly free
      norm: 'instance',
      device,
    });
    const shape = { config: wished.config, size: [12, 10, 8], batch: 2, limits: wished.gpu.limits } as const;
    const { plan } = planTraining({
      ...shape,
      accumulate: 2,
      precision: 'f16',
      checkpointing: true,
      loss: lossShape(weightedDice(), 2),
      optimizer: adam(),
    });
    using model = await UNet3D.create({ ...wished.config, device, memoryBudget: plan.peakBytes });
    const events: TrainingEvent[] = [];
    const onEvent = (event: TrainingEvent) => void events.push(event);
    const settings: TrainingOptions = { ...options, epochs: 1, batchSize: 4, validation: [] };
    const result = await model.fit(cases, { ...settings, concessions: 'auto', onEvent });
    expect(events[0]).toMatchObject({
      type: 'concessions',
      taken: ['float16', 'checkpointing', 'accumulation'],
      step: expect.stringMatching(
        /^batch 2 of \[12, 10, 8\] .*, in float16, which recomputes (en|de)coder\.\d\.conv\d.*: \+\d+ % work$/,
      ) as string,
    });
    expect(result.steps).toBe(1);
    expect(model.precision).toBe('f32');
    await expect(model.fit(cases, { ...settings, concessions: ['float16'] })).rejects.toThrow(OutOfMemory);
  });

  test('memory that the GPU lacks is asked for anew by the next run', async () => {
    const { device: real } = await testDevice();
    const scopes: GPUErrorFilter[] = [];
    let isShort = true;
    let problem: GPUError | null = null;
    // What is said to be invalid was too large.
    const device = alteredDevice(real, {
      createBuffer(descriptor: GPUBufferDescriptor) {
        const fails = isShort && descriptor.label === 'results';
        if (fails) isShort = false;
        const usage = fails ? GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE : descriptor.usage;
        return real.createBuffer({ ...descriptor, usage });
      },
      pushErrorScope(filter: GPUErrorFilter) {
        scopes.push(filter);
        real.pushErrorScope(filter);
      },
      async popErrorScope() {
        const filter = scopes.pop();
        const error = await real.popErrorScope();
        if (filter === 'validation') problem = error;
        return filter === 'out-of-memory' ? problem : null;
      },
    });
    using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [4, 6], device });
    const before = model.gpu.allocatedBytes;
    await expect(model.fit(cases, { ...options, epochs: 1 })).rejects.toThrow(OutOfMemory);
    expect(model.gpu.allocatedBytes).toBe(before);
    await model.fit(cases, { ...options, epochs: 1, batchSize: 1 });
  });

  test('a budget that is too small names planned bytes, budget and what fits', async () => {
    const { device } = await testDevice();
    using model = await UNet3D.create({
      inChannels: 1,
      classes: 2,
      features: [4, 8],
      device,
      memoryBudget: 150_000,
    });
    const run = model.fit(cases, { ...options, batchSize: 4 });
    await expect(run).rejects.toThrow(OutOfMemory);
    await expect(model.fit(cases, { ...options, batchSize: 4 })).rejects.toThrow(
      /budget is 146 KiB\. These fit: batch/,
    );
  });
});
