/** project.json of a project file: what is in it, in JSON; files are named by their paths in the archive. */
import * as v from 'valibot';
import type { RunRecord } from './database.ts';

/** A file of the visitor's. Without a path it is not in the archive, and has to be found again, as images may be. */
const fileSchema = v.object({
  name: v.string(),
  size: v.number(),
  /** Of what it holds; projects of earlier versions have none. */
  hash: v.optional(v.string()),
  path: v.optional(v.string()),
  /** Milliseconds since 1970: what was drawn is of the time of its label. */
  modified: v.exactOptional(v.number()),
  /** Whether the page has made it, so that it is in the archive whatever the person wants. */
  made: v.exactOptional(v.literal(true)),
});
const volumeSchema = v.union([fileSchema, v.object({ header: fileSchema, image: fileSchema })]);

/** JSON has no NaN: it writes null. */
const measured = v.pipe(
  v.nullable(v.number()),
  v.transform((value) => value ?? NaN),
);
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const lengths = v.tuple([count, count, count]);
/** Of an axis of a volume, as NIfTI counts voxels. */
const length = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(32767));
const part = v.picklist(['train', 'validation']);

const settingsSchema = v.object({
  epochs: count,
  batchSize: count,
  features: v.array(count),
  learningRate: v.number(),
  patch: v.exactOptional(lengths),
  memory: v.number(),
  precision: v.picklist(['f32', 'f16']),
  checkpointing: v.boolean(),
  augmentation: v.exactOptional(v.picklist(['mirrored', 'sides kept'])),
  seed: count,
  classWeights: v.array(v.number()),
});

const regionsSchema = v.pipe(
  v.array(v.object({ name: v.string(), labels: v.array(count), written: count })),
  v.minLength(1),
);

const runSchema = v.object({
  id: v.pipe(v.string(), v.uuid()),
  name: v.string(),
  started: v.pipe(v.string(), v.isoTimestamp()),
  finished: v.exactOptional(v.pipe(v.string(), v.isoTimestamp())),
  data: v.string(),
  dataName: v.string(),
  cases: v.array(v.object({ id: v.string(), part })),
  labels: v.pipe(v.array(v.string()), v.minLength(2)),
  regions: v.exactOptional(regionsSchema),
  ignoreLabel: v.exactOptional(count),
  channelNames: v.array(v.string()),
  channels: count,
  settings: settingsSchema,
  /** Looked at by the library when it is used. */
  preprocessing: v.looseObject({}),
  continues: v.exactOptional(v.boolean()),
  from: v.exactOptional(
    v.object({
      name: v.string(),
      /** Looked at by the library, too. */
      config: v.looseObject({}),
      heads: v.picklist(['auto', 'keep', 'new']),
      freeze: v.exactOptional(v.literal('encoder')),
    }),
  ),
  history: v.array(
    v.object({
      epoch: count,
      loss: measured,
      validationLoss: measured,
      validationDice: v.array(measured),
      smoothedDice: measured,
      learningRate: measured,
      seconds: measured,
    }),
  ),
  best: v.exactOptional(v.object({ epoch: count, dice: measured })),
});

const caseSchema = v.object({
  id: v.string(),
  subject: v.string(),
  images: v.array(volumeSchema),
  label: v.exactOptional(volumeSchema),
});
const dataSchema = v.object({ id: v.string(), name: v.string(), cases: v.array(caseSchema) });

/** The cases of the page when the project was saved. */
const atHandSchema = v.object({
  name: v.string(),
  cases: v.array(
    v.object({ ...caseSchema.entries, part: v.exactOptional(v.picklist(['train', 'validation', 'unused'])) }),
  ),
  /** Classes as a dataset.json tells them, where one does. */
  classes: v.array(v.string()),
  /** Of the classes, as they were called in the page. */
  names: v.array(v.string()),
  channels: v.array(v.string()),
  regions: v.exactOptional(regionsSchema),
  ignoreLabel: v.exactOptional(count),
});

/** What is drawn on a case; its voxels lie in the archive. */
const drawingSchema = v.object({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  bytes: v.exactOptional(count),
  shape: v.tuple([length, length, length]),
  marks: v.object({
    whole: v.boolean(),
    slices: v.tuple([v.array(count), v.array(count), v.array(count)]),
  }),
  drawn: count,
  names: v.array(v.string()),
  changed: v.pipe(v.string(), v.isoTimestamp()),
  /** The case that it is on. */
  scan: v.exactOptional(v.object({ id: v.string(), subject: v.string(), images: v.array(volumeSchema) })),
});

export const projectSchema = v.object({
  format: v.literal('unet3d-gpu project'),
  version: v.literal(1),
  data: v.array(dataSchema),
  runs: v.array(runSchema),
  drawings: v.optional(v.array(drawingSchema), []),
  atHand: v.exactOptional(atHandSchema),
});

export type Project = v.InferOutput<typeof projectSchema>;
export type ProjectCase = v.InferOutput<typeof caseSchema>;
export type ProjectFile = v.InferOutput<typeof fileSchema>;
export type ProjectScan = Project['drawings'][number]['scan'];
export type ProjectVolume = v.InferOutput<typeof volumeSchema>;

/** A training as it is kept, of what a project says of it. */
export function recordOf({ started, finished, from, ...run }: Project['runs'][number]): RunRecord {
  return {
    ...run,
    started: new Date(started),
    ...(finished !== undefined && { finished: new Date(finished) }),
    ...(from && { from: from as unknown as NonNullable<RunRecord['from']> }),
    ignoreLabel: run.ignoreLabel,
    settings: { ...run.settings, patch: run.settings.patch, augmentation: run.settings.augmentation },
    preprocessing: run.preprocessing as unknown as RunRecord['preprocessing'],
  };
}
