/** nnU-Net's rules one by one, without a network: numbers by hand from its documentation and numpy's rounding. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { writeNifti, readNifti } from '../../../src/data/nifti.ts';
import { resampleSpline, type SplineOptions } from '../../../src/data/spline.ts';
import {
  Aborted,
  InvalidDataset,
  InvalidModel,
  InvalidOption,
  InvalidVolume,
  NotFinite,
  OutOfMemory,
} from '../../../src/errors.ts';
import { gridAsRead, nnunetImage, readImage } from '../../../src/interop/nnunet/pipeline/image.ts';
import { linearHead } from '../../../src/interop/nnunet/pipeline/head.ts';
import { logitPlanes, windowGrid, type Rows } from '../../../src/interop/nnunet/pipeline/logits.ts';
import { planSegmentation } from '../../../src/interop/nnunet/pipeline/memory.ts';
import { nnunetInput } from '../../../src/interop/nnunet/pipeline/preprocess.ts';
import { previousStage } from '../../../src/interop/nnunet/pipeline/previous.ts';
import { apartAxis, resampleLabels } from '../../../src/data/spline.ts';
import { PlaneReducer, type ResultPlane } from '../../../src/interop/nnunet/pipeline/labels-of-planes.ts';
import { byMost, sizeAt, splineOf } from '../../../src/interop/nnunet/pipeline/resampling.ts';
import { labelsOfPlanes, segmentAsNnunet } from '../../../src/interop/nnunet/pipeline/segment.ts';
import { windowStarts, windowWeights } from '../../../src/interop/nnunet/pipeline/windows.ts';
import type {
  NnunetLabelResampling,
  NnunetNormalization,
  NnunetPlans,
} from '../../../src/interop/nnunet/plans.ts';
import type { Size3 } from '../../../src/size.ts';
import { windowNetwork } from '../../support/windows.ts';

const spline = { method: 'spline', order: 3, lowResolutionOrder: 0, apart: undefined } as const;
const linear = { ...spline, order: 1 } as const;

/** Plans of one channel at 1 mm with windows of 4³; the network is left to the tests. */
const plansOf = (
  normalization: readonly NnunetNormalization[] = [{ scheme: 'NoNormalization' }],
  more: Partial<NnunetPlans['configuration']> = {},
  transpose: NnunetPlans['transpose'] = [0, 1, 2],
): NnunetPlans => ({
  dataset: 'Dataset001_Test',
  name: 'nnUNetPlans',
  reader: 'SimpleITKIO',
  transpose,
  configurations: ['3d_fullres'],
  configuration: {
    name: '3d_fullres',
    patch: [4, 4, 4],
    spacing: [1, 1, 1],
    batchSize: 2,
    normalization,
    resampling: { data: spline, probabilities: linear, labels: { how: linear, winner: 'half' } },
    network: undefined as never,
    previousStage: undefined,
    batchDice: false,
    ...more,
  },
});

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const file = (data: ArrayLike<number>, shape: readonly number[], affine: readonly number[] = identity) =>
  writeNifti({ data: Float32Array.from(data), shape, affine });

