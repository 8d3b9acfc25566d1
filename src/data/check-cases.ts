/** What shows only beside the other cases: other channels, copies, odd grids, classes that nobody shows. */
import { groupedBy } from '../grouped.ts';
import { InvalidDataset } from '../errors.ts';
import { listed } from '../listed.ts';
import { hasContrast, type CaseFacts } from './case-facts.ts';
import type { Dataset } from './dataset.ts';
import { median } from './fingerprint.ts';
import { ignored } from './patches.ts';
import { channelsText } from './prepare-checks.ts';
import type { Problem, ProblemKind } from './problem.ts';
import { nothingToTrainOn, partNames, unsplitCases, type Split, type SplitCase } from './split.ts';
import type { Size3 } from '../size.ts';

/** Facts of a case, and what tells its label from others. */
export interface CheckedCase extends CaseFacts {
  /** SHA-256 of the label's voxels and shape; undefined where it shows no class. */
  readonly labelHash: string | undefined;
}

/** All that is to be said of cases together. */
export async function compareCases(
  facts: readonly CheckedCase[],
  dataset: Dataset,
  problems: Problem[],
  makeSplit: ((cases: readonly SplitCase[]) => Split | Promise<Split>) | undefined,
): Promise<void> {
  if (dataset.channels.length === 0) {
    compareChannels(facts, problems);
    compareSeries(facts, problems);
  }
  await compareImages(facts, dataset, problems, makeSplit);
  compareLabels(facts, problems);
  compareGrids(facts, problems);
  compareClasses(facts, dataset, problems);
}

/** A warning about some cases, of which ten are named. */
export function warning(kind: ProblemKind, cases: readonly string[], text: string): Problem {
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

/** Channels of an image from which on they are rather the time points of a series. */
const manyChannels = 16;

/** Where no file names the channels, so many of them in one file may be a series. */
function compareSeries(facts: readonly CaseFacts[], problems: Problem[]): void {
  const series = facts.filter(({ intensities }) => intensities.length >= manyChannels);
  if (series.length > 0)
    problems.push(
      warning(
        'channels',
        series.map(({ id }) => id),
        `Images have ${series[0]!.intensities.length} channels; of a series over time, save one time point or the mean of ` +
          'all as the image',
      ),
    );
}

/** Labels of several subjects that are equal, though they show something and their images differ. */
function compareLabels(facts: readonly CheckedCase[], problems: Problem[]): void {
  for (const same of groupedBy(facts, ({ labelHash }) => labelHash).values()) {
    const [subjects, images] = [
      new Set(same.map(({ subject }) => subject)),
      new Set(same.map(({ hash }) => hash)),
    ];
    if (subjects.size > 1 && images.size > 1)
      problems.push(
        warning(
          'duplicate',
          same.map(({ id }) => id),
          'Labels are equal, but their images are not; see whether one is the label of another case, and give images ' +
            'of one person one subject',
        ),
      );
  }
}

/** Equal images, and whether the split keeps them together. */
async function compareImages(
  facts: readonly CaseFacts[],
  dataset: Dataset,
  problems: Problem[],
  makeSplit: ((cases: readonly SplitCase[]) => Split | Promise<Split>) | undefined,
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
      if (split.train.cases.length === 0)
        problems.push({
          severity: 'error',
          kind: 'subjects',
          cases: [],
          message: `The split leaves ${nothingToTrainOn}.`,
        });
      const unsplit = unsplitCases(cases, split);
      if (unsplit !== undefined)
        problems.push({ severity: 'warning', kind: 'subjects', cases: [], message: unsplit });
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      problems.push({ severity: 'error', kind: 'subjects', cases: [], message: error.message });
    }
  }
  for (const same of groupedBy(facts, (item) => (hasContrast(item) ? item.hash : undefined)).values()) {
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

/** Grids unlike those of most cases. */
function compareGrids(facts: readonly CaseFacts[], problems: Problem[]): void {
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
  const full = labelled.filter(
    ({ classVoxels, annotated }) => !annotated && classVoxels!.size === 1 && !classVoxels!.has(0),
  );
  if (full.length > 0)
    problems.push(
      warning(
        'empty class',
        full.map(({ id }) => id),
        'The label holds one value throughout, and no background; see whether it is the right file',
      ),
    );
  const highest = labelled
    .flatMap(({ classVoxels }) => [...classVoxels!.keys()].filter(isClass))
    .reduce((a, b) => Math.max(a, b), -Infinity);
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
