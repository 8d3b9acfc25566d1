/** `demo`: the whole way on generated phantoms, from data to a tested model, in about a minute without a GPU. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type { Case } from '../../data/case.ts';
import type { Dataset } from '../../data/dataset.ts';
import type { LabelledCase } from '../../data/labelled-case.ts';
import { writeNifti } from '../../data/nifti.ts';
import { phantom, phantomLabels, type Phantom } from '../../data/phantom.ts';
import { fromArrays } from '../../data/prepare.ts';
import { defaultPreprocessing } from '../../data/preprocessing.ts';
import { splitCases } from '../../data/split.ts';
import { InvalidOption } from '../../errors.ts';
import { dice, meanDefined } from '../../metrics/dice.ts';
import { intensityClassifier, positionalPrior } from '../../metrics/phantom-baselines.ts';
import { weightedDice } from '../../model/losses.ts';
import type { Size3 } from '../../size.ts';
import { adam } from '../../train/optimizers.ts';
import { oneCycle } from '../../train/schedules.ts';
import { UNet3D } from '../../unet3d.ts';
import { Unsatisfactory } from '../failure.ts';
import { fetchedDataset, isAddress } from '../fetched-dataset.ts';
import { announceAdapter } from '../gpu.ts';
import type { Io } from '../io.ts';
import * as parse from '../parse.ts';
import { hashOfHashes, sha256, Stopwatch } from '../provenance.ts';
import { commandLine, writeResults } from '../results.ts';
import { RunFolder } from '../run-folder.ts';
import { testModel } from '../test-run.ts';
import { digits, duration } from '../../format.ts';
import { table, toJson } from '../text.ts';
import { watch } from '../watch.ts';
import { trainCommand } from './train.ts';

const datasetsHelp = `--dataset is a data set of yours as train takes it, of which 24 cases are used unless
--subjects says otherwise, or the address of one as .tar or .tar.gz, which is
fetched into --out. Small and free: Task04_Hippocampus (28 MB) of the Medical
Segmentation Decathlon, http://medicaldecathlon.com, whose ten data sets are
under CC BY-SA 4.0: name them, and share what you make of them alike.`;

/** Test Dice of a foreground class below this makes the demo fail. */
const wanted = 0.7;

