/**
 * Looks at every file of a data set and lists all its problems at once: what would stop a training (errors)
 * and what may spoil it (warnings).
 */
import { Aborted, InvalidDataset, InvalidVolume } from '../errors.ts';
import { listed } from '../listed.ts';
import { assertOptions, assertValue } from '../options.ts';
import { callback, signal, withParts } from '../schema.ts';
import { countValues, hasContrast, measureCase, type CaseFacts } from './case-facts.ts';
import { HeaderRemarks } from './check-headers.ts';
import { labelRules, type Dataset } from './dataset.ts';
import type { Case } from './case.ts';
import { fingerprint, median, type Fingerprint } from './fingerprint.ts';
import { gridOf } from './nifti-affine.ts';
import { labelOf } from './label-values.ts';
import { ignored } from './patches.ts';
import {
  channelsText,
  checkedLabels,
  constantText,
  gridProblems,
  imageName,
  requireFinite,
} from './prepare-checks.ts';
import { fileNames, readOnto } from './prepare.ts';
import type { Size3 } from '../size.ts';
import type { Problem, ProblemKind } from './problem.ts';
import type { Source } from './source.ts';
import { partNames, type Split, type SplitCase } from './split.ts';
import { orientation, type Volume } from './volume.ts';

/** Everything `check` found; plain data apart from the maps of class voxels. */
export interface DatasetReport {
  /** Errors, which would stop a training, and warnings. */
  readonly problems: readonly Problem[];
  /** Facts of the cases whose images could be read and have one shape. */
  readonly cases: readonly CaseFacts[];
  /** Undefined if no image could be read. */
  readonly fingerprint?: Fingerprint;
}

/** How to check. */
export interface CheckOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (loaded: number, total: number) => void;
  /**
   * The split that the training will make; with it, what it refuses is an error as well: too few subjects, and equal
   * images in two parts. Without it, equal images of two subjects are an error.
   */
  readonly split?: (cases: readonly SplitCase[]) => Split | Promise<Split>;
}

const checkEntries = {
  signal,
  onProgress: callback,
  split: callback,
} satisfies Record<keyof CheckOptions, unknown>;

/**
 * Reads every image and label of a data set, one case at a time, and looks at it as preparation does.
 * @throws Aborted if the signal fires; never for what it finds in the files
 */
export async function checkDataset(dataset: Dataset, options: CheckOptions = {}): Promise<DatasetReport> {
  assertValue(
    'checkDataset',
    withParts('a data set, such as openDataset gives', 'cases', 'warnings'),
    dataset,
  );
  assertOptions('checkDataset', checkEntries, options);
  const problems: Problem[] = dataset.warnings.map((message) => ({
    severity: 'warning',
    kind: 'subjects',
    cases: [],
    message,
  }));
  const facts: CaseFacts[] = [];
  const headers = new HeaderRemarks();
  for (const [index, item] of dataset.cases.entries()) {
    if (options.signal?.aborted) throw new Aborted(`The check was stopped after ${index} cases.`);
    const found = await checkCase(item, dataset, problems, headers);
    if (found) facts.push(found);
    options.onProgress?.(index + 1, dataset.cases.length);
  }
  if (dataset.channels.length === 0) compareChannels(facts, problems);
  problems.push(...headers.problems(warning));
  await compareImages(facts, dataset, problems, options.split);
  compareCases(facts, dataset, problems);
  return { problems, cases: facts, ...(facts.length > 0 ? { fingerprint: fingerprint(facts) } : {}) };
}

