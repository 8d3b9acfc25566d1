/** Files to segment or to compare, from a folder of whatever layout, by the name of their case. */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { groupedBy } from '../grouped.ts';
import { listed } from '../listed.ts';
import { assertOptions } from '../options.ts';
import { text, wholeNumber } from '../schema.ts';
import { fileList, type FileEntry } from './case.ts';
import { readHeader } from './nifti.ts';
import { groupChannels, looksLikeLabel, numbered, stemOf, withoutChannel, words } from './volume-names.ts';

/** One volume to work on: the name of its case, and its file, or those of its channels in order. */
export interface NamedVolume {
  /** Of its case. */
  readonly name: string;
  /** One, or one for each channel. */
  readonly files: readonly FileEntry[];
}

/** The volumes of a folder, and those of its files that are left out because their names say that they hold labels. */
export interface NamedVolumes {
  /** One for each case, or for each case and channel. */
  readonly volumes: readonly NamedVolume[];
  /** Files that are left out. */
  readonly labels: readonly FileEntry[];
}

/**
 * Images by the name of their case: one file each, or its channels CASE_0000, CASE_0001 …, as nnU-Net names them. In
 * folders below, a folder with the files of one image names the case, as in training; of several folders, other files
 * have the folder's name before their own. Where there is one folder, CASE_0000, CASE_0001 … name their case themselves.
 * Labels beside images are no images.
 * @param channels of an image
 * @param names of the channels, by which the files of a case's folder are put in order
 * @throws InvalidDataset if channels are not numbered without gaps, or where names do not tell which file is which;
 *   InvalidOption
 */
export async function imagesByCase(
  entries: readonly FileEntry[],
  channels: number,
  names: readonly string[] = [],
): Promise<NamedVolumes> {
  assertOptions(
    'imagesByCase',
    { entries: fileList, channels: wholeNumber(1), names: v.array(text, 'names of channels') },
    { entries, channels, names },
  );
  const isImage = ({ path }: FileEntry): boolean => !looksLikeLabel(path);
  const images = entries.some(isImage) ? entries.filter(isImage) : entries;
  const labels = images === entries ? [] : entries.filter((entry) => !isImage(entry));
  const isAlone = byFolder(entries).size <= 1;
  const volumes: NamedVolume[] = [];
  for (const [folder, files] of byFolder(images)) {
    // Where there is one folder, it is a case's if it has labels, too, or channels whose numbers are not those of a name.
    const canBeCase = !isAlone || labels.length > 0 || (channels > 1 && !areOfOneName(files));
    const isCase =
      folder !== '' && files.length === channels && canBeCase && !(await areWhole(files, channels));
    const found = isCase
      ? [{ name: '', files: inOrder(folder, files, names) }]
      : await grouped(files, channels);
    const isOnly = isCase || (!isAlone && folder !== '' && found.length === 1);
    const prefix = isCase || !isAlone ? folder : '';
    volumes.push(...found.map(({ name, files }) => ({ name: joined(prefix, isOnly ? '' : name), files })));
  }
  return { volumes, labels };
}

/**
 * Label maps by the name of their case, with the rules of `imagesByCase`: a folder below names the case of its only
 * file, or of the only one whose name says that it holds labels.
 */
export function labelsByCase(entries: readonly FileEntry[]): readonly NamedVolume[] {
  const folders = byFolder(entries);
  return [...folders].flatMap(([folder, files]) => {
    const labels = files.filter(({ path }) => looksLikeLabel(stemOf(path)));
    const own = files.length === 1 ? files : labels.length === 1 ? labels : undefined;
    if (own && folders.size > 1 && folder !== '') return [{ name: joined(folder, ''), files: own }];
    const prefix = folders.size > 1 ? folder : '';
    return files.map((file) => ({ name: joined(prefix, stemOf(file.path)), files: [file] }));
  });
}

/** Files of one name in several folders, named by those too: sub-1/scan is sub-1, of several there sub-1_scan. */
export const namedByFolder = (entries: readonly FileEntry[]): FileEntry[] =>
  [...byFolder(entries)].flatMap(([folder, files]) =>
    files.map(({ path, source }) => ({
      path: `${joined(folder, folder !== '' && files.length === 1 ? '' : stemOf(path))}.nii`,
      source,
    })),
  );

const byFolder = (entries: readonly FileEntry[]): Map<string, FileEntry[]> =>
  groupedBy(entries, ({ path }) => path.split('/').slice(0, -1).join('/'));

const joined = (folder: string, name: string): string =>
  [...folder.normalize('NFC').split('/'), name].filter(Boolean).join('_');

/**
 * The files of a case's folder in the order of the channels: each has a channel's name at the end of its own. As they
 * come, where these are not known, and where they are numbered.
 */
function inOrder(
  folder: string,
  files: readonly FileEntry[],
  names: readonly string[],
): readonly FileEntry[] {
  const stems = files.map(({ path }) => stemOf(path));
  if (areNumbered(stems) || files.length === 1 || names.length !== files.length) return files;
  const ends = names.map(words);
  const channelOf = (stem: string): number => {
    const all = words(stem);
    const lengths = ends.map((end) => (end.join(' ') === all.slice(-end.length).join(' ') ? end.length : 0));
    return Math.max(...lengths) === 0 ? -1 : lengths.indexOf(Math.max(...lengths));
  };
  const channels = stems.map(channelOf);
  const ordered = names.map((_, channel) => files[channels.indexOf(channel)]);
  if (new Set(channels).size === files.length && !channels.includes(-1)) return ordered as FileEntry[];
  throw new InvalidDataset(
    `Which channels the files in "${folder}" are cannot be told: they are named ${listed(stems)}, and the channels are, ` +
      `in this order, ${listed(names)}. Give the files these names, or the numbers ${numbered(folder, 0)}, ${numbered(folder, 1)} …`,
  );
}

const areNumbered = (stems: readonly string[]): boolean =>
  stems.every((stem, channel) => stem.endsWith(numbered('', channel)));

/** Whether files are NAME_0000, NAME_0001 … of one name. */
function areOfOneName(files: readonly FileEntry[]): boolean {
  const stems = files.map(({ path }) => stemOf(path));
  return areNumbered(stems) && new Set(stems.map(withoutChannel)).size === 1;
}

/** Whether files hold all of several channels each, by the first of them. */
async function areWhole([first]: readonly FileEntry[], channels: number): Promise<boolean> {
  if (channels === 1 || !first) return false;
  return readHeader(first.source).then(
    ({ shape }) => (shape[3] ?? 1) === channels,
    () => false, // told when its turn comes
  );
}

async function grouped(entries: readonly FileEntry[], channels: number): Promise<NamedVolume[]> {
  const single = entries.map((entry) => ({ name: stemOf(entry.path), files: [entry] }));
  if (channels === 1) {
    const isFirst = single.every(({ name }) => name.endsWith('_0000'));
    return isFirst ? single.map(({ name, files }) => ({ name: withoutChannel(name), files })) : single;
  }
  // A number at a name's end may be the case's own where each file holds all channels.
  if (await areWhole(entries, channels)) return single;
  return [...groupChannels(entries)].map(([name, files]) => ({ name, files }));
}
