// nnU-Net's rules on fingerprints made for them: spacing, crop, normalisation by channel name.
import { describe, expect, test } from 'vitest';
import type { CaseFacts } from '../../src/data/case-facts.ts';
import { nnunetPreprocessing } from '../../src/data/decide.ts';
import { fingerprint } from '../../src/data/fingerprint.ts';
import type { Size3 } from '../../src/size.ts';
import { InvalidDataset } from '../../src/errors.ts';

const intensities = {
  min: 0,
  max: 9,
  mean: 4,
  deviation: 2,
  percentile005: 0,
  median: 4,
  percentile995: 9,
  notFinite: 0,
};

/** A fingerprint of cases of these shapes and spacings, of which boxes of `cropped` are not zero. */
function print(
  cases: readonly { shape: Size3; spacing: Size3; cropped?: Size3 }[],
  { channels = 1, foreground }: { channels?: number; foreground?: Float32Array[] } = {},
) {
  const facts = cases.map(({ shape, spacing, cropped = shape }, index): CaseFacts => ({
    id: `c${index}`,
    subject: `s${index}`,
    shape,
    spacing,
    cropped,
    orientation: 'RAS',
    intensities: new Array<typeof intensities>(channels).fill(intensities),
    ...(foreground && { foreground }),
    hash: '',
  }));
  return fingerprint(facts);
}

const cube = { shape: [100, 90, 80] as const, spacing: [1, 1, 1] as const };

describe('spacing', () => {
  test('stays where all have the same', () => {
    const { preprocessing, typical, reasons } = nnunetPreprocessing(print([cube, cube]));
    expect(preprocessing).toEqual({
      orientation: 'RAS',
      crop: 'non-zero',
      spacing: [1, 1, 1],
      resampling: 'cubic',
      normalization: ['z-score'],
      padding: 'zeros at the far end',
    });
    expect(typical).toEqual({ shape: [100, 90, 80], spacing: [1, 1, 1] });
    expect(reasons.join(' ')).toContain('All have the spacing 1 x 1 x 1 mm.');
  });

  test('is the median where they differ, and shapes follow', () => {
    const list = [1, 2, 4].map((mm) => ({ shape: [100, 90, 80] as const, spacing: [mm, 1, 1] as const }));
    const { preprocessing, typical, largest } = nnunetPreprocessing(print(list));
    expect(preprocessing.spacing).toEqual([2, 1, 1]);
    expect(typical.shape).toEqual([100, 90, 80]); // 200 mm in the median
    expect(largest).toEqual([200, 90, 80]);
  });

  // Thick slices from 2 to 6 mm, few of them: the 10th percentile of 11 values is the second.
  const thick = (mm: number, slices: number, inPlane = 0.5) => ({
    shape: [256, 256, slices] as const,
    spacing: [inPlane, inPlane, mm] as const,
  });
  const range = Array.from({ length: 11 }, (_, i) => 2 + 0.4 * i);

  test('along a coarse axis of few voxels is the 10th percentile', () => {
    const { preprocessing, reasons } = nnunetPreprocessing(print(range.map((mm) => thick(mm, 20))));
    expect(preprocessing.spacing).toEqual([0.5, 0.5, expect.closeTo(2.4, 9)]);
    expect(reasons.join(' ')).toMatch(/z is coarse.*0\.5 x 0\.5 x 2\.4 mm/);
  });

  test('but not with many voxels along it, nor finer than the other axes', () => {
    expect(nnunetPreprocessing(print(range.map((mm) => thick(mm, 90)))).preprocessing.spacing![2]).toBe(4);
    const mixed = [...new Array<number>(2).fill(0.2), ...new Array<number>(9).fill(5)];
    const { spacing } = nnunetPreprocessing(print(mixed.map((mm) => thick(mm, 20)))).preprocessing;
    expect(spacing).toEqual([0.5, 0.5, 0.5]);
  });

  test('that is given wins; null leaves all as they are', () => {
    expect(nnunetPreprocessing(print([cube]), [], [2, 2, 2])).toMatchObject({
      preprocessing: { spacing: [2, 2, 2] },
      typical: { shape: [50, 45, 40], spacing: [2, 2, 2] },
    });
    expect(nnunetPreprocessing(print([cube]), [], null)).toMatchObject({
      preprocessing: { spacing: null },
      typical: { shape: [100, 90, 80], spacing: [1, 1, 1] },
    });
  });
});

describe('normalisation', () => {
  const foreground = [0, 1, 2, 3, 4].map((channel) =>
    Float32Array.from({ length: 10_000 }, (_, i) => 100 * channel + i / 10),
  );
  const five = print([cube], { channels: 5, foreground });

  test('follows the names of the channels, in any case', () => {
    const names = ['ct', 'T1', 'noNorm', 'rescale_to_0_1', 'RGB_to_0_1'];
    const { preprocessing, reasons } = nnunetPreprocessing(five, names);
    const [ct, ...others] = preprocessing.normalization;
    expect(others).toEqual(['z-score', 'none', 'min-max', { clip: [0, 255], mean: 0, deviation: 255 }]);
    expect(ct).toEqual({
      clip: [expect.closeTo(5, 1), expect.closeTo(994.9, 1)],
      mean: expect.closeTo(499.95, 2) as number,
      deviation: expect.closeTo(288.7, 1) as number,
    });
    expect(reasons.join('\n')).toMatch(/Channel 0 \(ct\): clipped to 5 to 994\.9,/);
    expect(nnunetPreprocessing(five, ['T2', 'CT']).preprocessing.normalization[1]).toMatchObject({
      mean: expect.closeTo(599.95, 2) as number,
    });
  });

  test('of CT needs foreground', () => {
    expect(() => nnunetPreprocessing(print([cube]), ['CT'])).toThrow(InvalidDataset);
  });

  test('z-scores see what is not zero where cropping leaves little', () => {
    const of = (cropped: Size3) => nnunetPreprocessing(print([{ ...cube, cropped }])).preprocessing;
    expect(of([50, 90, 80]).normalization).toEqual(['z-score inside']);
    expect(of([80, 90, 80]).normalization).toEqual(['z-score']);
  });
});
