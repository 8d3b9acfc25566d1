/** Augmentation against float64 loops: each operation, all in one, odd sizes, tiny bindings; and what must not change. */
import { describe, expect, test } from 'vitest';
import { InvalidOption, OutOfMemory } from '../../src/errors.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import { augment, drawTensors, encodeDraws, type SampleDraw } from '../../src/ops/augment.ts';
import { augmented, noiseAt } from '../reference/augment.ts';
import {
  Bench,
  expectClose,
  expectSameBits,
  limitsOf,
  normals,
  randomDense,
  type Dense,
} from '../support/run.ts';

/** A rotation about two axes with a scale and a shift, not about any centre in particular. */
const matrix = [
  [0.9137, -0.3571, 0.1029, 1.3177],
  [0.3019, 0.9533, -0.2047, -0.8111],
  [-0.1531, 0.2063, 1.1071, 0.4517],
] as const;
const key = [123456789, 4026531841] as const;
const none = {};

interface Case {
  name: string;
  size: readonly [x: number, y: number, z: number];
  /** Of the source around it. */
  margin?: readonly [x: number, y: number, z: number];
  draws: SampleDraw[];
  limits?: Partial<PlanLimits>;
  /** The sine and cosine of some devices are good to 2⁻¹¹ only. */
  tolerance?: number;
}

const one = (name: string, draw: Partial<SampleDraw>, channel: SampleDraw['channels'][0] = none): Case => ({
  name,
  size: [7, 6, 5],
  draws: [{ ...draw, channels: [channel, none] }, { channels: [none, channel] }],
});

const everything: SampleDraw[] = [
  {
    matrix,
    noise: { deviation: 0.1, key },
    channels: [
      {
        blur: [0.5, 0.8, 1],
        brightness: 0.8,
        contrast: 1.2,
        lowResolution: [5, 4, 5],
        invertedGamma: 1.4,
        gamma: 0.8,
      },
      { brightness: 1.1, gamma: 1.3 },
    ],
  },
  {
    mirror: [false, true, true],
    channels: [{ contrast: 0.8 }, { blur: [1, 1, 0.6], lowResolution: [9, 7, 3] }],
  },
  { channels: [none, none] },
];

const cases: Case[] = [
  one('mirrored along x', { mirror: [true, false, false] }),
  one('mirrored along all axes', { mirror: [true, true, true] }),
  one('rotated and scaled', { matrix }),
  { ...one('noise', { noise: { deviation: 0.3, key } }), tolerance: 1e-3 },
  one('brightness', {}, { brightness: 1.2 }),
  one('blur', {}, { blur: [0.5, 0.75, 1] }),
  { ...one('blur in few voxels', {}, { blur: [1, 0.9, 0.8] }), size: [3, 2, 1] },
  one('more contrast', {}, { contrast: 1.25 }),
  one('less contrast', {}, { contrast: 0.75 }),
  one('low resolution', {}, { lowResolution: [4, 5, 3] }),
  one('gamma', {}, { gamma: 1.5 }),
  one('inverted gamma', {}, { invertedGamma: 0.7 }),
  one('both gammas', {}, { invertedGamma: 1.2, gamma: 0.7 }),
  { name: 'everything, whole quads', size: [16, 8, 6], draws: everything, tolerance: 1e-3 },
  {
    name: 'everything, z-slabs',
    size: [10, 7, 9],
    draws: everything,
    limits: { maxBindingBytes: 6400 },
    tolerance: 1e-3,
  },
  { ...one('a margin, nothing drawn', {}), margin: [4, 3, 2] },
  { ...one('a margin, mirrored', { mirror: [true, false, true] }), margin: [4, 0, 1] },
  { ...one('a margin, rotated and scaled', { matrix }), margin: [8, 2, 3] },
  {
    name: 'a margin, everything, z-slabs',
    size: [10, 7, 9],
    margin: [4, 1, 2],
    draws: everything,
    limits: { maxBindingBytes: 26_000 },
    tolerance: 1e-3,
  },
];

const some = (count: number): Uint8Array =>
  Uint8Array.from(normals(count), (v) => (v > 1.5 ? 255 : v > 0 ? 2 : v < -1 ? 1 : 0));

async function run(
  image: Dense,
  labels: Uint8Array,
  draws: readonly SampleDraw[],
  limits: Partial<PlanLimits> = {},
  precision: Precision = 'f32',
  margin: readonly [x: number, y: number, z: number] = [0, 0, 0],
) {
  const [batch, channels, ...given] = image.shape;
  const [x, y, z] = [given[2] - 2 * margin[0], given[1] - 2 * margin[1], given[0] - 2 * margin[2]];
  using bench = new Bench(limits, precision);
  const source = bench.volume('source', image);
  const sourceLabels = bench.labels('sourceLabels', [given[2], given[1], given[0]], batch, labels);
  const target = bench.output('image', batch, channels, [x, y, z]);
  const targetLabels = bench.labels('labels', [x, y, z], batch, new Uint8Array(batch * x * y * z));
  const words = encodeDraws(draws, [x, y, z]);
  const tensors = {
    samples: bench.flat('samples', words.samples),
    channels: bench.flat('channels', words.channels),
  };
  augment(bench.recorder, 'augment', { source, sourceLabels, image: target, labels: targetLabels }, tensors);
  await bench.run();
  return {
    image: (await bench.read(target)).data,
    labels: await bench.readLabels(targetLabels),
    dispatches: bench.recorder.dispatches.length,
  };
}

