/** Finds which label belongs to which image by their file names. */
import { InvalidDataset } from '../errors.ts';
import { groupedBy } from '../grouped.ts';
import { listed } from '../listed.ts';
import type { FileEntry, UnassignedCase } from './case.ts';
import {
  groupChannels,
  looksLikeLabel,
  stemOf,
  withoutChannel,
  withoutWords,
  words,
} from './volume-names.ts';
import { namedByFolder } from './volumes-by-case.ts';

/** Words that say what a file holds, and nothing of whose it is. */
const roles = new Set(
  (
    'img imgs image images imaging im scan scans vol volume volumes data raw orig original input mr mri ct ' +
    'label labels lbl seg segs segm segment segmentation segmentations mask masks gt ground truth groundtruth manual ' +
    'annotation annotations roi contour contours target semantic'
  ).split(' '),
);

/**
 * What identifies each of some names: their words without those that tell an image from a label, which are found
 * in every name of one side and in no name of the other ("SEMANTIC", "img", "seg"). Numbers are never dropped.
 */
function identifiers(
  mine: readonly string[],
  others: readonly string[],
): { keys: string[]; dropped: string[] } {
  const split = mine.map(words);
  const theirs = new Set(others.flatMap(words));
  const shared = split
    .map((list) => new Set(list))
    .reduce((a, b) => new Set([...a].filter((word) => b.has(word))), new Set(split[0]));
  const dropped = [...shared].filter((word) => !/\p{N}/u.test(word) && !theirs.has(word));
  return { keys: split.map((list) => list.filter((word) => !dropped.includes(word)).join(' ')), dropped };
}

/** Images by name, one file each or their channels, beside labels. */
interface Matching {
  readonly pairs: readonly { readonly id: string; readonly label: FileEntry }[];
  /** Images and labels that belong to nothing, and names that could belong to several. */
  readonly alone: readonly [images: string[], labels: string[]];
  readonly ambiguous: readonly string[];
}

/** Pairs of equal keys, where a key names one image and one label. */
function pairUp(
  ids: readonly string[],
  idKeys: readonly string[],
  labels: readonly FileEntry[],
  labelKeys: readonly string[],
): Matching {
  const places = (keys: readonly string[]): Map<string, number[]> => groupedBy(keys.keys(), (at) => keys[at]);
  const [images, truths] = [places(idKeys), places(labelKeys)];
  const pairs: { id: string; label: FileEntry }[] = [];
  const alone: [string[], string[]] = [[], []];
  const ambiguous: string[] = [];
  for (const [key, here] of images) {
    const there = truths.get(key) ?? [];
    if (there.length === 0) alone[0].push(...here.map((at) => ids[at]!));
    else if (here.length > 1 || there.length > 1)
      ambiguous.push(...here.map((at) => ids[at]!), ...there.map((at) => stemOf(labels[at]!.path)));
    else pairs.push({ id: ids[here[0]!]!, label: labels[there[0]!]! });
  }
  for (const [key, there] of truths)
    if (!images.has(key)) alone[1].push(...there.map((at) => stemOf(labels[at]!.path)));
  return { pairs, alone, ambiguous };
}

/** What tells volumes of BIDS apart: labels have the same, and others such as label- and desc- besides. */
const bidsEntities = /^(sub|ses|task|acq|ce|rec|dir|run|echo|part|inv)-/;

/** The entities of BIDS in some names (sub-01_ses-2_T1w, sub-01_ses-2_dseg); undefined where one has another form. */
function bidsKeys(names: readonly string[]): string[] | undefined {
  if (!names.every((name) => /^sub-[^_]+_/.test(name))) return undefined;
  return names.map((name) =>
    name
      .split('_')
      .filter((part) => bidsEntities.test(part))
      .join('_'),
  );
}