describe('windows', () => {
  test('as few as step by so much at most, rounded half to even', () => {
    expect(windowStarts(16, 16, 0.5)).toEqual([0]);
    expect(windowStarts(17, 16, 0.5)).toEqual([0, 1]);
    expect(windowStarts(26, 20, 0.5)).toEqual([0, 6]);
    // Distances of 6.5: 6.5 goes to 6 and 19.5 to 20.
    expect(windowStarts(42, 16, 0.5)).toEqual([0, 6, 13, 20, 26]);
    expect(windowStarts(17, 16, 0.8)).toEqual([0, 1]);
    expect(windowStarts(64, 16, 1)).toEqual([0, 16, 32, 48]);
  });

  test('padded in front by half of what is missing', () => {
    const grid = windowGrid([10, 3, 17], [16, 4, 16]);
    expect([grid.size, grid.before, grid.count]).toEqual([[16, 4, 17], [3, 0, 0], 2]);
    for (const step of [0, 1e-9, 1.1])
      expect(() => windowGrid([10, 3, 17], [16, 4, 16], step)).toThrow(InvalidOption);
  });

  test('weights are 1 at floor(n/2) and fall by σ = n/8', () => {
    const weights = windowWeights([8, 5, 1]);
    expect(weights.indexOf(1)).toBe(2 * 8 + 4);
    expect(weights[2 * 8]).toBeCloseTo(Math.exp(-8), 8);
    expect(weights[2 * 8 + 7]).toBeCloseTo(Math.exp(-4.5), 8);
    expect(weights[4]).toBeCloseTo(Math.exp(-0.5 * (2 / 0.625) ** 2), 8);
  });

  const size: Size3 = [7, 5, 6];
  const data = Float32Array.from({ length: 7 * 5 * 6 }, (_, i) => Math.sin(i));
  const window: Size3 = [4, 4, 4];
  const gathered = async (planes: AsyncIterable<Float32Array>) => {
    const found: Float32Array[] = [];
    for await (const plane of planes) found.push(plane);
    return found;
  };
  /** Twice the voxel, and its own negative. */
  const doubled = (part: Float32Array) =>
    Float32Array.from({ length: 128 }, (_, at) => (at < 64 ? 2 : -1) * part[at % 64]!);
  const twice = windowNetwork(2, doubled);

  test('a voxelwise network comes back as it is, of two networks their mean', async () => {
    const three = windowNetwork(2, (part) => doubled(part).map((value) => 3 * value));
    const planes = await gathered(
      logitPlanes({ data, size }, window, [twice, three], { mirrorAxes: [0, 2] }),
    );
    expect(planes.length).toBe(6);
    planes.forEach((plane, z) =>
      plane.forEach((value, at) => {
        const voxel = data[z * 35 + (at % 35)]!;
        expect(value).toBeCloseTo(at < 35 ? 4 * voxel : -2 * voxel, 4);
      }),
    );
  });

  test('mirrored along all combinations of the axes that are allowed', async () => {
    const seen: string[] = [];
    const one = Float32Array.from({ length: 64 }, (_, i) => i);
    const spying = windowNetwork(2, (part) => {
      seen.push(String(part[0]));
      return doubled(part);
    });
    await gathered(logitPlanes({ data: one, size: [4, 4, 4] }, window, [spying], { mirrorAxes: [0, 2] }));
    // The first voxel is the last along z, along x, or along both.
    expect(seen).toEqual(['0', '48', '3', '51']);
  });

  test('stops between windows, and at results that are not finite', async () => {
    const abort = new AbortController();
    const onProgress = () => abort.abort();
    const stopped = logitPlanes({ data, size }, window, [twice], { signal: abort.signal, onProgress });
    await expect(gathered(stopped)).rejects.toThrow(Aborted);
    const broken = windowNetwork(2, () => new Float32Array(128).fill(NaN));
    await expect(gathered(logitPlanes({ data, size }, window, [broken]))).rejects.toThrow(NotFinite);
  });

  /** Results of so many channels that hang on the place in the window. */
  const uneven = (channels: number, seed: number) => (part: Float32Array) =>
    Float32Array.from(
      { length: channels * 64 },
      (_, at) => Math.sin(seed + at) * part[at % 64]! + Math.cos(at * seed),
    );
  /** Gives them some planes at a time. */
  const inPieces = (
    channels: number,
    run: (part: Float32Array) => Float32Array,
    depths: readonly number[],
  ) => ({
    channels,
    run(part: Float32Array, take: (planes: Float32Array) => void) {
      const whole = run(part);
      let first = 0;
      for (const depth of depths) {
        const pieces = Array.from({ length: channels }, (_, channel) =>
          whole.subarray(channel * 64 + first * 16, channel * 64 + (first + depth) * 16),
        );
        take(Float32Array.from(pieces.flatMap((piece) => [...piece])));
        first += depth;
      }
      return Promise.resolve();
    },
  });

  test('planes that come in pieces, and rows without the others, have the same bits', async () => {
    const run = uneven(3, 1);
    const options = { mirrorAxes: [0, 1, 2], step: 0.7 };
    const whole = await gathered(logitPlanes({ data, size }, window, [windowNetwork(3, run)], options));
    const pieces = logitPlanes({ data, size }, window, [inPieces(3, run, [1, 2, 1])], options);
    expect(await gathered(pieces)).toEqual(whole);
    for (const rows of [
      [0, 2],
      [1, 4],
      [4, 5],
    ] as Rows[]) {
      const part = await gathered(
        logitPlanes({ data, size }, window, [windowNetwork(3, run)], options, rows),
      );
      const [low, high] = rows.map((row) => 7 * row) as [number, number];
      const wanted = whole.map((plane) =>
        Float32Array.from([0, 35, 70].flatMap((head) => [...plane.subarray(head + low, head + high)])),
      );
      expect(part).toEqual(wanted);
    }
  });

  test('logits of the mean of features are the mean of logits, mirrored, of two networks', async () => {
    const members = [1, 2].map((seed) => {
      const features = uneven(2, seed);
      const [weights, bias] = [
        [1, -2, 0.5, 3, seed, 0.25],
        [seed, -1, 0.5],
      ];
      const head = linearHead(Float32Array.from(weights), Float32Array.from(bias));
      const logits = (part: Float32Array) => {
        const found = features(part);
        return Float32Array.from({ length: 192 }, (_, at) => {
          const [row, voxel] = [Math.floor(at / 64), at % 64];
          return weights[2 * row]! * found[voxel]! + weights[2 * row + 1]! * found[64 + voxel]! + bias[row]!;
        });
      };
      return { direct: windowNetwork(3, logits), late: windowNetwork(2, features, head) };
    });
    const of = (kind: 'direct' | 'late') =>
      gathered(
        logitPlanes(
          { data, size },
          window,
          members.map((one) => one[kind]),
          { mirrorAxes: [1] },
        ),
      );
    const [found, wanted] = [await of('late'), await of('direct')];
    expect(found.length).toBe(6);
    found.forEach((plane, z) => plane.forEach((value, at) => expect(value).toBeCloseTo(wanted[z]![at]!, 5)));
  });

  test('a volume in strips has the labels and probabilities of the whole, to the bit', async () => {
    const plans = plansOf(undefined, { spacing: [1.3, 1.1, 0.9] });
    const heads = [0, 1, 2, 3, 4].map((written) => ({ name: `${written}`, labels: [written], written }));
    const labels = { channels: ['CT'], fileEnding: '.nii.gz', heads, regions: false, ignore: undefined };
    const voxels = Float32Array.from({ length: 9 * 14 * 8 }, (_, i) => 2 + Math.sin(i));
    const stored = await file(voxels, [9, 14, 8]);
    const network = windowNetwork(5, uneven(5, 3));
    const model = { plans, labels, mirrorAxes: [0, 1] };
    const segmented = async (logitBytes?: number) => {
      const progress: { loaded: number; total: number }[] = [];
      const found = await segmentAsNnunet(model, await readImage([stored], plans), [network], {
        probabilities: true,
        logitBytes,
        onProgress: (one) => progress.push(one),
      });
      return { found, progress };
    };
    const whole = await segmented();
    const strips = await segmented(1);
    expect(new Set(whole.found.labels.data).size).toBeGreaterThan(2);
    expect(strips.found.labels.data).toEqual(whole.found.labels.data);
    expect(strips.found.probabilities!.data).toEqual(whole.found.probabilities!.data);
    expect(strips.progress.length).toBeGreaterThan(whole.progress.length);
    const image = { size: [9, 14, 8], spacing: [1, 1, 1] } as const;
    for (const [logitBytes, { progress }] of [
      [2 ** 30, whole],
      [1, strips],
    ] as const) {
      const { windows: total } = planSegmentation(
        model,
        image,
        { kind: 'logits', channels: 5 },
        { logitBytes },
      );
      expect(progress).toEqual(Array.from({ length: total }, (_, i) => ({ loaded: i + 1, total })));
    }
  });
});

