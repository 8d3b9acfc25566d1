/** Test-time augmentation: flips are undone exactly, all of them are averaged, progress counts them, abort stops them. */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { Aborted, InvalidOption } from '../../src/errors.ts';
import type { DenseCase } from '../../src/infer/evaluator.ts';
import {
  flip,
  labelsOf,
  labelsThrough,
  mirrorings,
  segmentProbabilities,
  softmax,
  type ProbabilityOptions,
} from '../../src/infer/probabilities.ts';
import type { Axis } from '../../src/size.ts';
import { resampleTo } from '../../src/data/resample.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { inPlanes } from '../support/planes.ts';
import { testDevice } from '../support/device.ts';

const shape = [5, 4, 3] as const;
const r = random(2, 'flips');
const noise = (length: number) => Float32Array.from({ length }, () => r.normal());
const all: Axis[] = ['x', 'y', 'z'];

test('a flip reverses its axes only, in every channel, and twice is nothing', () => {
  const data = noise(2 * 60);
  const at = (c: number, k: number, j: number, i: number) => ((c * 3 + k) * 4 + j) * 5 + i;
  for (const axes of mirrorings({ tta: true })) {
    const flipped = flip(data, shape, axes);
    const turn = (axis: Axis, index: number, length: number) =>
      axes.includes(axis) ? length - 1 - index : index;
    for (let c = 0; c < 2; c++)
      for (let k = 0; k < 3; k++)
        for (let j = 0; j < 4; j++)
          for (let i = 0; i < 5; i++)
            expect(flipped[at(c, turn('z', k, 3), turn('y', j, 4), turn('x', i, 5))]).toBe(
              data[at(c, k, j, i)],
            );
    expect(flip(flipped, shape, axes)).toEqual(data);
  }
});

test('all combinations of the axes, each once', () => {
  expect(mirrorings({})).toEqual([[]]);
  expect(mirrorings({ tta: false, mirrorAxes: ['x'] })).toEqual([[]]);
  expect(mirrorings({ mirrorAxes: ['z', 'x'] })).toEqual([[], ['z'], ['x'], ['z', 'x']]);
  expect(new Set(mirrorings({ tta: true }).map((axes) => axes.join())).size).toBe(8);
  expect(() => mirrorings({ mirrorAxes: ['x', 'x'] })).toThrow(InvalidOption);
  expect(() => mirrorings({ mirrorAxes: ['w' as Axis] })).toThrow('mirrorAxes is [w]');
});

const volume: DenseCase = { image: noise(60), shape };
/** Two logits that see each voxel alone. */
const logitsOf = ({ image }: DenseCase) =>
  Promise.resolve(
    Float32Array.from({ length: 120 }, (_, at) => (at < 60 ? image[at]! : -2 * image[at - 60]!)),
  );
const voxelwise = inPlanes(logitsOf);

test('a network that sees each voxel alone gives what it gives without flips', async () => {
  const plain = softmax(await logitsOf(volume), 2);
  for (const axis of all)
    expect(await segmentProbabilities(voxelwise, volume, { classes: 2 }, { mirrorAxes: [axis] })).toEqual(
      plain,
    );
  const eight = await segmentProbabilities(voxelwise, volume, { classes: 2 }, { tta: true });
  eight.forEach((value, at) => expect(value).toBeCloseTo(plain[at]!, 6));
});

test('a network that knows places is averaged over the flips', async () => {
  // The probability of class 1 rises along x whatever the image shows.
  const along = inPlanes(() => Float32Array.from({ length: 120 }, (_, at) => (at < 60 ? 0 : (at % 5) - 1)));
  const found = await segmentProbabilities(along, volume, { classes: 2 }, { mirrorAxes: ['x'] });
  const share = (i: number) => 1 / (1 + Math.exp(1 - i));
  for (let at = 0; at < 60; at++)
    expect(found[60 + at]).toBeCloseTo((share(at % 5) + share(4 - (at % 5))) / 2, 6);
});

test('progress counts the windows of every pass, and an abort stops between passes', async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  const run = (item: DenseCase, options: ProbabilityOptions) => {
    for (const loaded of [1, 2]) options.onProgress?.({ loaded, total: 2 });
    if (seen.length === 4) stop.abort();
    return voxelwise(item);
  };
  const options: ProbabilityOptions = {
    mirrorAxes: ['x', 'y'],
    signal: stop.signal,
    onProgress: ({ loaded, total }) => seen.push(`${loaded}/${total}`),
  };
  await expect(segmentProbabilities(run, volume, { classes: 2 }, options)).rejects.toThrow(Aborted);
  expect(seen).toEqual(['1/8', '2/8', '3/8', '4/8']);
});

test('the result on a flipped volume is the flipped result, for a real network', async () => {
  const { device } = await testDevice();
  using model = await UNet3D.create({ inChannels: 1, classes: 3, features: [4, 8], seed: 1, device });
  const run = inPlanes((item) => model.logits(item));
  const image = noise(7 * 8 * 5);
  const size = [7, 8, 5] as const;
  const options = { tta: true };
  const straight = await segmentProbabilities(run, { image, shape: size }, { classes: 3 }, options);
  for (const axes of [['x'], ['y', 'z'], all] as Axis[][]) {
    const turned = await segmentProbabilities(
      run,
      { image: flip(image, size, axes), shape: size },
      { classes: 3 },
      options,
    );
    const back = flip(turned, size, axes);
    expect(Math.max(...back.map((value, at) => Math.abs(value - straight[at]!)))).toBeLessThan(1e-6);
  }
  const once = await segmentProbabilities(run, { image, shape: size }, { classes: 3 }, {});
  expect(Math.max(...once.map((value, at) => Math.abs(value - straight[at]!)))).toBeGreaterThan(1e-4);

  const label = new Uint8Array(image.length);
  const item = { id: 'a', image, label, shape: size, channels: 1, spacing: [1, 1, 1] } as const;
  await expect(model.evaluate([item], { signal: AbortSignal.abort() })).rejects.toThrow(Aborted);
  const [score] = await model.evaluate([item], options);
  const top = (voxel: number) =>
    [0, 1, 2].reduce((best, c) => (straight[c * 280 + voxel]! > straight[best * 280 + voxel]! ? c : best), 0);
  expect([...score!.predicted]).toEqual(Array.from({ length: 280 }, (_, voxel) => top(voxel)));
});

test('labels on another grid, head by head, are those of all heads there at once', () => {
  const [from, to] = [[5, 4, 3] as const, [9, 7, 8] as const];
  const scores = softmax(noise(4 * 60), 4);
  const written = [3, 1, 2, 200].map((label) => ({ name: `${label}`, labels: [label], written: label }));
  for (const heads of [{ classes: 4 }, { classes: 4, regions: written }]) {
    // Of regions each has a probability of its own.
    const given = heads.regions ? Float32Array.from(scores, (p) => Math.min(1, 2 * p)) : scores;
    const wanted = labelsOf(resampleTo(given, from, to, 'linear'), heads);
    const lengths: number[] = [];
    const found = labelsThrough(given.slice(), heads, (head) => {
      lengths.push(head.length);
      return resampleTo(head, from, to, 'linear');
    });
    expect(found).toEqual(wanted);
    expect(new Set(found).size).toBeGreaterThan(3);
    expect(lengths).toEqual([60, 60, 60, 60]);
  }
});
