/**
 * Reads dataset.json of the Medical Segmentation Decathlon ("labels": {"0": "background"}, "training" list)
 * and of nnU-Net v2 ("labels": {"background": 0}, "channel_names", "file_ending"), and finds their files.
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { readJson } from '../json.ts';
import { openObject, repeated, text } from '../schema.ts';
import { groupChannels, listed, stemOf, volumePattern } from './dataset-match.ts';
import type { FileEntry, UnassignedCase } from './dataset.ts';

/** What both kinds of dataset.json say. */
export interface Description {
  readonly name: string | undefined;
  readonly labels: readonly string[];
  readonly channels: readonly string[];
  readonly ignoreLabel: number | undefined;
  /** Image and label paths, where the file lists them (Decathlon, and nnU-Net's "dataset" entry). */
  readonly training: readonly { readonly images: readonly string[]; readonly label: string }[] | undefined;
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
  const json = readJson(text.replace(/^\uFEFF/, ''), descriptionSchema, (problem) => {
    return new InvalidDataset(`dataset.json: ${problem}. Repair it, or remove it to match files by name.`);
  });
  const { name, file_ending: fileEnding, training, dataset } = json;
  const listed = dataset && Object.values(dataset).map(({ images, label }) => ({ image: images, label }));
  return {
    name: name === undefined ? undefined : String(name),
    ...readLabels(json.labels),
    channels: Object.values(json.channel_names ?? json.modality ?? {}).map(String),
    training: (training ?? listed)?.map(({ image, label }) => ({ images: [image].flat(), label })),
    fileEnding,
  };
}

function readLabels(labels: v.InferOutput<typeof descriptionSchema>['labels']): {
  labels: string[];
  ignoreLabel: number | undefined;
} {
  const byName = Object.keys(labels).some((key) => !/^\d+$/.test(key));
  const names: string[] = [];
  let ignoreLabel: number | undefined;
  for (const [key, value] of Object.entries(labels)) {
    if (Array.isArray(value))
      return fail(`defines the region "${key}" as ${JSON.stringify(value)}; give one value per class.`);
    const [name, written] = byName ? [key, value] : [String(value), key];
    const number = String(written).trim() === '' ? NaN : Number(written);
    if (!Number.isInteger(number) || number < 0 || number > 254)
      return fail(`gives the class "${name}" the value ${JSON.stringify(written)}; expected 0 to 254.`);
    if (byName && name === 'ignore') ignoreLabel = number;
    else if (names[number] !== undefined)
      return fail(`gives the value ${number} to two classes, "${names[number]}" and "${name}".`);
    else names[number] = name;
  }
  const gap = Array.from(names).findIndex((name) => name === undefined);
  if (gap >= 0) return fail(`names no class for the value ${gap}; expected values from 0 without gaps.`);
  if (names.length < 2)
    return fail(`names ${names.length} class(es); expected background and at least one more.`);
  const twice = repeated(names);
  if (twice !== undefined)
    return fail(`names two classes "${twice}", which tables could not tell apart; give each its own name.`);
  return { labels: names, ignoreLabel };
}

const clean = (path: string): string => path.replaceAll('\\', '/').replace(/^(\.?\/)+/, '');

/** Cases of a "training" list; an image X.nii.gz may also lie there as X_0000.nii.gz, X_0001.nii.gz … */
export function decathlonCases(description: Description, entries: readonly FileEntry[]): UnassignedCase[] {
  const byPath = new Map(entries.map((entry) => [entry.path, entry.source]));
  const missing: string[] = [];
  const cases = (description.training ?? []).map((item): UnassignedCase => {
    const paths = item.images.map(clean).flatMap((path) => {
      if (byPath.has(path)) return [path];
      const channels: string[] = [];
      for (;;) {
        const next = path.replace(/(\.nii(\.gz)?)$/, `_${String(channels.length).padStart(4, '0')}$1`);
        if (next === path || !byPath.has(next)) return channels.length > 0 ? channels : [path];
        channels.push(next);
      }
    });
    const label = clean(item.label);
    missing.push(...[...paths, label].filter((path) => !byPath.has(path)));
    const id = stemOf(label);
    return { id, images: paths.map((path) => byPath.get(path)!), label: byPath.get(label)! };
  });
  requireFiles(missing);
  return cases;
}

/** Cases of imagesTr/CASE_0000.ENDING and labelsTr/CASE.ENDING. */
export function nnUNetCases(description: Description, entries: readonly FileEntry[]): UnassignedCase[] {
  const ending = description.fileEnding ?? '.nii.gz';
  if (!volumePattern.test(ending))
    return fail(`has the file_ending "${ending}"; only NIfTI files can be read.`);
  const inside = (folder: string): FileEntry[] =>
    entries.filter(({ path }) => path.startsWith(`${folder}/`) && path.endsWith(ending));
  const images = groupChannels(inside('imagesTr'));
  const labels = inside('labelsTr');
  const missing: string[] = [];
  const cases = labels.map(({ path, source }): UnassignedCase => {
    const id = stemOf(path);
    const files = images.get(id) ?? [];
    const count = Math.max(description.channels.length, 1);
    for (let channel = files.length; channel < count; channel++)
      missing.push(`imagesTr/${id}_${String(channel).padStart(4, '0')}${ending}`);
    if (files.length > count)
      throw new InvalidDataset(
        `Case "${id}" has ${files.length} channel files, dataset.json names ${count} channel(s).`,
      );
    return { id, images: files.map((file) => file.source), label: source };
  });
  const known = new Set(labels.map(({ path }) => stemOf(path)));
  for (const id of images.keys()) if (!known.has(id)) missing.push(`labelsTr/${id}${ending}`);
  requireFiles(missing);
  return cases;
}

function requireFiles(missing: readonly string[]): void {
  if (missing.length > 0)
    throw new InvalidDataset(
      `${missing.length} file(s) that dataset.json names or implies are missing: ${listed(missing)}.`,
    );
}
