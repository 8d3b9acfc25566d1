/** The options of the public calls, and what each may be. */
import * as v from 'valibot';
import { preprocessingSchema, type Preprocessing } from './data/preprocessing.ts';
import { regionsSchema, type Region } from './data/regions.ts';
import { deviceEntries, sharedDeviceEntries, type DeviceOptions } from './gpu/device-options.ts';
import { precisionSchema } from './gpu/precision.ts';
import type { SegmentOptions } from './infer/inference.ts';
import type { Description } from './infer/model.ts';
import type { PredictOptions } from './infer/predict.ts';
import type { EvaluateOptions } from './infer/predictor.ts';
import type { ProbabilityOptions } from './infer/probabilities.ts';
import { concessionsSchema } from './model/concessions.ts';
import { configEntries } from './model/config-entries.ts';
import type { UNet3DConfig } from './model/config.ts';
import { frozenSchema } from './model/freeze.ts';
import { lossSchema } from './model/losses.ts';
import type { InitialWeights } from './model/parameters.ts';
import { checkpointingSchema } from './model/plan-shape.ts';
import { augmentationSchema } from './train/augmentation.ts';
import { optimizerSchema } from './train/optimizers.ts';
import { scheduleSchema } from './train/schedules.ts';
import type { Size3 } from './size.ts';
import type { TrainingOptions } from './train/training.ts';
import { nnunetSchema, postprocessingSchema } from './weights/model-file.ts';
import type { HeadsChoice } from './weights/take-over.ts';
import {
  axes,
  callback,
  distinctNames,
  flag,
  limit,
  numberFrom,
  object,
  openObject,
  oneOf,
  fractionBelow1,
  signal,
  size3,
  text,
  wholeNumber,
  withParts,
} from './schema.ts';

/**
 * What a network is made of; all but `inChannels` and `classes` have defaults: features 16, 32, 64, 128, batch norm,
 * ReLU, no deep supervision, strides of 2. (The command line's `train` takes features 8, 16, 32, 64 and instance norm.)
 */
export interface CreateOptions extends Partial<UNet3DConfig>, DeviceOptions {
  readonly inChannels: number;
  readonly classes: number;
  /** Of the initial weights. Default 0. */
  readonly seed?: number;
  /**
   * How they are drawn: as PyTorch's layers do (default), or by He for leaky ReLU with biases 0 and residual blocks that
   * begin as their skip, as nnU-Net does.
   */
  readonly initialWeights?: InitialWeights;
  /** Names by label value, background first. Default: none. */
  readonly labels?: readonly string[];
  /**
   * What each head finds, where that overlaps, as many as `classes`: heads then decide by a sigmoid each, losses and
   * scores are those of regions, and predictions are label maps into which each region writes its label. Default: each
   * head is the class of that label, of which one wins.
   */
  readonly regions?: readonly Region[] | undefined;
  /** Names of the input channels. Default: none. */
  readonly channels?: readonly string[];
  /** What `predict` does to a volume first, as training did. Default: canonical axes, own spacing, z-score. */
  readonly preprocessing?: Preprocessing;
}

/** What is taken over of another network. */
export interface TakeOptions {
  /**
   * Heads (the last convolutions, one per level that has one): `keep` takes them over, `new` leaves them as they are,
   * `auto`, the default, takes them over where both networks have as many classes and do not name them otherwise. A
   * head that the other network lacks stays as it is.
   */
  readonly heads?: HeadsChoice;
}

/** One entry for each option. */
type Entries<Options> = Readonly<Record<keyof Options, unknown>>;

interface CaseArrays {
  readonly image: Float32Array;
  readonly shape: Size3;
  readonly label?: Uint8Array | undefined;
}

export const preparedCase = v.pipe(
  v.custom<CaseArrays>((value) => {
    const { image, shape, label } = (value ?? {}) as Record<string, unknown>;
    return (
      image instanceof Float32Array &&
      v.is(size3, shape) &&
      (label === undefined || label instanceof Uint8Array)
    );
  }, 'a case as prepareCase gives it'),
  v.check(
    ({ image, shape: [x, y, z], label }) =>
      image.length > 0 && image.length % (x * y * z) === 0 && (!label || label.length === x * y * z),
    ({ input: { image, shape, label } }) =>
      `a case whose arrays fill its shape: for ${shape.join(' x ')} voxels its image has ${image.length} numbers` +
      (label ? ` and its label ${label.length}` : ''),
  ),
);
export const caseList = v.array(preparedCase, 'a list of cases as prepareCase gives them');
export const batchSource = v.pipe(
  withParts(
    'a list of cases as prepareCase gives them, or a source of batches',
    'size',
    'batchSize',
    'batchesPerEpoch',
    'batch',
  ),
  openObject({
    size: size3,
    batchSize: wholeNumber(1),
    batchesPerEpoch: wholeNumber(1),
    batch: v.function('a function that gives the batch of an epoch and index'),
  }),
);