/** Pairs by what identifies the names; none where all that they have in common is a number. */
function byIdentifier(
  ids: readonly string[],
  labels: readonly FileEntry[],
  isComplete: (found: Matching) => boolean,
): Matching {
  const stems = labels.map(({ path }) => stemOf(path));
  const bids = [bidsKeys(ids), bidsKeys(stems)] as const;
  const told = bids[0] && bids[1] && pairUp(ids, bids[0], labels, bids[1]);
  if (told && isComplete(told)) return told;
  const [image, label] = [identifiers(ids, stems), identifiers(stems, ids)];
  const found = pairUp(ids, image.keys, labels, label.keys);
  const isRole = (dropped: readonly string[]): boolean => dropped.every((word) => roles.has(word));
  // Where one side has no word of its own, its whole name is in the other's.
  const isWhole = image.dropped.length === 0 || label.dropped.length === 0;
  const isKnown = isRole(image.dropped) && isRole(label.dropped);
  const hasLetters = image.keys.every((key) => /[^\p{N} ]/u.test(key));
  if (isWhole || isKnown || (hasLetters && isRole(label.dropped))) return found;
  return { pairs: [], alone: [[...ids], stems], ambiguous: [] };
}

const hasAll = ({ alone, ambiguous }: Matching): boolean => [...alone.flat(), ...ambiguous].length === 0;

const hasAllLabels = ({ alone: [, labels], ambiguous }: Matching): boolean =>
  [...labels, ...ambiguous].length === 0;

/**
 * Takes down the names of images without a label, which are then left out; without it, they are refused. It may be told
 * of one several times.
 */
export type LeaveOut = (image: string) => void;

/**
 * Cases of images and labels: equal names, else NAME_0000 … channels with a label NAME, else equal names
 * up to a word that all images or all labels share (Case_004_LFOV and Case_004_SEMANTIC_LFOV).
 * @throws InvalidDataset that lists every image without a label, every label without an image, and what is ambiguous
 */
export function matchByName(
  imageFiles: readonly FileEntry[],
  labelFiles: readonly FileEntry[],
  leaveOut?: LeaveOut,
): UnassignedCase[] {
  return casesOf(matching(imageFiles, labelFiles, leaveOut), leaveOut);
}

/** As matchByName; undefined where no label has its image. */
export function matchWhereAny(
  imageFiles: readonly FileEntry[],
  labelFiles: readonly FileEntry[],
  leaveOut?: LeaveOut,
): UnassignedCase[] | undefined {
  const found = matching(imageFiles, labelFiles, leaveOut);
  return found.pairs.length > 0 ? casesOf(found, leaveOut) : undefined;
}

interface GroupedMatching extends Matching {
  /** Files of each image by its name. */
  readonly groups: ReadonlyMap<string, readonly FileEntry[]>;
  /** What is wrong with the numbers of channels, if these are what keeps names apart. */
  readonly gaps: InvalidDataset | undefined;
}

function casesOf({ groups, gaps, ...found }: GroupedMatching, leaveOut?: LeaveOut): UnassignedCase[] {
  if (!hasAll(found) && gaps) throw gaps;
  const [images, labels] = found.alone;
  if (leaveOut) images.forEach(leaveOut);
  refuse(leaveOut ? { ...found, alone: [[], labels] } : found);
  return found.pairs.map(({ id, label }) => ({
    id,
    images: groups.get(id)!.map(({ source }) => source),
    label: label.source,
  }));
}

/** @throws InvalidDataset if several files have one name */
function matching(
  imageFiles: readonly FileEntry[],
  labelFiles: readonly FileEntry[],
  leaveOut: LeaveOut | undefined,
): GroupedMatching {
  const isComplete = leaveOut ? hasAllLabels : hasAll;
  const [images, labels] = [imageFiles, labelFiles].map(toldApart) as [
    readonly FileEntry[],
    readonly FileEntry[],
  ];
  const labelStems = labels.map(({ path }) => stemOf(path));
  const imageStems = images.map(({ path }) => stemOf(path));
  for (const stems of [imageStems, labelStems]) {
    const once = new Set<string>();
    const twice = stems.filter((stem) => once.size === once.add(stem).size);
    if (twice.length > 0)
      throw new InvalidDataset(`Several files have the name ${listed(twice)}; keep one of each.`);
  }
  const known = new Set(labelStems);
  const groupings = [new Map(images.map((entry) => [stemOf(entry.path), [entry]]))];
  let gaps: InvalidDataset | undefined;
  if (imageStems.some((stem) => /_\d{4}$/.test(stem)))
    try {
      groupings.push(groupChannels(images));
    } catch (error) {
      gaps = error as InvalidDataset; // unless the numbers are those of cases
    }
  const chosen = groupings.find((groups) => [...groups.keys()].some((id) => known.has(id)));
  const ways = (chosen ? [chosen] : groupings).map((groups) => {
    const ids = [...groups.keys()];
    return {
      groups,
      ...(chosen ? pairUp(ids, ids, labels, labelStems) : byIdentifier(ids, labels, isComplete)),
    };
  });
  const best = ways.find(isComplete) ?? ways[0]!;
  return { ...best, gaps: imageStems.some((stem) => known.has(withoutChannel(stem))) ? gaps : undefined };
}

