/** The report of a training as one HTML file: that of the command line, made in the tab. */
import { reportHtml, summarise } from 'unet3d-gpu/report';
import {
  adam,
  lossShape,
  paddedSize,
  planTraining,
  version,
  type LabelledCase,
  type Size3,
} from 'unet3d-gpu/worker';
import { augmentedStep } from './augmentation.ts';
import { dataJob } from './data-client.ts';
import { KeptModel } from './kept-model.ts';
import type { RunRecord } from './kept/database.ts';
import { lossOf } from './planning.ts';
import { validationCases } from './prepared-cases.ts';
import { scoredNames, scoredValues, type Run } from './run.ts';
import { state } from './state.ts';

/** On every axis the longest of a size and of what cases have. */
const largestOf = (size: Size3, cases: readonly LabelledCase[]): Size3 =>
  size.map((length, axis) => Math.max(length, ...cases.map(({ shape }) => shape[axis]!))) as unknown as Size3;

/** What can be told of the training: its results on the validation cases with the weights that were kept. */
export async function trainingReport(run: Run, signal: AbortSignal): Promise<string> {
  if (run.cases.length === 0)
    throw new Error(
      'the images of this training are no longer kept, and a report needs its validation cases',
    );
  if (state.model instanceof KeptModel && state.modelRun === run.id)
    return reportOf(run, state.model, signal);
  const opened = await KeptModel.open(() => run.files.model());
  try {
    return await reportOf(run, opened, signal);
  } finally {
    opened.dispose();
  }
}

const lastLayer = {
  auto: 'its last layer kept where the classes were the same',
  keep: 'its last layer kept',
  new: 'a new last layer',
};

/** What the training began with, and what gives its network again. */
export function origin({
  settings,
  continues,
  from,
}: Pick<RunRecord, 'settings' | 'continues' | 'from'>): string {
  const again = `the same files, parts, settings and seed ${settings.seed} give it again.`;
  if (!continues) return `Trained in a browser tab: ${again}`;
  const frozen = from?.freeze && `its ${from.freeze} left as it was`;
  const network = from ? [from.name, lastLayer[from.heads], frozen] : ['another network'];
  const told = network.filter((part) => part !== undefined).join(', ');
  return `Trained in a browser tab from the weights of ${told}: these weights and ${again}`;
}

async function reportOf(run: Run, model: KeptModel, signal: AbortSignal): Promise<string> {
  const { history, settings, dataName: name, preprocessing, regions, from } = run.record;
  const labels = scoredNames(run.record);
  const loss = lossOf(settings, regions);
  const validation = await validationCases(run, signal);
  const scores = await model.evaluate(validation, { loss, signal });
  const predictions = scores.map(({ predicted }) => predicted);
  const transfer = [...predictions, ...validation.flatMap(({ image, label }) => [image, label])].map(
    ({ buffer }) => buffer as ArrayBuffer,
  );
  const { metrics: cases, pictures } = await dataJob(
    'assess',
    { cases: validation, predictions, labels: run.labels, scored: labels, regions },
    { signal, transfer },
  );

  const used = run.cases;
  // In the order of the validation.
  const subjects = used.filter(({ part }) => part === 'validation').map(({ subject }) => subject);
  const hashOf = (file: Blob): Promise<string> => dataJob('hash', { file }, { signal });
  const hashes: Record<string, string> = {
    model: await hashOf(new Blob([(await model.save()) as Uint8Array<ArrayBuffer>])),
  };
  for (const { id, images, label } of used)
    for (const [kind, file] of [
      ...images.map((image) => ['images', image] as const),
      ['labels', label!] as const,
    ])
      for (const part of 'header' in file ? [file.header, file.image] : [file]) {
        const name = `${kind}/${part.name}`; // that of several cases where each has a folder
        hashes[name in hashes ? `${kind}/${id}/${part.name}` : name] = await hashOf(part);
      }
  const { config, description } = model;
  const size = paddedSize(config, description.inputSize!);
  const { augment, margin } = augmentedStep(settings.augmentation, largestOf(size, validation));
  const { plan } = planTraining({
    config,
    limits: await model.limits(),
    size,
    batch: settings.batchSize,
    precision: settings.precision,
    checkpointing: settings.checkpointing,
    augment,
    margin: margin?.(size),
    loss: lossShape(loss, config.classes),
    optimizer: adam(),
    freeze: from?.freeze,
  });
  return reportHtml({
    title: name,
    created: `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    command: origin(run.record),
    labels,
    labelValues: scoredValues(run.record),
    config: { ...model.config, ...settings, loss, preprocessing },
    dataset: { name, cases: used.length },
    split: { train: run.idsOf('train'), validation: run.idsOf('validation') },
    history: history.map((row) => ({
      epoch: row.epoch + 1,
      trainLoss: row.loss,
      validationLoss: row.validationLoss,
      dice: row.validationDice,
      learningRate: row.learningRate,
    })),
    evaluated: 'validation',
    notes: ['These validation cases also chose the best epoch: they are no test.'],
    ...(cases.length > 0 && { cases, summary: summarise(cases, { subjects }), pictures }),
    memory: { peakBytes: plan.peakBytes, tensors: plan.tensors },
    timings: [{ name: 'training', seconds: history.reduce((sum, { seconds }) => sum + seconds, 0) }],
    adapter: await model.adapter(),
    versions: { 'unet3d-gpu': version, browser: navigator.userAgent },
    seed: settings.seed,
    hashes,
  });
}
