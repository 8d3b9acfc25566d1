// From volumes to the network's arrays: orientation, spacing, z-score, label rules, cache; and each refusal.
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { openDatasetFolder } from '../../src/data/dataset.node.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { cacheCases } from '../../src/data/prepare-cache.ts';
import { checkedLabels } from '../../src/data/prepare-checks.ts';
import { fromArrays, prepareCase, type PreparedCase } from '../../src/data/prepare.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { resampleSpline } from '../../src/data/spline.ts';
import { Aborted, InvalidDataset, InvalidVolume, OutOfMemory } from '../../src/errors.ts';

const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => i);
const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const plain = { ...defaultPreprocessing(1), normalization: ['none'] as const };

describe('prepared arrays', () => {
  test('are [channel][z][y][x] with each channel at mean 0 and standard deviation 1', () => {
    const { image, labels, shape, affine } = phantom(0);
    const second = image.map((value) => 3 * value + 7);
    const item = fromArrays(
      'p',
      [
        { data: image, dims: shape, affine },
        { data: second, dims: shape, affine },
      ],
      {
        data: labels,
        dims: shape,
        affine,
      },
    );
    expect(item).toMatchObject({ id: 'p', shape, channels: 2, spacing: [12.5, 12.5, 12.5] });
    expect(item.label).toEqual(labels);
    const voxels = image.length;
    for (const channel of [0, 1]) {
      const values = item.image.subarray(channel * voxels, (channel + 1) * voxels);
      const mean = values.reduce((a, b) => a + b, 0) / voxels;
      const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / voxels;
      expect(Math.abs(mean)).toBeLessThan(1e-6);
      expect(Math.abs(variance - 1)).toBeLessThan(1e-5);
    }
    // z-scores do not see a scale and an offset; rounding to float32 beforehand leaves the last digits.
    const difference = item.image
      .subarray(0, voxels)
      .map((value, i) => Math.abs(value - item.image[voxels + i]!));
    expect(Math.max(...difference)).toBeLessThan(1e-5);
  });

  test('a 4-D array has its channels on the fourth axis', () => {
    const item = fromArrays('c', { data: numbers(24), dims: [2, 3, 2, 2] }, undefined, {
      ...plain,
      normalization: ['none', 'z-score'],
    });
    expect([...item.image.slice(0, 12)]).toEqual([...numbers(12)]);
    expect(item.image.slice(12).reduce((a, b) => a + b)).toBeCloseTo(0, 5);
    expect(item).not.toHaveProperty('label');
  });

  test('image and label are turned to RAS together', () => {
    // x and y exchanged, the new x reversed.
    const affine = [0, 2, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const label = { data: Uint8Array.of(0, 1, 2, 3, 4, 5), dims: [2, 3, 1], affine };
    const item = fromArrays('t', { data: numbers(6), dims: [2, 3, 1], affine }, label, plain);
    expect(item).toMatchObject({ shape: [3, 2, 1], spacing: [2, 1, 1] });
    expect([...item.image]).toEqual([1, 3, 5, 0, 2, 4]);
    expect([...item.label!]).toEqual([1, 3, 5, 0, 2, 4]);
  });

  test('another spacing resamples images linearly and labels to the nearest', () => {
    const dims = [4, 2, 2];
    const label = { data: Uint8Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? 0 : 3)), dims };
    const item = fromArrays('r', { data: numbers(16).map((i) => i % 4), dims }, label, {
      ...plain,
      spacing: [0.5, 1, 1],
    });
    expect(item).toMatchObject({ shape: [8, 2, 2], spacing: [0.5, 1, 1] });
    expect([...item.image.slice(0, 8)]).toEqual([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]);
    expect([...item.label!.slice(0, 8)]).toEqual([0, 0, 0, 0, 3, 3, 3, 3]);
    expect(item.grid).toMatchObject({ shape: [4, 2, 2], spacing: [1, 1, 1] });
  });

  const scored = { ...plain, normalization: ['z-score'] as const, spacing: [0.5, 1, 1] as const };
  const uneven = { data: Float32Array.of(0, 0, 9, 1, 4, 4, 2, 0), dims: [4, 2, 1] };

  test('are normalised before they are resampled; of models of format 1, after', () => {
    const [now, before] = [scored, { ...scored, order: 'resample, normalize' as const }].map(
      (how) => fromArrays('o', uneven, undefined, how).image,
    ) as [Float32Array, Float32Array];
    const own = fromArrays('o', uneven, undefined, { ...scored, spacing: null }).image;
    // The first voxel of eight is the first of four, as the second is for three quarters.
    expect(now[0]).toBe(own[0]);
    expect(now[3]).toBeCloseTo(own[1]! + (own[2]! - own[1]!) / 4, 6);
    const mean = (data: Float32Array) => data.reduce((a, b) => a + b) / data.length;
    expect(mean(before)).toBeCloseTo(0, 6);
    expect(before.reduce((sum, v) => sum + v * v, 0) / 16).toBeCloseTo(1, 5);
    expect(now.reduce((sum, v) => sum + v * v, 0) / 16).toBeLessThan(0.95);
  });

  test('are resampled by splines and each label linearly, where that is said; unknown voxels among these', () => {
    const label = { data: Uint8Array.of(0, 2, 255, 1, 1, 1, 1, 1), dims: [8, 1, 1] };
    const image = { data: Float32Array.of(0, 0, 9, 1, 4, 4, 2, 0), dims: [8, 1, 1] };
    const how = { ...plain, spacing: [0.5, 1, 1] as const, normalization: ['none'] as const };
    const cubic = fromArrays('c', image, label, { ...how, resampling: 'cubic' }, { ignoreLabel: 255 });
    expect([...cubic.label!.slice(0, 8)]).toEqual([0, 0, 2, 2, 255, 255, 1, 1]);
    expect(cubic.image).toEqual(resampleSpline(image.data, [8, 1, 1], [16, 1, 1]));
    expect(fromArrays('l', image, label, how, { ignoreLabel: 255 }).image[3]).toBe(2.25);
  });

  test('too large for the memory are refused with their name and both spacings', () => {
    const grid = { dims: [2, 2, 2], affine: identity.map((value, at) => (at < 15 ? 1e9 * value : value)) };
    const data = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const cubic = { ...plain, spacing: [1e-6, 1e-6, 1e-6] as const, resampling: 'cubic' as const };
    const make = () => fromArrays('metres', { data, ...grid }, undefined, cubic);
    expect(make).toThrow(OutOfMemory);
    expect(make).toThrow(
      /^Case "metres": the image, of 1000000000 x .* mm, does not fit the memory at 0\.000001 x .*spacing in its header/,
    );
  });

  test('are cropped to what is not zero in some channel, label and all, before anything else', () => {
    const dims = [5, 4, 3];
    const first = new Float32Array(60);
    const second = new Float32Array(60);
    first[1 + 5 * 1] = 4; // x 1, y 1, z 0
    second[3 + 5 * 2 + 20] = 8; // x 3, y 2, z 1
    const label = { data: Uint8Array.from({ length: 60 }, (_, i) => i), dims };
    const item = fromArrays(
      'k',
      [
        { data: first, dims },
        { data: second, dims },
      ],
      label,
      {
        ...plain,
        crop: 'non-zero',
        normalization: ['none', 'z-score inside'],
      },
    );
    expect(item).toMatchObject({ shape: [3, 2, 2], channels: 2 });
    expect(item.grid).toMatchObject({ shape: [5, 4, 3], box: { start: [1, 1, 0], size: [3, 2, 2] } });
    expect([...item.image.slice(0, 12)]).toEqual([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Inside are the two voxels only: 0 and 8 become −1 and 1.
    expect([...item.image.slice(12)]).toEqual([-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect([...item.label!]).toEqual([6, 7, 8, 11, 12, 13, 26, 27, 28, 31, 32, 33]);
    expect([...first].filter((value) => value !== 0)).toEqual([4]); // the caller's arrays stay as they were
    expect(() =>
      fromArrays('z', { data: new Float32Array(60), dims }, label, { ...plain, crop: 'non-zero' }),
    ).toThrow(/Case "z": the image: all voxels are 0/);
  });
});

describe('labels', () => {
  test('the ignore label becomes 255', () => {
    expect(checkedLabels('a', [0, 1, 7], { classes: 2, ignoreLabel: 7 })).toEqual(Uint8Array.of(0, 1, 255));
  });

  test('values outside the classes are refused with case, values and classes', () => {
    const check = () =>
      checkedLabels('case_3', [0, 1, 2, 2, 0.5, -1, NaN], { classes: 2, classNames: ['air', 'bone'] });
    expect(check).toThrow(InvalidDataset);
    expect(check).toThrow(
      /case_3.*-1 \(1 voxels\).*0\.5 \(1 voxels\).*2 \(2 voxels\).*0 to 1 \(0 air, 1 bone\)/,
    );
    expect(check).toThrow(/NaN/);
  });
});

describe('refused', () => {
  const image = { data: numbers(24), dims: [2, 3, 4] };

  test('image and label of different shape, with both shapes', () => {
    const label = { data: new Uint8Array(24), dims: [4, 3, 2] };
    expect(() => fromArrays('s', image, label)).toThrow(InvalidDataset);
    expect(() => fromArrays('s', image, label)).toThrow(/"s".*2 x 3 x 4.*4 x 3 x 2/);
  });

  test('a label whose axes are in the order of SimpleITK, with what to do', () => {
    const label = { data: new Uint8Array(24), dims: [4, 3, 2] };
    expect(() => fromArrays('s', image, label)).toThrow(
      /must be equal: save the label with its array as x, y, z/,
    );
    const smaller = { data: new Uint8Array(12), dims: [2, 3, 2] };
    expect(() => fromArrays('s', image, smaller)).toThrow(/must be equal: resample the label/);
  });

  test('a label at another place', () => {
    const affine = [1, 0, 0, 50, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    expect(() => fromArrays('s', image, { data: new Uint8Array(24), dims: [2, 3, 4], affine })).toThrow(
      /50\.0 mm/,
    );
  });

  test('channels of different shape or number, and arrays that do not fill their dims', () => {
    expect(() => fromArrays('s', [image, { data: numbers(24), dims: [2, 2, 6] }])).toThrow(
      /2 x 3 x 4 and 2 x 2 x 6/,
    );
    expect(() => fromArrays('s', [image, image], undefined, plain)).toThrow(/2 channel\(s\); expected 1/);
    expect(() => fromArrays('s', { data: numbers(5), dims: [2, 3, 4] })).toThrow(
      /5 voxels does not fill 2 x 3 x 4 = 24/,
    );
  });

  test.each(['z-score', 'none'] as const)('voxels that are not finite, with normalisation %s', (how) => {
    const data = numbers(24);
    data.set([NaN, -Infinity], 3);
    // Counted before resampling, which would spread them.
    const preprocessing = { ...plain, normalization: [how], spacing: [2, 2, 2] as const };
    const prepare = () => fromArrays('n', { data, dims: [2, 3, 4] }, undefined, preprocessing);
    expect(prepare).toThrow(InvalidVolume);
    expect(prepare).toThrow(
      /Case "n": the image: 2 of 24 voxels are NaN or infinite, expected finite values; replace/,
    );
  });
});

describe('from files', () => {
  test('NIfTI bytes are read as the arrays are', async () => {
    const { image, labels, shape, affine } = phantom(2, { shape: [8, 7, 6] });
    const write = (data: Float32Array | Uint8Array) => writeNifti({ data, shape, affine });
    const item = { id: 'f', subject: 'f', images: [await write(image)], label: await write(labels) };
    const read = await prepareCase(item, defaultPreprocessing(1), { classes: 6 });
    const made = fromArrays('f', { data: image, dims: shape, affine }, { data: labels, dims: shape, affine });
    expect(read.image).toEqual(made.image);
    expect(read.label).toEqual(labels);
    await expect(prepareCase(item, defaultPreprocessing(1), { classes: 2 })).rejects.toThrow(
      /outside the classes/,
    );
  });

  const scored = defaultPreprocessing(1);
  const halved = [12.5, 12.5, 25] as const;
  test.each([
    ['two files', 2, defaultPreprocessing(2)],
    ['cropped', 1, { ...scored, crop: 'non-zero' as const }],
    ['resampled after it', 1, { ...scored, spacing: halved }],
    ['resampled before it', 1, { ...scored, spacing: halved, order: 'resample, normalize' as const }],
  ])('the z-score is that of the voxels that are left: %s', async (_, count, preprocessing) => {
    const { image, shape, affine } = phantom(3, { shape: [8, 7, 6] });
    const channels = [image, image.map((v) => v * v)].slice(0, count).map((data) => {
      const framed = data.slice();
      framed.fill(0, 0, 8 * 7 * 2);
      return { data: framed, dims: shape, affine };
    });
    const images = await Promise.all(channels.map(({ data }) => writeNifti({ data, shape, affine })));
    const read = await prepareCase({ id: 'z', subject: 'z', images }, preprocessing);
    const made = fromArrays('z', channels, undefined, preprocessing);
    expect(read.shape).toEqual(made.shape);
    expect(read.image.map((v, i) => Math.abs(v - made.image[i]!)).every((v) => v < 1e-6)).toBe(true);
  });

  test('voxels that are not finite are refused with their file', async () => {
    const data = numbers(24);
    data.set([NaN, -Infinity], 3);
    const images = [await writeNifti({ data, shape: [2, 3, 4], affine: [...identity] })];
    await expect(prepareCase({ id: 'n', subject: 'n', images }, scored)).rejects.toThrow(
      /Case "n": the buffer: 2 of 24 voxels are NaN or infinite/,
    );
  });

  test('a file that is no NIfTI is refused with the case', async () => {
    const item = { id: 'bad', subject: 'bad', images: [new Uint8Array(500)] };
    await expect(prepareCase(item, defaultPreprocessing(1))).rejects.toThrow(InvalidVolume);
    await expect(prepareCase(item, defaultPreprocessing(1))).rejects.toThrow(/Case "bad"/);
  });

  test('cases of the hippocampus data set', async ({ skip }) => {
    skip(!existsSync('../shared/data/hippocampus'), 'the hippocampus data is not beside the checkout');
    const { cases, labels } = await openDatasetFolder('../shared/data/hippocampus');
    for (const id of ['hippocampus_001', 'hippocampus_003']) {
      const found = cases.find((item) => item.id === id)!; // 003 has float32 labels
      const item = await prepareCase(found, defaultPreprocessing(1), { classes: 3, classNames: labels });
      expect(item.shape[0] * item.shape[1] * item.shape[2]).toBe(item.label!.length);
      expect([...new Set(item.label)].sort()).toEqual([0, 1, 2]);
    }
  });
});

describe('cacheCases', () => {
  const make = (index: number): Promise<PreparedCase> =>
    Promise.resolve(fromArrays(`c${index}`, { data: numbers(8), dims: [2, 2, 2] })); // 32 bytes each

  test('prepares each case once if the budget holds them all', async () => {
    const seen: string[] = [];
    const cases = await cacheCases(4, make, {
      onProgress: (loaded, total) => seen.push(`${loaded}/${total}`),
    });
    expect(seen).toEqual(['1/4', '2/4', '3/4', '4/4']);
    for (let i = 0; i < 4; i++) expect((await cases.get(i)).id).toBe(`c${i}`);
    expect(cases).toMatchObject({ ids: ['c0', 'c1', 'c2', 'c3'], channels: 1, prepared: 4, bytes: 128 });
  });

  test('stays within the budget, drops the least recently used, and prepares it again', async () => {
    const cases = await cacheCases(4, make, { budget: 64 }); // holds 2, 3
    expect(cases.bytes).toBe(64);
    await cases.get(2); // now 3, 2
    await Promise.all([cases.get(0), cases.get(0)]); // drops 3
    expect(cases).toMatchObject({ prepared: 5, bytes: 64 });
    await cases.get(2);
    expect(cases.prepared).toBe(5);
    await cases.get(3);
    expect(cases.prepared).toBe(6);
  });

  test('a case that has other voxels when it is read again is refused', async () => {
    let dims = [2, 2, 2];
    const change = (index: number): Promise<PreparedCase> =>
      Promise.resolve(
        fromArrays(`c${index}`, { data: numbers(dims.reduce((product, n) => product * n)), dims }),
      );
    const cases = await cacheCases(2, change, { budget: 0 });
    dims = [2, 2, 3];
    await expect(cases.get(0)).rejects.toThrow(
      /"c0" has become another: 2 x 2 x 3 voxels, 1 channel\(s\), before 2 x 2 x 2/,
    );
    dims = [2, 2, 2];
    expect((await cases.get(0)).shape).toEqual([2, 2, 2]);
  });

  test('an error of one case and an abort end it', async () => {
    await expect(cacheCases(2, () => Promise.reject(new InvalidVolume('broken')))).rejects.toThrow('broken');
    await expect(cacheCases(2, make, { signal: AbortSignal.abort() })).rejects.toThrow(Aborted);
  });
});