/** Files whose names repeat in several folders go by those as well. */
function toldApart(files: readonly FileEntry[]): readonly FileEntry[] {
  const isDistinct = new Set(files.map(({ path }) => stemOf(path))).size === files.length;
  const folders = new Set(files.map(({ path }) => path.split('/').slice(0, -1).join('/')));
  return isDistinct || folders.size === 1 ? files : namedByFolder(files);
}

function refuse({ alone: [images, labels], ambiguous }: Matching): void {
  const parts: string[] = [];
  if (images.length > 0) parts.push(`${images.length} image(s) without a label: ${listed(images)}`);
  if (labels.length > 0) parts.push(`${labels.length} label(s) without an image: ${listed(labels)}`);
  if (ambiguous.length > 0)
    parts.push(`${ambiguous.length} name(s) that could belong to several: ${listed(ambiguous)}`);
  if (parts.length > 0)
    throw new InvalidDataset(`Names do not match: ${parts.join('; ')}. Give each pair the same name.`);
}

/** Cases, and what the files of their images are called, where there are several with names. */
export interface FolderCases {
  readonly cases: UnassignedCase[];
  readonly channels: readonly string[];
}

/**
 * Cases of a folder each, which holds one label, named as such, and the images: one, or channels that all folders
 * name alike (BraTS_001/BraTS_001_flair, …_t1, …_seg). Undefined where the folders are not of that kind.
 * @throws InvalidDataset that lists the folders whose channels are others than those of the first
 */
export function matchByFolder(
  folders: ReadonlyMap<string, readonly FileEntry[]>,
  leaveOut?: LeaveOut,
): FolderCases | undefined {
  const bare: string[] = [];
  const cases: (UnassignedCase & { readonly channels: readonly string[] })[] = [];
  for (const [folder, files] of folders) {
    const labels = files.filter(({ path }) => looksLikeLabel(stemOf(path)));
    const images = files.filter((file) => !labels.includes(file));
    if (leaveOut && folder !== '' && labels.length === 0) {
      bare.push(folder);
      continue;
    }
    if (folder === '' || labels.length !== 1 || images.length === 0) return undefined;
    const own = words(folder.split('/').at(-1)!);
    const channels = images.map(({ path }) => {
      const stem = stemOf(path);
      const isOwn = own.every((word, at) => words(stem)[at] === word);
      return isOwn ? withoutWords(stem, own.length) : stem;
    });
    const id = folder.replaceAll('/', '_');
    cases.push({
      id,
      images: images.map(({ source }) => source),
      label: labels[0]!.source,
      channels,
    });
  }
  const [first] = cases;
  if (!first) return undefined;
  bare.forEach((folder) => leaveOut!(folder));
  const kinds = ({ channels }: typeof first): string => channels.map((name) => words(name).join(' ')).join();
  const other = cases.filter((item) => kinds(item) !== kinds(first));
  if (other.length > 0)
    throw new InvalidDataset(
      `The folders ${listed(other.map(({ id }) => id))} hold other images than "${first.id}" ` +
        `(${first.channels.join(', ')}); give every case the same channels under the same names.`,
    );
  const areNames = first.channels.length > 1 && first.channels.every((name) => name !== '');
  return {
    cases: cases.map(({ channels: _channels, ...item }) => item),
    channels: areNames ? first.channels : [],
  };
}
