/** A training from the command line: data, plan, training, test, and the files that are left behind. */
import { trainingBatches } from '../data/patches.ts';
import type { Dataset } from '../data/dataset.ts';
import { readNifti } from '../data/nifti.ts';
import { spatialShape } from '../data/volume.ts';
import type { Split } from '../data/split.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import { evaluateCase, type CaseMetrics } from '../metrics/evaluate.ts';
import { diceTable } from '../metrics/summary.ts';
import { defaultBudget } from '../model/budget.ts';
import { sizeMultiple } from '../model/config.ts';
import { planTraining } from '../model/plan.ts';
import { summarise } from '../model/summary.ts';
import { mapsOver } from '../report/render.ts';
import { UNet3D } from '../unet3d.ts';
import { folderStore, removeCheckpoints } from '../train/checkpoint.node.ts';
import type { EpochRow, TrainingEvent } from '../train/events.ts';
import { version } from '../version.ts';
import type { TrainOptions } from './train-options.ts';
import {
  dataFiles,
  openFromArguments,
  splitFromArguments,
  type DatasetArguments,
  type SplitArguments,
} from './dataset-options.ts';
import { Resumable } from './failure.ts';
import { drawAugmentation, drawBatch } from './first-batch.ts';
import { announceAdapter } from './gpu.ts';
import type { Io } from './io.ts';
import { commandLine, writeResults } from './results.ts';
import { fileHashes, hashOfHashes, sha256, Stopwatch } from './provenance.ts';
import { predictionName, type RunFolder } from './run-folder.ts';
import { digits, duration, printable, toJson } from './text.ts';
import { readTrainingData, type TrainingData } from './training-data.ts';
import { assertClassWeights, decide, patchTip, protocolOf } from './train-settings.ts';
import { watch } from './watch.ts';

export interface RunDetails {
  /** Stored in config.json for --resume. */
  readonly kept: unknown;
  /** The command that repeats the run. */
  readonly command: string;
  /** What was decided from the data when the run that is resumed began. */
  readonly decisions?: readonly string[] | undefined;
}

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
>;

/**
 * Opens and splits a data set and prepares its cases: all that a training can refuse of the data. `check` foresees it.
 * @param look is shown the split before anything large is read
 * @throws InvalidDataset or InvalidVolume that names what is wrong; InvalidOption for a split without training cases
 */
export async function openData(
  io: Io,
  path: string | undefined,
  options: DataOptions,
  look?: (dataset: Dataset, split: Split) => Promise<void>,
): Promise<Pick<Job, 'dataset' | 'split' | 'data'>> {
  const opened = await openFromArguments(io, path, options);
  const dataset = options.classNames ? { ...opened, labels: options.classNames } : opened;
  const split = await splitFromArguments(io, dataset, options);
  const count = (part: 'train' | 'validation' | 'test'): number => split[part].cases.length;
  io.err(
    `${dataset.name}: ${count('train')} cases to train on, ${count('validation')} to validate, ${count('test')} to test`,
  );
  if (count('train') === 0)
    throw new InvalidOption('the split leaves no case to train on: give the first share more than 0');
  if (options.earlyStopping !== undefined && count('validation') === 0)
    throw new InvalidOption(
      `--early-stopping is ${options.earlyStopping}, but the split leaves no case to validate on: ` +
        'give the second share more than 0, or leave --early-stopping out',
    );
  await look?.(dataset, split);
  const data = await readTrainingData(io, dataset, split, {
    classes: options.classes,
    preprocessing: options.preprocessing,
    spacing: options.spacing,
    cacheBytes: options.cache,
    allowDuplicates: options.allowDuplicates ?? false,
  });
  return { dataset, split, data };
}

export async function runTraining(
  io: Io,
  folder: RunFolder,
  path: string | undefined,
  options: TrainOptions,
  details: RunDetails,
): Promise<void> {
  const clock = new Stopwatch();
  const { dataset, split, data } = await openData(io, path, options, (opened, parts) =>
    folder.check(dataFiles(opened, path, options), parts[testedPart(parts)].cases),
  );
  assertClassWeights(options.classWeights, data.labels);
  for (const reason of data.decision?.reasons ?? []) io.err(reason);
  clock.end('reading and preparing the data');

  await announceAdapter(io);
  const { features, norm, activation, seed } = options;
  const model = await UNet3D.create({
    inChannels: data.channels,
    classes: data.labels.length,
    features,
    norm,
    activation,
    ...(options.deepSupervision && { deepSupervision: true }),
    seed,
    labels: data.labels,
    channels: dataset.channels,
    preprocessing: data.preprocessing,
    ...(options.memory === undefined ? {} : { memoryBudget: options.memory }),
  });
  const history = new HistoryWriter(folder, data.labels, dataset.name);
  try {
    await trainModel({ io, folder, options, details, dataset, split, data, model, history, clock });
  } catch (error) {
    if (!(error instanceof Aborted)) throw error;
    const goOn = commandLine(['train', '--out', folder.path, '--resume']);
    throw new Resumable(error.message, goOn, { cause: error });
  } finally {
    await history.done();
    model.dispose();
  }
}

