/**
 * Data sets as lists of cases: Medical Segmentation Decathlon, nnU-Net v2, or images and labels
 * matched by name. Works on a list of named files, so that a folder picked in a browser and a
 * directory in Node (dataset.node.ts) read alike. Nothing here reads a voxel.
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { listed } from '../listed.ts';
import { assertOptions, assertValue } from '../options.ts';
import { flag, text, wholeNumber, withParts } from '../schema.ts';
import { fileList, hiddenPattern, type Case, type FileEntry, type UnassignedCase } from './case.ts';
import { listedCases, nnUNetCases, plainPath, readDescription, type Locate } from './dataset-json.ts';
import { casesByLayout } from './dataset-layout.ts';
import { matchByName, type LeaveOut } from './dataset-match.ts';
import { readHeader } from './nifti.ts';
import type { LabelRules } from './prepare-checks.ts';
import type { Region } from './regions.ts';
import { assignSubjects } from './subjects.ts';
import { pairedPath, readText, type FilePair, type Source } from './source.ts';
import { volumePattern, withoutUncertainty } from './volume-names.ts';

/** What `train`, `split` and `check` start from. */
export interface Dataset {
  /** For reports. */
  readonly name: string;
  /** With their files and subjects. */
  readonly cases: readonly Case[];
  /** Class names by label value; empty when the data set does not tell. */
  readonly labels: readonly string[];
  /** What is to be found where that overlaps, such as a whole tumour and its core; each is a set of labels. */
  readonly regions?: readonly Region[];
  /** Channel names; empty when the data set does not tell. */
  readonly channels: readonly string[];
  /**
   * Label value of unknown voxels (nnU-Net's "ignore" class): they count in no loss, metric, volume or picture. All
   * others keep their values; where it lies between those of classes, its own is a class that no voxel shows.
   */
  readonly ignoreLabel?: number;
  /** What the user should know, one sentence each. */
  readonly warnings: readonly string[];
}

const datasetSchema = withParts('a data set as openDataset gives it', 'cases', 'labels');

/**
 * What the labels of a data set may hold. @throws InvalidOption for what is no data set
 * @example
 * ```js
 * const item = await prepareCase(dataset.cases[0], defaultPreprocessing(), labelRules(dataset));
 * ```
 */
export function labelRules(dataset: Dataset): LabelRules {
  assertValue('labelRules', datasetSchema, dataset);
  const { labels, ignoreLabel } = dataset;
  return {
    ...(labels.length > 0 && { classes: labels.length }),
    classNames: labels,
    ...(ignoreLabel !== undefined && { ignoreLabel }),
  };
}

/** How to read a data set. */
export interface DatasetOptions {
  /** Default: the name in dataset.json, or "dataset". */
  readonly name?: string;
  /**
   * Who a case shows: a pattern with one group that is applied to the case's name, or the text of a
   * subjects.csv (columns case, subject). Default: the data set's own subjects.csv, else by case.
   */
  readonly subjects?: RegExp | string;
  /** Label value of unknown voxels, 0 to 255. Default: as dataset.json says, else none. */
  readonly ignoreLabel?: number;
  /** Leaves out images that have no label, which a warning tells, in place of refusing them. Default: false. */
  readonly onlyLabelled?: boolean;
  /** Reads a small text file. Default: as every source is read. */
  readonly readText?: (source: Source) => Promise<string>;
}

export const datasetEntries = {
  name: v.optional(text),
  subjects: v.optional(v.union([v.instance(RegExp), v.string()], 'a pattern, or the text of a subjects.csv')),
  ignoreLabel: v.optional(wholeNumber(0, 255)),
  onlyLabelled: v.optional(flag),
  readText: v.optional(v.function('a function')),
} satisfies Record<keyof DatasetOptions, unknown>;

/** Files without hidden ones, sorted, relative to the folder that they have in common. */
function tidy(files: readonly FileEntry[]): FileEntry[] {
  let seen = files
    .map(({ path, source }) => ({ path: plainPath(path), source }))
    .filter(({ path }) => !hiddenPattern.test(path));
  const root = seen[0]?.path.split('/')[0];
  if (
    root !== undefined &&
    seen.every(({ path }) => path.startsWith(`${root}/`)) &&
    !/^(images|labels)/i.test(root)
  )
    seen = seen.map(({ path, source }) => ({ path: path.slice(root.length + 1), source }));
  return joinPairs(seen.sort((a, b) => (a.path < b.path ? -1 : 1)));
}

/**
 * Files of a data set from where its dataset.json lies: where there is none at the top, the only one further down that
 * goes with cases of a training. Others, such as beside results of nnU-Net, describe no data set.
 * @throws InvalidDataset where there are several
 */
