/** Validation through windows: where they lie, what a case's scores are made of, and that nothing changes where one holds all. */
import { describe, expect, test } from 'vitest';
import { fromArrays, type PreparedCase } from '../../src/data/prepare.ts';
import type { Size3 } from '../../src/size.ts';
import { copyWindow } from '../../src/data/boxes.ts';
import { random } from '../../src/data/random.ts';
import { Aborted, OutOfMemory } from '../../src/errors.ts';
import { dice, meanDefined } from '../../src/metrics/dice.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { CaseScore } from '../../src/infer/evaluator.ts';
import { planEvaluation, planTraining } from '../../src/model/plan.ts';
import type { EpochRow, TrainingEvent } from '../../src/train/events.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { validationWindows } from '../../src/train/validation.ts';
import { tiles } from '../../src/infer/window.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { testDevice } from '../support/device.ts';
import { mostMemory } from '../support/most-memory.ts';
import { box, memory } from '../support/training.ts';

const window: Size3 = [8, 8, 8];

/** Noise in which boxes of 4 × 4 × 4 voxels at these corners are their class. */
function organs(id: string, shape: Size3, corners: readonly Size3[]): PreparedCase {
  const [nx, ny, nz] = shape;
  const source = random(1, id);
  const label = new Uint8Array(nx * ny * nz);
  for (const [index, [x0, y0, z0]] of corners.entries())
    for (let z = z0; z < z0 + 4; z++)
      for (let y = y0; y < y0 + 4; y++)
        label.fill(index + 1, (z * ny + y) * nx + x0, (z * ny + y) * nx + x0 + 4);
  const image = Float32Array.from(label, (value) => value + source.normal(0, 0.3));
  return fromArrays(id, { data: image, dims: [...shape] }, { data: label, dims: [...shape] });
}

const windowsOf = ({ shape, label }: PreparedCase): readonly Size3[] =>
  validationWindows({ shape, label: label! }, window).starts;

describe('validationWindows', () => {
  test('one where the case fits, all that cover it where these are at most eight', () => {
    expect(windowsOf(organs('small', [8, 7, 5], []))).toEqual([[0, 0, 0]]);
    expect(windowsOf(organs('long', [20, 8, 12], []))).toEqual([
      ...[0, 6, 12].map((x) => [x, 0, 0]),
      ...[0, 6, 12].map((x) => [x, 0, 4]),
    ]);
  });

  test('of more the same eight, which hold each class where there is most of it', () => {
    const corners: Size3[] = [
      [20, 20, 20],
      [7, 10, 2], // three quarters of it beyond the first window along x
      [1, 19, 0],
    ];
    const item = organs('large', [24, 24, 24], corners);
    const found = windowsOf(item);
    expect(found).toHaveLength(8);
    expect(new Set(found.map(String)).size).toBe(8);
    for (const corner of [
      [16, 16, 16],
      [8, 8, 0],
      [0, 16, 0],
    ])
      expect(found).toContainEqual(corner);
    expect(new Set(found.map(([, , z]) => z))).toEqual(new Set([0, 8, 16]));
    expect(windowsOf(item)).toEqual(found);
    expect(windowsOf(organs('empty', [24, 24, 24], []))).toHaveLength(8);
  });

  test('only those that hold known voxels', () => {
    const item = organs('drawn', [24, 24, 24], []);
    const drawn = { ...item, label: item.label!.map((value, at) => (at < 24 * 24 ? value : 255)) };
    expect(windowsOf(drawn)).toHaveLength(8);
    expect(windowsOf(drawn).every(([, , z]) => z === 0)).toBe(true);
    const corner = { ...item, label: item.label!.map((value, at) => (at === 0 ? value : 255)) };
    expect(windowsOf(corner)).toEqual([[0, 0, 0]]);
  });

  test('more than eight where the classes lie in more', () => {
    const corners = [0, 8, 16].flatMap((x) => [0, 8, 16].map((y): Size3 => [x, y, 16]));
    const halved: Size3 = [0, 0, 14]; // half of it in the first of these
    const found = windowsOf(organs('many', [24, 24, 24], [...corners, halved]));
    expect(new Set(found.map(String))).toEqual(new Set(corners.map(String)));
  });
});

