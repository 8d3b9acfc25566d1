/** A training from the command line: data, plan, training, test, and the files that are left behind. */
import { assertKnownInMiddle, trainingBatches, type PatchBatches } from '../data/patches.ts';
import { mirrorable } from '../data/sides.ts';
import { testedPart } from '../data/split.ts';
import { leads, meet } from '../distributed/ranks.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import { defaultBudget } from '../model/budget.ts';
import { sizeMultiple } from '../model/sizes.ts';
import { summarise } from '../model/summary.ts';
import type { Axis } from '../size.ts';
import { mirroredAxes } from '../train/augmentation.ts';
import type { TrainingEvent, TrainingResult } from '../train/events.ts';
import { UNet3D } from '../unet3d.ts';
import { assertBegunWith } from './begun-with.ts';
import { dataFiles } from './dataset-options.ts';
import { Resumable } from './failure.ts';
import { drawAugmentation, drawBatch } from './first-batch.ts';
import { announceAdapter, gpuWishes } from './gpu.ts';
import { HistoryWriter } from './history-writer.ts';
import { assertChannels, forItsHeads, networkFrom, preprocessingOf, seenByInit } from './init-model.ts';
import type { Io } from './io.ts';
import { networkOf, trainFeatures } from './network-options.ts';
import { openData } from './open-data.ts';
import { planned, plannerOf } from './planned.ts';
import { FileHashes, Stopwatch } from './provenance.ts';
import { announceRanks, assertSameContents } from './ranks.ts';
import { commandLine } from './results.ts';
import type { RunFolder } from './run-folder.ts';
import { testModel } from './test-run.ts';
import { configOf, type Job, type RunDetails } from './train-job.ts';
import type { TrainOptions } from './train-options.ts';
import { announceResults, writeAll } from './train-results.ts';
import { assertClassWeights, decide, patchTip, protocolOf, type Settings } from './train-settings.ts';
import { toJson } from './text.ts';
import { legendOf } from './training-data.ts';
import { watch } from './watch.ts';

export async function runTraining(
  io: Io,
  folder: RunFolder,
  path: string | undefined,
  options: TrainOptions,
  details: RunDetails,
): Promise<void> {
  const clock = new Stopwatch();
  using hashes = new FileHashes();
  const { init, ranks } = details;
  for (const note of init?.notes ?? []) io.err(note);
  const kept = details.preprocessing ?? preprocessingOf(io, options, init);
  const opened = await openData(
    io,
    path,
    { ...options, kept, without: folder.outermost },
    (dataset, split) => {
      // Before cases are prepared with as many as the model's.
      if (init && dataset.channels.length > 0) assertChannels(init, dataset.channels.length);
      return folder.check(dataFiles(dataset, path, options), split[testedPart(split)].cases);
    },
  );
  const { dataset } = opened;
  const data = forItsHeads(opened.data, init);
  assertClassWeights(options.classWeights, data);
  if (init) assertChannels(init, data.channels, dataset.channels);
  const seen = init && seenByInit(init, opened.split);
  if (seen !== undefined) io.err(`warning: ${seen}`);
  for (const begun of details.begun ?? []) assertBegunWith(begun, { ...opened, data });
  await assertSameContents(ranks, data.contents);
  clock.end('reading and preparing the data');

  const classes = data.regions?.length ?? data.labels.length;
  const planner = init ? undefined : plannerOf(options.preset);
  const plan =
    planner &&
    data.decision &&
    planned(data.decision.fingerprint, {
      planner,
      inChannels: data.channels,
      classes,
      labels: data.scored.length + (dataset.ignoreLabel === undefined ? 0 : 1),
      spacing: data.decision.typical.spacing,
      features: options.features,
    });
  // Of a training that is gone on with, those that it began with.
  const reasons = details.decisions ?? [...(data.decision?.reasons ?? []), ...(plan?.reasons ?? [])];
  for (const reason of reasons) io.err(reason);

  await announceRanks(io, ranks, await announceAdapter(io, options));
  const model = await UNet3D.create({
    ...(init
      ? networkFrom(init, options)
      : (plan?.config ?? networkOf({ ...options, features: options.features ?? trainFeatures }))),
    ...{ inChannels: data.channels, classes },
    seed: options.seed,
    initialWeights: options.initialWeights,
    labels: data.labels,
    regions: data.regions,
    channels: dataset.channels,
    preprocessing: data.preprocessing,
    ...(options.memory === undefined ? {} : { memoryBudget: options.memory }),
    ...gpuWishes(options),
  });
  const history = new HistoryWriter(folder, legendOf(data), dataset.name, io);
  try {
    if (init) {
      if (init.bytes) await model.takeWeights(init.bytes, { heads: options.initHeads ?? 'auto' });
      const { mirrorAxes } = init.description;
      model.describe({ mirrorAxes: mirrorAxes?.filter((axis) => mirrorable(data).includes(axis)) });
    }
    await trainModel({
      ...opened,
      data,
      planned: plan,
      io,
      folder,
      options,
      details,
      model,
      history,
      hashes,
      clock,
    });
  } catch (error) {
    if (!(error instanceof Aborted)) throw error;
    const goOn = commandLine(['train', '--out', folder.path, '--resume']);
    throw new Resumable(error.message, goOn, { cause: error });
  } finally {
    model.dispose();
    await history.done().catch(() => undefined); // nothing in place of what was thrown before; it has been told
  }
}

