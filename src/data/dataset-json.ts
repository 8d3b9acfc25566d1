/**
 * Reads dataset.json of the Medical Segmentation Decathlon ("labels": {"0": "background"}, "training" list)
 * and of nnU-Net v2 ("labels": {"background": 0}, "channel_names", "file_ending"), and finds their files.
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { namesUnder, readJson } from '../json.ts';
import { openObject, repeated, text } from '../schema.ts';
import { listed as quoted } from '../listed.ts';
import { labelCount, labelNames, readRegions, type Region } from './regions.ts';
import type { LeaveOut } from './dataset-match.ts';
import { groupChannels, numbered, stemOf, volumePattern } from './volume-names.ts';
import type { FileEntry, UnassignedCase } from './case.ts';
import type { Source } from './source.ts';

/** Files of a case as dataset.json lists them, with the name of the case where it tells one. */
interface ListedCase {
  readonly id?: string;
  readonly images: readonly string[];
  readonly label: string;
}

/** What both kinds of dataset.json say. */
export interface Description {
  readonly name: string | undefined;
  /** Names by label value. */
  readonly labels: readonly string[];
  /** What is to be found, where that overlaps. */
  readonly regions: readonly Region[] | undefined;
  readonly channels: readonly string[];
  readonly ignoreLabel: number | undefined;
  /** Image and label paths, as far as the file lists them (Decathlon, and nnU-Net's "dataset" entry). */
  readonly training: readonly ListedCase[];
  /** Whether it is nnU-Net's, which goes by the folders and leaves a "training" list of the Decathlon unread. */
  readonly isByFolder: boolean;
  /** nnU-Net's "file_ending". */
  readonly fileEnding: string | undefined;
}

const fail = (what: string): never => {
  throw new InvalidDataset(`dataset.json ${what}`);
};

const file = v.pipe(text, v.minLength(1, 'the name of a file'));
const files = v.union([file, v.array(file)], 'the name of a file, or a list of them');
const names = v.union(
  [v.record(v.string(), v.union([text, v.number()])), v.array(text)],
  'names of channels such as {"0": "MRI"}',
);

/** Of both kinds, which have many keys besides: those are nobody's business here. */
export const descriptionSchema = openObject({
  name: v.optional(v.union([text, v.number()], 'a text')),
  labels: v.record(
    v.string(),
    v.union([text, v.number(), v.array(v.number())], 'a name or a value'),
    '{"0": "background", …} or {"background": 0, …}',
  ),
  regions_class_order: v.optional(v.nullable(v.array(v.number(), 'a list of labels'))),
  channel_names: v.optional(names),
  modality: v.optional(names),
  file_ending: v.optional(text),
  training: v.optional(
    v.array(openObject({ image: files, label: file }), 'a list of {"image": …, "label": …}'),
  ),
  dataset: v.optional(
    v.record(
      v.string(),
      openObject({ images: files, label: file }),
      'an object of images and labels by case',
    ),
  ),
});

/** @throws InvalidDataset that says which entry is missing or wrong */
export function readDescription(text: string): Description {
  const plain = text.replace(/^\uFEFF/, '');
  const json = readJson(plain, descriptionSchema, (problem) => {
    return new InvalidDataset(`dataset.json: ${problem}. Repair it, or remove it to match files by name.`);
  });
  const { name, file_ending: fileEnding, training = [], dataset = {} } = json;
  const listed = training.map(({ image, label }) => ({ images: [image].flat(), label }));
  const keyed = Object.entries(dataset).map(([id, { images, label }]) => ({
    id,
    ...{ images: [images].flat(), label },
  }));
  return {
    name: name === undefined ? undefined : String(name),
    ...(Object.values(json.labels).some((value) => Array.isArray(value) && value.length > 1)
      ? readRegionLabels(json.labels, namesUnder(plain, 'labels'), json.regions_class_order)
      : { ...readLabels(json.labels), regions: undefined }),
    channels: Object.values(json.channel_names ?? json.modality ?? {}).map(String),
    training: keyed.length > 0 ? keyed : listed,
    isByFolder: keyed.length === 0 && fileEnding !== undefined && json.channel_names !== undefined,
    fileEnding,
  };
}

type Labels = v.InferOutput<typeof descriptionSchema>['labels'];

