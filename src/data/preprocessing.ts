/**
 * What happens to a volume before the network, as plain data; and what a stored one may say: nothing that
 * `prepareVolumes` would not do.
 */
import * as v from 'valibot';
import { assertOptions } from '../options.ts';
import {
  finite,
  numberAbove,
  numberFrom,
  object,
  oneOf,
  triple,
  wholeNumber,
  type Schema,
} from '../schema.ts';
import type { Size3 } from '../size.ts';
import type { Normalization } from './normalize.ts';

/** What happens to a volume before the network; stored in the model file. */
export interface Preprocessing {
  /** Axes are turned and flipped to right, anterior, superior. */
  readonly orientation: 'RAS';
  /** "non-zero": the smallest box of voxels that are not 0 in some channel is cut out first. Default: nothing is. */
  readonly crop?: 'non-zero' | undefined;
  /** Spacing in mm that volumes are resampled to, or null for their own. */
  readonly spacing: Size3 | null;
  /**
   * "cubic", as nnU-Net: images by cubic B-splines, labels each by straight lines, slices that are much thicker than wide
   * apart. Default: images trilinear, labels nearest.
   */
  readonly resampling?: 'cubic' | undefined;
  /** Per channel. */
  readonly normalization: readonly Normalization[];
  /** Of models of format 1 only: volumes are resampled before they are normalised. Default: after, as nnU-Net does. */
  readonly order?: 'resample, normalize' | undefined;
  /** Zeros are added after normalisation, at the far end of each axis. */
  readonly padding: 'zeros at the far end';
}

export const spacingSchema = v.nullable(triple(numberAbove(0), 'millimetres along x, y, z, or null'));

/**
 * Z-score for each channel, at the volumes' own spacing.
 * @example
 * ```js
 * const preprocessing = defaultPreprocessing(2, [1, 1, 1]); // two channels, resampled to 1 mm
 * ```
 */
export function defaultPreprocessing(channels = 1, spacing: Size3 | null = null): Preprocessing {
  assertOptions(
    'defaultPreprocessing',
    { channels: wholeNumber(1), spacing: spacingSchema },
    { channels, spacing },
  );
  return {
    orientation: 'RAS',
    spacing,
    normalization: new Array<'z-score'>(channels).fill('z-score'),
    padding: 'zeros at the far end',
  };
}

const limits = v.pipe(
  v.strictTuple([finite(), finite()], 'a lower and an upper limit'),
  v.check(([low, high]) => low <= high, 'a lower and an upper limit'),
);

const normalization = v.union(
  [
    oneOf('z-score', 'z-score inside', 'min-max', 'none'),
    object({ clip: limits, mean: finite(), deviation: numberFrom(0) }),
  ],
  '"z-score", "z-score inside", "min-max", "none" or { clip: [low, high], mean, deviation } with numbers',
);

export const preprocessingSchema = object({
  orientation: v.literal('RAS', '"RAS"'),
  crop: v.optional(v.literal('non-zero', '"non-zero"')),
  spacing: spacingSchema,
  resampling: v.optional(v.literal('cubic', '"cubic"')),
  normalization: v.pipe(v.array(normalization, 'a list, one per channel'), v.minLength(1, 'one per channel')),
  order: v.optional(v.literal('resample, normalize', '"resample, normalize"')),
  padding: v.literal('zeros at the far end', '"zeros at the far end"'),
}) satisfies Schema<Preprocessing>;
