// Fingerprint: medians, percentiles and class shares against figures worked out by hand.
import { expect, test } from 'vitest';
import { fingerprint, intensityFacts, median, type CaseFacts } from '../../src/data/fingerprint.ts';

test('median of odd, even and no numbers', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('intensities of 0 to 1000, with NaN and infinity counted apart', () => {
  const data = Float32Array.from({ length: 1003 }, (_, i) => (i === 1001 ? NaN : i === 1002 ? Infinity : i));
  const facts = intensityFacts(data);
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

test('the summary of two cases', () => {
  const base = { intensities: [intensityFacts(Float32Array.of(1, 3))], hash: '' };
  const cases: CaseFacts[] = [
    {
      ...base,
      id: 'a',
      subject: 's',
      shape: [4, 6, 8],
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
      spacing: [1, 2, 2],
      orientation: 'LPI',
      classVoxels: new Map([[0, 8]]),
    },
  ];
  expect(fingerprint(cases)).toEqual({
    cases: 2,
    subjects: 1,
    shape: { min: [4, 6, 4], median: [5, 6, 6], max: [6, 6, 8] },
    spacing: { min: [1, 1, 2], median: [1, 1.5, 2], max: [1, 2, 2] },
    orientations: { RAS: 1, LPI: 1 },
    intensities: [{ min: 1, max: 3, mean: 2, deviation: 1, percentile005: 1, median: 3, percentile995: 3 }],
    classes: [
      { value: 0, cases: 2, share: 14 / 16 },
      { value: 1, cases: 1, share: 2 / 16 },
    ],
  });
});
