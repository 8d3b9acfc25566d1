/** A data set as a training opens it: split, read, and refused where something is wrong with it. */
import type { Dataset } from '../data/dataset.ts';
import type { Preprocessing } from '../data/preprocessing.ts';
import { nothingToTrainOn, type Split } from '../data/split.ts';
import { InvalidOption } from '../errors.ts';
import {
  openFromArguments,
  splitFromArguments,
  type DatasetArguments,
  type SplitArguments,
} from './dataset-options.ts';
import type { Io } from './io.ts';
import type { TrainOptions } from './train-options.ts';
import { readTrainingData, type TrainingData } from './training-data.ts';

/** What a training reads of its data before it looks for a GPU. */
type DataOptions = Pick<
  TrainOptions,
  | keyof DatasetArguments
  | keyof SplitArguments
  | 'classNames'
  | 'classes'
  | 'preprocessing'
  | 'spacing'
  | 'cache'
  | 'earlyStopping'
  | 'allowDuplicates'
  | 'decideFrom'
> & {
  /** See `readTrainingData`. */
  readonly kept?: Preprocessing | undefined;
  /** Of results: what lies in it is no part of the data. */
  readonly without?: string;
};

/** A data set, split, with its cases prepared. */
export interface OpenedData {
  readonly dataset: Dataset;
  readonly split: Split;
  readonly data: TrainingData;
}

/**
 * Opens and splits a data set and prepares its cases: all that a training can refuse of the data. `check` foresees it,
 * but for annotation that is lost where a case is resampled.
 * @param look is shown the split before anything large is read
 * @throws InvalidDataset or InvalidVolume that names what is wrong; InvalidOption for a split without training cases
 */
export async function openData(
  io: Io,
  path: string | undefined,
  options: DataOptions,
  look?: (dataset: Dataset, split: Split) => Promise<void>,
): Promise<OpenedData> {
  const opened = await openFromArguments(io, path, options, options.without);
  const dataset = options.classNames ? { ...opened, labels: options.classNames } : opened;
  const split = await splitFromArguments(io, dataset, options);
  const count = (part: 'train' | 'validation' | 'test'): number => split[part].cases.length;
  io.err(
    `${dataset.name}: ${count('train')} cases to train on, ${count('validation')} to validate, ${count('test')} to test`,
  );
  if (count('train') === 0) throw new InvalidOption(`the split leaves ${nothingToTrainOn}`);
  if (options.earlyStopping !== undefined && count('validation') === 0)
    throw new InvalidOption(
      `--early-stopping is ${options.earlyStopping}, but the split leaves no case to validate on: ` +
        'give the second share more than 0, or leave --early-stopping out',
    );
  await look?.(dataset, split);
  const data = await readTrainingData(io, dataset, split, {
    classes: options.classes,
    preprocessing: options.preprocessing,
    kept: options.kept,
    spacing: options.spacing,
    cacheBytes: options.cache,
    allowDuplicates: options.allowDuplicates ?? false,
    decideFromAll: options.decideFrom === 'all',
  });
  return { dataset, split, data };
}
