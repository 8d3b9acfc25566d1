/**
 * Preprocessing decided from a data set's fingerprint by nnU-Net's rules: crop to what is not zero, normalisation by
 * the channels' names, the median spacing. Plain data with the reasons in words.
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { text, withParts } from '../schema.ts';
import type { Fingerprint, ForegroundFacts } from './fingerprint.ts';
import type { Normalization } from './normalize.ts';
import type { Size3 } from '../size.ts';
import { sizeAtSpacing } from './resample.ts';
import { spacingSchema, type Preprocessing } from './preprocessing.ts';

/** A preprocessing, and why it is so. */
export interface PreprocessingDecision {
  /** For `prepareCase`; a model stores it. */
  readonly preprocessing: Preprocessing;
  /** The median volume as the network gets it: voxels along x, y, z, and millimetres between them. */
  readonly typical: { readonly shape: Size3; readonly spacing: Size3 };
  /** The largest volume on each axis, likewise. */
  readonly largest: Size3;
  /** What was decided and why, one sentence each. */
  readonly reasons: readonly string[];
}

/** An axis is anisotropic if its spacing is more than this times the others', and its voxels this much fewer. */
const anisotropy = 3;
/** Volumes that keep less than this share of their voxels have a background of zeros worth leaving out. */
const largeShare = 0.75;

const decisionEntries = {
  fingerprint: withParts('the fingerprint of a data set, as checkDataset gives it', 'cropped', 'intensities'),
  channels: v.array(text, 'a list of names of channels'),
  spacing: v.optional(spacingSchema),
};

const figures = (values: Size3): string => values.map((mm) => Number(mm.toFixed(3))).join(' x ');
const shorter = (value: number): number => Number(value.toPrecision(4));

/**
 * How nnU-Net would prepare the volumes of a data set: crop, normalisation of each channel and spacing, by its rules.
 * @param print of the training cases
 * @param channels names as dataset.json gives them, in any case: "CT" takes the data set's foreground intensities,
 *   "noNorm", "rescale_to_0_1" and "rgb_to_0_1" what they say, all others (and none) a z-score per volume
 * @param spacing in place of the one that would be decided; null leaves volumes at their own
 * @throws InvalidDataset for CT without any labelled foreground
 * @example
 * ```js
 * const { fingerprint } = await checkDataset(dataset);
 * const { preprocessing, reasons } = nnunetPreprocessing(fingerprint, dataset.channels);
 * ```
 */
export function nnunetPreprocessing(
  print: Fingerprint,
  channels: readonly string[] = [],
  spacing?: Size3 | null,
): PreprocessingDecision {
  assertOptions('nnunetPreprocessing', decisionEntries, { fingerprint: print, channels, spacing });
  const { share, millimetres, shape } = print.cropped;
  const reasons = [
    share < 1
      ? `Volumes are cropped to what is not zero, which leaves ${(100 * share).toFixed(0)} % of the median one.`
      : 'Volumes are cropped to what is not zero, which in the median takes nothing away.',
  ];
  const normalization = print.intensities.map((_, channel) => {
    const { how, reason } = normalizationOf(channels[channel], share, print.foreground[channel]);
    reasons.push(`Channel ${channel}${channels[channel] ? ` (${channels[channel]})` : ''}: ${reason}.`);
    return how;
  });
  const decided = spacing === undefined ? spacingOf(print) : undefined;
  if (decided) reasons.push(decided.reason);
  const target = decided?.spacing ?? spacing ?? null;
  const preprocessing: Preprocessing = {
    orientation: 'RAS',
    crop: 'non-zero',
    spacing: target,
    resampling: 'cubic',
    normalization,
    padding: 'zeros at the far end',
  };
  const voxelsOf = (kind: 'median' | 'max'): Size3 =>
    target
      ? sizeAtSpacing(millimetres[kind], [1, 1, 1], target)
      : (shape[kind].map(Math.round) as unknown as Size3);
  const typical = { shape: voxelsOf('median'), spacing: target ?? print.spacing.median };
  return { preprocessing, typical, largest: voxelsOf('max'), reasons };
}

function normalizationOf(
  name: string | undefined,
  share: number,
  foreground: ForegroundFacts | undefined,
): { how: Normalization; reason: string } {
  switch (name?.toLowerCase()) {
    case 'ct': {
      if (!foreground)
        throw new InvalidDataset(
          'The channel "CT" is normalised by the intensities under the labels, but no case has foreground; label some, or rename the channel.',
        );
      const { mean, deviation, percentile005, percentile995 } = foreground;
      return {
        how: { clip: [percentile005, percentile995], mean, deviation },
        reason:
          `clipped to ${shorter(percentile005)} to ${shorter(percentile995)}, the 0.5 and 99.5 percentiles of the ` +
          `foreground, then minus its mean ${shorter(mean)}, divided by its deviation ${shorter(deviation)}`,
      };
    }
    case 'nonorm':
      return { how: 'none', reason: 'left as it is' };
    case 'rescale_to_0_1':
      return { how: 'min-max', reason: 'each volume scaled to 0 to 1' };
    case 'rgb_to_0_1':
      return { how: { clip: [0, 255], mean: 0, deviation: 255 }, reason: 'divided by 255' };
    default:
      return share < largeShare
        ? { how: 'z-score inside', reason: 'z-score per volume over what is not zero' }
        : { how: 'z-score', reason: 'z-score per volume' };
  }
}

/**
 * The median, or along a much coarser axis of few voxels a finer spacing, so that less is interpolated away.
 * @param of the cases, after cropping: the median and the 10th percentile of their spacings, their median shape
 */
export function targetSpacing({
  median,
  percentile10,
  shape,
}: Readonly<Record<'median' | 'percentile10' | 'shape', Size3>>): {
  readonly spacing: Size3;
  /** The axis whose spacing is not the median, if there is one. */
  readonly coarse: number | undefined;
} {
  const worst = median.lastIndexOf(Math.max(...median));
  const others = [0, 1, 2].filter((axis) => axis !== worst);
  const finest = Math.max(...others.map((axis) => median[axis]!));
  const fewest = Math.min(...others.map((axis) => shape[axis]!));
  if (median[worst]! <= anisotropy * finest || anisotropy * shape[worst]! >= fewest)
    return { spacing: median, coarse: undefined };
  const along = Math.max(percentile10[worst]!, finest);
  const spacing = median.map((mm, axis) => (axis === worst ? along : mm)) as unknown as Size3;
  return { spacing, coarse: worst };
}

function spacingOf(print: Fingerprint): { spacing: Size3; reason: string } {
  const { median, min, max, percentile10 } = print.spacing;
  const same = median.every((mm, axis) => min[axis]! > 0.999 * mm && max[axis]! < 1.001 * mm);
  if (same) return { spacing: median, reason: `All have the spacing ${figures(median)} mm.` };
  const { spacing, coarse } = targetSpacing({ median, percentile10, shape: print.cropped.shape.median });
  if (coarse === undefined)
    return { spacing, reason: `Spacings differ: resampled to the median, ${figures(median)} mm.` };
  const axis = 'xyz'[coarse];
  return {
    spacing,
    reason:
      `Spacings differ and ${axis} is coarse: resampled to ${figures(spacing)} mm, the median, along ${axis} the ` +
      '10th percentile (no finer than the other axes).',
  };
}
