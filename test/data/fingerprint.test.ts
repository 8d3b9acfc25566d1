// Fingerprint: medians, percentiles and class shares against figures worked out by hand.
import { expect, test } from 'vitest';
import { foregroundSamples, intensityFacts, measureCase, type CaseFacts } from '../../src/data/case-facts.ts';
import { fingerprint, median } from '../../src/data/fingerprint.ts';
import type { Volume } from '../../src/data/volume.ts';

test('median of odd, even and no numbers', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('intensities of 0 to 1000, with NaN and infinity counted apart', () => {
  const data = Float32Array.from({ length: 1003 }, (_, i) => (i === 1001 ? NaN : i === 1002 ? Infinity : i));
  const facts = intensityFacts(data, [17, 59, 1]);
  expect(facts).toMatchObject({
    min: 0,
    max: 1000,
    mean: 500,
    percentile005: 5,
    median: 500,
    percentile995: 995,
  });
  expect(facts.deviation).toBeCloseTo(Math.sqrt((1001 ** 2 - 1) / 12), 6);
  expect(facts.notFinite).toBe(2);
});

test('percentiles are of all columns of a volume whose rows are as long as the steps between their voxels', () => {
  const shape = [256, 256, 390] as const; // 256 times 99,840
  const data = new Float32Array(shape[0] * shape[1] * shape[2]);
  for (let at = 0; at < data.length; at++) data[at] = at % shape[0];
  const { percentile005, median: middle, percentile995 } = intensityFacts(data, shape);
  expect(percentile005).toBeCloseTo(1, -1);
  expect(middle).toBeCloseTo(127.5, -1);
  expect(percentile995).toBeCloseTo(254, -1);
});

test('the summary of two cases', () => {
  const base = { intensities: [intensityFacts(Float32Array.of(1, 3), [2, 1, 1])], hash: '' };
  const cases: CaseFacts[] = [
    {
      ...base,
      id: 'a',
      subject: 's',
      shape: [4, 6, 8],
      cropped: [4, 6, 4],
      spacing: [1, 1, 2],
      orientation: 'RAS',
      classVoxels: new Map([
        [0, 6],
        [1, 2],
      ]),
    },
    {
      ...base,
      id: 'b',
      subject: 's',
      shape: [6, 6, 4],
      cropped: [3, 3, 4],
      spacing: [1, 2, 2],
      orientation: 'LPI',
      classVoxels: new Map([[0, 8]]),
    },
  ];
  expect(fingerprint(cases)).toEqual({
    cases: 2,
    subjects: 1,
    shape: { min: [4, 6, 4], median: [5, 6, 6], max: [6, 6, 8] },
    spacing: { min: [1, 1, 2], median: [1, 1.5, 2], max: [1, 2, 2], percentile10: [1, 1.1, 2] },
    cropped: {
      shape: { min: [3, 3, 4], median: [3.5, 4.5, 4], max: [4, 6, 4] },
      millimetres: { min: [3, 6, 8], median: [3.5, 6, 8], max: [4, 6, 8] },
      share: (1 / 2 + 1 / 4) / 2,
      volumes: [
        { shape: [4, 6, 4], spacing: [1, 1, 2] },
        { shape: [3, 3, 4], spacing: [1, 2, 2] },
      ],
    },
    orientations: { RAS: 1, LPI: 1 },
    intensities: [
      { min: 1, max: 3, mean: 2, deviation: 1, percentile005: 1.01, median: 2, percentile995: 2.99 },
    ],
    foreground: [],
    classes: [
      { value: 0, cases: 2, share: 14 / 16 },
      { value: 1, cases: 1, share: 2 / 16 },
    ],
  });
});

test('the order of cases, which differs from fold to fold, changes no bit', () => {
  const cases = Array.from({ length: 5 }, (_, i): CaseFacts => {
    const values = Float32Array.from({ length: foregroundSamples }, (_, at) => 1e4 * i + Math.sqrt(at + i));
    return {
      id: `case ${i}`,
      subject: `s${i}`,
      shape: [4, 4, 4],
      cropped: [4, 4, 4],
      spacing: [1, 1, 1 + i],
      orientation: i % 2 === 0 ? 'RAS' : 'LPS',
      intensities: [intensityFacts(values.subarray(0, 64), [4, 4, 4])],
      foreground: [values],
      hash: '',
    };
  });
  const turned = [3, 1, 4, 0, 2].map((i) => cases[i]!);
  expect(JSON.stringify(fingerprint(turned))).toBe(JSON.stringify(fingerprint(cases)));
});

test('of cases with different numbers of channels, those that all have are summed up', () => {
  const facts = (id: string, channels: readonly number[], foreground?: Float32Array[]): CaseFacts => ({
    ...{ id, subject: id, shape: [2, 1, 1], cropped: [2, 1, 1], spacing: [1, 1, 1], orientation: 'RAS' },
    intensities: channels.map((value) => intensityFacts(Float32Array.of(value, value + 2), [2, 1, 1])),
    ...(foreground && { foreground }),
    hash: '',
  });
  const sample = new Float32Array(foregroundSamples).fill(4);
  for (const cases of [
    [facts('two', [1, 100]), facts('one', [3], [sample])],
    [facts('one', [3], [sample]), facts('two', [1, 100])],
  ]) {
    const { intensities, foreground } = fingerprint(cases);
    expect(intensities.map(({ mean }) => mean)).toEqual([3]); // of 2 and 4
    expect(foreground.map(({ mean }) => mean)).toEqual([4]);
  }
});

test('facts of a case, turned: box of what is not zero, and intensities under the label', async () => {
  // x points to the front and y to the left.
  const affine = [0, -2, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const volume = (values: readonly number[]): Volume => ({
    data: Float32Array.from(values),
    shape: [4, 2, 1],
    affine,
    spacing: [3, 2, 1],
    header: {} as Volume['header'],
  });
  const item = { id: 'a', subject: 's', images: [] };
  const facts = await measureCase(
    item,
    [volume([0, 5, 6, 0, 0, 0, 7, 0])],
    volume([0, 1, 2, 9, 0, 0, 1, 0]),
    9,
  );
  expect(facts).toMatchObject({
    shape: [2, 4, 1],
    spacing: [2, 3, 1],
    cropped: [2, 2, 1],
    orientation: 'ALS',
  });
  const [sample] = facts.foreground!;
  const counts = [5, 6, 7].map((value) => sample!.filter((v) => v === value).length);
  expect(counts).toEqual([3334, 3333, 3333]);
  const bare = await measureCase(
    item,
    [volume([1, 1, 1, 1, 1, 1, 1, 1])],
    volume([0, 0, 0, 9, 0, 0, 0, 0]),
    9,
  );
  expect(bare.foreground).toBeUndefined();

  // Cases count alike, however much foreground they have.
  const other = await measureCase(item, [volume([0, 0, 9, 0, 0, 0, 0, 0])], volume([0, 0, 1, 0, 0, 0, 0, 0]));
  const [found] = fingerprint([facts, other, bare]).foreground;
  expect(found!.mean).toBeCloseTo(7.5, 3);
  expect(found).toMatchObject({ percentile005: 5, percentile995: 9 });
});
