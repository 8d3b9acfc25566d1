/** How a training of the command line begins: from its options, or from what an earlier one kept of them. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Preprocessing } from '../data/preprocessing.ts';
import { readText } from '../data/source.ts';
import { valueOfFirst } from '../distributed/ranks.ts';
import { InvalidOption } from '../errors.ts';
import { completeConfig } from '../model/complete-config.ts';
import { hasCheckpoint } from '../train/checkpoint.node.ts';
import { assertInit, initOf, withInit, withoutNetwork, type InitModel } from './init-model.ts';
import type { Io } from './io.ts';
import { isOfDemo, readKeptConfig, typedValue } from './kept-config.ts';
import { isSplitFile } from './parse.ts';
import { plannerOf } from './planned.ts';
import { plannedOptions, withPreset } from './presets.ts';
import type { CommandRanks } from './ranks.ts';
import { commandLine } from './results.ts';
import { assertInitStays, type RunFolder } from './run-folder.ts';
import { flagOf } from './text.ts';
import type { RunDetails } from './train-job.ts';
import type { TrainOptions } from './train-options.ts';
import { runTraining } from './train-run.ts';

/** Options that say how a run is watched or begun, not what it computes. */
export const notKept = ['out', 'resume', 'continue', 'overwrite', 'dryRun', 'json'];

/** What is on the command line besides the options' values. */
export interface Start {
  readonly io: Io;
  readonly dataset: string | undefined;
  /** With its options. */
  readonly command: Command;
  /** Whether an option was given, now or when the training that is gone on with began. */
  readonly isGiven: (name: string) => boolean;
  /** Processes that train together with this one. */
  readonly ranks: CommandRanks | undefined;
}

/**
 * @param folder of `--out`, locked
 * @param others what other folds of its cross-validation ask of it
 */
export async function startTraining(
  { io, dataset, command, isGiven, ranks }: Start,
  folder: RunFolder,
  given: TrainOptions,
  others: Pick<RunDetails, 'begun' | 'onStart'> = {},
): Promise<void> {
  let options = withPreset(given, isGiven);
  const { options: typed } = keep(dataset, typedOptions(given, isGiven));
  // As rank 0 finds it, before it writes.
  const holdsTraining = await valueOfFirst(ranks, () => Promise.resolve(folder.holdsTraining));
  if (options.resume || (options.continue && holdsTraining)) {
    const kept = await keptArguments(folder, dataset, options, command);
    if (!options.resume) {
      assertAsBegun(
        folder,
        { dataset: kept.begun.dataset, options: kept.begun.typed ?? typed },
        { dataset, options: typed },
      );
      if (folder.isDone) return io.err(`The training in ${folder.path} is done.`);
    }
    return await runTraining(io, folder, kept.dataset, kept.options, {
      ...others,
      kept: { ...keep(kept.dataset, kept.options), typed: kept.begun.typed },
      command: commandLine(wordsOf(kept.dataset, kept.options)),
      decisions: kept.decisions,
      preprocessing: kept.preprocessing,
      begun: [{ folder, ...kept.config }],
      ranks,
      init: initAsKept(folder, kept) ?? (await initOf(kept.options)),
    });
  }
  assertInit(options);
  assertMirrors(options);
  if (holdsTraining && !options.overwrite && !options.dryRun)
    throw new InvalidOption(
      `${options.out} holds a training already: go on with it (--resume), start anew there (--overwrite), or ` +
        'give another --out',
    );
  if (options.overwrite) await assertInitStays(folder, options.init);
  const init = await initOf(options);
  if (init) options = withInit(options, init, isGiven);
  await runTraining(io, folder, dataset, options, {
    ...others,
    init,
    ranks,
    kept: { ...keep(dataset, options), typed },
    command: commandLine(wordsOf(dataset, options)),
  });
}

/** @throws InvalidOption for axes to mirror without augmentation, which does so */
function assertMirrors({ mirror, augment }: TrainOptions): void {
  if (mirror === undefined || augment !== 'none') return;
  throw new InvalidOption(
    `--mirror ${typedValue('mirror', mirror)} is what --augment mirrors, and that is none: give --augment nnunet, too, or leave --mirror out`,
  );
}

/** Those that were given on the command line. */
export const typedOptions = (options: TrainOptions, isGiven: Start['isGiven']): TrainOptions =>
  Object.fromEntries(Object.entries(options).filter(([name]) => isGiven(name))) as unknown as TrainOptions;

