/** From cases and options to a training: what they leave open is filled in, and the step is fitted to the memory. */
import * as v from 'valibot';
import {
  casesInMemory,
  commonShape,
  trainingBatches,
  type BatchOptions,
  type PatchBatches,
} from '../data/patches.ts';
import { requireClasses } from '../data/prepare-checks.ts';
import type { PreparedCase } from '../data/prepare.ts';
import { labelCount } from '../data/regions.ts';
import type { Precision } from '../gpu/precision.ts';
import type { Model } from '../infer/model.ts';
import { describeWish, type Planner, type TrainingWish } from '../model/wish.ts';
import type { Concession } from '../model/concessions.ts';
import { sizeMultiple } from '../model/sizes.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { lossOfHeads, lossShape, weightedDice } from '../model/losses.ts';
import { assertValue, definedOf } from '../options.ts';
import { openObject } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { sidedName } from '../data/sides.ts';
import { augmentationMargin } from './augmentation.ts';
import type { TrainingEvent, TrainingResult } from './events.ts';
import type { BatchSource, FitOptions } from './fit.ts';
import { fitStep, StepPlans } from './memory.ts';
import { adam } from './optimizers.ts';
import { trainThroughLosses } from './recovery.ts';
import { oneCycle } from './schedules.ts';
import type { Asking } from './step-batches.ts';
import { assertWanted } from './trainer.ts';

/** How `UNet3D.fit` trains. */
export interface TrainingOptions
  extends Partial<Omit<FitOptions, 'validation' | 'preview'>>, Pick<BatchOptions, 'patch' | 'oversample'> {
  /** Volumes or patches per step. Default 2. */
  readonly batchSize?: number;
  /** Of the order of the cases, the places of patches and the augmentation. Default 0. */
  readonly seed?: number;
  /** Cases for the end of each epoch. Default: none; then the last weights are kept. */
  readonly validation?: readonly PreparedCase[];
  /** A case to segment after every epoch, through windows of the patches' size, for `preview` events. */
  readonly preview?: PreparedCase | undefined;
  /**
   * What may be given up where the step exceeds the memory budget, in the order float16, checkpointing,
   * accumulation, patches; `'auto'` for any. What is given up is reported by an event. Default: checkpointing, which
   * changes no bit; `[]` for nothing.
   * Batches of the caller's own are neither divided nor cut.
   */
  readonly concessions?: 'auto' | readonly Concession[];
  /** In which volumes are stored during this training. Default: the model's. */
  readonly precision?: Precision;
  /** Stands between the batches and the training: what it gives is trained on. It may not wait for calls of the model. */
  readonly through?: (source: BatchSource) => BatchSource;
  /** Called with each event, besides the iteration. What it throws ends the run, which rejects with it. */
  readonly onEvent?: (event: TrainingEvent) => void;
}

/** Options whose cases were found to have labels. */
export type CheckedOptions = Omit<TrainingOptions, 'validation' | 'preview'> &
  Pick<FitOptions, 'validation' | 'preview'>;

/** What the model does around its training. */
export interface TrainingHooks {
  readonly emit: (event: TrainingEvent) => void;
  /** Called once, where the weights are those of this training, with the size that it sees and whether it is that of patches. */
  readonly changed: (size: Size3, patches: boolean) => void;
  /** For batches that the caller's own code makes. */
  readonly asking: Asking;
}

export function isBatchSource(value: readonly PreparedCase[] | BatchSource): value is BatchSource {
  return 'batchesPerEpoch' in value;
}

