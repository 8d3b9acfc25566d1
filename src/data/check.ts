/**
 * Looks at every file of a data set and lists all its problems at once: what would stop a training (errors)
 * and what may spoil it (warnings).
 */
import { Aborted, InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { callback, signal } from '../schema.ts';
import type { Case, Dataset } from './dataset.ts';
import { countValues, measureCase, type CaseFacts } from './case-facts.ts';
import { fingerprint, median, type Fingerprint } from './fingerprint.ts';
import { readNifti } from './nifti.ts';
import { constantText, cornerDistance, notFiniteText, shapeText, spatial } from './prepare-checks.ts';
import type { Size3 } from './prepare.ts';
import { sourceName } from './source.ts';
import type { Volume } from './volume.ts';

export type ProblemKind =
  | 'corrupt'
  | 'shape'
  | 'place'
  | 'spacing'
  | 'orientation'
  | 'label values'
  | 'empty class'
  | 'intensity'
  | 'duplicate'
  | 'channels'
  | 'subjects';

/** One problem; `cases` names those it concerns. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly kind: ProblemKind;
  readonly cases: readonly string[];
  readonly message: string;
}

/** Everything `check` found; plain data apart from the maps of class voxels. */
export interface DatasetReport {
  readonly problems: readonly Problem[];
  /** Facts of the cases whose images could be read and have one shape. */
  readonly cases: readonly CaseFacts[];
  /** Undefined if no image could be read. */
  readonly fingerprint?: Fingerprint;
}

const checkEntries = { signal, onProgress: callback };

/**
 * Reads every image and label of a data set, one case at a time.
 * @throws Aborted if the signal fires; never for what it finds in the files
 */
export async function checkDataset(
  dataset: Dataset,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (loaded: number, total: number) => void;
  } = {},
): Promise<DatasetReport> {
  assertOptions('checkDataset', checkEntries, options);
  const problems: Problem[] = dataset.warnings.map((message) => ({
    severity: 'warning',
    kind: 'subjects',
    cases: [],
    message,
  }));
  const facts: CaseFacts[] = [];
  for (const [index, item] of dataset.cases.entries()) {
    if (options.signal?.aborted) throw new Aborted(`The check was stopped after ${index} cases.`);
    const found = await checkCase(item, dataset, problems);
    if (found) facts.push(found);
    options.onProgress?.(index + 1, dataset.cases.length);
  }
  compareCases(facts, dataset, problems);
  return { problems, cases: facts, ...(facts.length > 0 ? { fingerprint: fingerprint(facts) } : {}) };
}