/** A command line: its data set and the options that are kept. */
interface Typed {
  readonly dataset: string | undefined;
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * @throws InvalidOption unless `--continue` is given with the command line that a training began with; which folds are
 *   trained may change
 */
export function assertAsBegun({ path }: RunFolder, begun: Typed, now: Typed): void {
  const change = 'give those it was begun with, another --out, or change it with --resume';
  const whole = now.dataset === undefined ? undefined : resolve(now.dataset);
  if (whole !== begun.dataset)
    throw new InvalidOption(
      `${path} was begun with ${begun.dataset ?? '--images and --labels'}, not ${whole ?? 'without DATASET'}: ${change}`,
    );
  for (const name of new Set([...Object.keys(begun.options), ...Object.keys(now.options)])) {
    const [before, after] = [said(begun.options[name]), said(now.options[name])];
    if (name !== 'folds' && before !== after)
      throw new InvalidOption(
        `${path} was begun with ${flagOf(name)} ${before}, which is now ${after}: ${change}`,
      );
  }
}

/** Options that are given now with another value than before, each with both; which folds, all trainings may change. */
export const changedOptions = (begun: Typed, now: Typed): string[] =>
  Object.entries(now.options)
    .filter(([name, value]) => name !== 'folds' && said(value) !== said(begun.options[name]))
    .map(([name, value]) => `${flagOf(name)} ${said(value)} (before: ${said(begun.options[name])})`);

/** Options that say which weights a training begins with. */
const beginning = ['init', 'initFold', 'initHeads', 'configuration', 'initialWeights'] as const;

/** @throws InvalidOption where one of them is given that says something else than when what is gone on with began */
export function assertWeightsAsBegun(
  folder: RunFolder,
  begun: Typed['options'],
  now: Typed['options'],
): void {
  if (!folder.holdsTraining) return; // there are none yet
  const name = beginning.find((name) => now[name] !== undefined && said(now[name]) !== said(begun[name]));
  if (name === undefined) return;
  throw new InvalidOption(
    `${flagOf(name)} ${typedValue(name, now[name])} is about the weights that a training begins with, and ${folder.path} ` +
      `goes on with its own: leave ${flagOf(name)} out, or train anew in another folder`,
  );
}

export const said = (value: unknown): string => JSON.stringify(value) ?? 'left out';

/** The arguments as config.json keeps them for `--resume`; paths whole, so that it works from any folder. */
export function keep(dataset: string | undefined, options: TrainOptions) {
  const whole = (path: string | undefined) => (path === undefined ? undefined : resolve(path));
  const kept = {
    ...options,
    init: whole(options.init),
    split: isSplitFile(options.split ?? '') ? whole(options.split) : options.split,
    images: whole(options.images),
    labels: whole(options.labels),
    subjects: whole(options.subjects),
    subjectPattern: options.subjectPattern?.source,
  };
  return {
    dataset: whole(dataset),
    options: Object.fromEntries(Object.entries(kept).filter(([name]) => !notKept.includes(name))),
  };
}

/**
 * What `--resume` works with: the options of the run's config.json, and those given now. The step stays as it was
 * decided, whatever memory there is now.
 */
async function keptArguments(
  folder: RunFolder,
  dataset: string | undefined,
  options: TrainOptions,
  command: Command,
): Promise<{
  dataset: string | undefined;
  options: TrainOptions;
  decisions: readonly string[] | undefined;
  preprocessing: Preprocessing | undefined;
  config: ReturnType<typeof readKeptConfig>;
  /** As config.json keeps them. */
  begun: {
    readonly dataset?: string | undefined;
    readonly typed?: Readonly<Record<string, unknown>> | undefined;
  };
}> {
  // Killed before its first checkpoint, a training begins again.
  if (!folder.has('config.json'))
    throw new InvalidOption(
      `${folder.path} holds no training to resume: leave --resume out to start one there`,
    );
  const file = folder.file('config.json');
  const text = await readText(file);
  if (isOfDemo(text))
    throw new InvalidOption(
      `the training in ${folder.path} is that of demo, whose phantoms are kept nowhere: give another --out, or start anew there (--overwrite)`,
    );
  const known = command.options.filter((option) => !notKept.includes(option.attributeName()));
  const config = readKeptConfig(text, file, known);
  const { patch, batchSize, accumulate, precision, checkpointing } = config.training;
  const decided = {
    patch: patch ?? ('whole' as const),
    batchSize,
    accumulate,
    precision,
    checkpointing,
    concede: [],
  };
  const isCounted = (name: string): boolean =>
    command.getOptionValueSource(name) === 'cli' && (!options.continue || notKept.includes(name));
  const given = Object.fromEntries(Object.entries(options).filter(([name]) => isCounted(name)));
  const hasSplit = folder.has('split.json');
  const another = ['split', 'fold'].find((name) => name in given);
  if (another !== undefined && hasSplit)
    throw new InvalidOption(
      `${folder.path} goes on with the split.json that lies there: leave --${another} out, or train anew in another folder`,
    );
  const kept = { ...config.arguments.options };
  assertWeightsAsBegun(folder, kept, keep(undefined, given as unknown as TrainOptions).options);
  if (hasSplit) delete kept['fold']; // which the split was made from
  const { preprocessing } = config;
  if (preprocessing) {
    assertPrepared(folder, given, kept, preprocessing);
    for (const name of preparing) if (name in given) given[name] = kept[name];
  }
  return {
    dataset: dataset ?? config.arguments.dataset,
    options: {
      ...options,
      ...(kept['init'] === undefined ? !('features' in kept) && { features: undefined } : withoutNetwork), // left to a planner or a model
      ...kept,
      ...decided,
      ...given,
      ...(hasSplit && { split: folder.file('split.json') }),
      resume: true,
    },
    decisions: config.decisions,
    // By now the data, the model of --init or another version may say otherwise.
    preprocessing,
    config,
    begun: config.arguments,
  };
}

/** What is still needed of the model of `--init`, which may be gone, once a checkpoint has the weights. */
function initAsKept(
  { path }: RunFolder,
  { options, config }: Awaited<ReturnType<typeof keptArguments>>,
): InitModel | undefined {
  const { network, preprocessing, mirrorAxes, training } = config;
  if (options.init === undefined || !network || !preprocessing || !hasCheckpoint(path)) return undefined;
  return {
    file: training.init ?? options.init,
    description: { config: completeConfig(network), labels: [], channels: [], preprocessing, mirrorAxes },
    patch: undefined,
    notes: [],
  };
}

/** Options that say how cases are prepared: throughout a training in the same way. */
const preparing = ['preprocessing', 'spacing', 'decideFrom'] as const;

/** @throws InvalidOption where one of them is given that says something else than the training began with */
function assertPrepared(
  { path }: RunFolder,
  given: Readonly<Record<string, unknown>>,
  kept: Readonly<Record<string, unknown>>,
  { spacing }: Preprocessing,
): void {
  const { preprocessing = 'plain', decideFrom = 'train', spacing: typed } = kept;
  const usual = preprocessing === 'plain' ? 'median' : undefined;
  const begun = { preprocessing, decideFrom, spacing: typed ?? usual };
  const found = spacing ?? 'own';
  for (const name of preparing) {
    if (!(name in given)) continue;
    const alike: readonly unknown[] = [begun[name], ...(name === 'spacing' ? [found] : [])];
    if (alike.some((value) => said(value) === said(given[name]))) continue;
    const has = typedValue(name, name === 'spacing' ? found : begun[name]);
    throw new InvalidOption(
      `${flagOf(name)} is ${typedValue(name, given[name])}, but ${path} goes on with cases prepared as when it began, ` +
        `with ${has}: leave ${flagOf(name)} out, or train anew in another folder`,
    );
  }
}

/** Options that are only ever typed with `--no-`. */
const onUnlessDenied = ['postprocess', 'bias', 'scaleAndShift'];
/** And those that are typed with it, too. */
const deniable = [...onUnlessDenied, 'tune', 'matrixUnits'];

/** Options that others decide, beside which they would be refused. */
const decidedBy = ({ fold, init, preset, preprocessing }: TrainOptions): string[] => [
  ...(fold ? ['split'] : []),
  ...(init === undefined && plannerOf(preset) ? plannedOptions : []),
  ...(preprocessing === 'model' ? ['spacing'] : []),
];

/** The arguments as one would type them, without what only concerns this start. */
export function wordsOf(dataset: string | undefined, options: TrainOptions): string[] {
  const words = ['train', ...(dataset === undefined ? [] : [dataset])];
  const leftOut = [...notKept.filter((name) => name !== 'out'), ...decidedBy(options)];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || leftOut.includes(name)) continue;
    if (value === false && deniable.includes(name)) words.push(flagOf(name, true));
    if (value === false || (value === true && onUnlessDenied.includes(name))) continue;
    words.push(flagOf(name));
    // Which outputs does not matter for the result.
    if (value !== true && name !== 'checkpointing') words.push(typedValue(name, value));
  }
  return words;
}