interface Options {
  readonly dataset?: string;
  readonly out: string;
  readonly subjects: number;
  readonly shape: Size3;
  readonly features: readonly number[];
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly postprocess: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function demoCommand(io: Io): Command {
  return new Command('demo')
    .description(
      'Train, validate and test on generated pelvis phantoms with six classes. Leaves with 1 if a foreground class ' +
        `stays below a test Dice of ${wanted}.`,
    )
    .option('--dataset <folder|address>', 'real data in place of phantoms, see below')
    .option('--out <folder>', 'where results go', 'runs/demo')
    .option('--subjects <n>', 'phantoms, split 70/15/15', parse.wholeNumber(3), 56)
    .option('--shape <x,y,z>', 'voxels of a phantom', parse.size, [24, 24, 16] as Size3)
    .option('--features <list>', 'channels per level', parse.features, [8, 16, 32])
    .option('--epochs <n>', 'passes over the training subjects', parse.wholeNumber(1), 7)
    .option('--batch-size <n>', 'volumes per step', parse.wholeNumber(1), 1)
    .option('--seed <n>', 'of phantoms, split, weights and order', parse.wholeNumber(0), 0)
    .option('--overwrite', 'start anew in a folder that holds a training')
    .option('--no-postprocess', 'keep small components, whatever validation says of them')
    .option('--json', 'print JSON lines: events of the training, then the result')
    .addHelpText(
      'after',
      `
${datasetsHelp}
Examples:
  unet3d-gpu demo
  unet3d-gpu demo --dataset Task04_Hippocampus --out runs/hippocampus
  unet3d-gpu demo --seed 7 --out runs/seven`,
    )
    .action((options: Options, command: Command) =>
      options.dataset === undefined
        ? demo(io, options, command.parent?.args ?? [])
        : demoOnData(io, options.dataset, options, command),
    );
}

/** Trains on the first cases of a data set, with the options of `train` that the demo shares with it. */
async function demoOnData(io: Io, place: string, options: Options, command: Command): Promise<void> {
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli';
  if (given('shape'))
    throw new InvalidOption('--shape is of phantoms; leave it out, a --dataset has shapes of its own');
  if (!isAddress(place) && !existsSync(place))
    throw new InvalidOption(`there is no folder ${place}; nothing is downloaded by itself. ${datasetsHelp}`);
  // Before anything is fetched.
  if (!options.overwrite) assertNoTraining(RunFolder.lookAt(options.out, io));
  const dataset = isAddress(place) ? await fetchedDataset(io, place, options.out) : place;
  const words = [dataset, '--out', options.out, '--limit-cases', given('subjects') ? options.subjects : 24];
  words.push('--features', options.features.join(','), '--epochs', options.epochs);
  words.push('--batch-size', options.batchSize, '--seed', options.seed);
  if (options.overwrite) words.push('--overwrite');
  if (!options.postprocess) words.push('--no-postprocess');
  if (options.json) words.push('--json');
  await trainCommand(io).exitOverride().parseAsync(words.map(String), { from: 'user' });
}

function assertNoTraining({ holdsTraining, path }: RunFolder): void {
  if (holdsTraining)
    throw new InvalidOption(
      `${path} holds a training already: start anew there (--overwrite), or give another --out`,
    );
}

async function demo(io: Io, options: Options, words: readonly string[]): Promise<void> {
  const { subjects, shape, features, epochs, batchSize, seed } = options;
  const started = performance.now();
  const clock = new Stopwatch();
  using folder = await RunFolder.open(options.out, io);
  await folder.check([], []);
  if (!options.overwrite) assertNoTraining(folder);
  await announceAdapter(io);

  const all = await Promise.all(
    Array.from({ length: subjects }, (_, subject) => generate(subject, shape, seed)),
  );
  const dataset: Dataset = {
    name: 'generated pelvis phantoms',
    cases: all.map(({ files }) => files),
    labels: phantomLabels,
    channels: ['T2-like'],
    warnings: [],
  };
  const split = splitCases(dataset.cases, { seed });
  const part = (name: 'train' | 'validation' | 'test'): Generated[] =>
    split[name].cases.map((id) => all.find(({ files }) => files.id === id)!);
  const prepared = (name: 'train' | 'validation') => part(name).map((item) => item.prepared);
  const training = {
    loss: weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21)),
    optimizer: adam(),
    schedule: oneCycle({ maxLearningRate: 0.01 }),
  };
  const network = { inChannels: 1, classes: 6, features, norm: 'instance' } as const;
  io.err(
    `Pelvis phantoms of ${shape.join(' x ')} voxels: ${split.train.cases.length} subjects to train on, ` +
      `${split.validation.cases.length} to validate, ${split.test.cases.length} to test`,
  );
  if (options.overwrite) await folder.clear();
  await folder.json('split.json', split);
  const config = { network, training: { ...training, epochs, batchSize }, subjects, shape, seed };
  await folder.json('config.json', config);
  clock.end('generating the phantoms');

  const { labels, channels } = dataset;
  const preprocessing = defaultPreprocessing(1, all[0]!.prepared.spacing);
  const model = await UNet3D.create({ ...network, seed, labels, channels, preprocessing });
  try {
    const report = watch(io, {
      epochs,
      labels,
      json: options.json === true,
      voxelsPerStep: shape.reduce((a, b) => a * b) * batchSize,
      gpuBytes: () => model.gpu.allocatedBytes,
    });
    const validation = prepared('validation');
    const result = await model.fit(prepared('train'), {
      ...training,
      tune: false, // on a GPU it takes seconds, and measuring kernels up to a minute
      epochs,
      batchSize,
      seed,
      validation,
      signal: io.signal,
      onEvent: report,
    });
    clock.end('training');
    const { postprocess } = options;
    const { weights, ...test } = await testModel({
      ...{ io, folder, model, dataset, split, labels },
      ...{ validation, postprocess, tta: false, clock },
    });
    const hashes = Object.fromEntries(
      all.flatMap(({ files: { id }, source: { image, labels: truth } }) => [
        [`${id} image`, sha256(new Uint8Array(image.buffer))],
        [`${id} labels`, sha256(truth)],
      ]),
    );
    const summary = await writeResults(folder, {
      title: 'Demo: pelvis phantoms',
      model,
      labels,
      split,
      training: result,
      plan: model.plan({ size: model.description.inputSize!, batch: batchSize, loss: training.loss }),
      ...test,
      config: { ...network, ...training, epochs, batchSize, precision: model.precision },
      dataset: { name: dataset.name, subjects, voxels: shape.join(' x ') },
      seed,
      hashes: { 'model.safetensors': sha256(weights), 'all phantoms': hashOfHashes(hashes), ...hashes },
      timings: clock.stages,
      command: commandLine(words),
    });

    const baselines = baselineDice(
      part('train').map(({ source }) => source),
      part('test').map(({ source }) => source),
    );
    const means = summary!.classes.map((entry) => entry.dice.mean);
    const seconds = (performance.now() - started) / 1000;
    if (options.json) io.out(toJson({ type: 'result', dice: means, baselines, seconds, out: folder.path }));
    else {
      io.out('', `Dice on ${test.cases.length} test subjects, mean over subjects`);
      io.out(
        ...table([
          ['class', 'U-Net', 'worst', 'position only', 'intensity only'],
          ...labels.map((name, label) => [
            name,
            digits(means[label]),
            digits(Math.min(...test.cases.map(({ classes }) => classes[label]!.dice))),
            digits(baselines.position[label]),
            digits(baselines.intensity[label]),
          ]),
        ]),
      );
      io.out(
        'Position only: the most frequent label of each voxel in training. Intensity only: a Bayes classifier.',
      );
      io.out(
        '',
        `${duration(seconds)} in all. In ${folder.path}: report.html, progress.png, slices.png, ` +
          'model.safetensors, predictions/*.nii.gz, history.csv, metrics.json, split.json, config.json',
      );
    }
    const missed = labels.filter((_, label) => label > 0 && !(means[label]! >= wanted));
    if (missed.length > 0)
      throw new Unsatisfactory(`the test Dice of ${missed.join(', ')} stays below ${wanted}`);
  } finally {
    model.dispose();
  }
}

