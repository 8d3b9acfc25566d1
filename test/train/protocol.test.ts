/** What lets a training be left alone: averaged weights, early stopping, damaged files, lost devices. */
import { describe, expect, test } from 'vitest';
import { setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { Aborted, DeviceLost, InvalidModel } from '../../src/errors.ts';
import { previousName } from '../../src/files/store.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { constant } from '../../src/train/schedules.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { testDevice } from '../support/device.ts';
import { onDeviceOfItsOwn } from '../support/one-device.ts';
import { box, memory } from '../support/training.ts';

const cases = [1, 2, 3, 4].map(box);
const options: TrainingOptions = { epochs: 3, batchSize: 2, seed: 5, validation: [box(9)] };
const network = { inChannels: 1, classes: 2, features: [4, 6], seed: 3 };

async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  return UNet3D.create({ ...network, device });
}

const weightsOf = async (model: UNet3D) => (await readModel(await model.save())).weights;

describe('averaged weights', () => {
  const ema = { decay: 0.8 };

  test('after one step they are a tenth of the first and nine tenths of the new ones', async () => {
    using model = await create();
    const before = await weightsOf(model);
    const once = { ...options, epochs: 1, batchSize: 4, validation: [] };
    await model.fit(cases, { ...once, ema });
    const averaged = await weightsOf(model);
    using plain = await create();
    await plain.fit(cases, once);
    const after = await weightsOf(plain);
    for (const name of ['parameters', 'statistics'] as const)
      for (const [i, value] of averaged[name].entries())
        expect(value).toBeCloseTo(0.1 * before[name][i]! + 0.9 * after[name][i]!, 5);
    expect(averaged.statistics).not.toEqual(before.statistics);
  });

  test('they are what is validated and saved, and a resumed run ends with the same bits', async () => {
    using whole = await create();
    const result = await whole.fit(cases, { ...options, ema });
    const [score] = await whole.evaluate([box(9)]);
    const shown = result.history[result.bestEpoch]!.validationDice;
    expect([...score!.dice]).toEqual([...shown]);

    const checkpoint = memory();
    const abort = new AbortController();
    using stopped = await create();
    const run = stopped.fit(cases, {
      ...options,
      ema,
      checkpoint,
      signal: abort.signal,
      onEvent: (event) => event.type === 'step' && event.step === 2 && abort.abort(),
    });
    await expect(run).rejects.toThrow(Aborted);
    using resumed = await create();
    await resumed.fit(cases, { ...options, ema, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(await whole.save());
  });
});

test('early stopping ends the run, and a resumed one stops at the same epoch', async () => {
  const still: TrainingOptions = {
    ...options,
    epochs: 9,
    schedule: constant({ learningRate: 0 }),
    earlyStopping: { patience: 2, minDelta: 0.5 },
  };
  using model = await create();
  const result = await model.fit(cases, still);
  expect(result.stoppedEarly).toBe(true);
  expect(result.history).toHaveLength(3); // the first, and two that are no better
  const checkpoint = memory();
  const abort = new AbortController();
  const run = model.fit(cases, {
    ...still,
    checkpoint,
    signal: abort.signal,
    onEvent: (event) => event.type === 'epoch' && event.row.epoch === 1 && abort.abort(),
  });
  await expect(run).rejects.toThrow(Aborted);
  const rest = await model.fit(cases, { ...still, checkpoint, resume: true });
  expect(rest.history).toHaveLength(3);
});

describe('checkpoints', () => {
  test('a damaged one gives way to the one before it, with a warning and the same end', async () => {
    using whole = await create();
    const checkpoint = memory();
    await whole.fit(cases, { ...options, checkpoint });
    const newest = checkpoint.files.get(checkpointName)!;
    checkpoint.files.set(checkpointName, newest.slice(0, newest.length >> 1));
    using model = await create();
    const warnings: string[] = [];
    const onEvent = (event: TrainingEvent) => event.type === 'warning' && warnings.push(event.message);
    await model.fit(cases, { ...options, checkpoint, resume: true, onEvent });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/the one before it is used, of step 4/);
    expect(await model.save()).toEqual(await whole.save());

    checkpoint.files.set(checkpointName, newest.slice(0, 100));
    checkpoint.files.delete(previousName(checkpointName));
    await expect(model.fit(cases, { ...options, checkpoint, resume: true })).rejects.toThrow(InvalidModel);
  });
});

describe('a lost device', () => {
  test('is opened again, and training ends with the bits of a run that kept it', async () => {
    using whole = await create();
    await whole.fit(cases, options);
    using model = await onDeviceOfItsOwn(() => UNet3D.create(network));
    const first = model.gpu;
    const recovered: string[] = [];
    await model.fit(cases, {
      ...options,
      checkpoint: memory(),
      onEvent: (event) => {
        if (event.type === 'recovered') recovered.push(event.message);
        if (event.type === 'step' && event.step === 2 && recovered.length === 0) first.device.destroy();
      },
    });
    expect(recovered).toHaveLength(1);
    expect(recovered[0]).toMatch(/lost.*goes on from the last checkpoint/);
    expect(model.gpu).not.toBe(first);
    expect(await model.save()).toEqual(await whole.save());
  });

  test('stopped while it is lost, training says from where it may go on', async () => {
    const checkpoint = memory();
    using model = await onDeviceOfItsOwn(() => UNet3D.create(network));
    const { gpu } = model;
    const abort = new AbortController();
    const recovered: TrainingEvent[] = [];
    const run = model.fit(cases, {
      ...options,
      checkpoint,
      signal: abort.signal,
      onEvent: (event) => {
        if (event.type === 'recovered') recovered.push(event);
        if (event.type !== 'step' || event.step !== 2) return;
        abort.abort();
        gpu.device.destroy();
      },
    });
    const error: unknown = await run.catch((found: unknown) => found);
    expect(error).toBeInstanceOf(Aborted);
    expect((error as Aborted).message).toMatch(/after the checkpoint of step 2; resume to go on/);
    expect(recovered).toEqual([]);
    const rest = UNet3D.create({ ...network, seed: 77, device: (await testDevice()).device });
    using resumed = await rest;
    await resumed.fit(cases, { ...options, checkpoint, resume: true });
    using whole = await create();
    await whole.fit(cases, options);
    expect(await resumed.save()).toEqual(await whole.save());
  });

  test('that is lost again and again is given up, and at once without checkpoints', async () => {
    let opened = 0;
    setAdapterProvider(async () => {
      const found = await requestNodeAdapter();
      const request = found.adapter.requestDevice.bind(found.adapter);
      found.adapter.requestDevice = async (descriptor) => {
        const device = await onDeviceOfItsOwn(() => request(descriptor));
        if (++opened > 1) device.destroy();
        return device;
      };
      return found;
    });
    const losing = async (given: TrainingOptions) => {
      using model = await onDeviceOfItsOwn(() => UNet3D.create(network));
      const onEvent = (event: TrainingEvent) => event.type === 'start' && model.gpu.device.destroy();
      await expect(model.fit(cases, { ...given, onEvent })).rejects.toThrow(DeviceLost);
      return opened;
    };
    try {
      expect(await losing(options)).toBe(1);
      opened = 0;
      expect(await losing({ ...options, checkpoint: memory() })).toBe(4);
    } finally {
      setAdapterProvider(requestNodeAdapter);
    }
  });

  test('before its first checkpoint, goes on with its own weights, whatever the store holds', async () => {
    const lose = ({ gpu }: UNet3D) => {
      return (event: TrainingEvent) => event.type === 'start' && gpu.device.destroy();
    };
    // Of an older run with the same options.
    const checkpoint = memory();
    using older = await create();
    await older.fit(cases, { ...options, checkpoint });

    using other = await onDeviceOfItsOwn(() => UNet3D.create({ ...network, seed: 77 }));
    await other.fit(cases, { ...options, checkpoint, onEvent: lose(other) });
    const { device } = await testDevice();
    using alone = await UNet3D.create({ ...network, seed: 77, device });
    await alone.fit(cases, options);
    expect(await other.save()).toEqual(await alone.save());

    // A loaded model whose store is empty.
    const bytes = await older.save();
    using loaded = await onDeviceOfItsOwn(() => UNet3D.load(bytes));
    await loaded.fit(cases, { ...options, checkpoint: memory(), onEvent: lose(loaded) });
    using kept = await UNet3D.load(bytes, { device });
    await kept.fit(cases, options);
    expect(await loaded.save()).toEqual(await kept.save());
  });

  test("is not replaced by another run's checkpoint that has come in the place of its own", async () => {
    const checkpoint = memory();
    using older = await create();
    await older.fit(cases, { ...options, checkpoint });
    const foreign = checkpoint.files.get(checkpointName)!;
    using model = await onDeviceOfItsOwn(() => UNet3D.create(network));
    const { gpu } = model;
    const run = model.fit(cases, {
      ...options,
      checkpoint,
      onEvent: (event) => {
        if (event.type !== 'step' || event.step !== 2) return;
        checkpoint.files.set(checkpointName, foreign);
        gpu.device.destroy();
      },
    });
    await expect(run).rejects.toThrow(/another training's checkpoint in place of this one's/);
  });
});

test('a hundred steps leave the GPU memory where it was after the tenth', async () => {
  const { device } = await testDevice();
  using model = await UNet3D.create({ ...network, features: [2], device });
  const image = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  const label = Uint8Array.from(image, (value) => (value > 0 ? 1 : 0));
  const source: BatchSource = {
    size: [4, 4, 4],
    batchSize: 1,
    batchesPerEpoch: 25,
    identity: 'waves',
    batch: () => ({ image, label }),
  };
  const bytes = new Map<number, number>();
  await model.fit(source, {
    epochs: 4,
    onEvent: (event) => event.type === 'step' && bytes.set(event.step, model.gpu.allocatedBytes),
  });
  expect(bytes.get(9)).toBeGreaterThan(0);
  expect(bytes.get(99)).toBe(bytes.get(9));
});