describe('a training on patches', () => {
  const network = { inChannels: 1, classes: 2, features: [4, 6], seed: 3 };
  // Foreground lies outside the middle; windows overlap, as 20 is no multiple of 8.
  const [large, flat] = [organs('large', [20, 20, 20], [[0, 0, 0]]), organs('flat', [16, 8, 6], [[2, 2, 1]])];
  const training = [large, large, large, large];
  const options: TrainingOptions = {
    epochs: 2,
    batchSize: 2,
    oversample: 1,
    seed: 5,
    validation: [large, flat],
  };
  const scores = (history: readonly EpochRow[]) =>
    history.map(({ validationLoss, validationDice }) => [validationLoss, ...validationDice]);

  async function create(): Promise<UNet3D> {
    const { device } = await testDevice();
    return UNet3D.create({ ...network, device });
  }

  test('sees a class that lies outside the middle, and counts each voxel of the windows once', async () => {
    const { device, limits } = await testDevice();
    const { plan } = planTraining({
      config: completeConfig(network),
      size: window,
      batch: 2,
      limits,
      loss: lossShape(weightedDice(), 2),
      optimizer: adam(),
    });
    // Whole volumes exceed this.
    using model = await UNet3D.create({ ...network, device, memoryBudget: plan.peakBytes });
    const settings: TrainingOptions = {
      ...options,
      epochs: 4,
      validation: [large],
      concessions: ['patches'],
    };
    const { history, bestEpoch } = await model.fit(training, settings);
    expect(model.description.inputSize).toEqual(window);
    expect(history[bestEpoch]!.validationDice[1]).toBeGreaterThan(0.1);

    // The same weights on the same windows, one by one.
    const windows = windowsOf(large).map(([x0, y0, z0]) => {
      const voxels: number[] = [];
      for (let z = z0; z < z0 + 8; z++)
        for (let y = y0; y < y0 + 8; y++)
          for (let x = x0; x < x0 + 8; x++) voxels.push((z * 20 + y) * 20 + x);
      return voxels;
    });
    const found = await model.evaluate(
      windows.map((voxels) => ({
        ...large,
        shape: window,
        image: Float32Array.from(voxels, (at) => large.image[at]!),
        label: Uint8Array.from(voxels, (at) => large.label![at]!),
      })),
    );
    const seen = new Map<number, number>();
    for (const [index, voxels] of windows.entries())
      for (const [i, at] of voxels.entries()) seen.set(at, found[index]!.predicted[i]!);
    expect(seen.size).toBeLessThan(8 * 8 ** 3);
    const truth = [...seen.keys()].map((at) => large.label![at]!);
    expect(scores([history[bestEpoch]!])).toEqual([
      [meanDefined(found.map(({ loss }) => loss)), ...dice([...seen.values()], truth, 2)],
    ]);
  });

  test('gives the same scores again, and after a stop amid the validation', async () => {
    const patches: TrainingOptions = { ...options, patch: window };
    using whole = await create();
    const { history } = await whole.fit(training, patches);
    using stopped = await create();
    const checkpoint = memory();
    const abort = new AbortController();
    const onEvent = (event: TrainingEvent) =>
      event.type === 'validation' && event.epoch === 1 && abort.abort();
    const run = stopped.fit(training, { ...patches, checkpoint, signal: abort.signal, onEvent });
    await expect(run).rejects.toThrow(Aborted);
    using resumed = await create();
    const rest = await resumed.fit(training, { ...patches, checkpoint, resume: true });
    expect(scores(rest.history)).toEqual(scores(history));
    expect(await resumed.save()).toEqual(await whole.save());
  });

  test('a preview is looked at through windows, too, also where nothing is known, when the epoch is kept', async () => {
    using model = await create();
    const { label } = large;
    const half = { ...large, label: label!.map((value, at) => (at < label!.length / 2 ? value : 255)) };
    const events: TrainingEvent[] = [];
    const onEvent = (event: TrainingEvent) => void events.push(event);
    const patches = { ...options, epochs: 1, patch: window, validation: [], checkpoint: memory(), onEvent };
    await model.fit(training, { ...patches, preview: half });
    const kinds = events.map(({ type }) => type);
    expect(kinds.indexOf('preview')).toBeGreaterThan(kinds.lastIndexOf('checkpoint'));
    const preview = events.find((event) => event.type === 'preview')!;

    const { size, starts } = tiles(large.shape, window);
    const parts = starts.map((start) => {
      const part = { start, size };
      const image = copyWindow({ data: half.image, shape: half.shape }, part, new Float32Array(8 ** 3));
      return {
        ...half,
        shape: size,
        image,
        label: copyWindow({ data: half.label, shape: half.shape }, part, new Uint8Array(8 ** 3)),
      };
    });
    // What is predicted does not depend on the labels, of which an evaluation wants some.
    const isKnown = parts.map((part) => part.label.some((value) => value !== 255));
    const unlabelled = parts.map((part, at) =>
      isKnown[at] ? part : { ...part, label: new Uint8Array(8 ** 3) },
    );
    const found = await model.evaluate(unlabelled);
    const seen = new Uint8Array(label!.length);
    for (const [index, start] of starts.entries()) {
      const back = { start: start.map((at) => -at) as unknown as Size3, size: large.shape };
      copyWindow({ data: found[index]!.predicted, shape: size }, back, seen);
    }
    expect(preview.score.predicted).toEqual(seen);
    const known = found.filter((_, at) => isKnown[at]);
    expect(known.length).toBeLessThan(found.length);
    expect(preview.score.loss).toBe(meanDefined(known.map(({ loss }) => loss)));
    expect(preview.score.dice).toEqual(dice([...seen], [...half.label], 2));
  });

  test('takes no memory beside the step, and the bits stay', async () => {
    const peak = async (more: TrainingOptions) => {
      using model = await create();
      const most = mostMemory(model.gpu);
      await model.fit(training, { ...options, epochs: 2, keepBest: false, ...more });
      return { most: most(), bytes: await model.save() };
    };
    const alone = await peak({ validation: [] });
    const validated = await peak({ validation: training, preview: training[0] });
    expect(validated.most).toBeLessThanOrEqual(alone.most);
    expect(validated.bytes).toEqual(alone.bytes);
  });

  test('validates cases that fit into one window as whole ones', async () => {
    const small = [box(9), organs('small', [12, 6, 5], [[2, 2, 1]])];
    using model = await create();
    const settings: TrainingOptions = { ...options, epochs: 1, patch: [12, 10, 8], validation: small };
    const { history } = await model.fit(training, settings);
    const found = await model.evaluate(small);
    expect(scores(history)).toEqual([
      [
        meanDefined(found.map(({ loss }) => loss)),
        ...[0, 1].map((c) => meanDefined(found.map((score) => score.dice[c]!))),
      ],
    ]);
  });
});

