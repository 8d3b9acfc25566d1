/** Data sets without a dataset.json: which of their volumes are labels, and of which images. */
import { InvalidDataset } from '../errors.ts';
import { groupedBy } from '../grouped.ts';
import { listed } from '../listed.ts';
import type { FileEntry, UnassignedCase } from './case.ts';
import {
  matchByFolder,
  matchByName,
  matchWhereAny,
  type FolderCases,
  type LeaveOut,
} from './dataset-match.ts';
import { looksLikeLabel, volumePattern } from './volume-names.ts';

/** Formats of volumes that are often found beside or instead of NIfTI. */
const otherVolumes = /\.(nii\.(bz2|zst|xz|zip)|mg[hz]|mnc|nrrd|nhdr|mh[ad]|dcm|np[yz]|h5|tiff?)$/i;

/** Folders of cases that are no part of a training, as nnU-Net names them. */
const isTest = (folder: string): boolean => /(images|labels)(Ts|Test)$/i.test(folder);

const folderOf = ({ path }: FileEntry): string => path.split('/').slice(0, -1).join('/');

/**
 * Cases of a folder of images and one of labels, each with folders below it or without; of a folder per case with one
 * label in it; or of labels anywhere whose names say that they are labels, and of which image.
 * @throws InvalidDataset if there is no case, or names do not match
 */
export function casesByLayout(entries: readonly FileEntry[], leaveOut?: LeaveOut): FolderCases {
  const volumes = entries.filter(({ path }) => volumePattern.test(path));
  const others = entries.filter(({ path }) => otherVolumes.test(path)).map(({ path }) => path);
  const unread =
    others.length > 0
      ? ` ${others.length} file(s) of other formats are not read: ${listed(others)}; convert them.`
      : '';
  if (volumes.length === 0)
    throw new InvalidDataset(
      `Found no dataset.json and no NIfTI file among ${entries.length} files; give a folder with images and labels.${unread}`,
    );
  const folders = groupedBy(volumes, folderOf);
  const training = [...folders.keys()].filter((folder) => !isTest(folder));
  const labels = training.filter(looksLikeLabel);
  const images = training.filter((folder) => !looksLikeLabel(folder));
  const isPair = labels.length === 1 && images.length === 1;
  const bySide = isPair
    ? matchByName(folders.get(images[0]!)!, folders.get(labels[0]!)!, leaveOut)
    : matchSides(volumes, leaveOut);
  if (bySide) return { cases: bySide, channels: [] };
  const byFolder = matchByFolder(folders, leaveOut);
  if (byFolder) return byFolder;
  const byWord = matchByWord(volumes, leaveOut);
  if (byWord) return { cases: byWord, channels: [] };
  const named = [...folders.keys()].filter((folder) => folder !== '');
  const loose = folders.get('')?.length ?? 0;
  const found = [
    ...(loose > 0 ? [`${loose} volume(s) in no folder of their own`] : []),
    ...(named.length > 0 ? [`the folders ${listed(named)}`] : []),
  ];
  throw new InvalidDataset(
    'Expected one folder of images and one of labels, or a folder per case with one label in it; found ' +
      `${found.join(' and ')}. Name them "images" and "labels", or give both by name; join several masks of a case ` +
      `into one.${unread}`,
  );
}

/** Cases of images/CASE/… and labels/CASE/…; undefined where the files do not lie in two such folders. */
function matchSides(volumes: readonly FileEntry[], leaveOut?: LeaveOut): UnassignedCase[] | undefined {
  const tops = groupedBy(volumes, ({ path }) => path.split('/')[0]!);
  const within = (top: string): FileEntry[] =>
    tops.get(top)!.map(({ path, source }) => ({ path: path.slice(top.length + 1), source }));
  const isFolder = volumes.every(({ path }) => path.includes('/'));
  const names = [...tops.keys()].filter((top) => !isTest(top));
  const [images, labels] = [names.filter((top) => !looksLikeLabel(top)), names.filter(looksLikeLabel)];
  if (!isFolder || images.length !== 1 || labels.length !== 1) return undefined;
  return matchByName(within(images[0]!), within(labels[0]!), leaveOut);
}

/**
 * Cases of labels that say so in their names or those of folders, beside their images or in a tree like theirs
 * (derivatives/labels/sub-1/…, as BIDS has it). Undefined where no label has its image, and where folders make a
 * split (train/…, test/…), of which only the person knows the parts.
 */
function matchByWord(volumes: readonly FileEntry[], leaveOut?: LeaveOut): UnassignedCase[] | undefined {
  const known = volumes.filter((file) => !isTest(folderOf(file)));
  const parts = known.flatMap((file) => folderOf(file).match(/(?<![a-z])(train|val|test)/gi) ?? []);
  if (new Set(parts.map((part) => part.toLowerCase())).size > 1) return undefined;
  const isLabel = ({ path }: FileEntry): boolean => looksLikeLabel(path);
  return matchWhereAny(
    belowCommon(known.filter((file) => !isLabel(file))),
    belowCommon(known.filter(isLabel)),
    leaveOut,
  );
}

/** Files with their paths from the deepest folder that all of them lie in. */
function belowCommon(files: readonly FileEntry[]): FileEntry[] {
  const folders = files.map((file) => folderOf(file).split('/'));
  let depth = 0;
  while (
    folders.length > 0 &&
    folders.every((parts) => depth < parts.length && parts[depth] === folders[0]![depth])
  )
    depth++;
  return files.map(({ path, source }) => ({
    path: path
      .split('/')
      .slice(Math.min(depth, path.split('/').length - 1))
      .join('/'),
    source,
  }));
}
