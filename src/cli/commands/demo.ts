/** `demo`: the whole way on generated phantoms, from data to a tested model, in about a minute without a GPU. */
import { Command } from 'commander';
import { phantom, phantomLabels, type Phantom } from '../../data/phantom.ts';
import { intensityClassifier, positionalPrior } from '../../metrics/phantom-baselines.ts';
import { defaultPreprocessing, fromArrays, type Size3 } from '../../data/prepare.ts';
import { splitCases } from '../../data/split.ts';
import { writeNifti } from '../../data/nifti.ts';
import { dice, meanDefined } from '../../metrics/dice.ts';
import { evaluateCase, type CaseMetrics } from '../../metrics/evaluate.ts';
import { UNet3D, type LabelledCase } from '../../unet3d.ts';
import { weightedDice } from '../../model/losses.ts';
import { adam } from '../../train/optimizers.ts';
import { oneCycle } from '../../train/schedules.ts';
import { Unsatisfactory } from '../failure.ts';
import { announceAdapter } from '../gpu.ts';
import type { Io } from '../io.ts';
import * as parse from '../parse.ts';
import { hashOfHashes, sha256, Stopwatch } from '../provenance.ts';
import { commandLine, writeResults } from '../results.ts';
import { predictionName, RunFolder } from '../run-folder.ts';
import { digits, duration, table, toJson } from '../text.ts';
import { watch } from '../watch.ts';

/** Test Dice of a foreground class below this makes the demo fail. */
const wanted = 0.7;

interface Options {
  readonly out: string;
  readonly subjects: number;
  readonly shape: Size3;
  readonly features: readonly number[];
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly postprocess: boolean;
  readonly json?: boolean;
}

export function demoCommand(io: Io): Command {
  return new Command('demo')
    .description(
      'Train, validate and test on generated pelvis phantoms with six classes. Leaves with 1 if a foreground class ' +
        `stays below a test Dice of ${wanted}.`,
    )
    .option('--out <folder>', 'where results go', 'runs/demo')
    .option('--subjects <n>', 'phantoms, split 70/15/15', parse.wholeNumber(3), 56)
    .option('--shape <x,y,z>', 'voxels of a phantom', parse.size, [24, 24, 16] as Size3)
    .option('--features <list>', 'channels per level', parse.features, [8, 16, 32])
    .option('--epochs <n>', 'passes over the training subjects', parse.wholeNumber(1), 7)
    .option('--batch-size <n>', 'volumes per step', parse.wholeNumber(1), 1)
    .option('--seed <n>', 'of phantoms, split, weights and order', parse.wholeNumber(0), 0)
    .option('--no-postprocess', 'keep small components, whatever validation says of them')
    .option('--json', 'print JSON lines: events of the training, then the result')
    .addHelpText(
      'after',
      `
Examples:
  unet3d-gpu demo
  unet3d-gpu demo --seed 7 --out runs/seven`,
    )
    .action((options: Options, command: Command) => demo(io, options, command.parent?.args ?? []));
}

