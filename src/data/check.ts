/**
 * Looks at every file of a data set and lists all its problems at once: what would stop a training (errors)
 * and what may spoil it (warnings).
 */
import * as v from 'valibot';
import { Aborted, InvalidDataset, InvalidVolume } from '../errors.ts';
import { assertOptions, assertValue } from '../options.ts';
import { callback, signal, withParts } from '../schema.ts';
import { contentHash, countValues, measureCase, type CaseFacts } from './case-facts.ts';
import { compareCases, warning, type CheckedCase } from './check-cases.ts';
import { HeaderRemarks } from './check-headers.ts';
import { labelRules, type Dataset } from './dataset.ts';
import type { Case } from './case.ts';
import { fingerprint, type Fingerprint } from './fingerprint.ts';
import { gridOf } from './nifti-affine.ts';
import type { NiftiHeader } from './nifti-header.ts';
import { startsWith } from './label-advice.ts';
import { labelOf } from './label-values.ts';
import {
  checkedLabels,
  constantText,
  gridProblems,
  imageName,
  requireFinite,
  type ReadCase,
} from './prepare-checks.ts';
import { fileNames, readOnto } from './prepare.ts';
import type { Problem, ProblemKind } from './problem.ts';
import type { Source } from './source.ts';
import type { Split, SplitCase } from './split.ts';
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
  /** Stops the check, which then throws `Aborted`. */
  readonly signal?: AbortSignal;
  /** After each case: how many are done, and how many there are. */
  readonly onProgress?: (loaded: number, total: number) => void;
  /**
   * The split that the training will make; with it, what it refuses is an error as well: too few subjects, and equal
   * images in two parts. Without it, equal images of two subjects are an error.
   */
  readonly split?: (cases: readonly SplitCase[]) => Split | Promise<Split>;
}

const datasetSchema = withParts('a data set, such as openDataset gives', 'cases', 'warnings');
const checkEntries = {
  signal,
  onProgress: callback,
  split: callback,
} satisfies Record<keyof CheckOptions, unknown>;

const caseEntries = { item: withParts('a case of a data set', 'id', 'images'), dataset: datasetSchema };
const reportEntries = {
  dataset: datasetSchema,
  checks: v.array(
    withParts('what checkCase gives', 'problems', 'headers'),
    'what checkCase gives of each case',
  ),
  split: checkEntries.split,
};

/**
 * Reads every image and label of a data set, one case at a time, and looks at it as preparation does.
 * @throws Aborted if the signal fires; never for what it finds in the files
 * @example
 * ```js
 * const { problems } = await checkDataset(dataset);
 * for (const { message } of problems) console.log(message);
 * ```
 */
export async function checkDataset(dataset: Dataset, options: CheckOptions = {}): Promise<DatasetReport> {
  assertValue('checkDataset', datasetSchema, dataset);
  assertOptions('checkDataset', checkEntries, options);
  const checks: CaseCheck[] = [];
  for (const [index, item] of dataset.cases.entries()) {
    if (options.signal?.aborted) throw new Aborted(`The check was stopped after ${index} cases.`);
    checks.push(await checkCase(item, dataset));
    options.onProgress?.(index + 1, dataset.cases.length);
  }
  return reportOf(dataset, checks, options.split);
}

/** What was found in the files of one case. */
export interface CaseCheck {
  /** As the report lists them. */
  readonly problems: readonly Problem[];
  /** Of its images and its label, as far as they could be read. */
  readonly headers: readonly NiftiHeader[];
  /** Only where its images are whole. */
  readonly facts: CheckedCase | undefined;
}

/** What there is to say of a data set, each of whose cases has been checked under its labels, channels and ignoreLabel. */
export async function reportOf(
  dataset: Dataset,
  checks: readonly CaseCheck[],
  split?: CheckOptions['split'],
): Promise<DatasetReport> {
  assertOptions('reportOf', reportEntries, { dataset, checks, split });
  const problems: Problem[] = dataset.warnings.map((message) => ({
    severity: 'warning',
    kind: 'subjects',
    cases: [],
    message,
  }));
  const remarks = new HeaderRemarks();
  for (const [index, check] of checks.entries()) {
    problems.push(...check.problems);
    for (const header of check.headers) remarks.see(dataset.cases[index]!.id, header);
  }
  problems.push(...remarks.problems(warning));
  const facts = checks.flatMap((check) => check.facts ?? []);
  await compareCases(facts, dataset, problems, split);
  const cases = facts.map(({ labelHash: _hash, ...item }): CaseFacts => item);
  return { problems, cases, ...(facts.length > 0 ? { fingerprint: fingerprint(facts) } : {}) };
}

/** Reads the files of one case, and looks at them as preparation does. */
export async function checkCase(item: Case, dataset: Dataset): Promise<CaseCheck> {
  assertOptions('checkCase', caseEntries, { item, dataset });
  const problems: Problem[] = [];
  const headers: NiftiHeader[] = [];
  const report: Report = (severity, kind, message) => {
    problems.push({ severity, kind, cases: [item.id], message });
  };
  const facts = await caseFacts(item, dataset, report, (header) => headers.push(header));
  return { problems, headers, facts };
}

/** The facts of a case follow only where its images are whole. */
async function caseFacts(
  item: Case,
  dataset: Dataset,
  report: Report,
  see: (header: NiftiHeader) => void,
): Promise<CheckedCase | undefined> {
  const read = async (
    source: Source,
    first: Volume | undefined,
    what: string,
  ): Promise<Volume | undefined> => {
    try {
      const volume = await readOnto(first, source, true);
      see(volume.header);
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
  const isSound = label !== undefined && reportLabel(label.data, all, dataset, report);
  if (!isWhole || grids.some(({ kind, of }) => kind === 'shape' && of === 'images')) return undefined;
  const onGrid = !isSound || grids.some(({ kind }) => kind !== 'channels') ? undefined : label;
  const facts = await measureCase(item, images, onGrid, dataset.ignoreLabel);
  reportIntensities(facts, (text) => report('warning', 'intensity', `Case "${item.id}": ${text}`));
  return {
    ...facts,
    orientation: orientation(gridOf(images[0]!.header).affine),
    ...(isSound ? { classVoxels: countValues(label.data, dataset.ignoreLabel) } : {}),
    labelHash: onGrid && facts.classVoxels!.size > 1 ? await contentHash([onGrid]) : undefined,
  };
}

type Report = (severity: Problem['severity'], kind: ProblemKind, message: string) => void;

/** What is wrong or odd with the values of a label; whether it can be trained with. */
function reportLabel(
  data: Float32Array,
  item: ReadCase & { readonly images: readonly Volume[] },
  dataset: Dataset,
  report: Report,
): boolean {
  const { id, images, files } = item;
  const problem = problemOf(() => checkedLabels(id, data, labelRules(dataset), item));
  if (problem) {
    report('error', 'label values', problem.message);
    return false;
  }
  if (images[0] && !isConstant(images[0]) && startsWith(images[0].data, data))
    report(
      'warning',
      'label values',
      `Case "${id}": the label ${files?.label} holds the voxels of the image ${files?.images[0]}; give the right file.`,
    );
  const rounded = data.find((value) => labelOf(value) !== value);
  if (rounded !== undefined)
    report(
      'warning',
      'label values',
      `Case "${id}": its label holds values such as ${rounded}, which count as the whole numbers next to them; save ` +
        'it as integers, without scaling.',
    );
  return true;
}

const isConstant = ({ statistics }: Volume): boolean => statistics?.min === statistics?.max;

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
    ? ' Cropping to what is not zero, as nnU-Net does, refuses it.'
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