/** The files of a case that can be read, the facts of which follow only where its images are whole. */
async function checkCase(
  item: Case,
  dataset: Dataset,
  problems: Problem[],
  headers: HeaderRemarks,
): Promise<CaseFacts | undefined> {
  const report = (severity: Problem['severity'], kind: ProblemKind, message: string): void => {
    problems.push({ severity, kind, cases: [item.id], message });
  };
  const read = async (
    source: Source,
    first: Volume | undefined,
    what: string,
  ): Promise<Volume | undefined> => {
    try {
      const volume = await readOnto(first, source, true);
      headers.see(item.id, volume.header);
      return volume;
    } catch (error) {
      if (error instanceof Aborted) throw error;
      report(
        'error',
        'corrupt',
        `Case "${item.id}": the ${what} cannot be read. ${(error as Error).message}`,
      );
      return undefined;
    }
  };
  const found: (Volume | undefined)[] = [];
  for (const source of item.images) found.push(await read(source, found[0], 'image'));
  const images = found.filter((image) => image !== undefined);
  const label = item.label === undefined ? undefined : await read(item.label, images[0], 'label');
  const names = fileNames(item);
  const files = { images: names.images.filter((_, index) => found[index]), label: names.label };
  const all = { id: item.id, images, label, files };

  const isWhole = images.length === item.images.length;
  const grids = [...gridProblems(all, isWhole ? dataset.channels.length || undefined : undefined)];
  for (const { kind, error } of grids) report('error', kind, error.message);
  images.forEach((image, index) => {
    const problem = problemOf(() => requireFinite(imageName(all, index), image));
    if (problem) report('error', 'intensity', problem.message);
  });
  const classVoxels = label && countValues(label.data, dataset.ignoreLabel);
  if (label) {
    const problem = problemOf(() => checkedLabels(item.id, label.data, labelRules(dataset), files.label));
    if (problem) report('error', 'label values', problem.message);
  }
  const rounded = label?.data.find((value) => labelOf(value) !== value && Number.isInteger(labelOf(value)));
  if (rounded !== undefined)
    report(
      'warning',
      'label values',
      `Case "${item.id}": its label holds values such as ${rounded}, which count as the whole numbers next to them; save ` +
        'it as integers, without scaling.',
    );
  if (!isWhole || grids.some(({ kind, of }) => kind === 'shape' && of === 'images')) return undefined;
  const onGrid = grids.some(({ kind }) => kind !== 'channels') ? undefined : label;
  const facts = await measureCase(item, images, onGrid, dataset.ignoreLabel);
  reportIntensities(facts, (text) => report('warning', 'intensity', `Case "${item.id}": ${text}`));
  return {
    ...facts,
    orientation: orientation(gridOf(images[0]!.header).affine),
    ...(classVoxels ? { classVoxels } : {}),
  };
}

/** The error that `check` throws. */
function problemOf(check: () => unknown): InvalidDataset | InvalidVolume | undefined {
  try {
    check();
  } catch (error) {
    if (error instanceof InvalidDataset || error instanceof InvalidVolume) return error;
    throw error;
  }
  return undefined;
}