/** Trains a model whose turn it is; see `UNet3D.fit`. */
export async function trainModel(
  model: Model,
  training: readonly PreparedCase[] | BatchSource,
  options: CheckedOptions,
  { emit, changed, asking }: TrainingHooks,
): Promise<TrainingResult> {
  await assertWanted(options);
  const {
    batchSize,
    concessions = ['checkpointing'],
    patch,
    oversample,
    through,
    ...rest
  } = definedOf(options);
  const own = isBatchSource(training);
  const { budget } = model;
  const { config, gpu } = model.state;
  const { labels, regions } = model.description;
  const settings = {
    epochs: 20,
    optimizer: adam(),
    schedule: oneCycle({ maxLearningRate: 0.01 }),
    precision: model.precision,
    seed: 0,
    accumulate: 1,
    checkpointing: false,
    ...rest,
    loss: lossOfHeads(rest.loss ?? weightedDice(), regions),
  };
  const { loss, optimizer, augmentation, ema, seed, precision, accumulate, checkpointing, freeze } = settings;
  const sided = sidedName({ labels, regions });
  if (sided !== undefined && augmentation && augmentation.mirror[0] > 0)
    emit({
      type: 'warning',
      message:
        `the class "${sided}" tells left from right, and augmentation mirrors along x, where it is wrong: give ` +
        'nnunetAugmentation({ mirror: [0, 0.5, 0.5] }), or on the command line --mirror y,z',
    });
  const margin = own
    ? () => training.margin ?? ([0, 0, 0] as const)
    : augmentation &&
      ((size: Size3) =>
        augmentationMargin(augmentation, size, commonShape(training.map(({ shape }) => shape))));
  const cut = { patch, batchSize, oversample, margin, seed, regions };
  const whole = own
    ? checkedBatches(training, regions ? Math.max(labels.length, labelCount(regions)) : config.classes)
    : batchesOf(training, config, cut);
  const planner: Planner = {
    limits: gpu.limits, // what is conceded does not depend on what was tuned
    loss: lossShape(loss, config.classes),
    optimizer,
    augment: augmentation !== undefined,
    margin,
    averaging: ema !== undefined,
    freeze,
  };
  const asked: TrainingWish = {
    config,
    size: whole.size,
    batch: whole.batchSize,
    precision,
    accumulate,
    checkpointing,
  };
  const plans = new StepPlans();
  const allowed = own ? untouchedBatches(concessions) : concessions;
  const { wish, taken } = fitStep(asked, planner, { budget, allowed, plans });
  if (taken.length > 0) emit({ type: 'concessions', taken, budget, step: describeWish(wish, planner) });

  const patched = taken.includes('patches') ? wish.size : patch;
  const isCut = !own && untouchedBatches(taken).length < taken.length;
  const source = isCut
    ? batchesOf(training, config, { ...cut, patch: patched, batchSize: wish.batch })
    : whole;
  const validationWindow = settings.validationWindow ?? (patched && source.size);
  const steps: FitOptions = {
    ...settings,
    validationWindow,
    accumulate: wish.accumulate ?? 1,
    checkpointing: wish.checkpointing ?? false,
  };
  model.state.precision = wish.precision ?? model.precision;
  let isChanged = false;
  try {
    return await trainThroughLosses(model, through ? through(source) : source, steps, {
      emit,
      changed() {
        if (isChanged) return;
        isChanged = true;
        changed(source.size, validationWindow !== undefined);
        model.anew = undefined;
      },
      plans,
      anew: model.anew,
      ...(own && { asking }),
    });
  } finally {
    model.state.precision = model.precision;
  }
}

/** Of what may be given up, that which leaves the batches as they are. */
const untouchedBatches = (allowed: 'auto' | readonly Concession[]): Concession[] =>
  (['float16', 'checkpointing'] as const).filter((name) => allowed === 'auto' || allowed.includes(name));

/** Options of batches, those that were left out undefined. */
type Cut = { readonly [Name in keyof BatchOptions]: BatchOptions[Name] | undefined };

function batchesOf(cases: readonly PreparedCase[], config: UNet3DConfig, cut: Cut): PatchBatches {
  const options = definedOf(cut) as BatchOptions;
  return trainingBatches(casesInMemory(cases), { ...options, multiple: sizeMultiple(config) });
}

const batchSchema = openObject({
  image: v.instance(Float32Array, 'a Float32Array [sample][channel][z][y][x]'),
  label: v.instance(Uint8Array, 'a Uint8Array [sample][z][y][x], 255 where it is not known'),
});

/**
 * The caller's batches, whose labels are looked at as they come. They are copied: the caller may fill the same arrays anew
 * for the next batch, which is asked for before this one is on the device.
 */
function checkedBatches(source: BatchSource, classes: number): BatchSource {
  return {
    size: source.size,
    ...(source.margin && { margin: source.margin }),
    batchSize: source.batchSize,
    batchesPerEpoch: source.batchesPerEpoch,
    identity: source.identity,
    async batch(epoch, index) {
      const batch = await source.batch(epoch, index);
      const name = `Batch ${index} of epoch ${epoch}`;
      assertValue(name, batchSchema, batch);
      requireClasses(name, batch.label, classes);
      return { image: batch.image.slice(), label: batch.label.slice() };
    },
  };
}
