/** Everything a training needs from a data set, read and checked before the training begins. */
import { contentHash, measureCase, type CaseFacts } from '../data/case-facts.ts';
import type { LabelledCase } from '../data/labelled-case.ts';
import { labelRules, type Dataset } from '../data/dataset.ts';
import type { Case } from '../data/case.ts';
import { highestLabel } from '../data/label-values.ts';
import { nnunetPreprocessing, type PreprocessingDecision } from '../data/decide.ts';
import { fingerprint, type Fingerprint } from '../data/fingerprint.ts';
import type { CaseSource } from '../data/patches.ts';
import { cacheCases } from '../data/prepare-cache.ts';
import { channelsOf, constantText, requireOneGrid } from '../data/prepare-checks.ts';
import { prepareVolumes, readCase, type PreparedCase } from '../data/prepare.ts';
import { defaultPreprocessing, type Preprocessing } from '../data/preprocessing.ts';
import { scoredNames, scoredValues, type Region } from '../data/regions.ts';
import type { Legend } from '../report/series.ts';
import type { Size3 } from '../size.ts';
import { assertNoSharedContent, partNames, testedPart, type PartName, type Split } from '../data/split.ts';
import { Aborted, InvalidDataset, OutOfMemory } from '../errors.ts';
import type { Volume } from '../data/volume.ts';
import { some } from '../listed.ts';
import { CaseFiles, Truths } from './case-files.ts';
import type { Io } from './io.ts';
import type { PreprocessingName } from './recipe.ts';

export interface TrainingData {
  readonly training: CaseSource;
  readonly validation: readonly LabelledCase[];
  readonly preprocessing: Preprocessing;
  /** With preprocessing 'nnunet': what was decided and why. */
  readonly decision: (PreprocessingDecision & { readonly fingerprint: Fingerprint }) | undefined;
  readonly channels: number;
  /** Names by label value, background first. */
  readonly labels: readonly string[];
  /** What the network's heads are to find, where that overlaps. */
  readonly regions: readonly Region[] | undefined;
  /** Names of what is scored: the labels', or the background's and the regions'. */
  readonly scored: readonly string[];
  /** Labels of the cases that will be tested, as far as they are kept. */
  readonly truths: Truths;
  /** By case: hashes of the voxels of its images and of its label, and the spacing in mm. */
  readonly contents: ReadonlyMap<string, string>;
}

export interface DataOptions {
  /** Number of classes where the data set does not name them. */
  readonly classes?: number | undefined;
  /** 'nnunet' decides on crop, normalisation and spacing from the training cases. */
  readonly preprocessing: PreprocessingName;
  /** In place of all that would be decided: that of the model, or of the stopped training, which is gone on from. */
  readonly kept?: Preprocessing | undefined;
  /** mm; 'median' of the training cases; or 'own' for each volume's own. Default: the median, or as nnU-Net decides. */
  readonly spacing: Size3 | 'median' | 'own' | undefined;
  /** Bytes of prepared training cases that are kept in memory. */
  readonly cacheBytes: number;
  /** Whether preprocessing is decided from the validation cases too, so that it is the same for every fold. */
  readonly decideFromAll?: boolean;
  readonly allowDuplicates: boolean;
}

/** Spacings that differ by less than this count as one. */
const sameSpacing = 0.01;

/**
 * Reads and prepares the cases of training and validation, and those of the test to see that they can be read.
 * @throws InvalidDataset or InvalidVolume that names the case and what is wrong with it
 */
