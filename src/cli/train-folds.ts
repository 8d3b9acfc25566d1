/** `train --folds`: the trainings of a cross-validation into one folder, one after another or by several processes. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { nnunetFolds, parseFolds } from '../data/nnunet-folds.ts';
import type { Dataset } from '../data/dataset.ts';
import { readText } from '../data/source.ts';
import type { Split } from '../data/split.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import { hasCheckpoint } from '../train/checkpoint.node.ts';
import { version } from '../version.ts';
import type { Begun } from './begun-with.ts';
import { crossValidate, isConcluded } from './cross-validation.ts';
import { dataFiles, openFromArguments } from './dataset-options.ts';
import { Resumable } from './failure.ts';
import { initFoldOf, initOf } from './init-model.ts';
import type { Io } from './io.ts';
import { readBegunWith, readKeptArguments } from './kept-config.ts';
import { checkOutputs } from './outputs.ts';
import * as parse from './parse.ts';
import { withPreset } from './presets.ts';
import { commandLine } from './results.ts';
import {
  assertInitStays,
  clearedBy,
  crossValidationFiles,
  foldName,
  foldPattern,
  foldsName,
  RunFolder,
} from './run-folder.ts';
import { foldOfTask } from './slurm.ts';
import type { TrainOptions } from './train-options.ts';
import {
  assertAsBegun,
  assertWeightsAsBegun,
  changedOptions,
  keep,
  notKept,
  said,
  startTraining,
  typedOptions,
  wordsOf,
  type Start,
} from './train-start.ts';

/** Folds that are begun, or gone on with. */
interface Folds {
  readonly start: Start;
  readonly options: TrainOptions;
  readonly resume: boolean;
  readonly dataset: Dataset;
  readonly splits: readonly Split[];
  /** Of them, those to train. */
  readonly wanted: readonly string[];
  /** The command that repeats all. */
  readonly command: string;
  /** Writes down what is given otherwise than when they began, for who goes on with them. */
  readonly note?: () => Promise<void>;
}

/** @param folder of `--out`, locked */
export async function trainFolds(given: Start, folder: RunFolder, asked: TrainOptions): Promise<void> {
  const { io } = given;
  assertOneProcess(given);
  const folds = await beginFolds(given, folder, asked);
  for (const fold of folds.wanted) {
    if (folds.resume && folder.isFoldDone(fold)) {
      io.err(`Fold ${fold} is done.`);
      continue;
    }
    await trainFold(folds, folder.path, fold);
    if (asked.dryRun) return;
  }
  if (!asked.dryRun) await concludeFolds(folds, folder);
}

/** `--fold auto`: of all folds that of this task of an array; others train theirs into the same folder meanwhile. */
export async function trainFoldOfTask(given: Start, asked: TrainOptions): Promise<void> {
  const { io } = given;
  assertOneProcess(given);
  const { out, overwrite, resume, dryRun } = asked;
  if (overwrite || asked.folds)
    throw new InvalidOption(
      overwrite
        ? '--overwrite would take away what other tasks have begun: delete the folder before, or give another --out'
        : '--folds names the folds that one process trains, --fold auto the one of this task: leave one of the two out',
    );
  if (resume) throw new InvalidOption('--fold auto goes on by itself where it can: leave --resume out');
  const isGiven = (name: string): boolean => name === 'folds' || (name !== 'fold' && given.isGiven(name));
  const options = { ...asked, folds: ['all'], continue: true };
  const { folds, fold, isThere } = await alone(io, out, async (folder) => {
    const folds = await beginFolds({ ...given, isGiven }, folder, options, foldOfTask);
    const [fold] = folds.wanted;
    return { folds, fold: fold!, isThere: folder.isFoldDone(fold!) };
  });
  if (isThere) io.err(`Fold ${fold} is done.`);
  else await trainFold({ ...folds, resume: true }, out, fold);
  if (dryRun) return;
  await alone(io, out, async (folder) => {
    const done = folds.splits.filter((_, each) => folder.isFoldDone(each)).length;
    if (done < folds.splits.length)
      return io.err(
        `${done} of ${folds.splits.length} folds are done; the last to end makes the cross-validation.`,
      );
    await concludeFolds(folds, folder);
  });
}