/** Some entries are lists: each entry but the background is a region. @param names as they are written */
function readRegionLabels(
  labels: Labels,
  names: readonly string[],
  order: readonly number[] | null | undefined,
): Pick<Description, 'labels' | 'regions' | 'ignoreLabel'> {
  const values = (name: string, value: Labels[string], most: number): number[] => {
    const found = [value].flat().map((written) => (String(written).trim() === '' ? NaN : Number(written)));
    if (found.length === 0 || !found.every((n) => Number.isInteger(n) && n >= 0 && n <= most))
      return fail(
        `gives the region "${name}" the labels ${JSON.stringify(value)}; expected some of 0 to ${most}.`,
      );
    return found;
  };
  const isBackground = (value: Labels[string]): boolean => [value].flat().join() === '0';
  const { ignore, ...named } = labels;
  const ignored = ignore === undefined ? [] : values('ignore', ignore, 255);
  if (ignored.length > 1) return fail(`gives "ignore" the values ${ignored.join(', ')}; expected one.`);
  const [ignoreLabel] = ignored;
  const inOrder = names.filter((name) => Object.hasOwn(named, name));
  const background = inOrder.find((name) => isBackground(named[name]!));
  const entries = inOrder
    .filter((name) => name !== background)
    .map((name) => ({ name, labels: values(name, named[name]!, 254) }));
  const regions = readRegions(entries, order, (problem) => new InvalidDataset(`dataset.json: ${problem}.`));
  const wrong = regions.find(({ written }) => !Number.isInteger(written) || written < 1 || written > 254);
  if (wrong)
    return fail(
      `writes the label ${wrong.written} for the region "${wrong.name}" (regions_class_order); expected 1 to 254.`,
    );
  const known = new Set([0, ...regions.flatMap(({ labels: of, written }) => [...of, written])]);
  const clash = regions.find(
    ({ labels: of, written }) => ignoreLabel !== undefined && [...of, written].includes(ignoreLabel),
  );
  if (clash)
    return fail(
      `gives the label ${ignoreLabel} to "${clash.name}" and "ignore"; give "ignore" one of its own.`,
    );
  const gap = Array.from({ length: labelCount(regions) }, (_, value) => value).find(
    (value) => !known.has(value) && value !== ignoreLabel,
  );
  if (gap !== undefined)
    return fail(`has no region with the label ${gap}; expected labels from 0 without gaps.`);
  const byValue = labelNames(regions, background);
  if (ignoreLabel !== undefined && ignoreLabel < byValue.length) byValue[ignoreLabel] = 'ignore';
  const twice = repeated(byValue);
  if (twice !== undefined) return fail(`names two labels "${twice}"; give each its own name.`);
  return { labels: byValue, regions, ignoreLabel };
}

function readLabels(labels: Labels): {
  labels: string[];
  ignoreLabel: number | undefined;
} {
  const byName = Object.keys(labels).some((key) => !/^\d+$/.test(key));
  const names: string[] = [];
  let ignoreLabel: number | undefined;
  for (const [key, value] of Object.entries(labels)) {
    const [name, written] = byName ? [key, [value].flat()[0]] : [String(value), key];
    const number = String(written).trim() === '' ? NaN : Number(written);
    const isUnknown = name === 'ignore';
    const most = isUnknown ? 255 : 254;
    if (!Number.isInteger(number) || number < 0 || number > most)
      return fail(`gives the class "${name}" the value ${JSON.stringify(written)}; expected 0 to ${most}.`);
    if (isUnknown && ignoreLabel !== undefined)
      return fail(`gives "ignore" the values ${ignoreLabel} and ${number}; expected one.`);
    if (isUnknown) ignoreLabel = number;
    else if (names[number] !== undefined)
      return fail(`gives the value ${number} to two classes, "${names[number]}" and "${name}".`);
    else names[number] = name;
  }
  if (ignoreLabel !== undefined && names[ignoreLabel] !== undefined)
    return fail(
      `gives the value ${ignoreLabel} to "${names[ignoreLabel]}" and "ignore"; give "ignore" one above the classes'.`,
    );
  const classes = Object.keys(names).length;
  if (ignoreLabel !== undefined && ignoreLabel < names.length) names[ignoreLabel] = 'ignore';
  const gap = Array.from(names).findIndex((name) => name === undefined);
  if (gap >= 0) return fail(`names no class for the value ${gap}; expected values from 0 without gaps.`);
  if (classes < 2) return fail(`names ${classes} class(es); expected background and at least one more.`);
  const twice = repeated(names);
  if (twice !== undefined)
    return fail(`names two classes "${twice}", which tables could not tell apart; give each its own name.`);
  return { labels: names, ignoreLabel };
}

/** A path inside a data set as files are compared: forward slashes, no "." or "..", letters composed (NFC). */
export function plainPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.replaceAll('\\', '/').split('/'))
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  return parts.join('/').normalize('NFC');
}

const isOutside = (path: string): boolean =>
  /^([a-z]:)?[\\/]|^\$/i.test(path) || plainPath(path).startsWith('..');

/** The file at a path as dataset.json writes it: absolute, or relative to it; undefined if there is none. */
export type Locate = (path: string) => Promise<Source | undefined>;

/**
 * Cases that dataset.json lists; an image X.nii.gz may also lie there as X_0000.nii.gz, X_0001.nii.gz …
 * @param locate finds files that are not among the entries; browsers have no such way
 */
