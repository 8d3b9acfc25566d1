/** Options that several commands share: where the data set is, who its cases show, and how it is split. */
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { countValues } from '../data/case-facts.ts';
import { datasetIn, pairIn } from '../data/dataset.node.ts';
import type { Dataset } from '../data/dataset.ts';
import { readCase } from '../data/prepare.ts';
import { readText } from '../data/source.ts';
import {
  foldCases,
  parseSplit,
  splitCases,
  unsplitCases,
  type Split,
  type SplitCase,
} from '../data/split.ts';
import { Aborted, InvalidDataset, InvalidOption } from '../errors.ts';
import type { Io } from './io.ts';
import * as parse from './parse.ts';

export interface DatasetArguments {
  readonly images?: string;
  readonly labels?: string;
  readonly subjects?: string;
  readonly subjectPattern?: RegExp;
  readonly ignore?: number;
  readonly onlyLabelled?: boolean;
  readonly limitCases?: number;
}

export interface SplitArguments {
  readonly split?: string;
  readonly fold?: { readonly fold: number; readonly folds: number };
  readonly seed: number;
}

export const datasetHelp = `
DATASET is a folder: a Medical Segmentation Decathlon or nnU-Net v2 data set
(with dataset.json); else images and labels matched by name: a folder of each,
a folder per case, labels beside their images (CASE_seg, CASE_gt) or in a tree
like theirs (BIDS). Or give both folders with --images and --labels. Regions of
nnU-Net's dataset.json are trained and scored as such.`;

export const subjectPattern = (): Option =>
  new Option('--subject-pattern <regexp>', 'who a case shows: a pattern with one group on its name')
    .argParser(parse.pattern)
    .conflicts('subjects');

export function addDatasetOptions(command: Command): Command {
  return command
    .argument('[DATASET]', 'folder of the data set')
    .option('--images <folder>', 'folder of images, in place of DATASET')
    .option('--labels <folder>', 'folder of labels, matched by name')
    .option('--subjects <file>', 'table of case,subject; default: subjects.csv of the data set')
    .addOption(subjectPattern())
    .option(
      '--ignore <value>',
      'of unknown voxels in labels, from 0 to 255; default: as dataset.json says',
      parse.wholeNumber(0, 255),
    )
    .option('--only-labelled', 'leave out images that have no label')
    .option('--limit-cases <n>', 'use the first n cases only', parse.wholeNumber(1));
}

const foldOption = (): Option =>
  new Option('--fold <k/n>', 'fold k of n for validation, the rest for training, no test part')
    .argParser(parse.fold)
    .conflicts('split');

/** @param fold the option of one fold, where a command takes more than k/n */
export function addSplitOptions(command: Command, fold = foldOption()): Command {
  return command
    .addOption(
      new Option('--split <shares|file>', 'shares of training, validation and test subjects, or a split.json')
        .argParser(parse.split)
        .default('70,15,15'),
    )
    .addOption(fold);
}

/**
 * Opens the data set and prints its warnings.
 * @param without a folder of results, whose files are left out
 */
export async function openFromArguments(
  io: Io,
  folder: string | undefined,
  { images, labels, subjects, subjectPattern, ignore, onlyLabelled = false, limitCases }: DatasetArguments,
  without?: string,
): Promise<Dataset> {
  const table = subjects === undefined ? subjectPattern : await readText(subjects);
  const options = {
    ...(table !== undefined && { subjects: table }),
    ...(ignore !== undefined && { ignoreLabel: ignore }),
  };
  const open = (onlyLabelled: boolean): Promise<Dataset> => {
    const asked = { ...options, onlyLabelled };
    if (images !== undefined && labels !== undefined && folder === undefined)
      return pairIn(images, labels, asked, without);
    if (folder !== undefined && images === undefined && labels === undefined)
      return datasetIn(folder, asked, without);
    throw new InvalidOption('give either DATASET or both --images and --labels');
  };
  const dataset = await open(onlyLabelled).catch(async (error: unknown) => {
    const labelled = error instanceof InvalidDataset && !onlyLabelled && (await open(true).catch(() => null));
    if (!labelled) throw error;
    const count = labelled.cases.length;
    throw new InvalidDataset(`${error.message} Or take the ${count} that have one: --only-labelled.`, {
      cause: error,
    });
  });
  for (const warning of dataset.warnings) io.err(`warning: ${warning}`);
  if (limitCases === undefined || limitCases >= dataset.cases.length) return dataset;
  io.err(`Using ${limitCases} of ${dataset.cases.length} cases, as --limit-cases asks.`);
  return { ...dataset, cases: dataset.cases.slice(0, limitCases) };
}

/** The files that a data set is read from, so that no result replaces them. */
export function dataFiles(
  { cases }: Dataset,
  folder: string | undefined,
  { images = folder, subjects }: DatasetArguments,
): string[] {
  const sources = cases.flatMap((item) => [
    ...item.images,
    ...(item.label === undefined ? [] : [item.label]),
  ]);
  const tables =
    images === undefined ? [] : ['dataset.json', 'subjects.csv'].map((name) => join(images, name));
  return [
    ...sources.filter((source) => typeof source === 'string'),
    ...tables,
    ...(subjects === undefined ? [] : [subjects]),
  ];
}

/** The cases with the classes that their labels show, so that a split can give every part its share of each. */
export async function casesWithClasses(io: Io, { cases, ignoreLabel }: Dataset): Promise<SplitCase[]> {
  const found: SplitCase[] = [];
  for (const item of cases) {
    if (io.signal.aborted) throw new Aborted(`Reading labels was stopped after ${found.length} cases.`);
    if (io.isTerminal) io.status(`reading label ${found.length + 1} of ${cases.length}`);
    const { id, subject } = item;
    const { label } = await readCase({ ...item, images: [] });
    const classes = label && [...countValues(label.data, ignoreLabel).keys()];
    found.push({ id, subject, ...(classes && { classes }) });
  }
  if (io.isTerminal) io.status();
  return found;
}

/** The split of a data set that the options ask for; labels are read, unless it is in a file. */
export async function splitFromArguments(io: Io, dataset: Dataset, options: SplitArguments): Promise<Split> {
  const isGiven = !options.fold && parse.isSplitFile(options.split ?? '');
  const split = await splitOf(isGiven ? dataset.cases : await casesWithClasses(io, dataset), options);
  warnOfUnsplit(io, dataset.cases, split);
  return split;
}

/** Of cases that a file of a split leaves out. */
export function warnOfUnsplit(io: Io, cases: readonly SplitCase[], split: Split): void {
  const unsplit = unsplitCases(cases, split);
  if (unsplit !== undefined) io.err(`warning: ${unsplit}`);
}

/** The split of cases that the options ask for. */
export async function splitOf(
  cases: readonly SplitCase[],
  { split = '70,15,15', fold, seed }: SplitArguments,
): Promise<Split> {
  if (fold) return foldCases(cases, { folds: fold.folds, seed })[fold.fold]!;
  if (parse.isSplitFile(split)) return parseSplit(await readText(split), cases);
  return splitCases(cases, { fractions: parse.fractions(split), seed });
}