function assertOneProcess({ ranks }: Start): void {
  if (ranks)
    throw new InvalidOption(
      `${ranks.size} processes cannot share --folds: give each fold a training of its own (--fold), with or without ranks`,
    );
}

/** Since the last sign of life of a process that has the folder. */
const patienceMs = 600_000;

/**
 * Does something while no other process has the folder of all, as others have that begin or conclude: however long the
 * cross-validation takes, none gives up its place while that goes on, as what follows on all tasks would not begin.
 */
async function alone<T>(io: Io, path: string, work: (folder: RunFolder) => Promise<T>): Promise<T> {
  using folder = await RunFolder.open(path, io, patienceMs);
  return await work(folder);
}

/**
 * Finds which folds there are to train, and writes down what they have in common.
 * @param pick of their number, the one to train
 */
async function beginFolds(
  given: Start,
  folder: RunFolder,
  asked: TrainOptions,
  pick?: (folds: number) => string,
): Promise<Folds> {
  const { io } = given;
  const { dryRun = false } = asked;
  const resume = asked.resume ?? (asked.continue === true && folder.holdsFolds);
  const { start, changed, folds, ...begun } = resume
    ? await keptStart(given, folder, asked)
    : { start: given, options: asked, changed: [], folds: { begun: asked.folds, all: asked.folds } };
  const { dataset: path, isGiven } = start;
  const options = withPreset(begun.options, isGiven);
  assertAlone(options);
  if (!resume && isGiven('split') && !parse.isSplitFile(options.split!))
    throw new InvalidOption(
      `--split ${options.split} has shares, and folds are those of a file (splits_final.json) or divided as nnU-Net does: leave --split out, or give it a file`,
    );
  if (!resume && folder.holdsTraining && !asked.overwrite && !dryRun)
    throw new InvalidOption(
      `${options.out} holds a training already: ` +
        (folder.holdsFolds
          ? 'go on with it, or train other folds of it, by --continue (by --resume with other options), '
          : '') +
        'start anew there (--overwrite), or give another --out',
    );
  const dataset = await openFromArguments(io, path, options, options.out);
  const file = resume ? folder.file(foldsName) : splitsFile(path, options);
  const splits = await splitsOf(io, dataset, file);
  const all = splits.map((_, fold) => `${fold}`);
  const done = all.filter((fold) => folder.isFoldDone(fold));
  if (changed.length > 0 && done.length > 0)
    io.err(
      `warning: folds that are done (${done.join(', ')}) stay as they were trained, not with ${changed.join(', ')}: ` +
        'to have all folds alike, train them into another --out',
    );
  const wanted = pick ? [pick(splits.length)] : options.folds!.join() === 'all' ? all : options.folds!;
  const beyond = wanted.find((fold) => Number(fold) >= splits.length);
  if (beyond !== undefined)
    throw new InvalidOption(`--folds has ${beyond}, but there are ${splits.length} folds, from 0 on`);
  const typed = { ...typedOptions(options, isGiven), folds: folds.all };
  const command = commandLine(wordsOf(path, typed));
  const config = { version, command, arguments: keep(path, typed) };
  const note = (): Promise<void> => folder.json('config.json', config);
  const areAdded = resume && said(folds.all) !== said(folds.begun);
  // Other options are noted when a fold has begun with them, as they may be refused.
  if (areAdded && changed.length === 0 && !dryRun) await note();
  if (!resume && !dryRun) {
    const paths = [foldsName, 'config.json', ...crossValidationFiles].map((name) => folder.file(name));
    const inputs = [...dataFiles(dataset, path, options), ...(file === undefined ? [] : [file])];
    await checkOutputs([{ option: '--out', paths }], inputs);
    const told = splits.map(({ train, validation }) => ({ train: train.cases, val: validation.cases }));
    assertOwnFolds(folder, pick ? all : wanted);
    // Read by each fold, so refused before anything is taken away.
    const [initFold] = await Promise.all(wanted.map((fold) => initFoldOf(options, fold)));
    await initOf({ ...options, initFold });
    if (asked.overwrite) {
      await assertStay(folder, inputs, options.init);
      await folder.clear();
    }
    await note();
    await folder.json(foldsName, told);
  }
  return { start, options, resume, dataset, splits, wanted, command, ...(changed.length > 0 && { note }) };
}