export async function readTrainingData(
  io: Io,
  dataset: Dataset,
  split: Split,
  options: DataOptions,
): Promise<TrainingData> {
  const byId = new Map(dataset.cases.map((item) => [item.id, item]));
  const casesOf = (part: PartName): Case[] => split[part].cases.map((id) => byId.get(id)!);
  const [train, validation, test] = partNames.map(casesOf) as [Case[], Case[], Case[]];
  const basis = options.decideFromAll ? [...train, ...validation] : train;
  const files = new CaseFiles(options.cacheBytes);
  const truths = new Truths(options.cacheBytes);
  const channels = dataset.channels.length || countChannels(await files.read(train[0]!));
  const classes = options.classes ?? (dataset.labels.length || undefined);
  if (classes !== undefined && dataset.labels.length > classes)
    throw new InvalidDataset(
      `${dataset.labels.length} classes have names (${some(dataset.labels)}), --classes is ${classes}; leave --classes out`,
    );
  const rules = { ...labelRules(dataset), ...(classes !== undefined && { classes }) };

  const hashes = new Map<string, string>();
  const contents = new Map<string, string>();
  const seen = new Set<string>();
  const tested = new Set(split[testedPart(split)].cases);
  let highest = 1;
  const read = async (
    cases: readonly Case[],
    preprocessing: Preprocessing,
    what: string,
    budget: number,
  ): Promise<CaseSource> =>
    cacheCases(
      cases.length,
      async (index) => {
        const item = cases[index]!;
        const given = await files.take(item);
        const isNew = !seen.has(item.id);
        const hash = isNew ? await contentHash(given.images) : '';
        if (isNew) contents.set(item.id, await contentOf(given, hash));
        if (isNew && given.label) {
          highest = Math.max(highest, highestLabel(given.label.data, dataset.ignoreLabel));
          if (tested.has(item.id)) truths.keep(item.id, given.label);
        }
        let prepared: PreparedCase;
        try {
          prepared = prepareVolumes(given, preprocessing, rules, { owned: true });
        } catch (error) {
          const { spacing } = preprocessing;
          throw isTooLarge(error) && spacing && isFiner(spacing, given.images[0]!.spacing)
            ? tooFine(item.id, spacing, error)
            : error;
        }
        if (isNew) {
          seen.add(item.id);
          const flat = constantChannels(prepared);
          // Of images without contrast, equal ones are no copies.
          if (flat.length < channels) hashes.set(item.id, hash);
          for (const what of flat) io.err(`warning: Case "${item.id}": ${constantText(what)}`);
        }
        return prepared;
      },
      {
        budget,
        signal: io.signal,
        onProgress: (loaded, total) => {
          if (io.isTerminal) io.status(`reading ${what} case ${loaded} of ${total}`);
        },
      },
    );

  const { spacing, kept } = options;
  const fixed = spacing === undefined || typeof spacing === 'string' ? null : spacing;
  const decision =
    options.preprocessing === 'nnunet' ? await decide(io, dataset, basis, spacing, files) : undefined;
  let preprocessing = kept ?? decision?.preprocessing ?? defaultPreprocessing(channels, fixed);
  let forTraining = preprocessing;
  const isMedian = options.preprocessing === 'plain' && (spacing ?? 'median') === 'median';
  if (isMedian && kept?.spacing !== null) {
    const spacings = await spacingsOf(io, basis, files);
    const median = (axis: number): number => upperMedian(spacings.map((mm) => mm[axis]!));
    const target = kept?.spacing ?? ([0, 1, 2].map(median) as unknown as Size3);
    preprocessing = kept ?? defaultPreprocessing(channels, target);
    const differ = spacings.filter((found) =>
      found.some((mm, axis) => Math.abs(mm / target[axis]! - 1) > sameSpacing),
    ).length;
    if (differ > 0) {
      const shown = target.map((mm) => Number(mm.toFixed(3))).join(' x ');
      io.err(
        `${differ} of ${basis.length} ${options.decideFromAll ? '' : 'training '}volumes are resampled to the ` +
          `${kept ? 'spacing that the training began with' : 'median spacing'}, ${shown} mm.`,
      );
    }
    forTraining = differ > 0 ? preprocessing : { ...preprocessing, spacing: null };
  }
  const training = await read(train, forTraining, 'training', options.cacheBytes);
  const checked = await read(validation, preprocessing, 'validation', Infinity);
  await read(test, preprocessing, 'test', 0);
  if (io.isTerminal) io.status();
  if (!options.allowDuplicates) assertNoSharedContent(split, hashes);

  const held: LabelledCase[] = [];
  for (let index = 0; index < validation.length; index++) held.push(labelled(await checked.get(index)));
  const names = Array.from(
    { length: classes ?? highest + 1 },
    (_, label) => dataset.labels[label] ?? nameOf(label, dataset.ignoreLabel),
  );
  const { regions } = dataset;
  const scored = scoredNames(names, regions);
  return {
    training,
    validation: held,
    preprocessing,
    decision,
    channels,
    labels: names,
    regions,
    scored,
    truths,
    contents,
  };
}