async function fromDescription(
  entries: readonly FileEntry[],
  { readText: read = readText }: DatasetOptions,
): Promise<readonly FileEntry[]> {
  if (entries.some(({ path }) => path === 'dataset.json')) return entries;
  const found: string[] = [];
  for (const { path, source } of entries.filter((entry) => entry.path.endsWith('/dataset.json'))) {
    const folder = path.slice(0, -'dataset.json'.length);
    const isBeside = entries.some((entry) =>
      ['imagesTr/', 'labelsTr/'].some((side) => entry.path.startsWith(folder + side)),
    );
    if (isBeside || (await listsCases(source, read))) found.push(folder);
  }
  const folders = found.filter((folder) => !found.some((one) => one !== folder && folder.startsWith(one)));
  if (folders.length > 1)
    throw new InvalidDataset(
      `There are ${folders.length} files dataset.json, in ${listed(folders)}; give one data set after another, each by the folder of its dataset.json.`,
    );
  const [root] = folders;
  if (root === undefined) return entries;
  const inside = entries.filter(({ path }) => path.startsWith(root));
  return [
    ...inside.map(({ path, source }) => ({ path: path.slice(root.length), source })),
    ...entries.filter(({ path }) => path === 'subjects.csv'),
  ];
}

/** Files without what trainings have segmented: the `predictions` beside the config.json and split.json that they leave. */
export function withoutPredictions(files: readonly FileEntry[]): FileEntry[] {
  const paths = new Set(files.map(({ path }) => path));
  const isOfTraining = (folder: string): boolean =>
    ['config.json', 'split.json'].every((name) => paths.has(folder + name));
  return files.filter(
    ({ path }) =>
      ![...path.matchAll(/(?<=^|\/)predictions\//g)].some(({ index }) => isOfTraining(path.slice(0, index))),
  );
}

const listsCases = (source: Source, read: typeof readText): Promise<boolean> =>
  read(source)
    .then((description) => readDescription(description).training.length > 0)
    .catch(() => false);

/** Files without a path, as browsers give them, find the other file of a .hdr/.img pair beside them only here. */
function joinPairs(entries: readonly FileEntry[]): FileEntry[] {
  const byPath = new Map(entries.map(({ path, source }) => [path, source]));
  const half = (path: string | undefined): FilePair['header'] | undefined => {
    const source = path === undefined ? undefined : byPath.get(path);
    return source instanceof Blob || source instanceof ArrayBuffer || source instanceof Uint8Array
      ? source
      : undefined;
  };
  return entries.map(({ path, source }) => {
    const [header, image] = [half(pairedPath(path, 'hdr')), half(pairedPath(path, 'img'))];
    return { path, source: header && image ? { header, image } : source };
  });
}

/**
 * The volumes among some files: not hidden, sorted, the two files of a .hdr/.img pair as one, without the maps that
 * `predict --uncertainty` writes beside its results.
 * @throws InvalidOption for what is no list of files
 */
export function volumesAmong(files: readonly FileEntry[]): FileEntry[] {
  assertValue('volumesAmong', fileList, files);
  return withoutUncertainty(tidy(files).filter(({ path }) => volumePattern.test(path)));
}

/**
 * The data set in a list of files: with a dataset.json the Decathlon's or nnU-Net's layout, without one
 * a folder of images beside a folder of labels, a folder per case, or files whose names tell labels from images.
 * @throws InvalidDataset if there is no case, names do not match, dataset.json is broken, or files are missing
 * @example
 * ```js
 * const { cases, labels } = await openDataset([
 *   { path: 'images/a.nii.gz', source: 'scan.nii.gz' },
 *   { path: 'labels/a.nii.gz', source: 'truth.nii.gz' },
 * ]);
 * ```
 */
export async function openDataset(
  files: readonly FileEntry[],
  options: DatasetOptions = {},
): Promise<Dataset> {
  assertValue('openDataset', fileList, files);
  assertOptions('openDataset', datasetEntries, options);
  return openFiles(files, options);
}

/** As openDataset, on a platform that finds files by path. */
export async function openFiles(
  files: readonly FileEntry[],
  options: DatasetOptions,
  locate?: (path: string, description: Source) => Promise<Source | undefined>,
): Promise<Dataset> {
  const entries = withoutUncertainty(await fromDescription(withoutPredictions(tidy(files)), options));
  const described = entries.find(({ path }) => path === 'dataset.json');
  const bare = new Bare(options);
  if (described) {
    const description = readDescription(await (options.readText ?? readText)(described.source));
    const find: Locate | undefined = locate && ((path) => locate(path, described.source));
    const hasFolders = entries.some(({ path }) => path.startsWith('imagesTr/'));
    const isListed = description.training.length > 0 && !(description.isByFolder && hasFolders);
    const cases = isListed
      ? await listedCases(description.training, entries, find, bare.leaveOut)
      : nnUNetCases(description, entries, bare.leaveOut);
    return bare.tell(await finish(cases, entries, options, description));
  }

  const { cases, channels } = casesByLayout(entries, bare.leaveOut);
  const areChannels = channels.length > 0 && (await holdOneEach(cases[0]!.images));
  return bare.tell(await finish(cases, entries, options, { channels: areChannels ? channels : [] }));
}

/** Whether each file of an image holds one channel, so that the names of the files are those of its channels. */
async function holdOneEach(images: readonly Source[]): Promise<boolean> {
  const counts = images.map((source) =>
    readHeader(source).then(
      ({ shape }) => shape[3] ?? 1,
      () => 1, // told when its turn comes
    ),
  );
  return (await Promise.all(counts)).every((count) => count === 1);
}

/**
 * A data set of two lists of files, images and labels, matched by name.
 * @throws InvalidDataset if there is no case or names do not match
 * @example
 * ```js
 * const { cases } = await pairDataset(
 *   [{ path: 'a.nii.gz', source: 'scan.nii.gz' }],
 *   [{ path: 'a.nii.gz', source: 'truth.nii.gz' }],
 * );
 * ```
 */
export async function pairDataset(
  images: readonly FileEntry[],
  labels: readonly FileEntry[],
  options: DatasetOptions = {},
): Promise<Dataset> {
  assertOptions('pairDataset', { images: fileList, labels: fileList }, { images, labels });
  assertOptions('pairDataset', datasetEntries, options);
  const bare = new Bare(options);
  const [ofImages, ofLabels] = [images, labels].map((files) => volumesAmong(withoutPredictions(files)));
  const cases = matchByName(ofImages!, ofLabels!, bare.leaveOut);
  return bare.tell(await finish(cases, tidy(images), options, {}));
}

/** Images without a label, where these may be left out. */
class Bare {
  readonly #names = new Set<string>();
  readonly leaveOut: LeaveOut | undefined;

  constructor({ onlyLabelled = false }: DatasetOptions) {
    if (onlyLabelled) this.leaveOut = (name) => void this.#names.add(name);
  }

  tell(dataset: Dataset): Dataset {
    if (this.#names.size === 0) return dataset;
    const told = `${this.#names.size} image(s) without a label are left out: ${listed([...this.#names])}.`;
    return { ...dataset, warnings: [...dataset.warnings, told] };
  }
}

interface Described {
  readonly name?: string | undefined;
  readonly labels?: readonly string[];
  readonly regions?: readonly Region[] | undefined;
  readonly channels?: readonly string[];
  readonly ignoreLabel?: number | undefined;
}

async function finish(
  unassigned: readonly UnassignedCase[],
  entries: readonly FileEntry[],
  options: DatasetOptions,
  described: Described,
): Promise<Dataset> {
  if (unassigned.length === 0)
    throw new InvalidDataset('The data set has no case with a label; give at least one image and its label.');
  const ids = new Set<string>();
  for (const { id } of unassigned) {
    // Results are files of that name.
    if (/[/\\\0]|^\.{0,2}$/.test(id))
      throw new InvalidDataset(`A case is named "${id}"; give it a name that a file can have.`);
    if (ids.has(id)) throw new InvalidDataset(`Two cases are named "${id}"; give every case its own name.`);
    ids.add(id);
  }
  let subjects = options.subjects;
  const table = entries.find(({ path }) => path === 'subjects.csv');
  if (subjects === undefined && table) subjects = await (options.readText ?? readText)(table.source);
  const { cases, warnings } = await assignSubjects(unassigned, subjects);
  return {
    name: options.name ?? described.name ?? 'dataset',
    cases,
    channels: described.channels ?? [],
    ...knownClasses(described, options.ignoreLabel),
    ...(described.regions && { regions: described.regions }),
    warnings,
  };
}

/** The classes without the value of unknown voxels, which may be that of a class with a name. */
function knownClasses(
  { labels = [], regions = [], ignoreLabel: told }: Described,
  ignoreLabel = told,
): Pick<Dataset, 'labels' | 'ignoreLabel'> {
  if (ignoreLabel === undefined) return { labels };
  if (told !== undefined && told !== ignoreLabel)
    throw new InvalidDataset(
      `Unknown voxels are to have the value ${ignoreLabel}, but dataset.json says ${told}; leave one of the two out.`,
    );
  const within = regions.find((region) => [...region.labels, region.written].includes(ignoreLabel));
  if (within)
    throw new InvalidDataset(
      `Unknown voxels are to have the value ${ignoreLabel}, which belongs to the region "${within.name}"; give another value.`,
    );
  const known = ignoreLabel === labels.length - 1 ? labels.slice(0, -1) : labels;
  if (labels.length > 0 && known.filter((_, value) => value !== ignoreLabel).length < 2)
    throw new InvalidDataset(
      `Without the value ${ignoreLabel} of unknown voxels, dataset.json names fewer than two classes; give another value.`,
    );
  return { labels: known, ignoreLabel };
}