/** The cross-validation of the folds that are done; with `--continue`, one that is there stays. */
async function concludeFolds(folds: Folds, folder: RunFolder): Promise<void> {
  const { dataset, splits, command, options } = folds;
  const done = splits.flatMap((split, fold) => (folder.isFoldDone(fold) ? [{ fold, split }] : []));
  if (options.continue && (await isConcluded(folder, done)))
    return folds.start.io.err(`The cross-validation in ${folder.path} is done.`);
  const { postprocess, init, json = false } = options;
  await crossValidate(folds.start.io, folder, {
    ...{ dataset, done, folds: splits.length, init, postprocess, command, json },
  });
}

/** What `--folds` decides itself. */
function assertAlone({ fold, freeze, initHeads, initFold, configuration, init }: TrainOptions): void {
  if (fold)
    throw new InvalidOption(
      '--fold is one of the splits that --folds makes all of: leave one of the two out',
    );
  if (init === undefined && (freeze ?? initHeads ?? initFold ?? configuration) !== undefined)
    throw new InvalidOption(
      '--freeze, --init-heads, --init-fold and --configuration are about the model of --init: give it, or leave them out',
    );
}

/** Folders of folds hold no trainings by themselves, which are neither gone on with nor taken away. */
function assertOwnFolds(folder: RunFolder, wanted: readonly string[]): void {
  if (folder.isOfFolds) return;
  const begun = wanted
    .map(foldName)
    .find((name) => hasCheckpoint(folder.file(name)) || folder.has(`${name}/model.safetensors`));
  if (begun !== undefined)
    throw new InvalidOption(`${begun} in ${folder.path} holds a training of its own: give another --out`);
}

/** What is read is none of what `--overwrite` takes away. */
async function assertStay(
  folder: RunFolder,
  inputs: readonly string[],
  init: string | undefined,
): Promise<void> {
  for (const path of inputs) {
    const [first, ...rest] = (await folder.pathWithin(path)) ?? [];
    if (rest.length > 0 && foldPattern.test(first!)) throw clearedBy(folder, path);
  }
  await assertInitStays(folder, init);
}

/** The splits_final.json that is given, or lies beside the data set's dataset.json, here or a folder further down. */
function splitsFile(path: string | undefined, { split }: TrainOptions): string | undefined {
  if (parse.isSplitFile(split ?? '')) return split;
  if (path === undefined) return undefined;
  const isDescribed = (folder: string): boolean => existsSync(join(folder, 'dataset.json'));
  const below = isDescribed(path) ? [] : readdirSync(path).map((name) => join(path, name));
  return [path, ...below.filter(isDescribed)].map((folder) => join(folder, foldsName)).find(existsSync);
}

async function splitsOf(io: Io, { cases }: Dataset, file: string | undefined): Promise<readonly Split[]> {
  if (file !== undefined) {
    io.err(`Folds are those of ${file}.`);
    return parseFolds(await readText(file), cases);
  }
  const { splits, rule } = nnunetFolds(cases);
  io.err(`${cases.length} cases are divided into ${splits.length} folds ${rule}.`);
  return splits;
}