/** A training whose data have been read and whose model is on the GPU. */
interface Job {
  readonly io: Io;
  readonly folder: RunFolder;
  readonly options: TrainOptions;
  readonly details: RunDetails;
  readonly dataset: Dataset;
  readonly split: Split;
  readonly data: TrainingData;
  readonly model: UNet3D;
  readonly history: HistoryWriter;
  readonly clock: Stopwatch;
}

async function trainModel(job: Job): Promise<void> {
  const { io, folder, options, details, dataset, split, data, model, history, clock } = job;
  const { seed, json = false, tta = false, postprocess } = options;
  const network = model.config;
  const { limits } = model.gpu;
  const memory = options.memory ?? defaultBudget(model.gpu);
  const { epochs, patch, loss, optimizer, schedule, augmentation, wish, planner, ...settings } = decide(
    io,
    network,
    data,
    options,
    limits,
    memory,
  );
  const reasons = details.decisions ?? settings.reasons;
  const { precision = 'f32', checkpointing = false, accumulate = 1 } = wish;
  const batches = {
    batchSize: wish.batch,
    seed,
    multiple: sizeMultiple(network),
    placement: options.placement,
    oversample: options.oversample,
    ...(patch ? { patch } : {}),
  };
  const source = trainingBatches(data.training, {
    ...batches,
    ...(planner.margin && { margin: planner.margin }),
  });
  const { plan } = planTraining({ ...wish, ...planner, margin: source.margin });
  io.err(
    `${patch ? 'Patches' : 'Whole volumes, padded to'} ${source.size.join(' x ')} voxels; ${epochs} epochs of ` +
      `${source.batchesPerEpoch} steps; ${(plan.flops / 1e9).toFixed(1)} GFLOP and ` +
      `${(plan.peakBytes / 2 ** 20).toFixed(0)} MiB of GPU memory per step`,
  );
  const tip =
    patch || options.patch === 'whole'
      ? undefined
      : patchTip(data.training.shapes, source.size, sizeMultiple(network));
  if (tip !== undefined) io.err(tip);
  if (options.dryRun) {
    io.out(...summarise(network, plan, { size: source.size, batch: wish.batch }).split('\n'));
    await drawBatch(folder, trainingBatches(data.training, batches), data);
    io.out(`The first batch is drawn in ${folder.file('batch.png')}.`);
    if (augmentation) {
      await folder.picture(
        'augmentation.png',
        await drawAugmentation(model, source, data, augmentation, seed),
      );
      io.out(`Augmentation of its first sample is drawn in ${folder.file('augmentation.png')}.`);
    }
    return;
  }

  if (options.overwrite && !options.resume) await removeCheckpoints(folder.path);
  await folder.json('split.json', split);
  const protocol = protocolOf(options);
  const config = {
    version,
    command: details.command,
    network,
    training: {
      epochs,
      batchSize: wish.batch,
      accumulate,
      precision,
      checkpointing,
      size: source.size,
      patch: patch ?? null,
      ...(patch && { placement: options.placement }),
      ...(source.margin.some((n) => n > 0) && { margin: source.margin }),
      loss,
      optimizer,
      schedule,
      augmentation: augmentation ?? null,
      seed,
      ...protocol,
    },
    preprocessing: data.preprocessing,
    ...(reasons.length > 0 && { decisions: reasons }),
    labels: data.labels,
    adapter: model.adapter,
    arguments: details.kept,
  };
  await folder.json('config.json', config);

  const show = watch(io, {
    epochs,
    labels: data.labels,
    json,
    voxelsPerStep: source.size.reduce((a, b) => a * b) * wish.batch * accumulate,
    gpuBytes: () => model.gpu.allocatedBytes,
  });
  const onEvent = (event: TrainingEvent): void => {
    show(event);
    history.see(event);
  };
  const result = await model.fit(source, {
    epochs,
    loss,
    optimizer,
    schedule,
    precision,
    accumulate,
    checkpointing,
    augmentation,
    seed,
    validation: data.validation,
    validationWindow: patch && source.size,
    ...protocol,
    signal: io.signal,
    checkpoint: folderStore(folder.path),
    resume: options.resume ?? false,
    ...(options.tune !== undefined && { tune: options.tune }),
    onEvent,
  });
  await history.done();
  clock.end('training');
  const { validation } = data;
  const postprocessing =
    postprocess && validation.length > 0
      ? await model.choosePostprocessing(validation, { tta, signal: io.signal })
      : undefined;
  if (postprocessing) clock.end('choosing the post-processing');
  const weights = await model.save();
  await folder.write('model.safetensors', weights);

  const part = testedPart(split);
  if (split[part].cases.length === 0) {
    await folder.history(result.history, data.labels, dataset.name);
    io.out(
      `Trained on all cases; nothing was left to test on. The model is ${folder.file('model.safetensors')}`,
    );
    return;
  }
  const test = await testModel(io, folder, model, dataset, split, part, data.labels, tta);
  clock.end(`segmenting and comparing ${test.cases.length} cases`);
  const used = new Set((['train', 'validation', 'test'] as const).flatMap((name) => split[name].cases));
  const files = await fileHashes(dataset.cases.filter(({ id }) => used.has(id)));
  const summary = await writeResults(folder, {
    title: dataset.name,
    model,
    labels: data.labels,
    split,
    training: result,
    plan,
    postprocessing,
    part,
    ...test,
    config: {
      ...config.network,
      ...config.training,
      preprocessing: data.preprocessing,
      'test-time augmentation': tta ? 'all mirrorings' : 'none',
    },
    dataset: {
      name: dataset.name,
      cases: dataset.cases.length,
      channels: dataset.channels.join(', ') || '1',
    },
    seed,
    hashes: { 'model.safetensors': sha256(weights), 'all data files': hashOfHashes(files), ...files },
    timings: clock.stages,
    command: details.command,
  });
  const dice = summary.classes.map((entry) => entry.dice.mean);
  if (json) {
    const { bestEpoch, bestDice, seconds } = result;
    io.out(toJson({ type: 'result', part, dice, bestEpoch, bestDice, seconds, out: folder.path }));
    return;
  }
  for (const note of summary.notes) io.err(`note: ${note}`);
  if (result.stoppedEarly) io.out('', `Stopped after ${result.history.length} of ${epochs} epochs.`);
  io.out(
    '',
    validation.length > 0
      ? `Best epoch ${result.bestEpoch + 1} (smoothed validation Dice): its mean validation Dice is ${digits(result.bestDice)}`
      : 'Nothing was left to validate on; the weights are those of the last epoch.',
  );
  io.out(`${part === 'test' ? 'Test' : 'Validation (no test part)'}: ${test.cases.length} case(s)`, '');
  io.out(...diceTable(summary, data.labels.map(printable)).trimEnd().split('\n'));
  io.out(
    '',
    `Trained for ${duration(result.seconds * 1000)}. In ${folder.path}: report.html, model.safetensors, progress.png, ` +
      'slices.png, predictions/, history.csv, metrics.json, split.json, config.json',
  );
}