describe('resampling', () => {
  test('sizes are rounded half to even', () => {
    expect(sizeAt([5, 7, 10], [0.5, 0.5, 1], [1, 1, 1])).toEqual([2, 4, 10]);
    expect(sizeAt([1, 1, 1], [0.1, 1, 1], [1, 1, 1])).toEqual([1, 1, 1]);
  });

  test.each<[Size3, Size3, boolean | undefined, number | undefined]>([
    [[1, 1, 3], [1, 1, 1], undefined, undefined], // a factor of 3 is not above 3
    [[1, 1, 3.1], [1, 1, 1], undefined, 2],
    [[1, 1, 1], [0.5, 2, 0.5], undefined, 1],
    [[4, 1, 4], [1, 1, 1], undefined, undefined], // two axes
    [[1, 1, 1], [1, 1, 4], true, undefined], // the current spacing has three
    [[1, 2, 1], [1, 1, 4], true, 1],
    [[1, 1, 9], [1, 1, 1], false, undefined],
  ])('from %j to %j mm, forced %j: apart is %j', (current, next, apart, expected) => {
    expect(apartAxis(current, next, apart)).toBe(expected);
  });

  test('labels: at least half, the larger of two; nearest along the axis apart', () => {
    const labels = Uint8Array.of(0, 2, 1, 1);
    const along = (to: number, how: SplineOptions) => [
      ...resampleLabels(labels, [4, 1, 1], [to, 1, 1], [1, 2], how),
    ];
    // Places −0.25, 0.25 … 3.25: shares of 2 are 0, ¼, ¾, ¾, ¼, 0, 0, 0.
    expect(along(8, {})).toEqual([0, 0, 2, 2, 1, 1, 1, 1]);
    // At ½ both have half.
    expect(along(2, {})).toEqual([2, 1]);
    expect(along(2, { apart: { axis: 0 } })).toEqual([2, 1]);
  });

  interface Example {
    readonly from: Size3;
    readonly to: Size3;
    readonly axis: 0 | 1 | 2 | null;
    readonly volume: readonly number[];
    readonly labels: readonly number[];
    readonly expected: readonly number[];
    readonly most: string;
  }
  const examples = JSON.parse(
    readFileSync('test/fixtures/torch-resampling/resampling.json', 'utf8'),
  ) as Example[];

  test.each(examples)('as PyTorch from $from to $to, apart along $axis', ({ from, to, axis, ...given }) => {
    const coarse = [0, 1, 2].map((other) => (other === axis ? 3.1 : 1)) as unknown as Size3;
    const how = splineOf({ method: 'trilinear', apart: undefined }, coarse, [1, 1, 1])!;
    expect(splineOf({ method: 'trilinear', apart: false }, coarse, [1, 1, 1])!.apart).toBeUndefined();
    const volume = Float32Array.from(given.volume);
    const near = (found: ArrayLike<number>) => {
      expect(found.length).toBe(given.expected.length);
      given.expected.forEach((value, at) => expect(found[at]).toBeCloseTo(value, 5));
    };
    near(resampleSpline(volume, from, to, how));
    const labels = Uint8Array.from(given.labels);
    expect(resampleLabels(labels, from, to, [1, 2, 3], how, byMost).join('')).toBe(given.most);
    // Logits, plane by plane, beside those of a background that is 0 everywhere.
    const heads = [{ written: 0 }, { written: 1 }];
    const reducer = new PlaneReducer(from, to, { heads, regions: false }, { how, keepLogits: true });
    const area = from[0] * from[1];
    const found: ResultPlane[] = [];
    for (let z = 0; z < from[2]; z++) {
      const plane = new Float32Array(2 * area);
      plane.set(volume.subarray(z * area, (z + 1) * area), area);
      found.push(...reducer.push(plane));
    }
    near(found.flatMap(({ logits }) => [...logits!.subarray(to[0] * to[1])]));
    const chosen = found.flatMap((plane) => [...plane.labels]);
    given.expected.forEach((value, at) => {
      if (Math.abs(value) > 1e-4) expect(chosen[at]).toBe(Number(value > 0));
    });
  });
});

