/** Data sets beside each other: joined into one, and label folders that compete for the same images. */
import {
  InvalidDataset,
  looksLikeLabel,
  type Case,
  type Dataset,
  type FileEntry,
  type Region,
} from 'unet3d-gpu/worker';
import { unknownVoxel } from './annotate/drawing.ts';
import { nameless, valuesApart } from './state.ts';

const isUnlabelled = ({ cases }: Dataset): boolean => !cases.some(({ label }) => label);

/** Whether a value of unknown voxels is certainly none of a class: 255 never is. */
const isFree = (value: number, { labels }: Dataset): boolean =>
  value === unknownVoxel || (labels.length > 0 && value >= labels.length);

/** The value that unknown voxels of a data set, `own`, are to have where it is added to another. */
export function unknownBeside(first: Dataset, own: number): number {
  if (isUnlabelled(first)) return own;
  return first.ignoreLabel ?? (isFree(own, first) ? own : unknownVoxel);
}

const disagree = (some: readonly string[], others: readonly string[]): boolean =>
  some.length > 0 &&
  others.length > 0 &&
  (some.length !== others.length ||
    some.some((name, at) => name !== others[at] && !nameless.test(name) && !nameless.test(others[at]!)));

/** Why a data set cannot be added to another that is not learnt as the same regions. */
function differentRegions(first: Dataset, second: Dataset): InvalidDataset {
  const refusal = `${second.name} cannot be added to ${first.name}`;
  const told = ({ name, labels, written }: Region): string =>
    `${name} (the label${labels.length === 1 ? '' : 's'} ${labels.join(', ')}, written as ${written})`;
  const [a, b] = [first, second].map(({ regions }) => regions?.map(told).join(', ')) as [string?, string?];
  if (a !== undefined && b !== undefined)
    return new InvalidDataset(
      `${refusal}: the dataset.json of ${first.name} defines the regions ${a}, that of ${second.name} ${b}. Define the same in both, or replace the one by the other.`,
    );
  const [withRegions, without] = a === undefined ? [second, first] : [first, second];
  return new InvalidDataset(
    `${refusal}: ${withRegions.name} is to be learnt as regions, which may overlap, as its dataset.json says: ${a ?? b}. ${without.name} defines none, so that each of its voxels is of one class, and a network learns the one or the other. Define the same regions in a dataset.json of ${without.name}, or replace the one by the other.`,
  );
}

/**
 * One data set of two; cases whose names are taken have the name of their data set before their own. Labels of which
 * all is known go beside others with unknown voxels.
 * @param called what their classes are called by now, also by hand: what both dataset.json call alike may have two names
 * @throws InvalidDataset if equal values mean different things in the two
 */
export function joined(
  first: Dataset,
  second: Dataset,
  called: readonly [readonly string[], readonly string[]],
): Dataset {
  const differ = (what: string, a: string, b: string): InvalidDataset =>
    new InvalidDataset(
      `${second.name} cannot be added to ${first.name}: ${what} are ${a} in ${first.name} and ${b} in ${second.name}. Bring them into agreement, or replace the one by the other.`,
    );
  // Images without labels take over what the labels of the others mean.
  const [one, other] = [isUnlabelled(first) ? second : first, isUnlabelled(second) ? first : second];
  if (JSON.stringify(one.regions ?? []) !== JSON.stringify(other.regions ?? []))
    throw differentRegions(first, second);
  for (const what of ['labels', 'channels'] as const) {
    const [a, b] = [first[what], second[what]];
    if (disagree(a, b)) throw differ(what === 'labels' ? 'classes' : 'channels', a.join(', '), b.join(', '));
  }
  const isAlike = (value: number): boolean =>
    first.labels[value] !== undefined && first.labels[value] === second.labels[value];
  if (!valuesApart(...called).every(isAlike))
    throw differ('classes', called[0].join(', '), called[1].join(', '));
  const ignoreLabel = one.ignoreLabel ?? other.ignoreLabel;
  for (const set of [one, other])
    if (ignoreLabel !== undefined && set.ignoreLabel !== ignoreLabel && !isFree(ignoreLabel, set))
      throw new InvalidDataset(
        `${second.name} cannot be added to ${first.name}: unknown voxels are ${ignoreLabel} there, which may be a class of ${set.name}. Save unknown voxels as ${unknownVoxel}, or replace the one by the other.`,
      );
  const before = new Set(first.cases.map(({ id }) => id));
  const taken = new Set([...before, ...second.cases.map(({ id }) => id)]);
  const added = second.cases.map((item): Case => {
    if (!before.has(item.id)) return item;
    let id = `${second.name}_${item.id}`;
    for (let again = 2; taken.has(id); again++) id = `${second.name}_${again}_${item.id}`;
    taken.add(id);
    return { ...item, id, subject: item.subject === item.id ? id : `${second.name}_${item.subject}` };
  });
  const either = (what: 'labels' | 'channels'): readonly string[] => {
    const [names, others] = first[what].length > 0 ? [first[what], second[what]] : [second[what], []];
    return names.map((name, at) => (nameless.test(name) ? (others[at] ?? name) : name));
  };
  return {
    ...one,
    ...(ignoreLabel !== undefined && { ignoreLabel }),
    name: `${first.name} and ${second.name}`,
    cases: [...first.cases, ...added],
    labels: either('labels'),
    channels: either('channels'),
    warnings: [...first.warnings, ...second.warnings],
  };
}

/** The part of a path up to the folder whose name says that labels lie in it, and the rest. */
function sideOf(path: string): readonly [side: string, rest: string] | undefined {
  const parts = path.split('/');
  const at = parts.slice(0, -1).findIndex(looksLikeLabel);
  return at < 0 ? undefined : [parts.slice(0, at + 1).join('/'), parts.slice(at + 1).join('/')];
}

/** Folders of labels that hold labels of the same names, so that an image would have several; with how many each holds. */
export function rivals(volumes: readonly FileEntry[]): ReadonlyMap<string, number> {
  const sides = new Map<string, Set<string>>();
  for (const { path } of volumes) {
    const found = sideOf(path);
    if (found) sides.set(found[0], (sides.get(found[0]) ?? new Set()).add(found[1]));
  }
  const times = new Map<string, number>();
  for (const names of sides.values()) for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
  const competes = (names: ReadonlySet<string>): boolean => [...names].some((name) => times.get(name)! > 1);
  return new Map([...sides].filter(([, names]) => competes(names)).map(([side, { size }]) => [side, size]));
}

/** Without the volumes of some folders of labels. */
export const withoutSides = (files: readonly FileEntry[], sides: readonly string[]): FileEntry[] =>
  files.filter(({ path }) => !sides.some((side) => path.startsWith(`${side}/`)));

/** The folder that all files came in, if they came in one. */
export function commonFolder(files: readonly FileEntry[]): string | undefined {
  const tops = new Set(files.map(({ path }) => (path.includes('/') ? path.split('/')[0] : undefined)));
  return tops.size === 1 ? [...tops][0] : undefined;
}