/** Trains one fold into its folder, or goes on where it was stopped. */
async function trainFold({ start, options, ...folds }: Folds, parent: string, fold: string): Promise<void> {
  const { io } = start;
  const split = folds.splits[Number(fold)]!;
  io.err(`Fold ${fold} of ${folds.splits.length}:`);
  const out = join(parent, foldName(fold));
  using folder = await RunFolder.open(out, io);
  const resume = folds.resume && folder.holdsTraining; // what was stopped before its first checkpoint begins again
  if (!folder.holdsTraining) await folder.json('split.json', split);
  const own: TrainOptions = {
    ...options,
    out,
    resume,
    folds: undefined,
    ...(!resume && { initFold: await initFoldOf(options, fold) }),
    split: folder.file('split.json'),
    decideFrom: options.decideFrom ?? 'all',
    postprocess: false, // chosen on the cases of all folds
    overwrite: false,
  };
  // A dry run of what would begin anew is about other folds than those that are there.
  const isBeside = folds.resume || !options.dryRun;
  try {
    await startTraining(start, folder, own, {
      begun: isBeside ? await begunIn(RunFolder.lookAt(parent, io), folds.splits.length, io) : [],
      onStart: folds.note,
    });
  } catch (error) {
    if (!(error instanceof Aborted)) throw error;
    const goOn = commandLine(['train', '--out', parent, '--resume']);
    throw new Resumable(`fold ${fold}: ${error.message}`, goOn, { cause: error });
  }
}

/** What the data held that folds were begun with. */
async function begunIn(parent: RunFolder, folds: number, io: Io): Promise<Begun[]> {
  const begun: Begun[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const folder = RunFolder.lookAt(parent.file(foldName(fold)), io);
    const file = folder.file('config.json');
    if (folder.holdsTraining && folder.has('config.json'))
      begun.push({ folder, ...readBegunWith(await readText(file), file) });
  }
  return begun;
}

type FoldNames = TrainOptions['folds'];

/** Those of one and of the other. */
const bothFolds = (some: FoldNames = [], others: FoldNames = []): FoldNames =>
  [some, others].find((folds) => folds.join() === 'all') ??
  [...new Set([...some, ...others])].sort((a, b) => Number(a) - Number(b));

/**
 * What `--resume` works with: the options that were given when the folds began, and those given now; which of these are
 * others, in words; and the folds that were begun, and with those given now.
 */
async function keptStart(
  start: Start,
  folder: RunFolder,
  asked: TrainOptions,
): Promise<{
  start: Start;
  options: TrainOptions;
  changed: readonly string[];
  folds: { readonly begun: FoldNames; readonly all: FoldNames };
}> {
  const { command, isGiven } = start;
  const goesOn = asked.continue === true; // with the same command line
  if (!folder.isOfFolds)
    throw new InvalidOption(`${folder.path} holds no folds to resume: leave --resume out to start there`);
  if (!goesOn && isGiven('split'))
    throw new InvalidOption(`${folder.path} goes on with the folds of its ${foldsName}: leave --split out`);
  const file = folder.file('config.json');
  const known = command.options.filter((option) => !notKept.includes(option.attributeName()));
  const kept = readKeptArguments(await readText(file), file, known);
  const now = typedOptions(asked, isGiven);
  const [begun, asks] = [
    keep(kept.dataset, kept.options as unknown as TrainOptions),
    keep(start.dataset, now),
  ];
  if (goesOn) assertAsBegun(folder, begun, asks);
  assertWeightsAsBegun(folder, begun.options, asks.options);
  const folds = (kept.options as unknown as TrainOptions).folds;
  return {
    changed: changedOptions(begun, asks),
    folds: { begun: folds, all: bothFolds(folds, asked.folds) },
    start: {
      ...start,
      dataset: start.dataset ?? kept.dataset,
      isGiven: (name) => isGiven(name) || name in kept.options,
    },
    options: { ...asked, ...kept.options, ...now },
  };
}