interface Generated {
  readonly source: Phantom;
  /** As NIfTI files in memory. */
  readonly files: Case;
  readonly prepared: LabelledCase;
}

async function generate(subject: number, shape: Size3, seed: number): Promise<Generated> {
  const source = phantom(subject, { shape: [...shape], seed });
  const { image, labels, affine } = source;
  const id = `phantom_${String(subject).padStart(3, '0')}`;
  const file = (data: Float32Array | Uint8Array) => writeNifti({ data, shape, affine }, { gzip: false });
  const files = { id, subject: id, images: [await file(image)], label: await file(labels) };
  const prepared = fromArrays(
    id,
    { data: image, dims: shape, affine },
    { data: labels, dims: shape, affine },
  );
  return { source, files, prepared: { ...prepared, label: prepared.label! } };
}

/** Mean Dice per class of what position or intensity alone can tell. */
function baselineDice(
  train: readonly Phantom[],
  test: readonly Phantom[],
): Record<'position' | 'intensity', number[]> {
  const prior = positionalPrior(train);
  const classify = intensityClassifier(train);
  const means = (predict: (item: Phantom) => Uint8Array): number[] => {
    const scores = test.map((item) => dice(predict(item), item.labels, phantomLabels.length));
    return phantomLabels.map((_, label) => meanDefined(scores.map((score) => score[label]!)));
  };
  return { position: means(() => prior), intensity: means(({ image }) => classify(image)) };
}
