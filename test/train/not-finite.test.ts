/**
 * A step that is not finite changes nothing: compared, bit by bit, with the same training without it. Several steps are
 * on their way each time.
 */
import { describe, expect, test } from 'vitest';
import { Aborted, NotFinite } from '../../src/errors.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { ModelState } from '../../src/model/state.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { constant } from '../../src/train/schedules.ts';
import { TrainingSession, type Batch } from '../../src/train/session.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { memory } from '../support/training.ts';

const network = { inChannels: 1, classes: 2, features: [4, 6], seed: 3 };

/** A batch of one volume; the same for each seed. */
function volume(seed: number, broken = false): Batch {
  const image = Float32Array.from({ length: 960 }, (_, i) => Math.sin(i + seed));
  const label = Uint8Array.from(image, (value) => (value > 0 ? 1 : 0));
  if (broken) image[17] = NaN;
  return { image, label };
}

async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  return UNet3D.create({ ...network, device });
}

/** All that training keeps from step to step. */
const kept = [
  ...['parameters', 'statistics', 'optimizer.first', 'optimizer.second'],
  ...['average.parameters', 'average.statistics', 'lossScale'],
];

describe.each(['f32', 'f16'] as const)('steps in %s', (precision) => {
  interface Sent {
    /** Batches of each step; all steps are submitted before the first is waited for. */
    readonly steps: readonly (readonly Batch[])[];
    readonly mostSkipped?: number;
    readonly lossScale?: number;
    readonly weights?: readonly number[];
    /** What the first broken gradient is looked for in afterwards. */
    readonly lookedAt?: readonly Batch[];
  }

  /** A training's device, and all that it keeps, bit by bit. */
  async function open(accumulate: number, lossScale = 1, weights: readonly number[] = [0.5, 0.5]) {
    const state = new ModelState(await testDevice(), completeConfig(network), network.seed);
    state.precision = precision;
    const loss = weightedDice(weights);
    const shape = { size: [12, 10, 8] as const, batchSize: 1, loss, optimizer: adam() };
    const session = await TrainingSession.create(state, { ...shape, accumulate, averaging: true });
    const zeros = new Float32Array(state.layout.parameterWords);
    for (const name of ['optimizer.first', 'optimizer.second']) state.write(name, zeros);
    state.writeWeights(await state.readWeights(), { averaged: true });
    state.write('lossScale', new Float32Array([lossScale, 0]));
    return {
      session,
      async bits() {
        const found: Record<string, Uint32Array> = {};
        for (const name of kept) found[name] = new Uint32Array((await state.read(name)).buffer);
        return found;
      },
      [Symbol.dispose]() {
        session.dispose();
        state.dispose();
      },
    };
  }

  const values = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };
  const all = { ...values, maxNorm: 1, decay: 0.9, applied: 0, mostSkipped: 0 };

  async function run({ steps, mostSkipped = 0, lossScale, weights, lookedAt = [] }: Sent) {
    const accumulate = Math.max(...steps.map((batches) => batches.length));
    using training = await open(accumulate, lossScale, weights);
    const sent = [];
    for (const batches of steps)
      sent.push((await training.session.step(batches, { ...all, mostSkipped })).result);
    const results = await Promise.all(sent);
    for (const batch of lookedAt)
      expect(await training.session.firstBrokenGradient(batch)).toMatch(/^encoder/);
    const bits = await training.bits();
    return { bits, outcomes: results.map(({ outcome }) => outcome), applied: results.at(-1)!.applied };
  }

  const good = [0, 1, 2, 3, 4, 5].map((seed) => volume(seed));
  const bad = volume(1, true);
  const broken: [string, Batch[][], Batch[]][] = [
    ['the only batch', good.map((batch) => [batch]), [bad]],
    ['the first of two batches', good.map((batch) => [batch, good[0]!]), [bad, good[1]!]],
    ['the last of two batches', good.map((batch) => [batch, good[0]!]), [good[1]!, bad]],
  ];

  test.each(broken)('training halts as before a step where %s is broken', async (_, steps, step) => {
    const [first, ...others] = steps;
    const halted = await run({ steps: [first!, step, ...others.slice(0, 2)], lookedAt: [bad] });
    const before = await run({ steps: [first!] });
    expect(halted.outcomes).toEqual(['applied', 'halted', 'halted', 'halted']);
    expect(halted.applied).toBe(1);
    expect(halted.bits).toEqual(before.bits);
    const moved = await run({ steps: steps.slice(0, 2) });
    for (const name of kept.slice(0, 6)) expect(moved.bits[name], name).not.toEqual(before.bits[name]);
  });

  test.each(broken)('training goes on as without a step where %s is broken', async (_, steps, step) => {
    const [first, ...others] = steps;
    const skipped = await run({ steps: [first!, step, ...others.slice(0, 2)], mostSkipped: 1 });
    const without = await run({ steps: [first!, ...others.slice(0, 2)] });
    expect(skipped.outcomes).toEqual(['applied', 'skipped', 'applied', 'applied']);
    expect(skipped.applied).toBe(3);
    expect(skipped.bits).toEqual(without.bits);
  });

  test('a step of two batches that is stopped anywhere is as none, or complete', async () => {
    const batches = good.slice(0, 2);
    using training = await open(batches.length);
    const before = await training.bits();
    let looks = 0;
    for (let stopped = 0; ; stopped += stopped < 200 ? 20 : 3) {
      let left = stopped;
      // Fires when it has been looked at so often: each dispatch is a submit of its own, and the update is the last of them.
      const signal = Object.create(null, { aborted: { get: () => (looks++, left-- <= 0) } }) as AbortSignal;
      const sending = training.session.step(batches, all, { signal, submitMs: 0 });
      const error: unknown = await sending.then(({ result }) => result).catch((reason: unknown) => reason);
      if (!(error instanceof Error)) break;
      expect(error).toBeInstanceOf(Aborted);
      expect(await training.bits(), `stopped at submit ${stopped}`).toEqual(before);
    }
    const { bits } = await run({ steps: [batches] });
    expect(await training.bits()).toEqual(bits);
    expect(looks).toBeGreaterThan(60);
  });

  if (precision === 'f32') return; // which does not overflow
  test('a step that overflows changes only the loss scale', async () => {
    const steep = { weights: [0, 3000], lossScale: 2 ** 15 };
    const steps = good.slice(0, 4).map((batch) => [batch]);
    const { outcomes, bits } = await run({ ...steep, steps });
    const overflows = outcomes.indexOf('applied');
    expect(overflows).toBeGreaterThan(0);
    expect(new Set(outcomes.slice(0, overflows))).toEqual(new Set(['overflowed']));
    const lossScale = steep.lossScale / 2 ** overflows;
    const without = await run({ ...steep, lossScale, steps: steps.slice(overflows) });
    expect(without.outcomes).not.toContain('overflowed');
    expect(bits).toEqual(without.bits);
  });
});