describe('preparation', () => {
  const prepared = async (
    values: readonly number[],
    normalization: NnunetNormalization,
    more: Partial<NnunetPlans['configuration']> = {},
  ) => {
    const plans = plansOf([normalization], more);
    const image = await readImage([await file(values, [values.length, 1, 1])], plans);
    return [...nnunetInput(image, plans).data];
  };
  const near = (found: readonly number[], wanted: readonly number[]) => {
    expect(found.length).toBe(wanted.length);
    wanted.forEach((value, at) => expect(found[at]).toBeCloseTo(value, 5));
  };

  test('each normalisation, after the crop', async () => {
    const values = [0, 0, 1, 5, 0, 3, 0];
    near(await prepared(values, { scheme: 'NoNormalization' }), [1, 5, 0, 3]);
    near(
      await prepared(values, { scheme: 'CTNormalization', clip: [1, 4], mean: 2, deviation: 0.5 }),
      [-2, 4, -2, 2],
    );
    const sd = Math.sqrt((1.25 ** 2 + 2.75 ** 2 + 2.25 ** 2 + 0.75 ** 2) / 4);
    near(
      await prepared(values, { scheme: 'ZScoreNormalization', masked: false }),
      [-1.25, 2.75, -2.25, 0.75].map((value) => value / sd),
    );
    // Without a second dimension the 0 within is no hole.
    const inside = Math.sqrt((4 + 4) / 3);
    near(await prepared(values, { scheme: 'ZScoreNormalization', masked: true }), [
      -2 / inside,
      2 / inside,
      0,
      0,
    ]);
    near(await prepared(values, { scheme: 'RescaleTo01Normalization' }), [0.2, 1, 0, 0.6]);
    near(
      await prepared(values, { scheme: 'RGBTo01Normalization' }),
      [1, 5, 0, 3].map((value) => value / 255),
    );
    await expect(prepared([-1, 2], { scheme: 'RGBTo01Normalization' })).rejects.toThrow(
      /value -1; this model takes colours/,
    );
    await expect(prepared([0, 0], { scheme: 'NoNormalization' })).rejects.toThrow(InvalidVolume);
  });

  test('without resampling where the plans say so', async () => {
    const more = {
      spacing: [1, 1, 0.5],
      resampling: { ...plansOf().configuration.resampling, data: { method: 'none' } },
    } as const;
    near(await prepared([1, 2], { scheme: 'NoNormalization' }, more), [1, 2]);
  });

  test('axes: as stored and transposed, or turned to RAS; channels of one place', async () => {
    const values = Float32Array.from({ length: 24 }, (_, i) => i + 1);
    const left = [-2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1];
    const stored = await readNifti(await file(values, [2, 3, 4], left));
    const image = nnunetImage(['a'], [stored], plansOf(undefined, {}, [2, 0, 1]));
    // Array axes are the file's x, z, y, slowest first.
    expect([image.size, image.spacing]).toEqual([
      [3, 4, 2],
      [3, 4, 2],
    ]);
    expect([...image.channels[0]!.slice(0, 4)]).toEqual([1, 3, 5, 7]);
    const turned = nnunetImage(['a'], [stored], { ...plansOf(), reader: 'NibabelIOWithReorient' });
    expect([...turned.channels[0]!.slice(0, 3)]).toEqual([2, 1, 4]);
    expect([turned.origin.start, turned.origin.steps]).toEqual([1, [-1, 2, 6]]);

    const itk = nnunetImage(['a'], [stored], { ...plansOf(), reader: 'SimpleITKIOWithReorient' });
    expect(itk).toEqual(turned);

    // What is planned before the file is read is of the same grid, whatever the matrix beside the header's spacing says.
    const pixdim = [1, 5, 6, 7, 0, 0, 0, 0];
    const stated = { ...stored, header: { ...stored.header, pixdim } };
    expect(gridAsRead(stated.header, plansOf())).toEqual({ size: [2, 3, 4], spacing: [5, 6, 7] });
    expect(nnunetImage(['a'], [stated], plansOf())).toMatchObject({ size: [2, 3, 4], spacing: [5, 6, 7] });
    const swapped = [0, 3, 0, 0, 2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1];
    const lying = await readNifti(await file(values, [2, 3, 4], swapped));
    const reorienting = { ...plansOf(), reader: 'NibabelIOWithReorient' };
    expect(gridAsRead(lying.header, reorienting)).toEqual({ size: [3, 2, 4], spacing: [3, 2, 4] });
    expect(nnunetImage(['a'], [lying], reorienting)).toMatchObject({ size: [3, 2, 4], spacing: [3, 2, 4] });

    const two = plansOf([{ scheme: 'NoNormalization' }, { scheme: 'NoNormalization' }]);
    expect(() => nnunetImage(['a'], [stored], two)).toThrow(/a has 1 channel\(s\), this model takes 2/);
    const other = await readNifti(await file(values, [2, 3, 4], identity));
    expect(() => nnunetImage(['a', 'b'], [stored, other], two)).toThrow(/\(a, b\)/);
    const both = nnunetImage(
      ['ab'],
      [await readNifti(await file([...values, ...values], [2, 3, 4, 2]))],
      two,
    );
    expect(both.channels.map((channel) => channel.length)).toEqual([24, 24]);
  });

  test.each([
    ['NibabelIO', 1, [2, 3, 4]],
    ['NibabelIO', 3, [2, 3, 4]],
    ['NibabelIOWithReorient', 3, [2, 3, 4]],
    ['SimpleITKIO', 3, [0.002, 0.003, 0.004]],
    ['SimpleITKIO', 1, [2000, 3000, 4000]],
    ['SimpleITKIOWithReorient', 3, [0.002, 0.003, 0.004].map(Math.fround)],
    ['SimpleITKIOWithReorient', 2, [2, 3, 4]],
  ])('%s reads a file of the unit %i', async (reader, xyztUnits, spacing) => {
    // nibabel 5.0 gives header.get_zooms() of (2.0, 3.0, 4.0) in each unit, as stored and reoriented.
    const affine = [-2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1];
    const volume = { data: new Float32Array(24), shape: [2, 3, 4], affine };
    const bytes = await writeNifti(volume, { gzip: false });
    bytes[123] = xyztUnits;
    const read = await readNifti(bytes);
    const plans = { ...plansOf(), reader };
    expect(gridAsRead(read.header, plans).spacing).toEqual(spacing);
    expect(nnunetImage(['a'], [read], plans).spacing).toEqual(spacing);
  });

  test('channels of one place on other axes, where the reader turns them', async () => {
    const two = plansOf([{ scheme: 'NoNormalization' }, { scheme: 'NoNormalization' }]);
    const right = await file([1, 2, 3], [3, 1, 1]);
    const left = await file([30, 20, 10], [3, 1, 1], [-1, 0, 0, 2, ...identity.slice(4)]);
    const { channels } = await readImage([right, left], { ...two, reader: 'NibabelIOWithReorient' });
    expect(channels.map((channel) => [...channel])).toEqual([
      [1, 2, 3],
      [10, 20, 30],
    ]);
    // Otherwise nnU-Net warns that voxels of one index show other places; here they are refused.
    await expect(readImage([right, left], two)).rejects.toThrow(InvalidDataset);
  });

  test.each([
    ['Tiff3DIO', 'which reads TIFF'],
    ['NaturalImage2DIO', 'which reads pictures'],
    ['OwnIO', 'of which it is not known how it turns axes'],
    ['constructor', 'of which it is not known how it turns axes'],
  ])('the reader %s is refused by name', async (reader, why) => {
    const reading = readImage([await file([1], [1, 1, 1])], { ...plansOf(), reader });
    await expect(reading).rejects.toThrow(InvalidModel);
    await expect(reading).rejects.toThrow(`image_reader_writer "${reader}", ${why}; expected SimpleITKIO`);
  });
});

