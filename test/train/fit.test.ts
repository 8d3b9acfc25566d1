/** The training loop: repeats to the bit, resumes to the bit, stops at what is not finite, refuses what does not fit. */
import { describe, expect, test } from 'vitest';
import { Aborted, NotFinite, OutOfMemory } from '../../src/errors.ts';
import { random } from '../../src/data/random.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { adam } from '../../src/train/optimizers.ts';
import { constant } from '../../src/train/schedules.ts';
import { readModel } from '../../src/weights/model-file.ts';
import type { CheckpointStore } from '../../src/train/checkpoint.ts';
import type { PreparedCase } from '../../src/data/prepare.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { testDevice } from '../support/device.ts';

/** A bright box in noise. */
function box(seed: number): PreparedCase {
  const source = random(seed, 'box');
  const [x0, y0, z0] = [source.int(5), source.int(4), source.int(3)];
  const label = new Uint8Array(11 * 9 * 8);
  for (let i = 0; i < label.length; i++) {
    const [x, y, z] = [i % 11, Math.floor(i / 11) % 9, Math.floor(i / 99)];
    label[i] = x >= x0 && x < x0 + 5 && y >= y0 && y < y0 + 4 && z >= z0 && z < z0 + 4 ? 1 : 0;
  }
  const image = Float32Array.from(label, (value) => value + source.normal(0, 0.3));
  const dims = [11, 9, 8];
  return fromArrays(`box${seed}`, { data: image, dims }, { data: label, dims });
}

const cases = [1, 2, 3, 4].map(box);
const options: TrainingOptions = { epochs: 3, batchSize: 2, seed: 5, validation: [box(9)] };

async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  return UNet3D.create({ inChannels: 1, classes: 2, features: [4, 6], seed: 3, device });
}

/** A store in memory. */
function memory(): CheckpointStore & { files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    save: (name, bytes) => Promise.resolve(void files.set(name, bytes.slice())),
    load: (name) => Promise.resolve(files.get(name)),
  };
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
  });

  test('a checkpoint of another training is refused, naming the difference', async () => {
    using model = await create();
    const checkpoint = memory();
    await model.fit(cases, { ...options, epochs: 1, checkpoint });
    const other = model.fit(cases, { ...options, epochs: 2, checkpoint, resume: true });
    await expect(other).rejects.toThrow(/epochs was 1 and is 2/);
  });

  test('what is not finite stops with step and layer, and the weights stay', async () => {
    using model = await create();
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
    const parameters = (bytes: Uint8Array) => readModel(bytes).weights.parameters;
    expect(parameters(await model.save())).toEqual(parameters(before));
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
