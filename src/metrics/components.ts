/**
 * Connected components of label maps: per class only the largest one is kept. Runs of
 * equal labels along x are joined with union-find.
 */
import * as v from 'valibot';
import { InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { numbers, wholeNumber } from '../schema.ts';
import { members, type Region } from '../data/regions.ts';
import { dice, meanDefined } from './dice.ts';
import { regionDice } from './region-dice.ts';

/** Which voxels are neighbours: across faces, or also across edges and corners. */
export type Connectivity = 6 | 26;

/** Runs of one foreground label along x: row by row, with start, end (exclusive) and label. */
export interface Runs {
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly labels: Int32Array;
  /** Index of the first run of each row, and one past the last. */
  readonly rows: Int32Array;
}

function findRuns(data: ArrayLike<number>, nx: number, rowCount: number): Runs {
  const starts: number[] = [];
  const ends: number[] = [];
  const labels: number[] = [];
  const rows = new Int32Array(rowCount + 1);
  for (let row = 0, at = 0; row < rowCount; row++) {
    rows[row] = starts.length;
    for (let x = 0; x < nx;) {
      const label = data[at + x]!;
      const start = x;
      do x++;
      while (x < nx && data[at + x] === label);
      if (label > 0) {
        starts.push(start);
        ends.push(x);
        labels.push(label);
      }
    }
    at += nx;
  }
  rows[rowCount] = starts.length;
  return {
    starts: Int32Array.from(starts),
    ends: Int32Array.from(ends),
    labels: Int32Array.from(labels),
    rows,
  };
}

/** Root of a run, with the path halved on the way. */
function root(parents: Int32Array, run: number): number {
  let at = run;
  while (parents[at] !== at) {
    parents[at] = parents[parents[at]!]!;
    at = parents[at]!;
  }
  return at;
}

/** Joins the runs of two rows that have one label and touch; with a `reach` of 1 corners touch too. */
function joinRows(
  { starts, ends, labels, rows }: Runs,
  parents: Int32Array,
  a: number,
  b: number,
  reach: number,
): void {
  const [endA, endB] = [rows[a + 1]!, rows[b + 1]!];
  for (let run = rows[a]!, first = rows[b]!; run < endA; run++) {
    while (first < endB && ends[first]! + reach <= starts[run]!) first++;
    for (let other = first; other < endB && starts[other]! < ends[run]! + reach; other++) {
      if (labels[run] !== labels[other]) continue;
      const [p, q] = [root(parents, run), root(parents, other)];
      parents[Math.max(p, q)] = Math.min(p, q);
    }
  }
}

/** Connected runs. */
export interface Components {
  readonly runs: Runs;
  /** For each run, the first one of its component. */
  readonly roots: Int32Array;
  /** Voxels of the component, for each run that is the first of one; else 0. */
  readonly sizes: Float64Array;
}

/**
 * The components of each label above 0.
 * @param labels x fastest
 * @param hops how many steps across faces lead to a neighbour: 1 of faces, 2 of edges, too, 3 of corners
 */
export function findComponents(
  labels: ArrayLike<number>,
  [nx, ny, nz]: readonly [number, number, number],
  hops: 1 | 2 | 3,
): Components {
  const runs = findRuns(labels, nx, ny * nz);
  const parents = runs.starts.map((_, run) => run);
  for (let z = 0; z < nz; z++)
    for (let y = 0; y < ny; y++) {
      const row = z * ny + y;
      const beside = hops > 1 ? 1 : 0;
      if (y > 0) joinRows(runs, parents, row, row - 1, beside);
      if (z === 0) continue;
      joinRows(runs, parents, row, row - ny, beside);
      if (hops === 1) continue;
      const across = hops > 2 ? 1 : 0;
      if (y > 0) joinRows(runs, parents, row, row - ny - 1, across);
      if (y < ny - 1) joinRows(runs, parents, row, row - ny + 1, across);
    }
  const roots = parents.map((_, run) => root(parents, run));
  const sizes = new Float64Array(roots.length);
  roots.forEach((first, run) => (sizes[first]! += runs.ends[run]! - runs.starts[run]!));
  return { runs, roots, sizes };
}

const mapEntries = { labels: numbers, shape: v.array(wholeNumber(1), 'voxels along x, y, z') };
const componentEntries = {
  connectivity: v.optional(v.picklist([6, 26], '6 or 26')),
  classes: v.optional(v.array(wholeNumber(0, 255), 'a list of label values')),
};

/**
 * Keeps the largest connected component of each class; all other voxels become 0. Of components of
 * one size the one that starts first in the array stays.
 * @param labels label map, x fastest; whole numbers from 0 to 255
 * @param shape voxels along x, y, z
 * @throws InvalidVolume if the shape does not fit the map; InvalidOption for options that are unknown or out of range
 * @example
 * ```js
 * const cleaned = largestComponents([1, 1, 0, 1], [4, 1, 1]); // 1 1 0 0
 * ```
 */
export function largestComponents(
  labels: ArrayLike<number>,
  shape: readonly number[],
  options: {
    /** Default 6. */
    readonly connectivity?: Connectivity;
    /** Classes to clean. Default: all but the background. */
    readonly classes?: readonly number[];
  } = {},
): Uint8Array<ArrayBuffer> {
  assertOptions('largestComponents', mapEntries, { labels, shape });
  assertOptions('largestComponents', componentEntries, options);
  const { connectivity = 6, classes } = options;
  const [nx = 0, ny = 1, nz = 1] = shape;
  if (labels.length !== nx * ny * nz)
    throw new InvalidVolume(
      `A map of shape ${shape.join(' x ')} has ${nx * ny * nz} voxels, got ${labels.length} labels.`,
    );
  const { runs, roots, sizes } = findComponents(labels, [nx, ny, nz], connectivity === 26 ? 3 : 1);
  const largest = new Map<number, number>();
  for (let run = 0; run < roots.length; run++) {
    const best = largest.get(runs.labels[run]!);
    if (sizes[run]! > (best === undefined ? 0 : sizes[best]!)) largest.set(runs.labels[run]!, run);
  }
  const out = new Uint8Array(labels.length);
  for (let row = 0; row < ny * nz; row++)
    for (let run = runs.rows[row]!; run < runs.rows[row + 1]!; run++) {
      const label = runs.labels[run]!;
      const isKept = roots[run] === largest.get(label) || (classes !== undefined && !classes.includes(label));
      if (isKept) out.fill(label, row * nx + runs.starts[run]!, row * nx + runs.ends[run]!);
    }
  return out;
}

/** What is done to a model's labels, as it was chosen on validation cases; saved with the model. */
export interface Postprocessing {
  /** Classes, or regions counted from 1, of which only the largest component by 6 neighbours is kept, in this order. */
  readonly largestComponent: readonly number[];
}

/** The labels [z][y][x] as post-processing leaves them; without any, the labels themselves. */
export function postprocessed(
  labels: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  postprocessing: Postprocessing | undefined,
  regions?: readonly Region[],
): Uint8Array<ArrayBuffer> {
  const classes = postprocessing?.largestComponent ?? [];
  if (regions)
    return classes.reduce((map, index) => largestOfRegion(map, shape, regions[index - 1]!), labels);
  return classes.length > 0 ? largestComponents(labels, shape, { classes }) : labels;
}

/** Labels of a region that lie outside of its largest component become 0, as in nnU-Net. */
function largestOfRegion(
  labels: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  region: Region,
): Uint8Array<ArrayBuffer> {
  const isMember = members(region);
  const kept = largestComponents(
    labels.map((label) => isMember[label]!),
    shape,
  );
  return labels.map((label, voxel) => (isMember[label] && !kept[voxel] ? 0 : label));
}

/** Dice per class or region, background first: of one case or the mean over cases. */
export interface ComponentDice {
  /** As predicted. */
  readonly before: readonly number[];
  /** With only the largest component of each class kept. */
  readonly after: readonly number[];
}

/** One case's Dice with and without its smaller components. */
export function componentDice(
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  shape: readonly number[],
  classes: number,
): ComponentDice {
  return {
    before: dice(prediction, truth, classes),
    after: dice(largestComponents(prediction, shape), truth, classes),
  };
}

/** Mean Dice over the validation cases before and after, and the classes for which it rises. */
export interface PostprocessingChoice extends Postprocessing, ComponentDice {}

/** Adopts the largest component for each foreground class whose mean Dice over the cases rises with it. */
export function choosePostprocessing(cases: readonly ComponentDice[], classes: number): PostprocessingChoice {
  const means = (side: keyof ComponentDice): number[] =>
    Array.from({ length: classes }, (_, label) => meanDefined(cases.map((scores) => scores[side][label]!)));
  const [before, after] = [means('before'), means('after')];
  const largestComponent = before.flatMap((score, label) =>
    label > 0 && after[label]! > score ? [label] : [],
  );
  return { largestComponent, before, after };
}

/** A label map beside its truth, x fastest. */
export interface LabelPair {
  readonly prediction: Uint8Array<ArrayBuffer>;
  readonly truth: Uint8Array;
  readonly shape: readonly number[];
}

/**
 * Adopts the largest component for one region after another where its mean Dice over the cases rises with it, on top of
 * what was adopted before: regions overlap.
 * @param each looks at one case after the other; called once per region, so that cases need not be held together
 */
export async function chooseRegionPostprocessing(
  each: <T>(look: (pair: LabelPair) => T) => readonly T[] | Promise<readonly T[]>,
  regions: readonly Region[],
): Promise<PostprocessingChoice> {
  const largestComponent: number[] = [];
  const before: number[] = [];
  const after: number[] = [];
  for (const [index, region] of regions.entries()) {
    const scores = await each(({ prediction, truth, shape }): ComponentDice => {
      const map = postprocessed(prediction, shape, { largestComponent }, regions);
      const cleaned = largestOfRegion(map, shape, region);
      return { before: regionDice(map, truth, regions), after: regionDice(cleaned, truth, regions) };
    });
    const mean = (side: keyof ComponentDice, entry: number) =>
      meanDefined(scores.map((score) => score[side][entry]!));
    if (index === 0) {
      before.push(...[undefined, ...regions].map((_, entry) => mean('before', entry)));
      after.push(before[0]!);
    }
    after.push(mean('after', index + 1));
    if (mean('after', index + 1) > mean('before', index + 1)) largestComponent.push(index + 1);
  }
  return { largestComponent, before, after };
}