describe('a cascade', () => {
  const plans = plansOf(undefined, { previousStage: '3d_lowres', spacing: [1, 1, 1] });
  const heads = [0, 1, 2].map((written) => ({ name: `${written}`, labels: [written], written }));
  const labels = { channels: ['CT'], fileEnding: '.nii.gz', heads, regions: false, ignore: undefined };
  const values = [0, 4, 5, 6, 0];
  const before = [1, 0, 2, 1, 2];

  test('the previous stage’s labels become channels of 0 and 1, cropped with the image', async () => {
    const image = await readImage([await file(values, [5, 1, 1])], plans);
    const previous = await previousStage(await file(before, [5, 1, 1]), image, labels);
    const { data, size } = nnunetInput(image, plans, previous);
    expect(size).toEqual([3, 1, 1]);
    expect([...data]).toEqual([4, 5, 6, 0, 0, 1, 0, 1, 0]);
    const moved = [1, 0, 0, 9, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    await expect(previousStage(await file(before, [5, 1, 1], moved), image, labels)).rejects.toThrow(
      /another grid/,
    );
  });

  test('what they found counts as inside where intensities are normalised inside a mask', async () => {
    const masked = plansOf([{ scheme: 'ZScoreNormalization', masked: true }], {
      previousStage: '3d_lowres',
      spacing: [1, 1, 1],
    });
    // The second voxel is 0 at the border: outside, unless the first network found something there.
    const intensities = [4, 0, 0, 6];
    const found = async (at: readonly number[]) => {
      const image = await readImage([await file(intensities, [4, 1, 1])], masked);
      const previous = await previousStage(await file(at, [4, 1, 1]), image, labels);
      return [...nnunetInput(image, masked, previous).data.subarray(0, 4)];
    };
    const z = (values: readonly number[], value: number): number => {
      const mean = values.reduce((sum, one) => sum + one / values.length, 0);
      const variance = values.reduce((sum, one) => sum + (one - mean) ** 2 / values.length, 0);
      return (value - mean) / Math.sqrt(variance);
    };
    const near = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 5) as number);
    expect(await found([1, 0, 0, 1])).toEqual(near([z([4, 6], 4), 0, 0, z([4, 6], 6)]));
    expect(await found([1, 2, 0, 1])).toEqual(near([z([4, 0, 6], 4), z([4, 0, 6], 0), 0, z([4, 0, 6], 6)]));
  });

  test('they are resampled by the rule of their own', async () => {
    const found = async (own: NnunetLabelResampling) => {
      const { resampling } = plans.configuration;
      const spacing = [1, 1, 2] as const;
      const twice = { ...plans.configuration, spacing, resampling: { ...resampling, labels: own } };
      const coarser: NnunetPlans = { ...plans, configuration: twice };
      const image = await readImage([await file([4, 5, 6, 7], [4, 1, 1])], coarser);
      const previous = await previousStage(await file([0, 2, 1, 1], [4, 1, 1]), image, labels);
      return [...nnunetInput(image, coarser, previous).data.subarray(2)];
    };
    // 0 and 2 each have half of the first voxel, 1 all of the second: where there is 1, then where there is 2.
    expect(await found({ how: linear, winner: 'half' })).toEqual([0, 1, 1, 0]);
    const torch = { method: 'trilinear', apart: undefined } as const;
    expect(await found({ how: torch, winner: 'most' })).toEqual([0, 1, 0, 0]);
    await expect(found({ how: { method: 'none' }, winner: 'half' })).rejects.toThrow(
      /not labels of the previous stage/,
    );
  });

  test('they are asked for, and refused where nothing takes them', async () => {
    const image = await readImage([await file(values, [5, 1, 1])], plans);
    const previous = await previousStage(await file(before, [5, 1, 1]), image, labels);
    const model = { labels, mirrorAxes: [] };
    await expect(segmentAsNnunet({ ...model, plans }, image, [])).rejects.toThrow(
      /takes the labels of "3d_lowres"/,
    );
    const alone = segmentAsNnunet({ ...model, plans: plansOf() }, image, [], { previous });
    await expect(alone).rejects.toThrow(InvalidModel);
  });

  test('from 255 foreground labels on results are uint16', async () => {
    const many = Array.from({ length: 300 }, (_, written) => ({
      name: `${written}`,
      labels: [written],
      written,
    }));
    const image = await readImage([await file([0, 1, 1, 1, 0], [5, 1, 1])], plansOf());
    /** The last head has it. */
    const network = windowNetwork(300, () =>
      Float32Array.from({ length: 300 * 64 }, (_, at) => (at >= 299 * 64 ? 1 : 0)),
    );
    const model = { plans: plansOf(), labels: { ...labels, heads: many }, mirrorAxes: [] };
    const found = await segmentAsNnunet(model, image, [network]);
    expect(found.labels.data).toEqual(Uint16Array.of(0, 299, 299, 299, 0));
    const written = await readNifti(await found.toNifti());
    expect([written.header.datatype, ...written.data]).toEqual([512, 0, 299, 299, 299, 0]);
  });
});