async function checkCase(item: Case, dataset: Dataset, problems: Problem[]): Promise<CaseFacts | undefined> {
  const report = (severity: Problem['severity'], kind: ProblemKind, message: string): void => {
    problems.push({ severity, kind, cases: [item.id], message: `Case "${item.id}": ${message}` });
  };
  const read = async (source: Case['images'][number], what: string): Promise<Volume | undefined> => {
    try {
      return await readNifti(source);
    } catch (error) {
      if (!(error instanceof InvalidVolume)) throw error;
      report('error', 'corrupt', `${what} cannot be read. ${error.message}`);
      return undefined;
    }
  };
  const images: Volume[] = [];
  for (const source of item.images) {
    const image = await read(source, 'the image');
    if (image) images.push(image);
  }
  const label = item.label === undefined ? undefined : await read(item.label, 'the label');
  const classVoxels = label && checkLabel(sourceName(item.label!), label, dataset, report);
  const [first] = images;
  if (!first || images.length < item.images.length) return undefined;

  let isAligned = true;
  for (const other of [...images.slice(1), ...(label ? [label] : [])]) {
    if (shapeText(spatial(other)) !== shapeText(spatial(first))) {
      const what = other === label ? 'label' : 'second channel';
      isAligned = false;
      report(
        'error',
        'shape',
        `the image has the shape ${shapeText(spatial(first))}, its ${what} ${shapeText(spatial(other))}.`,
      );
      continue;
    }
    const distance = cornerDistance(spatial(first), first.affine, other.affine);
    if (distance > Math.max(...first.spacing.slice(0, 3)))
      report(
        'error',
        'place',
        `image and label lie up to ${distance.toFixed(1)} mm apart (their affines differ).`,
      );
  }
  if (images.some((image) => shapeText(spatial(image)) !== shapeText(spatial(first)))) return undefined;
  const facts = await measureCase(item, images, isAligned ? label : undefined, dataset.ignoreLabel);
  const { intensities } = facts;
  const voxels = spatial(first).reduce((a, b) => a * b, 1);
  let channel = 0;
  images.forEach(({ data }, index) => {
    const own = intensities.slice(channel, (channel += data.length / voxels));
    const wrong = own.reduce((sum, { notFinite }) => sum + notFinite, 0);
    if (wrong > 0)
      report(
        'error',
        'intensity',
        `${sourceName(item.images[index]!)}: ${notFiniteText(wrong, data.length)}`,
      );
  });
  if (dataset.channels.length > 0 && intensities.length !== dataset.channels.length)
    report(
      'error',
      'channels',
      `has ${intensities.length} channel(s), dataset.json names ${dataset.channels.length}.`,
    );
  const emptied = intensities.every(({ min, max }) => min === 0 && max === 0)
    ? ' Cropping to what is not zero (train --preprocessing nnunet) refuses it.'
    : '';
  for (const [channel, { min, max, percentile005, percentile995 }] of intensities.entries()) {
    const where = intensities.length > 1 ? `channel ${channel}` : 'the image';
    const span = percentile995 - percentile005;
    if (max === min)
      report('warning', 'intensity', `${constantText(`${where} (all ${short(max)})`)}${emptied}`);
    else if (Math.max(max - percentile995, percentile005 - min) > 10 * span)
      report(
        'warning',
        'intensity',
        `${where} has outliers: 99 % of its voxels lie in ${short(percentile005)} to ${short(percentile995)}, all in ` +
          `${short(min)} to ${short(max)}.`,
      );
  }
  return { ...facts, ...(classVoxels ? { classVoxels } : {}) };
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

type Report = (severity: Problem['severity'], kind: ProblemKind, message: string) => void;

function checkLabel(
  file: string,
  label: Volume,
  { labels, ignoreLabel }: Dataset,
  report: Report,
): Map<number, number> {
  const counts = countValues(label.data);
  const values = [...counts.keys()].sort((a, b) => a - b);
  const limit = labels.length || 255;
  const wrong = values.filter((v) => v !== ignoreLabel && !(Number.isInteger(v) && v >= 0 && v < limit));
  if (wrong.length > 0) {
    const shown = wrong.slice(0, 10).map((value) => `${value} (${counts.get(value)!} voxels)`);
    report(
      'error',
      'label values',
      `${file}: the label holds ${shown.join(', ')}${wrong.length > 10 ? ' …' : ''}; expected 0 to ${limit - 1}: ` +
        'correct the label, or name all classes in dataset.json.',
    );
  } else if (!values.some((value) => value > 0 && value !== ignoreLabel))
    report('warning', 'empty class', 'its label holds background only.');
  return counts;
}

/** Problems that show only beside the other cases. */
function compareCases(facts: readonly CaseFacts[], dataset: Dataset, problems: Problem[]): void {
  const byHash = new Map<string, CaseFacts[]>();
  for (const item of facts) byHash.set(item.hash, [...(byHash.get(item.hash) ?? []), item]);
  for (const same of byHash.values()) {
    if (same.length < 2) continue;
    const people = new Set(same.map(({ subject }) => subject)).size;
    problems.push({
      severity: people > 1 ? 'error' : 'warning',
      kind: 'duplicate',
      cases: same.map(({ id }) => id),
      message:
        `The images of ${same.map(({ id }) => `"${id}"`).join(', ')} are equal` +
        (people > 1 ? `, but belong to ${people} subjects: a split may leak.` : '.'),
    });
  }

  const warn = (kind: ProblemKind, list: readonly CaseFacts[], message: string): void => {
    if (list.length === 0) return;
    const names = list.slice(0, 10).map(({ id }) => `"${id}"`);
    const more = list.length > 10 ? ` and ${list.length - 10} more` : '';
    problems.push({
      severity: 'warning',
      kind,
      cases: list.map(({ id }) => id),
      message: `${message}: ${names.join(', ')}${more}.`,
    });
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

  const labelled = facts.filter(({ classVoxels }) => classVoxels !== undefined);
  if (labelled.length === 0) return;
  dataset.labels.forEach((name, value) => {
    if (!labelled.some(({ classVoxels }) => (classVoxels!.get(value) ?? 0) > 0))
      problems.push({
        severity: 'warning',
        kind: 'empty class',
        cases: [],
        message: `No case shows class ${value} "${name}"; the network cannot learn it.`,
      });
  });
}
