/** What a stored preprocessing may say: nothing that `prepareVolumes` would not do. */
import * as v from 'valibot';
import { finite, numberAbove, numberFrom, object, oneOf, triple } from '../schema.ts';
import type { Preprocessing } from './prepare.ts';
import type { Schema } from '../schema.ts';

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
  spacing: v.nullable(triple(numberAbove(0), 'millimetres along x, y, z, or null')),
  normalization: v.pipe(v.array(normalization, 'a list, one per channel'), v.minLength(1, 'one per channel')),
  order: v.optional(v.literal('resample, normalize', '"resample, normalize"')),
  padding: v.literal('zeros at the far end', '"zeros at the far end"'),
}) satisfies Schema<Preprocessing>;