const channels = v.array(text, 'a list of names of channels');

export const workerEntries = {
  ...sharedDeviceEntries,
  worker: v.optional(withParts('a Worker', 'postMessage')),
};

const networkEntries = {
  ...configEntries,
  seed: v.optional(wholeNumber()),
  initialWeights: v.optional(oneOf('pytorch', 'he')),
  labels: v.optional(distinctNames('classes')),
  regions: v.optional(regionsSchema),
  channels: v.optional(channels),
  preprocessing: v.optional(preprocessingSchema),
};
export const createEntries = { ...networkEntries, ...deviceEntries } satisfies Entries<CreateOptions>;
export const workerCreateEntries = { ...networkEntries, ...workerEntries };

const mirrorEntries = {
  tta: v.optional(flag),
  mirrorAxes: v.optional(axes),
};

export const takeEntries = {
  heads: v.optional(oneOf('auto', 'keep', 'new')),
} satisfies Entries<TakeOptions>;

export const evaluateEntries = {
  ...mirrorEntries,
  loss: v.optional(lossSchema),
  postprocess: v.optional(flag),
  signal,
} satisfies Entries<EvaluateOptions>;

export const probabilityEntries = {
  ...mirrorEntries,
  signal,
  onProgress: callback,
} satisfies Entries<ProbabilityOptions>;

export const segmentEntries = {
  overlap: v.optional(fractionBelow1()),
  window: v.optional(size3),
  signal,
  onProgress: callback,
} satisfies Entries<SegmentOptions>;

export const predictEntries = {
  ...segmentEntries,
  ...mirrorEntries,
  output: v.optional(oneOf('labels', 'probabilities', 'logits')),
  uncertainty: v.optional(flag),
  postprocess: v.optional(flag),
} satisfies Entries<PredictOptions>;

const decay = 'a number between 0 and 1, such as 0.999';
const sharedTraining = {
  epochs: v.optional(wholeNumber(1)),
  batchSize: v.optional(wholeNumber(1)),
  loss: v.optional(lossSchema),
  optimizer: v.optional(optimizerSchema),
  schedule: v.optional(scheduleSchema),
  validation: v.optional(caseList),
  validationWindow: v.optional(size3),
  preview: v.optional(preparedCase),
  patch: v.optional(size3),
  oversample: v.optional(numberFrom(0, 1)),
  augmentation: v.optional(augmentationSchema),
  seed: v.optional(wholeNumber()),
  maxGradientNorm: v.optional(limit()),
  accumulate: v.optional(wholeNumber(1)),
  checkpointing: v.optional(checkpointingSchema),
  precision: v.optional(precisionSchema),
  concessions: v.optional(concessionsSchema),
  freeze: v.optional(frozenSchema),
  keepBest: v.optional(flag),
  earlyStopping: v.optional(object({ patience: wholeNumber(1), minDelta: v.optional(numberFrom(0)) })),
  ema: v.optional(object({ decay: v.pipe(v.number(decay), v.gtValue(0, decay), v.ltValue(1, decay)) })),
  onNotFinite: v.optional(oneOf('stop', 'skip')),
  tune: v.optional(flag),
  signal,
  checkpoint: v.optional(
    withParts('a store with save and load, such as folderStore(folder)', 'save', 'load'),
  ),
  resume: v.optional(flag),
  onEvent: callback,
};

const ranks = v.optional(withParts('ranks as joinRanks gives them', 'rank', 'size', 'sum', 'broadcast'));

export const trainingEntries = {
  ...sharedTraining,
  through: callback,
  ranks,
} satisfies Entries<TrainingOptions>;
export const workerTrainingEntries = { ...sharedTraining, transfer: v.optional(flag) };

export const planEntries = { size: size3, batch: v.optional(wholeNumber(1)), loss: v.optional(lossSchema) };

export const describeEntries = {
  labels: v.optional(distinctNames('classes')),
  regions: v.optional(regionsSchema),
  channels: v.optional(channels),
  preprocessing: v.optional(preprocessingSchema),
  postprocessing: v.optional(postprocessingSchema),
  inputSize: v.optional(size3),
  patches: v.optional(flag),
  mirrorAxes: v.optional(axes),
  nnunet: v.optional(nnunetSchema),
} satisfies Entries<Description>;