export async function listedCases(
  listed: readonly ListedCase[],
  entries: readonly FileEntry[],
  locate?: Locate,
  leaveOut?: LeaveOut,
): Promise<UnassignedCase[]> {
  const byPath = new Map(entries.map((entry) => [entry.path, entry.source]));
  const find = async (path: string): Promise<Source | undefined> =>
    (isOutside(path) ? undefined : byPath.get(plainPath(path))) ?? (await locate?.(path));
  const missing: string[] = [];
  const require = (path: string, source: Source | undefined): Source[] => {
    if (source === undefined) missing.push(path);
    return source === undefined ? [] : [source];
  };
  const names = caseNames(listed);
  const cases: UnassignedCase[] = [];
  for (const [index, { images, label }] of listed.entries()) {
    const truth = await find(label);
    if (truth === undefined && leaveOut) {
      leaveOut(names[index]!);
      continue;
    }
    const sources: Source[] = [];
    for (const path of images) {
      const whole = await find(path);
      const channels = whole === undefined ? await channelsOf(path, find) : [];
      sources.push(...(channels.length > 0 ? channels : require(path, whole)));
    }
    for (const source of require(label, truth))
      cases.push({ id: names[index]!, images: sources, label: source });
  }
  const outside = locate ? [] : missing.filter(isOutside);
  if (outside.length > 0)
    return fail(
      `names ${outside.length} file(s) outside of the data set's folder: ${quoted(outside)}. A browser cannot open ` +
        'them: put the files into the folder, with paths relative to dataset.json, or use the command line.',
    );
  requireFiles(missing);
  return cases;
}

async function channelsOf(path: string, find: Locate): Promise<Source[]> {
  const channels: Source[] = [];
  for (;;) {
    const next = path.replace(/(\.nii(\.gz)?)$/i, `${numbered('', channels.length)}$1`);
    const source = next === path ? undefined : await find(next);
    if (source === undefined) return channels;
    channels.push(source);
  }
}

/** As dataset.json names the cases, else by the file of their label, or its folder where files have one name in all. */
function caseNames(listed: readonly ListedCase[]): string[] {
  const stems = listed.map(({ id, label }) =>
    id === undefined ? stemOf(plainPath(label)) : id.normalize('NFC'),
  );
  if (new Set(stems).size === stems.length || listed.some(({ id }) => id !== undefined)) return stems;
  const folders = listed.map(({ label }) => plainPath(label).split('/').at(-2) ?? '');
  return new Set(folders).size === folders.length ? folders : stems;
}

/**
 * Cases of imagesTr/CASE_0000.ENDING and labelsTr/CASE.ENDING; or, where every image has the very name of its label,
 * one file with all channels each.
 */
export function nnUNetCases(
  description: Description,
  entries: readonly FileEntry[],
  leaveOut?: LeaveOut,
): UnassignedCase[] {
  const ending = description.fileEnding ?? '.nii.gz';
  if (!volumePattern.test(ending))
    return fail(`has the file_ending "${ending}"; only NIfTI files can be read.`);
  const inside = (folder: string): FileEntry[] =>
    entries.filter(
      ({ path }) => path.startsWith(`${folder}/`) && path.toLowerCase().endsWith(ending.toLowerCase()),
    );
  const labels = inside('labelsTr');
  const ids = labels.map(({ path }) => stemOf(path));
  const whole = new Map(inside('imagesTr').map((file) => [stemOf(file.path), file]));
  const isWhole = whole.size > 0 && ids.every((id) => whole.has(id));
  if (isWhole && (leaveOut || whole.size === ids.length)) {
    if (leaveOut) [...whole.keys()].filter((id) => !ids.includes(id)).forEach(leaveOut);
    return labels.map(({ source }, at) => ({
      id: ids[at]!,
      images: [whole.get(ids[at]!)!.source],
      label: source,
    }));
  }
  const images = groupChannels(inside('imagesTr'));
  const missing: string[] = [];
  const cases = labels.map(({ source }, at): UnassignedCase => {
    const id = ids[at]!;
    const files = images.get(id) ?? [];
    const count = Math.max(description.channels.length, 1);
    for (let channel = files.length; channel < count; channel++)
      missing.push(`imagesTr/${numbered(id, channel)}${ending}`);
    if (files.length > count)
      throw new InvalidDataset(
        `Case "${id}" has ${files.length} channel files, dataset.json names ${count} channel(s).`,
      );
    return { id, images: files.map((file) => file.source), label: source };
  });
  const known = new Set(ids);
  const bare = [...images.keys()].filter((id) => !known.has(id));
  if (leaveOut) bare.forEach(leaveOut);
  else missing.push(...bare.map((id) => `labelsTr/${id}${ending}`));
  requireFiles(missing);
  return cases;
}

function requireFiles(missing: readonly string[]): void {
  if (missing.length > 0)
    throw new InvalidDataset(
      `${missing.length} file(s) that dataset.json names or implies are missing: ${quoted(missing)}.`,
    );
}
