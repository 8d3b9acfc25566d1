/** What a training leaves behind once its model is tested: metrics, pictures and the report. */
import type { Split } from '../data/split.ts';
import type { Plan } from '../gpu/plan.ts';
import type { PostprocessingChoice } from '../metrics/components.ts';
import type { CaseMetrics } from '../metrics/evaluate.ts';
import { metricsJson, summarise, type Summary } from '../metrics/summary.ts';
import type { UNet3D } from '../unet3d.ts';
import { casePicture, foregroundDice, pickCases } from '../report/cases.ts';
import { reportHtml } from '../report/report.node.ts';
import { sliceGrid } from '../report/slices.ts';
import type { GridVolume } from '../report/view.ts';
import type { TrainingResult } from '../train/events.ts';
import { createdNow, versions } from './provenance.ts';
import type { RunFolder } from './run-folder.ts';
import { digits } from '../format.ts';

/** An image (one channel) with its truth and its prediction on one grid. */
export interface CaseVolumes {
  readonly image: GridVolume;
  readonly truth: ArrayLike<number>;
  readonly prediction: ArrayLike<number>;
}

export interface Outcome {
  readonly title: string;
  readonly model: UNet3D;
  /** Names of what is scored: classes by label value, or background and regions. */
  readonly labels: readonly string[];
  /** Label values that these are shown as. Default: their order. */
  readonly labelValues?: readonly number[] | undefined;
  /** Names by label value, for pictures. Default: `labels`. */
  readonly values?: readonly string[];
  readonly split: Split;
  readonly training: TrainingResult;
  /** Of a training step, as it ran. */
  readonly plan: Plan;
  /** What validation chose, if there was any. */
  readonly postprocessing: PostprocessingChoice | undefined;
  /** Which part was tested. */
  readonly part: 'test' | 'validation';
  readonly cases: readonly CaseMetrics[];
  /** Whom each tested case shows; default: each another. */
  readonly subjects?: readonly string[];
  /** What pictures of a case need, made when it is drawn. */
  readonly volumes: (index: number) => CaseVolumes | Promise<CaseVolumes>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly dataset?: Readonly<Record<string, unknown>>;
  readonly seed: number;
  /** SHA-256 of data and model by name. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly timings: readonly { readonly name: string; readonly seconds: number }[];
  /** The command that repeats the run. */
  readonly command: string;
}

/**
 * Writes metrics.json, history.csv, progress.png, slices.png and report.html; returns the summary. Without a tested case
 * there is neither this nor slices.png.
 */
export async function writeResults(folder: RunFolder, outcome: Outcome): Promise<Summary | undefined> {
  const { title, labels, labelValues, values = labels, training, cases, part, postprocessing } = outcome;
  const summary = cases.length > 0 ? summarise(cases, { subjects: outcome.subjects }) : undefined;
  const { history, bestEpoch, bestDice, steps, seconds } = training;
  const best = history[bestEpoch];
  const tested = summary && (JSON.parse(metricsJson(cases, summary, { labels })) as object);
  await folder.json('metrics.json', {
    training: { epochs: history.length, steps, seconds, bestEpoch: bestEpoch + 1 },
    validation: {
      meanForegroundDice: bestDice,
      loss: best?.validationLoss,
      dice: Object.fromEntries(
        (best?.validationDice ?? []).map((dice, label) => [labels[label] ?? label, dice]),
      ),
      ...(part === 'validation' && tested),
    },
    ...(postprocessing && {
      postprocessing: Object.fromEntries(
        labels.map((name, label) => [
          name,
          {
            largestComponent: postprocessing.largestComponent.includes(label),
            validationDice: { before: postprocessing.before[label], after: postprocessing.after[label] },
          },
        ]),
      ),
    }),
    ...(part === 'test' && { test: tested }),
  });
  await folder.history(history, { labels, labelValues }, title);

  const picked = pickCases(cases);
  const shown = picked.length > 0 || !summary ? picked : [{ title: 'Case', index: 0 }];
  const rows = [];
  const pictures = [];
  for (const { title: name, index } of shown) {
    const volumes = await outcome.volumes(index);
    const metrics = cases[index]!;
    const caption = `mean Dice ${digits(foregroundDice(metrics))}`;
    rows.push({ name: `${name}: ${metrics.name}`, ...volumes, caption });
    pictures.push(await casePicture(name, metrics, volumes, { labels: values, scored: labels }));
  }
  const columns = ['image', 'truth', 'prediction', 'difference'] as const;
  if (summary) await folder.picture('slices.png', sliceGrid(rows, { labels: values, columns }));
  await folder.write('report.html', await report(outcome, summary, pictures));
  return summary;
}

function report(
  outcome: Outcome,
  summary: Summary | undefined,
  pictures: Awaited<ReturnType<typeof casePicture>>[],
): Promise<string> {
  const { title, model, labels, labelValues, split, training, cases, part, command, seed, plan } = outcome;
  const { postprocessing, timings, hashes } = outcome;
  return reportHtml({
    title,
    created: createdNow(),
    command,
    labels,
    ...(labelValues && { labelValues }),
    config: outcome.config,
    ...(outcome.dataset ? { dataset: outcome.dataset } : {}),
    split: { train: split.train.cases, validation: split.validation.cases, test: split.test.cases },
    history: training.history.map((row) => ({
      epoch: row.epoch + 1,
      trainLoss: row.loss,
      validationLoss: row.validationLoss,
      dice: row.validationDice,
      learningRate: row.learningRate,
    })),
    evaluated: part,
    ...(summary && { cases, summary, pictures }),
    memory: { peakBytes: plan.peakBytes, tensors: plan.tensors },
    ...(postprocessing && { postprocessing }),
    ...(part === 'validation' && {
      notes: ['These validation cases also chose the best epoch and the post-processing: they are no test.'],
    }),
    timings,
    adapter: model.adapter,
    versions: versions(),
    seed,
    hashes,
  });
}

/** A command line as one would type it. */
export function commandLine(words: readonly string[]): string {
  return ['unet3d-gpu', ...words]
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
    .join(' ');
}