describe('what a segmentation takes', () => {
  const heads = Array.from({ length: 118 }, (_, written) => ({
    name: `${written}`,
    labels: [written],
    written,
  }));
  const labels = { channels: ['CT'], fileEnding: '.nii.gz', heads, regions: false, ignore: undefined };
  const plans = plansOf(undefined, { patch: [128, 128, 128], spacing: [1.5, 1.5, 1.5] });
  const features = { kind: 'features', channels: 32 } as const;

  test.each<[Size3, number]>([
    [[0.78, 0.78, 1], 0.5],
    [[0.98, 0.98, 1], 0.8],
    [[1.5, 1.5, 1.5], 0.5],
  ])('of 512 x 512 x 600 voxels of %j mm in 118 classes less than 2 GiB, step %d', (spacing, step) => {
    const image = { size: [512, 512, 600] as Size3, spacing };
    const plan = planSegmentation({ plans, labels }, image, features, { step });
    expect(plan.labelBytes).toBe(512 * 512 * 600);
    expect(plan.peakBytes).toBeLessThan(2 ** 31);
    // In one piece there are as few windows as can be.
    const whole = planSegmentation({ plans, labels }, image, features, { step, logitBytes: 2 ** 40 });
    expect(plan.windows).toBeGreaterThanOrEqual(whole.windows);
    // Ten times as long, the image has more windows; their logits take as much.
    const longer = planSegmentation({ plans, labels }, { ...image, size: [512, 512, 6000] }, features, {
      step,
    });
    expect([longer.logitBytes, longer.windows > 5 * plan.windows]).toEqual([plan.logitBytes, true]);
    // Probabilities are there as they are made, in their file and in its gzip.
    const stack = 118 * 4 * 512 * 512 * 600;
    const asked = planSegmentation({ plans, labels }, image, features, { step, probabilities: true });
    expect(asked.probabilityBytes / stack).toBeCloseTo(1, 2);
    expect(asked.peakBytes / stack).toBeCloseTo(3, 1);
    expect([asked.labelBytes, asked.logitBytes]).toEqual([plan.labelBytes, plan.logitBytes]);
  });

  test('where that cannot be had, the image is named', async () => {
    const image = await readImage([await file([1, 2], [2, 1, 1])], plans);
    const input = { size: [2, 1, 1], box: { start: [0, 0, 0], size: [2, 1, 1] } } as const;
    const segment = (shape: Size3, many: number) => {
      const given = { ...image, name: 'scan.nii', origin: { ...image.origin, shape } };
      const model = { plans, labels: { ...labels, heads: new Array(many).fill(heads[1]!) as typeof heads } };
      return labelsOfPlanes(model, given, input, [], true);
    };
    const wide = segment([2 ** 20, 2 ** 20, 2 ** 20], 2);
    await expect(wide).rejects.toThrow(OutOfMemory);
    await expect(wide).rejects.toThrow(/^scan\.nii, segmented, has 115292150460684\d+ voxels/);
    const many = segment([2 ** 17, 2 ** 8, 1], 2 ** 20);
    await expect(many).rejects.toThrow(OutOfMemory);
    await expect(many).rejects.toThrow(/^the stack of 1048576 probabilities of scan\.nii has/);
  });
});
