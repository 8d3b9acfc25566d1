/** What the folds of a cross-validation come to: every case scored by the network that has not seen it. */
import { readFile } from 'node:fs/promises';
import { openRanges } from '../data/byte-ranges.ts';
import type { Dataset } from '../data/dataset.ts';
import { readNifti } from '../data/nifti.ts';
import { scoredNames, scoredValues } from '../data/regions.ts';
import type { Split } from '../data/split.ts';
import { subjectsOf } from '../data/subjects.ts';
import { Aborted } from '../errors.ts';
import { digits } from '../format.ts';
import { listed } from '../listed.ts';
import { postprocessed, type PostprocessingChoice } from '../metrics/components.ts';
import { evaluate, type CaseMetrics } from '../metrics/evaluate.ts';
import { diceTable, metricsCsv, metricsJson, summarise } from '../metrics/summary.ts';
import { reportHtml } from '../report/report.node.ts';
import { openModel, type ModelDescription } from '../weights/model-file.ts';
import type { Io } from './io.ts';
import { postprocessingFor, type HeldVolumes } from './postprocessing-choice.ts';
import { createdNow, sha256OfFile, versions } from './provenance.ts';
import { crossValidationFiles, foldName, predictionName, type RunFolder } from './run-folder.ts';
import { printable, toJson } from './text.ts';

export interface CrossValidation {
  readonly dataset: Dataset;
  /** Folds that are trained, in order. */
  readonly done: readonly { readonly fold: number; readonly split: Split }[];
  /** Their number in all. */
  readonly folds: number;
  /** The model that they went on from: what that was trained on is not known. */
  readonly init: string | undefined;
  /** Whether post-processing is chosen. */
  readonly postprocess: boolean;
  /** The command that repeats the run. */
  readonly command: string;
  readonly json: boolean;
}

/** One case as the fold that has not seen it has segmented it. */
interface Held {
  readonly id: string;
  readonly fold: number;
}

/** Folds that are trained. */
type Done = CrossValidation['done'];

/** SHA-256 of what each of them has come to, by its folder's name. */
async function modelsOf(folder: RunFolder, done: Done): Promise<Record<string, string>> {
  const models: Record<string, string> = {};
  for (const { fold } of done)
    models[foldName(fold)] = await sha256OfFile(folder.file(`${foldName(fold)}/model.safetensors`));
  return models;
}

/** Whether the cross-validation of these folds is there, whole, and made from their models as they are. */
export async function isConcluded(folder: RunFolder, done: Done): Promise<boolean> {
  if (!crossValidationFiles.every((name) => folder.has(name))) return false;
  const made = modelsIn(await readFile(folder.file('ensemble.json'), 'utf8'));
  return JSON.stringify(made) === JSON.stringify(await modelsOf(folder, done));
}

/** As an ensemble.json has them, if it is whole; those of earlier versions have none. */
function modelsIn(text: string): unknown {
  try {
    return (JSON.parse(text) as { models?: unknown }).models;
  } catch {
    return undefined;
  }
}

/** Writes cross-validation.csv and .json, report.html and, last, ensemble.json, which says what they are made from. */
export async function crossValidate(io: Io, folder: RunFolder, given: CrossValidation): Promise<void> {
  const { dataset, done, folds, init, command } = given;
  const model = folder.file(`${foldName(done[0]!.fold)}/model.safetensors`);
  const { description } = await openModel(await openRanges(model), model);
  const models = await modelsOf(folder, done);
  const held = done.flatMap(({ fold, split }) => split.validation.cases.map((id) => ({ id, fold })));
  const scorer = new Scorer(io, folder, dataset, description);
  const raw = await scorer.score(held, undefined);
  const choice = given.postprocess ? await scorer.choose(held) : undefined;
  const cases = choice && choice.largestComponent.length > 0 ? await scorer.score(held, choice) : raw;
  const names = scoredNames(description.labels, description.regions);
  const summary = summarise(cases, { subjects: subjectsOf(dataset, cases) });
  const byFold = done.map(({ fold }) => ({
    fold,
    dice: summarise(cases.filter((_, at) => held[at]!.fold === fold)).foreground.dice.mean,
  }));
  const notes = conclusions({
    names,
    choice,
    byFold,
    folds,
    init,
    before: summarise(raw).foreground.dice.mean,
  });
  await folder.write('cross-validation.csv', metricsCsv(cases, names));
  await folder.write('cross-validation.json', metricsJson(cases, summary, { labels: names }));
  await folder.write(
    'report.html',
    await reportHtml({
      title: `${dataset.name}: ${done.length} of ${folds} folds`,
      created: createdNow(),
      command,
      labels: names,
      labelValues: scoredValues(description.labels, description.regions),
      config: { network: description.config, preprocessing: description.preprocessing },
      dataset: { name: dataset.name, cases: dataset.cases.length },
      split: Object.fromEntries(done.map(({ fold, split }) => [`fold ${fold}`, split.validation.cases])),
      evaluated:
        init === undefined ? 'cases that their network has not seen' : 'cases that their fold leaves out',
      cases,
      summary,
      ...(choice && { postprocessing: choice }),
      notes,
      versions: versions(),
    }),
  );
  await folder.json('ensemble.json', {
    postprocessing: { largestComponent: choice?.largestComponent ?? [] },
    notes,
    models,
  });
  if (given.json) {
    const dice = summary.classes.map((entry) => entry.dice.mean);
    return io.out(toJson({ type: 'cross-validation', folds: byFold, dice, notes, out: folder.path }));
  }
  const by = init === undefined ? 'network that has not seen it' : 'fold that leaves it out';
  io.out('', `Cross-validation: ${cases.length} case(s), each by the ${by}`, '');
  io.out(...diceTable(summary, names.map(printable)).trimEnd().split('\n'), '', ...notes);
  io.out(
    `In ${folder.path}: report.html, cross-validation.csv, ensemble.json, ${listed(byFold.map(({ fold }) => foldName(fold)))}`,
  );
}