const contentOf = async (
  { images, label }: Awaited<ReturnType<typeof readCase>>,
  hash: string,
): Promise<string> =>
  [hash, ...(label ? [await contentHash([label])] : [])].map((hex) => hex.slice(0, 16)).join(' ') +
  ` ${images[0]!.spacing.map((mm) => Number(mm.toPrecision(5))).join(' x ')} mm`;

/** What curves and tables of a training are about. */
export const legendOf = ({ labels, regions, scored }: TrainingData): Legend => ({
  labels: scored,
  labelValues: scoredValues(labels, regions),
});

/** Spacing x, y, z in mm of the first image of each case, on canonical axes. */
async function spacingsOf(io: Io, cases: readonly Case[], files: CaseFiles): Promise<Size3[]> {
  const spacings: Size3[] = [];
  for (const [index, item] of cases.entries()) {
    if (io.signal.aborted)
      throw new Aborted(`Reading the data was stopped after ${index} of ${cases.length} cases.`);
    if (io.isTerminal) io.status(`reading training case ${index + 1} of ${cases.length}`);
    spacings.push((await files.read(item)).images[0]!.spacing);
  }
  return spacings;
}

/** Reads the files of some cases for their fingerprint. */
export async function fingerprintOf(
  io: Io,
  { ignoreLabel }: Dataset,
  cases: readonly Case[],
  read: (item: Case) => ReturnType<typeof readCase> = readCase,
): Promise<Fingerprint> {
  const facts: CaseFacts[] = [];
  for (const [index, item] of cases.entries()) {
    if (io.signal.aborted) throw new Aborted(`Looking at the data was stopped after ${index} cases.`);
    if (io.isTerminal) io.status(`looking at case ${index + 1} of ${cases.length}`);
    const files = await read(item);
    requireOneGrid(files);
    const { images, label } = files;
    facts.push(await measureCase(item, images, label, ignoreLabel));
  }
  if (io.isTerminal) io.status();
  return fingerprint(facts);
}

async function decide(
  io: Io,
  dataset: Dataset,
  cases: readonly Case[],
  spacing: DataOptions['spacing'],
  files: CaseFiles,
): Promise<PreprocessingDecision & { readonly fingerprint: Fingerprint }> {
  const print = await fingerprintOf(io, dataset, cases, (item) => files.read(item));
  const words = { own: null, median: print.spacing.median };
  const wanted = typeof spacing === 'string' ? words[spacing] : spacing;
  return { ...nnunetPreprocessing(print, dataset.channels, wanted), fingerprint: print };
}

/** Whether resampling from one spacing to another makes more voxels. */
const isFiner = (to: Size3, from: Size3): boolean => {
  const [voxel, own] = [to, from].map(([x, y, z]) => x * y * z) as [number, number];
  return voxel < own;
};

/** WASM memory is full, or an array longer than JavaScript can make. */
const isTooLarge = (error: unknown): error is OutOfMemory | RangeError =>
  error instanceof OutOfMemory || error instanceof RangeError;

const tooFine = (id: string, spacing: Size3, cause: Error): InvalidDataset =>
  new InvalidDataset(
    `Case "${id}" does not fit the memory when it is resampled to ${spacing.join(' x ')} mm: give a larger --spacing, ` +
      `or "own" for each volume's own.`,
    { cause },
  );

/** The channels of one value, as messages call them. */
function constantChannels({ image, channels }: PreparedCase): string[] {
  const voxels = image.length / channels;
  const isConstant = (channel: number): boolean => {
    const values = image.subarray(channel * voxels, (channel + 1) * voxels);
    return values.every((value) => value === values[0]);
  };
  return Array.from({ length: channels }, (_, channel) => channel)
    .filter(isConstant)
    .map((channel) => (channels > 1 ? `channel ${channel}` : 'the image'));
}

/** Of a class that the data set does not name. */
const nameOf = (label: number, ignoreLabel: number | undefined): string =>
  label === ignoreLabel ? 'ignore' : label === 0 ? 'background' : `class ${label}`;

export function labelled(item: PreparedCase): LabelledCase {
  if (!item.label) throw new InvalidDataset(`Case "${item.id}" has no label; training needs one.`);
  return { ...item, label: item.label };
}

const countChannels = ({ images }: { readonly images: readonly Volume[] }): number =>
  images.reduce((sum, image) => sum + channelsOf(image), 0);

/** The middle of some numbers, of two the larger: always one of them. */
export const upperMedian = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1]!;