describe('fit', () => {
  /** One volume per batch, by their seeds; those of `broken` hold a NaN. `asked` is told of each batch. */
  const source = (
    seeds: readonly number[],
    broken: readonly number[] = [],
    asked: (seed: number) => void = () => undefined,
  ): BatchSource => ({
    size: [12, 10, 8],
    batchSize: 1,
    batchesPerEpoch: seeds.length,
    identity: 'volumes',
    batch(_, index) {
      asked(seeds[index]!);
      return volume(seeds[index]!, broken.includes(seeds[index]!));
    },
  });
  const plain: TrainingOptions = { epochs: 1, schedule: constant({ learningRate: 1e-2 }) };
  const seeds = (count: number) => Array.from({ length: count }, (_, i) => i);

  /** What is saved by a run that stops before the step that begins with this batch. */
  async function cutBefore(seed: number, options: TrainingOptions, broken: number[] = []) {
    using model = await create();
    const checkpoint = memory();
    const abort = new AbortController();
    // The batches of a step are asked for while the step before it is computed.
    const batches = source(seeds(12), broken, (asked) => asked === seed && abort.abort());
    const run = model.fit(batches, { ...options, checkpoint, signal: abort.signal });
    await expect(run).rejects.toThrow(Aborted);
    return checkpoint;
  }

  const tensorsOf = ({ files }: ReturnType<typeof memory>) =>
    readSafetensors(files.get(checkpointName)!, 'the checkpoint').tensors;

  test.each<[string, TrainingOptions]>([
    ['', {}],
    [' with accumulation', { accumulate: 3 }],
    [' with averaged weights', { ema: { decay: 0.9 } }],
    [
      ' in float16, with accumulation and averaged weights',
      { precision: 'f16', accumulate: 2, ema: { decay: 0.9 } },
    ],
  ])('stops as before the step%s', async (_, options) => {
    const settings = { ...plain, ...options };
    // In float16 the broken batches bring the loss scale down first.
    const broken = settings.precision === 'f16' ? seeds(48).slice(7) : [7];
    using model = await create();
    const run = model.fit(source(seeds(settings.precision === 'f16' ? 48 : 12), broken), settings);
    const error: unknown = await run.then(undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(NotFinite);
    if (settings.precision !== 'f16')
      expect((error as NotFinite).step).toBe(Math.floor(7 / (options.accumulate ?? 1)));
    expect((error as NotFinite).where).toMatch(/^(encoder|decoder|head)\./);
    const stopped = readSafetensors(await model.save(), 'the model').tensors;
    const first = 7 - (7 % (options.accumulate ?? 1));
    const before = tensorsOf(await cutBefore(first, settings));
    expect(stopped.has('encoder.0.norm1.running_mean')).toBe(true);
    for (const [name, { data }] of stopped) expect(data, name).toEqual(before.get(name)!.data);
  });

  test.each<[string, TrainingOptions]>([
    ['', {}],
    [' with averaged weights', { ema: { decay: 0.9 } }],
  ])('goes on as without the steps%s that it leaves out', async (_, options) => {
    const skipped: number[] = [];
    const onEvent = (event: TrainingEvent) => event.type === 'skip' && skipped.push(event.step);
    using model = await create();
    const broken = [2, 3, 7];
    const settings = { ...plain, ...options };
    const result = await model.fit(source(seeds(12), broken), { ...settings, onNotFinite: 'skip', onEvent });
    expect(skipped).toEqual(broken);
    using without = await create();
    const rest = seeds(12).filter((seed) => !broken.includes(seed));
    const expected = await without.fit(source(rest), settings);
    expect(result.history[0]!.loss).toBe(expected.history[0]!.loss);
    expect(await model.save()).toEqual(await without.save());
  });

  test('stops where the batches ask the model, too', async () => {
    using model = await create();
    const inner = source(seeds(4), [1]);
    const { image } = volume(0);
    const asking: BatchSource = {
      ...inner,
      async batch(epoch, index) {
        await model.logits({ shape: inner.size, image });
        return inner.batch(epoch, index);
      },
    };
    await expect(model.fit(asking, plain)).rejects.toThrow(NotFinite);
  });

  test('up to ten steps in a row are left out, then it stops', async () => {
    using model = await create();
    const skipped: number[] = [];
    const onEvent = (event: TrainingEvent) => event.type === 'skip' && skipped.push(event.step);
    // Good ones after the eleventh, already on their way when it is seen.
    const broken = seeds(13).slice(2);
    const run = model.fit(source(seeds(20), broken), { ...plain, onNotFinite: 'skip', onEvent });
    await expect(run).rejects.toThrow(/step 12: .* after 10 such steps/);
    expect(skipped).toHaveLength(10);
    const stopped = readSafetensors(await model.save(), 'the model').tensors;
    const before = tensorsOf(await cutBefore(2, plain));
    for (const [name, { data }] of stopped) expect(data, name).toEqual(before.get(name)!.data);
  });

  test('a checkpoint holds the count of applied steps, and a run that goes on ends with the same bits', async () => {
    const settings: TrainingOptions = { ...plain, onNotFinite: 'skip', ema: { decay: 0.9 } };
    const broken = [1, 2, 4];
    using whole = await create();
    await whole.fit(source(seeds(12), broken), settings);
    const checkpoint = await cutBefore(5, settings, broken);
    using resumed = await create();
    await resumed.fit(source(seeds(12), broken), { ...settings, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(await whole.save());
  });

  test('a checkpoint without the count has left out the steps that halved its loss scale', async () => {
    const loss = weightedDice([0, 3000]);
    const settings: TrainingOptions = { ...plain, precision: 'f16', loss, ema: { decay: 0.9 } };
    let overflows = 0;
    using whole = await create();
    const onEvent = (event: TrainingEvent) => event.type === 'skip' && overflows++;
    await whole.fit(source(seeds(12)), { ...settings, onEvent });
    expect(overflows).toBeGreaterThan(0);

    const checkpoint = await cutBefore(8, settings);
    const { tensors, metadata } = readSafetensors(checkpoint.files.get(checkpointName)!, 'the checkpoint');
    const progress = JSON.parse(metadata['progress']!) as Record<string, unknown>;
    expect(progress['applied']).toBe(8 - overflows);
    delete progress['applied'];
    const { identity, kernels } = metadata as Record<'identity' | 'kernels', string>;
    const older = { 'unet3d-gpu checkpoint': '3', identity, kernels, progress: JSON.stringify(progress) };
    checkpoint.files.set(checkpointName, writeSafetensors({ tensors, metadata: older }));
    using resumed = await create();
    await resumed.fit(source(seeds(12)), { ...settings, checkpoint, resume: true });
    expect(await resumed.save()).toEqual(await whole.save());
  });
});
