/** Finds which label belongs to which image by their file names, and which files are channels of one image. */
import { InvalidDataset } from '../errors.ts';
import type { FileEntry, UnassignedCase } from './dataset.ts';

/** Names of files that hold a volume; the .img of a .hdr/.img pair is found through its header. */
export const volumePattern = /\.(nii|hdr)(\.gz)?$/i;

/** File name without folders and without the endings of a volume. */
export function stemOf(path: string): string {
  return (path.split('/').at(-1) ?? path).replace(volumePattern, '');
}

/** At most ten names, quoted, and how many more there are. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, 10).map((name) => `"${name}"`);
  return shown.join(', ') + (names.length > 10 ? ` and ${names.length - 10} more` : '');
}

/** Stem to files: one file each, or the channels NAME_0000, NAME_0001 … in order. */
export function groupChannels(images: readonly FileEntry[]): Map<string, FileEntry[]> {
  const groups = new Map<string, FileEntry[]>();
  for (const entry of images) {
    const stem = stemOf(entry.path).replace(/_\d{4}$/, '');
    groups.set(stem, [...(groups.get(stem) ?? []), entry]);
  }
  for (const [stem, files] of groups)
    files.forEach((file, channel) => {
      const expected = `${stem}_${String(channel).padStart(4, '0')}`;
      if (stemOf(file.path) !== expected && !(files.length === 1 && stemOf(file.path) === stem))
        throw new InvalidDataset(
          `Image "${stem}" has the channel files ${listed(files.map(({ path }) => path))}; expected them to be ` +
            `numbered from ${stem}_0000 without gaps.`,
        );
    });
  return groups;
}

/**
 * Names without the words that tell an image from a label: words found in every name of one side and
 * in no name of the other ("SEMANTIC", "img", "seg"). Numbers are never dropped.
 */
function keys(mine: readonly string[], others: readonly string[]): string[] {
  const words = (name: string): string[] => name.toLowerCase().match(/[a-z]+|\d+/g) ?? [];
  const theirs = new Set(others.flatMap(words));
  const split = mine.map(words);
  const dropped = (word: string): boolean =>
    !/\d/.test(word) && !theirs.has(word) && split.every((list) => list.includes(word));
  return split.map((list) => list.filter((word) => !dropped(word)).join(' '));
}

/**
 * Cases of images and labels: equal names, else NAME_0000 … channels with a label NAME, else equal names
 * up to a word that all images or all labels share (Case_004_LFOV and Case_004_SEMANTIC_LFOV).
 * @throws InvalidDataset that lists every image without a label and every label without an image
 */
export function matchByName(images: readonly FileEntry[], labels: readonly FileEntry[]): UnassignedCase[] {
  const labelStems = labels.map(({ path }) => stemOf(path));
  const imageStems = images.map(({ path }) => stemOf(path));
  for (const stems of [imageStems, labelStems]) {
    const twice = stems.filter((stem, index) => stems.indexOf(stem) !== index);
    if (twice.length > 0)
      throw new InvalidDataset(`Several files have the name ${listed(twice)}; keep one of each.`);
  }
  const known = new Set(labelStems);
  const plain =
    imageStems.some((stem) => known.has(stem)) || !imageStems.every((stem) => /_\d{4}$/.test(stem));
  const single = new Map(images.map((entry) => [stemOf(entry.path), [entry]]));
  let groups = single;
  if (!plain) {
    const channels = groupChannels(images);
    if ([...channels.keys()].some((stem) => known.has(stem))) groups = channels;
  }

  const ids = [...groups.keys()];
  const exact = ids.some((id) => known.has(id));
  const imageKeys = exact ? ids : keys(ids, labelStems);
  const labelKeys = exact ? labelStems : keys(labelStems, ids);
  const unique = (key: string, list: readonly string[]): boolean =>
    list.indexOf(key) === list.lastIndexOf(key);

  const cases: UnassignedCase[] = [];
  const withoutLabel: string[] = [];
  const used = new Set<number>();
  ids.forEach((id, index) => {
    const key = imageKeys[index]!;
    const found = labelKeys.indexOf(key);
    if (found < 0 || !unique(key, imageKeys) || !unique(key, labelKeys)) return withoutLabel.push(id);
    used.add(found);
    return cases.push({
      id,
      images: groups.get(id)!.map(({ source }) => source),
      label: labels[found]!.source,
    });
  });
  const withoutImage = labelStems.filter((_, index) => !used.has(index));
  if (withoutLabel.length > 0 || withoutImage.length > 0) {
    const parts: string[] = [];
    if (withoutLabel.length > 0)
      parts.push(`${withoutLabel.length} image(s) without a label: ${listed(withoutLabel)}`);
    if (withoutImage.length > 0)
      parts.push(`${withoutImage.length} label(s) without an image: ${listed(withoutImage)}`);
    throw new InvalidDataset(`Names do not match: ${parts.join('; ')}. Give each pair the same name.`);
  }
  return cases;
}