/** The part whose cases are segmented at the end. */
const testedPart = (split: Split): 'test' | 'validation' =>
  split.test.cases.length > 0 ? 'test' : 'validation';

/** Keeps history.csv and progress.png up to date while the training runs. */
class HistoryWriter {
  #rows: readonly EpochRow[] = [];
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(
    readonly folder: RunFolder,
    readonly labels: readonly string[],
    readonly title: string,
  ) {}

  see(event: TrainingEvent): void {
    if (event.type === 'start') this.#rows = event.history;
    if (event.type !== 'epoch') return;
    const rows = [...this.#rows, event.row];
    this.#rows = rows;
    this.#writing = this.#writing
      .then(() => this.folder.history(rows, this.labels, this.title))
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
  }

  /** Waits for what is being written. @throws what writing has thrown */
  async done(): Promise<void> {
    await this.#writing;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure as Error;
  }
}

/** Segments the files of a part, writes predictions/, and compares them on the files' own grids. */
async function testModel(
  io: Io,
  folder: RunFolder,
  model: UNet3D,
  dataset: Dataset,
  split: Split,
  part: 'test' | 'validation',
  labels: readonly string[],
  tta: boolean,
) {
  const byId = new Map(dataset.cases.map((item) => [item.id, item]));
  const items = split[part].cases.map((id) => byId.get(id)!);
  const cases: CaseMetrics[] = [];
  for (const [index, item] of items.entries()) {
    if (io.signal.aborted)
      throw new Aborted(`the test was stopped after ${index} of ${items.length} cases; the model is saved`);
    if (io.isTerminal) io.status(`testing ${item.id} (${index + 1} of ${items.length})`);
    const segmentation = await model.predict(item.images, { tta, signal: io.signal });
    await folder.write(predictionName(item.id), await segmentation.toNifti());
    const { shape, spacing, data } = segmentation.labels;
    const truth = await readNifti(item.label!, { onto: segmentation.labels });
    const options = { classes: labels, name: item.id, ignore: dataset.ignoreLabel };
    cases.push(evaluateCase({ data: truth.data, shape, spacing }, { data, shape }, options));
  }
  const volumes = async (index: number) => {
    const item = items[index]!;
    const { data, affine, shape } = await readNifti(item.images[0]!);
    const grid = spatialShape(shape);
    const image = { data: data.subarray(0, grid[0] * grid[1] * grid[2]), shape: grid, affine };
    const [truth, prediction] = [
      await readNifti(item.label!, { onto: image }),
      await readNifti(folder.file(predictionName(item.id))),
    ];
    const maps = mapsOver(
      {
        name: item.id,
        image,
        truth: { data: truth.data, shape: grid },
        prediction: { data: prediction.data, shape: grid },
      },
      dataset.ignoreLabel,
    );
    return { image, truth: maps.truth!, prediction: maps.prediction! };
  };
  return { cases, volumes };
}