test('a case that exceeds the memory budget goes through windows of the size trained on, and such a window is refused', async () => {
  const small = organs('small', window, [[2, 2, 2]]);
  const large = organs('large', [20, 20, 20], [[0, 0, 0]]);
  const network = { inChannels: 1, classes: 2, features: [4, 6], norm: 'instance', seed: 3 } as const;
  const shape = { config: completeConfig(network), batch: 1, loss: lossShape(weightedDice(), 2) };
  const { device, limits } = await testDevice();
  const whole = planEvaluation({ ...shape, size: large.shape, limits }).plan.peakBytes;
  const memoryBudget = whole - 1;
  const options: TrainingOptions = { epochs: 1, batchSize: 1, seed: 5, validation: [large] };
  const trained = async (given: { memoryBudget?: number }, more: TrainingOptions = {}) => {
    using model = await UNet3D.create({ ...network, ...given, device });
    const previews: CaseScore[] = [];
    const onEvent = (event: TrainingEvent) => event.type === 'preview' && previews.push(event.score);
    const { history } = await model.fit([small], { ...options, ...more, onEvent });
    return { row: history[0]!, previews, patches: model.description.patches };
  };
  const expected = await trained({}, { validationWindow: window });
  const free = await trained({ memoryBudget: whole });
  expect(free.row.validationLoss).not.toBe(expected.row.validationLoss);
  const { row, previews, patches } = await trained({ memoryBudget }, { preview: large });
  expect(row.validationLoss).toBe(expected.row.validationLoss);
  expect(row.validationDice).toEqual(expected.row.validationDice);
  expect(previews[0]!.predicted).toHaveLength(20 ** 3);
  expect(patches).toBe(false);
  const tooLarge = trained({ memoryBudget }, { validationWindow: large.shape });
  await expect(tooLarge).rejects.toThrow(OutOfMemory);
  await expect(tooLarge).rejects.toThrow(
    /^validation through windows of \[20, 20, 20\] .* give a smaller validationWindow/,
  );
});

test('cases go through the network at the size at which they are evaluated and predicted', async () => {
  // Instance norms see the padding: of the first to the size of the training, of the second along one axis more.
  const cases = [organs('short', [7, 6, 5], [[2, 1, 1]]), organs('long', [19, 6, 5], [[3, 2, 1]])];
  const { device } = await testDevice();
  const network = { inChannels: 1, classes: 2, features: [4, 6], norm: 'instance', seed: 3 } as const;
  using model = await UNet3D.create({ ...network, device });
  const training = [organs('a', [12, 10, 8], [[2, 2, 2]]), organs('b', [12, 10, 8], [[6, 4, 3]])];
  const { history } = await model.fit(training, { epochs: 1, batchSize: 1, seed: 5, validation: cases });
  const found = await model.evaluate(cases);
  expect(history[0]!.validationLoss).toBe(meanDefined(found.map(({ loss }) => loss)));
  expect(history[0]!.validationDice[1]).toBe(meanDefined(found.map((score) => score.dice[1]!)));
});