async function demo(io: Io, options: Options, words: readonly string[]): Promise<void> {
  const { subjects, shape, features, epochs, batchSize, seed } = options;
  const started = performance.now();
  const clock = new Stopwatch();
  using folder = await RunFolder.open(options.out, io);
  await folder.check([], []);
  await announceAdapter(io);

  const all = Array.from({ length: subjects }, (_, subject) => generate(subject, shape, seed));
  const split = splitCases(
    all.map(({ prepared: { id } }) => ({ id, subject: id })),
    { seed },
  );
  const part = (name: 'train' | 'validation' | 'test'): Generated[] =>
    split[name].cases.map((id) => all.find(({ prepared }) => prepared.id === id)!);
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
  await folder.json('split.json', split);
  const config = { network, training: { ...training, epochs, batchSize }, subjects, shape, seed };
  await folder.json('config.json', config);
  clock.end('generating the phantoms');

  const model = await UNet3D.create({
    ...network,
    seed,
    labels: phantomLabels,
    channels: ['T2-like'],
    preprocessing: defaultPreprocessing(1, all[0]!.prepared.spacing),
  });
  try {
    const report = watch(io, {
      epochs,
      labels: phantomLabels,
      json: options.json === true,
      voxelsPerStep: shape.reduce((a, b) => a * b) * batchSize,
      gpuBytes: () => model.gpu.allocatedBytes,
    });
    const run = model.fit(
      part('train').map(({ prepared }) => prepared),
      {
        ...training,
        epochs,
        batchSize,
        seed,
        validation: part('validation').map(({ prepared }) => prepared),
        signal: io.signal,
        onEvent: report,
      },
    );
    const result = await run;
    clock.end('training');
    const validation = part('validation').map(({ prepared }) => prepared);
    const postprocessing =
      options.postprocess && validation.length > 0
        ? await model.choosePostprocessing(validation, { signal: io.signal })
        : undefined;
    if (postprocessing) clock.end('choosing the post-processing');
    const weights = await model.save();
    await folder.write('model.safetensors', weights);

    const test = part('test');
    const scores = await model.evaluate(
      test.map(({ prepared }) => prepared),
      { loss: training.loss, signal: io.signal },
    );
    const cases: CaseMetrics[] = [];
    for (const [index, { prepared, source }] of test.entries()) {
      const { shape: size, spacing, id } = prepared;
      const predicted = scores[index]!.predicted;
      const grid = { shape: size, spacing };
      const truth = { data: source.labels, ...grid };
      cases.push(evaluateCase(truth, { data: predicted, ...grid }, { classes: phantomLabels, name: id }));
      const file = await writeNifti({ data: predicted, shape: size, affine: source.affine });
      await folder.write(predictionName(id), file);
    }
    clock.end(`segmenting and comparing ${test.length} subjects`);
    const hashes = Object.fromEntries(
      all.flatMap(({ prepared: { id }, source: { image, labels } }) => [
        [`${id} image`, sha256(new Uint8Array(image.buffer))],
        [`${id} labels`, sha256(labels)],
      ]),
    );
    const summary = await writeResults(folder, {
      title: 'Demo: pelvis phantoms',
      model,
      labels: phantomLabels,
      split,
      training: result,
      plan: model.plan({ size: model.description.inputSize!, batch: batchSize, loss: training.loss }),
      postprocessing,
      part: 'test',
      cases,
      volumes: (index) => {
        const { image, labels, affine, spacing } = test[index]!.source;
        return {
          image: { data: image, shape, affine, spacing },
          truth: labels,
          prediction: scores[index]!.predicted,
        };
      },
      config: { ...network, ...training, epochs, batchSize, precision: model.precision },
      dataset: { name: 'generated pelvis phantoms', subjects, voxels: shape.join(' x ') },
      seed,
      hashes: { 'model.safetensors': sha256(weights), 'all phantoms': hashOfHashes(hashes), ...hashes },
      timings: clock.stages,
      command: commandLine(words),
    });

    const baselines = baselineDice(
      part('train').map(({ source }) => source),
      test.map(({ source }) => source),
    );
    const means = summary.classes.map((entry) => entry.dice.mean);
    const seconds = (performance.now() - started) / 1000;
    if (options.json) io.out(toJson({ type: 'result', dice: means, baselines, seconds, out: folder.path }));
    else {
      io.out('', `Dice on ${test.length} test subjects, mean over subjects`);
      io.out(
        ...table([
          ['class', 'U-Net', 'worst', 'position only', 'intensity only'],
          ...phantomLabels.map((name, label) => [
            name,
            digits(means[label]),
            digits(Math.min(...scores.map((score) => score.dice[label]!))),
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
        `${duration(seconds * 1000)} in all. In ${folder.path}: report.html, progress.png, slices.png, ` +
          'model.safetensors, predictions/*.nii.gz, history.csv, metrics.json, split.json, config.json',
      );
    }
    const missed = phantomLabels.filter((_, label) => label > 0 && !(means[label]! >= wanted));
    if (missed.length > 0)
      throw new Unsatisfactory(`the test Dice of ${missed.join(', ')} stays below ${wanted}`);
  } finally {
    model.dispose();
  }
}

interface Generated {
  readonly source: Phantom;
  readonly prepared: LabelledCase;
}

function generate(subject: number, shape: Size3, seed: number): Generated {
  const source = phantom(subject, { shape: [...shape], seed });
  const { image, labels, affine } = source;
  const id = `phantom_${String(subject).padStart(3, '0')}`;
  const prepared = fromArrays(
    id,
    { data: image, dims: shape, affine },
    { data: labels, dims: shape, affine },
  );
  return { source, prepared: { ...prepared, label: prepared.label! } };
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
