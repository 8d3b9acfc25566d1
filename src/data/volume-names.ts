/** What the names of files say: which hold a volume, whose it is, and which are channels of one image. */
import { InvalidDataset } from '../errors.ts';
import { groupedBy } from '../grouped.ts';
import { listed } from '../listed.ts';
import { assertValue } from '../options.ts';
import { text } from '../schema.ts';
import type { FileEntry } from './case.ts';

/** Names of files that hold a volume; the .img of a .hdr/.img pair is found through its header. */
export const volumePattern = /\.(nii|hdr)(\.gz)?$/i;

/** What `predict --uncertainty` appends to the name of a result, for the map that it writes beside it. */
export const uncertaintySuffix = '_uncertainty';

/** Volumes without the maps of uncertainty that lie beside what they belong to. */
export function withoutUncertainty<File extends { readonly path: string }>(volumes: readonly File[]): File[] {
  const pattern = new RegExp(`${uncertaintySuffix}(?=\\.(nii|hdr)(\\.gz)?$)`, 'i');
  const paths = new Set(volumes.map(({ path }) => path));
  return volumes.filter(({ path }) => !pattern.test(path) || !paths.has(path.replace(pattern, '')));
}

/**
 * File name without folders and without the endings of a volume, its letters composed (NFC), as people compare them.
 * @throws InvalidOption for what is no text
 */
export function stemOf(path: string): string {
  assertValue('stemOf', text, path);
  const name = path.split('/').at(-1) ?? path;
  return name.replace(/\.(nii|hdr|img)(\.gz)?$/i, '').normalize('NFC');
}

/** A stem with the number of a channel, as nnU-Net appends it. */
export const numbered = (stem: string, channel: number): string =>
  `${stem}_${String(channel).padStart(4, '0')}`;

const word = /\p{N}+|[^\p{N}\p{P}\p{Z}\p{Cc}]+/gu;

/** Runs of digits, and of whatever else is neither punctuation nor space, in any script. */
export const words = (name: string): string[] => name.toLowerCase().match(word) ?? [];

/** A name without so many of its words at the beginning. */
export function withoutWords(name: string, count: number): string {
  const next = [...name.matchAll(word)][count];
  return next ? name.slice(next.index) : '';
}

/** A stem without the number of a channel, as nnU-Net appends it. */
export const withoutChannel = (stem: string): string => stem.replace(/_\d{4}$/, '');

/** Whether a name, or the folder in a path, says that a file holds labels. @throws InvalidOption for what is no text */
export function looksLikeLabel(path: string): boolean {
  assertValue('looksLikeLabel', text, path);
  return /label|mask|segm|annotation|ground.?truth|(^|[^a-z])(d?segs?|gts?|truths?)([^a-z]|$)/i.test(path);
}

/**
 * Finds for each of some names the one of `known` that means the same case: itself, or one of the two with the number
 * of the first channel (CASE_0000 and CASE); undefined where there is none, or it is another's.
 */
export function sameCase(names: readonly string[], known: readonly string[]): (string | undefined)[] {
  const all = new Set(known);
  const taken = new Set(names.filter((name) => all.has(name)));
  const bare = (name: string): string => name.replace(/_0000$/, '');
  const free = new Map(known.filter((name) => !taken.has(name)).map((name) => [bare(name), name]));
  return names.map((name) => (all.has(name) ? name : free.get(bare(name))));
}

/** Stem to files: one file each, or the channels NAME_0000, NAME_0001 … in order. */
export function groupChannels(images: readonly FileEntry[]): Map<string, FileEntry[]> {
  const groups = groupedBy(images, ({ path }) => withoutChannel(stemOf(path)));
  for (const [stem, files] of groups)
    files.forEach((file, channel) => {
      const expected = numbered(stem, channel);
      if (stemOf(file.path) !== expected && !(files.length === 1 && stemOf(file.path) === stem))
        throw new InvalidDataset(
          `Image "${stem}" has the channel files ${listed(files.map(({ path }) => path))}; expected them to be ` +
            `numbered from ${stem}_0000 without gaps.`,
        );
    });
  return groups;
}