describe.each(cases)('augment: $name', ({ size, margin = [0, 0, 0], draws, limits, tolerance }) => {
  const [x, y, z] = size.map((n, axis) => n + 2 * margin[axis]!) as [number, number, number];
  const image = randomDense([draws.length, 2, z, y, x]);
  const labels = some(draws.length * z * y * x);

  test('image and labels', async () => {
    const result = await run(image, labels, draws, limits, 'f32', margin);
    const expected = augmented(image, labels, draws, margin);
    expect(result.labels).toEqual(expected.labels);
    expectClose(result.image, expected.image.data, 'image', tolerance);
  });

  if (!limits) return;
  test('the same bits however it is cut', async () => {
    const { dispatches, ...cut } = await run(image, labels, draws, limits, 'f32', margin);
    const { dispatches: fewer, ...whole } = await run(image, labels, draws, {}, 'f32', margin);
    expect(dispatches).toBeGreaterThan(fewer);
    expect(cut.labels).toEqual(whole.labels);
    expectSameBits(cut.image, whole.image, 'image');
  });
});

describe('augment', () => {
  const image = randomDense([2, 2, 4, 5, 6]);
  const labels = some(2 * 4 * 5 * 6);

  test('what is not drawn keeps its bits, in samples and in channels', async () => {
    const channels = [{ gamma: 0.8, contrast: 1.2, blur: [1, 1, 1] as const }, none];
    const { image: result, labels: truth } = await run(image, labels, [
      { channels: [none, none] },
      { channels },
    ]);
    expectSameBits(result.subarray(0, 240), image.data.subarray(0, 240), 'sample without draws');
    expectSameBits(result.subarray(360), image.data.subarray(360), 'channel without draws');
    expect(truth).toEqual(labels);
  });

  test('mirroring moves voxels without touching their bits', async () => {
    const { image: result } = await run(image, labels, [
      { mirror: [true, false, true], channels: [none, none] },
      { channels: [none, none] },
    ]);
    expect([...result.slice(0, 240)].sort()).toEqual([...image.data.slice(0, 240)].sort());
  });

  test('float16 volumes', async () => {
    const draws = [everything[0]!, everything[1]!].map((draw) => ({ ...draw, matrix: undefined }));
    const small = {
      ...draws[0]!,
      channels: draws[0]!.channels.map((c) => ({ ...c, lowResolution: [4, 3, 3] as const })),
    };
    const still = { channels: [none, none] };
    const { image: result } = await run(image, labels, [small, still], {}, 'f16');
    expectClose(
      result.subarray(0, 240),
      augmented(image, labels, [small, still]).image.data.subarray(0, 240),
      'image',
      5e-3,
    );
  });

  test('noise is standard normal, and another for another key or voxel', () => {
    const size = [32, 32, 32] as const;
    const values: number[] = [];
    for (let z = 0; z < 32; z++)
      for (let y = 0; y < 32; y++) for (let x = 0; x < 32; x++) values.push(noiseAt(size, key, x, y, z));
    const moment = (power: number) => values.reduce((sum, v) => sum + v ** power, 0) / values.length;
    expect(Math.abs(moment(1))).toBeLessThan(0.02);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.03);
    expect(Math.abs(moment(3))).toBeLessThan(0.06);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15);
    for (const lag of [1, 2, 4, 32, 1024]) {
      const product = values.reduce((sum, v, i) => sum + v * (values[i + lag] ?? 0), 0) / values.length;
      expect(Math.abs(product), `lag ${lag}`).toBeLessThan(0.02);
    }
    expect(new Set(values).size).toBeGreaterThan(32_700);
    expect(noiseAt(size, [key[0], key[1] + 1], 3, 4, 5)).not.toBe(noiseAt(size, key, 3, 4, 5));
  });

  test('a margin that is not the same on both sides, or breaks quads, is refused', () => {
    const recorder = new Recorder(limitsOf({}));
    const act = (wider: readonly [number, number, number]) => () => {
      const volumes = {
        source: recorder.volume('source', 1, 1, wider),
        sourceLabels: recorder.labels('sourceLabels', 1, wider),
        image: recorder.volume('image', 1, 1, [8, 8, 8]),
        labels: recorder.labels('labels', 1, [8, 8, 8]),
      };
      augment(recorder, 'op', volumes, drawTensors(recorder, 1, 1));
    };
    expect(act([8, 9, 8])).toThrow('[8, 9, 8] for 1 images of [8, 8, 8]');
    expect(act([12, 8, 8])).toThrow(InvalidOption);
    expect(act([8, 8, 6])).toThrow(InvalidOption);
  });

  test('a sample beyond the binding limit is refused', () => {
    const recorder = new Recorder(limitsOf({ maxBindingBytes: 2048 }));
    const volume = () => recorder.volume('volume', 1, 2, [8, 8, 8]);
    const truth = () => recorder.labels('labels', 1, [8, 8, 8]);
    const volumes = { source: volume(), sourceLabels: truth(), image: volume(), labels: truth() };
    const act = () => augment(recorder, 'op', volumes, drawTensors(recorder, 1, 2));
    expect(act).toThrow(OutOfMemory);
    expect(act).toThrow('a sample of 2×[8, 8, 8] takes 4096 bytes');
  });
});