async function trainModel(job: Job): Promise<void> {
  const { io, folder, options, dataset, split, data, model, history, clock } = job;
  const { ranks } = job.details;
  const settings = decide(io, {
    network: model.config,
    data,
    hasUnknown: dataset.ignoreLabel !== undefined,
    options,
    planned: job.planned,
    trained: job.details.init?.description.inputSize,
    trainedPatch: job.details.init?.patch,
    limits: model.gpu.limits,
    memory: options.memory ?? defaultBudget(model.gpu),
    ranks: ranks?.size ?? 1,
  });
  assertMirrored(
    options,
    settings.augmentation ? mirroredAxes(settings.augmentation) : model.description.mirrorAxes,
  );
  const { margin } = settings.planner;
  const source = trainingBatches(data.training, {
    ...batchOptions(job, settings),
    ...(margin && { margin }),
  });
  if (options.placement === 'centre' && dataset.ignoreLabel !== undefined)
    await assertKnownInMiddle(data.training, source.size);
  announceStep(job, settings, source);
  if (options.dryRun) return dryRun(job, settings, source);

  await meet(ranks); // all have read what lies in the folder
  if (options.overwrite && !options.resume) await folder.clear();
  const config = configOf(job, settings, source);
  const keep = async (): Promise<void> => {
    await folder.json('split.json', split);
    await folder.json('config.json', config);
  };
  // What is refused for its options leaves those of the run that it was to go on from.
  if (!options.resume) await keep();
  const { onStart } = job.details;
  const result = await fit(job, settings, source, () => {
    if (options.resume) history.next(keep);
    if (onStart) history.next(onStart);
  });
  await history.done();
  clock.end('training');
  if (!leads(ranks)) return;
  const { validation, labels, regions, truths } = data;
  const { postprocess, tta = false } = options;
  const test = await testModel({
    ...{ io, folder, model, dataset, split, labels, regions },
    ...{ validation, postprocess, tta, truths, clock },
  });
  const ended = { config, result, test };
  announceResults(job, settings, ended, await writeAll(job, settings, ended));
}

/** What would be refused when the training has ended. */
function assertMirrored({ tta }: TrainOptions, axes: readonly Axis[] | undefined): void {
  if (!tta || axes?.length !== 0) return;
  throw new InvalidOption(
    '--tta flips along the axes that training mirrors, and here it mirrors none: leave --tta out, or give axes to --mirror',
  );
}