/** What is odd with the intensities of a case. */
function reportIntensities({ intensities }: CaseFacts, warn: (text: string) => void): void {
  const emptied = intensities.every(({ min, max }) => min === 0 && max === 0)
    ? ' Cropping to what is not zero (train --preprocessing nnunet) refuses it.'
    : '';
  for (const [channel, { min, max, percentile005, percentile995 }] of intensities.entries()) {
    const where = intensities.length > 1 ? `channel ${channel}` : 'the image';
    const span = percentile995 - percentile005;
    if (max === min) warn(`${constantText(`${where} (all ${short(max)})`)}${emptied}`);
    else if (Math.max(max - percentile995, percentile005 - min) > 10 * span)
      warn(
        `${where} has outliers: 99 % of its voxels lie in ${short(percentile005)} to ${short(percentile995)}, all in ` +
          `${short(min)} to ${short(max)}; see whether they are meant.`,
      );
  }
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

/** A warning about some cases, of which ten are named. */
function warning(kind: ProblemKind, cases: readonly string[], text: string): Problem {
  return { severity: 'warning', kind, cases, message: `${text}: ${listed(cases)}.` };
}

/** Where no file says how many channels there are, those of most cases count. */
function compareChannels(facts: readonly CaseFacts[], problems: Problem[]): void {
  const counts = new Map<number, number>();
  for (const { intensities } of facts)
    counts.set(intensities.length, (counts.get(intensities.length) ?? 0) + 1);
  const [usual] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
  for (const { id, intensities } of facts)
    if (intensities.length !== usual)
      problems.push({
        severity: 'error',
        kind: 'channels',
        cases: [id],
        message: `Case "${id}": ${channelsText(intensities.length, usual!)}`,
      });
}

/** Equal images, and whether the split keeps them together. */
async function compareImages(
  facts: readonly CaseFacts[],
  dataset: Dataset,
  problems: Problem[],
  makeSplit: CheckOptions['split'],
): Promise<void> {
  const byId = new Map(facts.map((item) => [item.id, item]));
  const partOf = new Map<string, string>();
  if (makeSplit) {
    const cases = dataset.cases.map(({ id, subject }): SplitCase => {
      const values = byId.get(id)?.classVoxels?.keys();
      return { id, subject, ...(values && { classes: [...values] }) };
    });
    try {
      const split = await makeSplit(cases);
      for (const part of partNames) for (const id of split[part].cases) partOf.set(id, part);
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      problems.push({ severity: 'error', kind: 'subjects', cases: [], message: error.message });
    }
  }
  const byHash = new Map<string, CaseFacts[]>();
  for (const item of facts)
    if (hasContrast(item)) byHash.set(item.hash, [...(byHash.get(item.hash) ?? []), item]);
  for (const same of byHash.values()) {
    if (same.length < 2) continue;
    const cases = same.map(({ id }) => id);
    const people = new Set(same.map(({ subject }) => subject)).size;
    const parts = new Set(same.flatMap(({ id }) => partOf.get(id) ?? [])).size;
    problems.push({
      severity: (makeSplit ? parts : people) > 1 ? 'error' : 'warning',
      kind: 'duplicate',
      cases,
      message:
        `The images of ${listed(cases)} are equal` +
        (people > 1
          ? `, but belong to ${people} subjects: a split may leak. Give the copies one subject, or remove them.`
          : '.'),
    });
  }
}

/** Problems that show only beside the other cases. */
function compareCases(facts: readonly CaseFacts[], dataset: Dataset, problems: Problem[]): void {
  const warn = (kind: ProblemKind, list: readonly CaseFacts[], text: string): void => {
    if (list.length > 0)
      problems.push(
        warning(
          kind,
          list.map(({ id }) => id),
          text,
        ),
      );
  };
  const outliers = (of: (item: CaseFacts) => Size3): CaseFacts[] => {
    const middle = [0, 1, 2].map((axis) => median(facts.map((item) => of(item)[axis]!)));
    return facts.filter((item) =>
      middle.some((value, axis) => of(item)[axis]! > 2 * value || of(item)[axis]! < value / 2),
    );
  };
  warn(
    'spacing',
    outliers(({ spacing }) => spacing),
    'Spacing is more than twice or less than half the median',
  );
  warn(
    'shape',
    outliers(({ shape }) => shape),
    'Shape is more than twice or less than half the median',
  );
  const counts = new Map<string, number>();
  for (const { orientation } of facts) counts.set(orientation, (counts.get(orientation) ?? 0) + 1);
  const [usual] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [''];
  const turned = facts.filter(({ orientation }) => orientation !== usual);
  warn('orientation', turned, `Most files are stored as ${usual}, these otherwise (all are turned to RAS)`);

  compareClasses(facts, dataset, problems);
}

/** Classes that are nowhere, and labels without any. */
function compareClasses(facts: readonly CaseFacts[], dataset: Dataset, problems: Problem[]): void {
  const labelled = facts.filter(({ classVoxels }) => classVoxels !== undefined);
  if (labelled.length === 0) return;
  const everywhere = (message: string): void => {
    problems.push({ severity: 'warning', kind: 'empty class', cases: [], message });
  };
  const shows = (item: CaseFacts, value: number): boolean => (item.classVoxels!.get(value) ?? 0) > 0;
  const bare = labelled.filter(({ classVoxels }) => ![...classVoxels!.keys()].some((value) => value > 0));
  if (bare.length === labelled.length && bare.length > 1)
    everywhere(
      'The labels of all cases hold background only; there is nothing to learn. See whether these are the right files.',
    );
  else if (bare.length > 0)
    problems.push(
      warning(
        'empty class',
        bare.map(({ id }) => id),
        'The label holds background only; see whether it is the right file',
      ),
    );
  const highest = Math.max(
    ...labelled.flatMap(({ classVoxels }) => [...classVoxels!.keys()].filter(isClass)),
  );
  const count = dataset.labels.length || highest + 1;
  const missing = Array.from({ length: Math.max(0, count) }, (_, value) => value).filter(
    (value) => value !== dataset.ignoreLabel && !labelled.some((item) => shows(item, value)),
  );
  if (bare.length === labelled.length) return;
  if (dataset.labels.length > 0)
    for (const value of missing)
      everywhere(
        `No case shows class ${value} "${dataset.labels[value]}"; the network cannot learn it. Leave it out of ` +
          'dataset.json, or add cases that show it.',
      );
  else if (missing.length > 0)
    everywhere(
      `The labels hold values up to ${highest}, but no case shows ${missing.length === 1 ? 'the value' : 'the values'} ` +
        `${listed(missing.map(String))}; empty classes are trained in vain. Number the classes from 0 without gaps.`,
    );
}

const isClass = (value: number): boolean => Number.isInteger(value) && value >= 0 && value < ignored;
