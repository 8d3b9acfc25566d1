/**
 * Regions: what the heads of a network find where these overlap, such as a whole tumour and its core. Each is a set of
 * labels; in a label map, one of them is written where its head says yes, later regions over earlier ones (nnU-Net's
 * `regions_class_order`).
 */
import * as v from 'valibot';
import { repeated, object, text, wholeNumber, type Schema } from '../schema.ts';

/** A set of labels that one head finds. */
export interface Region {
  /** In tables and files. */
  readonly name: string;
  /** Labels of the truth that belong to it. */
  readonly labels: readonly number[];
  /** The label that is written where it is found. */
  readonly written: number;
}

const label = wholeNumber(0, 254);

export const regionsSchema = v.pipe(
  v.array(
    object({
      name: text,
      labels: v.pipe(v.array(label, 'a list of labels'), v.minLength(1, 'at least one label')),
      written: label,
    }),
    'a list of regions',
  ),
  v.minLength(1, 'one region or more'),
  v.check((regions) => repeated(regions.map(({ name }) => name)) === undefined, 'regions of different names'),
) satisfies Schema<readonly Region[]>;

/** What a network of one head alone finds, by a sigmoid: label 1. */
export const soleRegion = (name = 'foreground'): readonly Region[] => [{ name, labels: [1], written: 1 }];

/** A network's heads: classes, of which one wins, or regions, each of which is found or not. */
export interface Heads {
  /** Their number. */
  readonly classes: number;
  readonly regions?: readonly Region[] | undefined;
}

/**
 * Names of what is scored: classes by label value; of regions, the voxels outside of all of them, then the regions in
 * order.
 */
export const scoredNames = (
  labels: readonly string[],
  regions: readonly Pick<Region, 'name'>[] | undefined,
): readonly string[] => (regions ? ['background', ...regions.map(({ name }) => name)] : labels);

/** The label values that pictures show these as: of regions, those that are written for them. */
export const scoredValues = (
  labels: readonly string[],
  regions: readonly Pick<Region, 'written'>[] | undefined,
): readonly number[] => (regions ? [0, ...regions.map(({ written }) => written)] : [...labels.keys()]);

/** Label values from 0 on that belong to regions or are written for them. */
export const labelCount = (regions: readonly Pick<Region, 'labels' | 'written'>[]): number =>
  1 + Math.max(...regions.flatMap(({ labels, written }) => [...labels, written]));

/** Names by label value: of a region that is this label alone, else its number. */
export function labelNames(regions: readonly Region[], background = 'background'): string[] {
  const single = new Map(
    regions.flatMap(({ name, labels }) => (labels.length === 1 ? [[labels[0]!, name]] : [])),
  );
  return Array.from(
    { length: labelCount(regions) },
    (_, value) => single.get(value) ?? (value === 0 ? background : `label ${value}`),
  );
}

/** Per label value, whether it belongs to the region. */
export function members({ labels }: Pick<Region, 'labels'>): Uint8Array {
  const table = new Uint8Array(256);
  for (const value of labels) table[value] = 1;
  return table;
}

/** What dataset.json names, with the labels of each. */
export interface LabelEntry {
  readonly name: string;
  readonly labels: readonly number[];
}

/**
 * Regions in the order of dataset.json, as nnU-Net reads them.
 * @param entries all but `background` and `ignore`
 * @param order the label that is written for each, `regions_class_order`
 * @param fail makes the error of what is wrong
 */
export function readRegions(
  entries: readonly LabelEntry[],
  order: readonly number[] | null | undefined,
  fail: (problem: string) => Error,
): Region[] {
  if (order?.length !== entries.length)
    throw fail(
      `regions_class_order ${order ? `has ${order.length} entries` : 'is missing'}; expected ${entries.length}, one label for each region`,
    );
  return entries.map((entry, index) => ({ ...entry, written: order[index]! }));
}
