/** nnU-Net's dataset.json, as a trained model needs it: channels, labels or regions, and how heads become labels. */
import * as v from 'valibot';
import { readRegions, type Heads, type LabelEntry, type Region } from '../../data/regions.ts';
import { InvalidModel } from '../../errors.ts';
import { namesUnder, readJson } from '../../json.ts';
import { openObject, text, wholeNumber } from '../../schema.ts';

/** What `dataset.json` says of channels and labels. */
export interface NnunetLabels {
  /** Names of the input channels, in order. */
  readonly channels: readonly string[];
  /** Such as `.nii.gz`. */
  readonly fileEnding: string;
  /** What each of the network's heads finds: a region, or one label. */
  readonly heads: readonly Region[];
  /** Heads are regions, which overlap and are each decided by a sigmoid; otherwise one label wins (softmax). */
  readonly regions: boolean;
  /** The label that no head has: not known what it is. */
  readonly ignore: number | undefined;
}

/** All labels that heads or regions may write or are made of, without the background, in order. */
export const foregroundLabels = ({ heads }: Pick<NnunetLabels, 'heads'>): number[] =>
  [...new Set(heads.flatMap(({ labels }) => labels))].filter((label) => label > 0).sort((a, b) => a - b);

/** As probabilities are read. */
export const headsOf = ({ heads, regions }: Pick<NnunetLabels, 'heads' | 'regions'>): Heads => ({
  classes: heads.length,
  ...(regions && { regions: heads }),
});

/** Whether a byte holds every label; from 255 foreground labels on there are two, as in nnU-Net. */
export const labelsAreBytes = (labels: Pick<NnunetLabels, 'heads'>): boolean =>
  foregroundLabels(labels).length < 255 && labels.heads.every(({ written }) => written < 256);

const label = wholeNumber(0, 65535);
const value = v.union([label, v.array(label)], 'a whole number from 0 on, or a list of them');
const names = v.optional(v.record(v.string(), text, '{"0": "CT", …}'));

const datasetSchema = openObject({
  channel_names: names,
  modality: names,
  labels: v.record(v.string(), value, '{"background": 0, "liver": 1, …}'),
  file_ending: text,
  regions_class_order: v.optional(v.nullable(v.array(label, 'a list of labels'))),
});

const fail = (problem: string): InvalidModel =>
  new InvalidModel(`dataset.json: ${problem}; take another copy of the model folder`);

/** @throws InvalidModel with the path and the value of what is wrong */
export function readLabels(json: string): NnunetLabels {
  const parsed = readJson(json, datasetSchema, fail);
  const { background, ignore: ignored, ...named } = parsed.labels;
  if (background !== 0) throw fail('labels.background is not 0; expected 0');
  if (Array.isArray(ignored)) throw fail('labels.ignore is a list; expected one label');
  const ignore = ignored;
  const entries = namesUnder(json, 'labels').flatMap((name) =>
    Object.hasOwn(named, name) ? [{ name, labels: [named[name]!].flat() }] : [],
  );
  if (entries.length === 0) throw fail('labels has background alone; expected another label');
  const regions = entries.some(({ labels }) => labels.length > 1);
  const heads = regions ? readRegions(entries, parsed.regions_class_order, fail) : plainHeads(entries);
  return {
    channels: channelNames(parsed.channel_names ?? parsed.modality),
    fileEnding: parsed.file_ending,
    heads,
    regions,
    ignore,
  };
}

/** By label. */
function plainHeads(entries: readonly LabelEntry[]): Region[] {
  const found = [{ name: 'background', labels: [0] }, ...entries].sort((a, b) => a.labels[0]! - b.labels[0]!);
  const wrong = found.findIndex(({ labels }, index) => labels.length !== 1 || labels[0] !== index);
  if (wrong >= 0)
    throw fail(
      `label "${found[wrong]!.name}" is ${String(found[wrong]!.labels[0])}; expected ${wrong}, as labels are numbered one after another`,
    );
  return found.map((entry) => ({ ...entry, written: entry.labels[0]! }));
}

function channelNames(parsed: Readonly<Record<string, string>> | undefined): string[] {
  const channels = Object.keys(parsed ?? {});
  if (!parsed || channels.length === 0) throw fail('channel_names is missing; expected {"0": "CT", …}');
  return channels.map((_, index) => {
    const name = Object.hasOwn(parsed, index) ? parsed[index] : undefined;
    if (name === undefined)
      throw fail(
        `channel_names.${index} is missing; expected channels numbered from 0 to ${channels.length - 1}`,
      );
    return name;
  });
}