/** Segmentations of the folds beside their truth. */
class Scorer {
  constructor(
    readonly io: Io,
    readonly folder: RunFolder,
    readonly dataset: Dataset,
    readonly description: ModelDescription,
  ) {}

  /** Metrics of each case, with some post-processing. */
  async score(held: readonly Held[], choice: PostprocessingChoice | undefined): Promise<CaseMetrics[]> {
    const { labels, regions } = this.description;
    const { ignoreLabel: ignore } = this.dataset;
    return this.#each(held, ({ id, truth, prediction }) => {
      const found = Uint8Array.from(prediction.data);
      const data = postprocessed(found, prediction.shape, choice, regions);
      return evaluate(truth, { ...prediction, data }, { classes: labels, name: id, ignore }, regions);
    });
  }

  /** The largest component for those classes or regions whose mean Dice rises with it. */
  async choose(held: readonly Held[]): Promise<PostprocessingChoice> {
    const { labels, regions } = this.description;
    const { ignoreLabel: ignore } = this.dataset;
    return postprocessingFor((look) => this.#each(held, look), { classes: labels.length, ignore, regions });
  }

  async #each<T>(held: readonly Held[], look: (item: HeldVolumes) => T): Promise<T[]> {
    const byId = new Map(this.dataset.cases.map((item) => [item.id, item]));
    const found: T[] = [];
    for (const { id, fold } of held) {
      if (this.io.signal.aborted)
        throw new Aborted(`the cross-validation was stopped after ${found.length} of ${held.length} cases`);
      if (this.io.isTerminal) this.io.status(`comparing ${id} (${found.length + 1} of ${held.length})`);
      const prediction = await readNifti(this.folder.file(`${foldName(fold)}/${predictionName(id)}`));
      const truth = await readNifti(byId.get(id)!.label!, { onto: prediction });
      found.push(look({ id, truth, prediction }));
    }
    if (this.io.isTerminal) this.io.status();
    return found;
  }
}

/** What the scores say of folds, ensemble and post-processing. */
function conclusions({
  names,
  choice,
  byFold,
  folds,
  init,
  before,
}: {
  readonly names: readonly string[];
  readonly choice: PostprocessingChoice | undefined;
  readonly byFold: readonly { readonly fold: number; readonly dice: number }[];
  readonly folds: number;
  readonly init: string | undefined;
  readonly before: number;
}): string[] {
  const kept = (choice?.largestComponent ?? []).map((entry) => names[entry]!);
  return [
    `Mean foreground Dice by fold: ${byFold.map(({ fold, dice }) => `${fold}: ${digits(dice)}`).join(', ')}.`,
    kept.length > 0
      ? `Post-processing: ${listed(kept)} keep their largest component alone, by which their mean Dice rises; without it the mean foreground Dice is ${digits(before)}.`
      : choice
        ? 'Post-processing: none, as no mean Dice rises with the largest component alone.'
        : 'Post-processing: none, as --no-postprocess asks.',
    byFold.length > 1
      ? `Predictions are the ensemble's, the mean of ${byFold.length} networks. Whether it is better than one of them cannot be seen on these cases, each of which is new to a single network ${init === undefined ? 'only' : 'at most'}: that takes cases that no fold has.`
      : `Predictions are those of fold ${byFold[0]!.fold} of ${folds}, the only one that is trained.`,
    'The validation cases of a fold also chose its best epoch.',
    ...(init === undefined
      ? []
      : [`The folds went on from ${init}: a case that this was trained on is not new to them.`]),
  ];
}