/** How the batches are cut from the cases, but for the margin that augmentation reads. */
const batchOptions = ({ options, data, model }: Job, { wish, patch }: Settings) => ({
  batchSize: wish.batch,
  seed: options.seed,
  multiple: sizeMultiple(model.config),
  placement: options.placement,
  oversample: options.oversample,
  oversampling: options.oversampling,
  ...(data.regions && { regions: data.regions }),
  order: options.order,
  accumulate: wish.accumulate ?? 1,
  ...(options.stepsPerEpoch !== undefined && {
    batchesPerEpoch: options.stepsPerEpoch * (wish.accumulate ?? 1),
  }),
  ...(patch && { patch }),
});

function announceStep({ io, options, data, model }: Job, settings: Settings, source: PatchBatches): void {
  const { patch, epochs } = settings;
  const { flops, peakBytes } = settings.plan;
  const { accumulate = 1 } = settings.wish;
  io.err(
    `${patch ? 'Patches' : 'Whole volumes, padded to'} ${source.size.join(' x ')} voxels; ${epochs} epochs of ` +
      `${Math.ceil(source.batchesPerEpoch / accumulate)} steps; ${(flops / 1e9).toFixed(1)} GFLOP and ` +
      `${(peakBytes / 2 ** 20).toFixed(0)} MiB of GPU memory per ${accumulate > 1 ? 'batch' : 'step'}`,
  );
  if (patch || options.patch === 'whole') return;
  const tip = patchTip(data.training.shapes, source.size, sizeMultiple(model.config));
  if (tip !== undefined) io.err(tip);
}

/** Shows the plan, and draws what the training would see first. */
async function dryRun(job: Job, settings: Settings, source: PatchBatches): Promise<void> {
  const { io, folder, options, data, model } = job;
  const { plan, wish, augmentation } = settings;
  const { size } = source;
  const tell = (...lines: string[]): void => (options.json ? io.err(...lines) : io.out(...lines));
  tell(...summarise(model.config, plan, { size, batch: wish.batch }).split('\n'));
  await drawBatch(folder, trainingBatches(data.training, batchOptions(job, settings)), data);
  tell(`The first batch is drawn in ${folder.file('batch.png')}.`);
  if (augmentation) {
    const drawn = await drawAugmentation(model, source, data, augmentation, options.seed);
    await folder.picture('augmentation.png', drawn);
    tell(`Augmentation of its first sample is drawn in ${folder.file('augmentation.png')}.`);
  }
  const { peakBytes, flops } = plan;
  if (options.json)
    io.out(toJson({ type: 'plan', size, batch: wish.batch, peakBytes, flops, out: folder.path }));
}

/** @param onStart called when the training was found to be the one that is gone on from */
async function fit(
  job: Job,
  settings: Settings,
  source: PatchBatches,
  onStart: () => unknown,
): Promise<TrainingResult> {
  const { io, folder, options, data, model, history } = job;
  const { ranks } = job.details;
  const { epochs, patch, wish, loss, optimizer, schedule, augmentation } = settings;
  const { precision = 'f32', checkpointing = false, accumulate = 1 } = wish;
  const show = watch(io, {
    epochs,
    labels: data.scored,
    json: options.json ?? false,
    voxelsPerStep: source.size.reduce((a, b) => a * b) * wish.batch * accumulate,
    gpuBytes: () => model.gpu.allocatedBytes,
  });
  const onEvent = (event: TrainingEvent): void => {
    show(event);
    history.see(event);
    if (event.type === 'warning' && !leads(ranks)) ranks!.say(`warning: ${event.message}`);
    if (event.type === 'start') onStart();
  };
  return await model.fit(source, {
    epochs,
    loss,
    optimizer,
    schedule,
    precision,
    accumulate,
    checkpointing,
    concessions: [], // the step is as the settings have fitted it to the memory
    augmentation,
    seed: options.seed,
    ranks,
    validation: data.validation,
    validationWindow: patch && source.size,
    ...protocolOf(options),
    signal: io.signal,
    checkpoint: folder.checkpoints,
    resume: options.resume ?? false,
    ...(options.tune !== undefined && { tune: options.tune }),
    onEvent,
  });
}
