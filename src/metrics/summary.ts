/**
 * Means over cases with bootstrap intervals, and metrics as CSV and JSON. Cases of one subject are alike, so that subjects
 * are drawn, each with all of its cases.
 */
import * as v from 'valibot';
import { csv } from '../csv.ts';
import { groupedBy } from '../grouped.ts';
import { className, digits } from '../format.ts';
import { assertOptions, assertValue } from '../options.ts';
import { distinctNames, list, numberFrom, text, wholeNumber, withParts } from '../schema.ts';
import { some } from '../listed.ts';
import { sameCase, stemOf } from '../data/volume-names.ts';
import { random } from '../data/random.ts';
import { InvalidDataset, InvalidOption } from '../errors.ts';
import { quantile } from '../quantile.ts';
import { metricNames, type CaseMetrics, type ClassMetrics, type MetricName } from './evaluate.ts';

/** Mean of one metric over the cases where it is defined. */
export interface Estimate {
  /** NaN if no case defines it. */
  readonly mean: number;
  /** 95 % percentile bootstrap interval of the mean; NaN with fewer than two defined cases. */
  readonly low: number;
  /** Upper end of that interval. */
  readonly high: number;
  /** Median over the same cases. */
  readonly median: number;
  /** Cases that define the metric, and those that do not. */
  readonly defined: number;
  /** See `defined`. */
  readonly missing: number;
}

/** One for each metric. */
export type Estimates = Readonly<Record<MetricName, Estimate>>;

/** All cases together. */
export interface Summary {
  /** Number of cases. */
  readonly cases: number;
  /** Whom they show: fewer than cases where a person has several. */
  readonly subjects: number;
  /** One entry per label value, background included. */
  readonly classes: readonly Estimates[];
  /** Each case's mean over its foreground classes, then over the cases. */
  readonly foreground: Estimates;
  /** Sum of the cases' matrices: voxels by truth (row) and prediction (column). */
  readonly confusion: readonly (readonly number[])[];
  /** What a reader of the numbers should know, one sentence each. */
  readonly notes: readonly string[];
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const isDefined = (value: number): boolean => !Number.isNaN(value);

/** Mean of the values that a draw picks and that are defined. */
function meanOf(values: readonly number[], draw: readonly number[]): number {
  let [sum, count] = [0, 0];
  for (const index of draw) {
    const value = values[index]!;
    if (Number.isNaN(value)) continue;
    sum += value;
    count++;
  }
  return sum / count;
}

/** Mean, median and interval of one metric; of a single subject with a value there is no interval. */
function estimate(values: readonly number[], { groups, draws }: Drawn): Estimate {
  const defined = values.filter(isDefined);
  const means = Float64Array.from(draws.map((draw) => meanOf(values, draw)).filter(isDefined)).sort();
  const isInterval = groups.filter((cases) => cases.some((at) => isDefined(values[at]!))).length > 1;
  return {
    mean: mean(defined),
    low: isInterval ? quantile(means, 0.025) : NaN,
    high: isInterval ? quantile(means, 0.975) : NaN,
    median: quantile(
      [...defined].sort((a, b) => a - b),
      0.5,
    ),
    defined: defined.length,
    missing: values.length - defined.length,
  };
}

/** A record with one entry per metric. */
const perMetric = <T>(make: (metric: MetricName) => T): Record<MetricName, T> =>
  Object.fromEntries(metricNames.map((metric) => [metric, make(metric)])) as Record<MetricName, T>;

/** Mean of each metric over the foreground classes where it is defined. */
const foregroundOf = (classes: readonly ClassMetrics[]): Record<MetricName, number> =>
  perMetric((metric) =>
    mean(
      classes
        .slice(1)
        .map((entry) => entry[metric])
        .filter(isDefined),
    ),
  );

/** Cases by subject, each its own where none is told. */
function casesBySubject(count: number, subjects: readonly string[] | undefined): number[][] {
  return [...groupedBy(Array(count).keys(), (at) => subjects?.[at] ?? at).values()];
}

/** Cases by subject, and those of resampled subjects. */
interface Drawn {
  readonly groups: readonly (readonly number[])[];
  /** None of a single subject, which says nothing of others. */
  readonly draws: readonly (readonly number[])[];
}

function drawn(groups: readonly number[][], seed: number, resamples: number): Drawn {
  if (groups.length < 2) return { groups, draws: [] };
  const r = random(seed, 'bootstrap');
  const draw = (): number[] => groups.flatMap(() => groups[r.int(groups.length)]!);
  return { groups, draws: Array.from({ length: resamples }, draw) };
}

/** Predictions of the same cases beside each other. */
export interface DiceComparison {
  /** In the order of the predictions. */
  readonly sets: readonly {
    /** Mean foreground Dice. */
    readonly dice: number;
    /** By how much the best have more, case by case; undefined for these. */
    readonly less: Estimate | undefined;
  }[];
  /** Cases with a class that is not there, which some of the predictions find and others rightly do not. */
  readonly rightlyEmpty: number;
}

/**
 * The mean foreground Dice of several predictions of the same cases, in the same order. All are over the same classes of
 * the same cases: where a class is not there, and some of them find it (Dice 0), it counts as 1 for those that find
 * nothing, whose Dice alone is undefined; where none finds it, it counts for none.
 * @param subjects whom each case shows
 */
export function compareDice(
  sets: readonly (readonly CaseMetrics[])[],
  subjects?: readonly string[],
): DiceComparison {
  const isCounted = (at: number, label: number): boolean =>
    sets.some((cases) => isDefined(cases[at]!.classes[label]!.dice));
  const rightlyEmpty = new Set<number>();
  const dice = sets.map((cases) =>
    cases.map(({ classes }, at) => {
      const counted: number[] = [];
      for (const [label, { dice }] of classes.entries()) {
        if (label === 0 || !isCounted(at, label)) continue;
        if (!isDefined(dice)) rightlyEmpty.add(at);
        counted.push(isDefined(dice) ? dice : 1);
      }
      return mean(counted);
    }),
  );
  const means = dice.map((values) => mean(values.filter(isDefined)));
  const best = means.reduce((best, value, at) => (value > means[best]! ? at : best), 0);
  const draws = drawn(casesBySubject(sets[0]!.length, subjects), 0, 2000);
  const less = (values: readonly number[]): Estimate =>
    estimate(
      values.map((value, at) => dice[best]![at]! - value),
      draws,
    );
  return {
    sets: dice.map((values, at) => ({ dice: means[at]!, less: at === best ? undefined : less(values) })),
    rightlyEmpty: rightlyEmpty.size,
  };
}

const caseList = list('a list of what evaluateCase gives');
const summaryEntries = {
  seed: v.optional(wholeNumber()),
  resamples: v.optional(wholeNumber(1)),
  subjects: v.optional(v.array(text, 'whom each case shows')),
};

/**
 * Means over cases with 95 % intervals from resampled subjects.
 * @throws InvalidDataset without cases or with cases of different classes; InvalidOption for options that are unknown
 *   or out of range
 * @example
 * ```js
 * const map = { data: new Uint8Array(8).fill(1), shape: [2, 2, 2], spacing: [1, 1, 1] };
 * const { classes } = summarise([evaluateCase(map, map, { classes: 2, name: 'a' })]);
 * ```
 */
export function summarise(
  cases: readonly CaseMetrics[],
  options: {
    /** Default 0. */ readonly seed?: number;
    /** Bootstrap resamples. Default 2000. */ readonly resamples?: number;
    /** Whom each case shows; default: each another. */ readonly subjects?: readonly string[] | undefined;
  } = {},
): Summary {
  assertValue('summarise', caseList, cases);
  assertOptions('summarise', summaryEntries, options);
  const first = cases[0];
  if (first === undefined)
    throw new InvalidDataset('There is nothing to summarise: evaluate at least one case.');
  const other = cases.find((entry) => entry.classes.length !== first.classes.length);
  if (other)
    throw new InvalidDataset(
      `${other.name} was evaluated with ${other.classes.length} classes, ${first.name} with ${first.classes.length}: ` +
        'evaluate all cases with the same classes.',
    );
  const { seed = 0, resamples = 2000, subjects } = options;
  if (subjects && subjects.length !== cases.length)
    throw new InvalidOption(
      `summarise: subjects has ${subjects.length} entries for ${cases.length} cases; expected one for each`,
    );
  const groups = casesBySubject(cases.length, subjects);
  const draws = drawn(groups, seed, resamples);
  const foreground = cases.map(({ classes }) => foregroundOf(classes));
  return {
    cases: cases.length,
    subjects: groups.length,
    classes: first.classes.map((_, label) =>
      perMetric((metric) =>
        estimate(
          cases.map(({ classes }) => classes[label]![metric]),
          draws,
        ),
      ),
    ),
    foreground: perMetric((metric) =>
      estimate(
        foreground.map((entry) => entry[metric]),
        draws,
      ),
    ),
    confusion: first.confusion.map((row, truth) =>
      row.map((_, prediction) =>
        cases.reduce((sum, { confusion }) => sum + confusion[truth]![prediction]!, 0),
      ),
    ),
    notes: cases.flatMap(({ notes }) => notes),
  };
}

/** One line per case and class; distances in mm, volumes in ml, NaN where not defined. */
export function metricsCsv(cases: readonly CaseMetrics[], labels: readonly string[] = []): string {
  assertValue('metricsCsv', caseList, cases);
  assertOptions('metricsCsv', { labels: v.array(text, 'a list of names of classes') }, { labels });
  const head = ['case', 'label', 'class', ...metricNames];
  const rows = cases.flatMap(({ name, classes }) =>
    classes.map((entry, label) => [
      name,
      label,
      className(labels, label),
      ...metricNames.map((metric) => entry[metric]),
    ]),
  );
  return csv([head, ...rows]);
}

const metricsEntries = {
  labels: v.optional(distinctNames('classes')),
  tolerance: v.optional(numberFrom(0)),
};

/** Cases and summary as JSON text; null where a metric is not defined. */
export function metricsJson(
  cases: readonly CaseMetrics[],
  summary: Summary,
  options: { readonly labels?: readonly string[]; readonly tolerance?: number } = {},
): string {
  assertValue('metricsJson', caseList, cases);
  assertOptions('metricsJson', { summary: withParts('what summarise gives', 'classes') }, { summary });
  assertOptions('metricsJson', metricsEntries, options);
  const { labels = [], tolerance = 1 } = options;
  const named = <T>(entries: readonly T[]): Record<string, T> =>
    Object.fromEntries(entries.map((entry, label) => [className(labels, label), entry]));
  const content = {
    units: { distances: 'mm', volumes: 'ml', nsdToleranceMillimetres: tolerance },
    summary: { ...summary, classes: named(summary.classes) },
    cases: cases.map((entry) => ({ ...entry, classes: named(entry.classes) })),
  };
  return `${JSON.stringify(content, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? null : value), 2)}\n`;
}

/** The per-class table as text: mean Dice, its interval, HD95 and ASSD. */
export function diceTable(summary: Summary, labels: readonly string[] = []): string {
  const line = (name: string, { dice, hd95, assd }: Estimates): string[] => [
    name,
    digits(dice.mean, 3),
    Number.isFinite(dice.low) ? `${digits(dice.low, 3)} to ${digits(dice.high, 3)}` : '–',
    digits(hd95.mean, 2),
    digits(assd.mean, 2),
    `${dice.defined} of ${summary.cases}`,
  ];
  const rows = [
    ['class', 'Dice', '95 % interval', 'HD95 mm', 'ASSD mm', 'cases'],
    ...summary.classes.map((entry, label) => line(className(labels, label), entry)),
    line('mean foreground', summary.foreground),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const text = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
  text.splice(1, 0, '-'.repeat(text[0]!.length));
  return `${text.join('\n')}\n`;
}

/**
 * Pairs predictions and truths by name, without the folder and the endings .nii, .nii.gz, .hdr, .img; CASE_0000, the
 * first channel's name, means CASE where that is the other side's name.
 * @throws InvalidDataset naming what is missing on either side, or twice there
 */
export function pairCases<T>(
  predictions: readonly { readonly name: string; readonly source: T }[],
  truths: readonly { readonly name: string; readonly source: T }[],
): { name: string; prediction: T; truth: T }[] {
  const stem = (name: string): string => stemOf(name.replaceAll('\\', '/'));
  const index = (
    entries: readonly { readonly name: string; readonly source: T }[],
    kind: string,
  ): Map<string, T> => {
    const found = new Map<string, T>();
    for (const { name, source } of entries) {
      if (found.has(stem(name)))
        throw new InvalidDataset(`There are two ${kind} called "${stem(name)}": give every case one file.`);
      found.set(stem(name), source);
    }
    return found;
  };
  const [named, true_] = [index(predictions, 'predictions'), index(truths, 'truths')];
  const stems = [...named.keys()];
  const meant = sameCase(stems, [...true_.keys()]);
  const predicted = new Map(stems.map((name, at) => [meant[at] ?? name, named.get(name) as T]));
  const noPrediction = [...true_.keys()].filter((name) => !predicted.has(name));
  const noTruth = [...predicted.keys()].filter((name) => !true_.has(name));
  if (noPrediction.length > 0 || noTruth.length > 0)
    throw new InvalidDataset(
      [
        noPrediction.length > 0
          ? `${noPrediction.length} of ${true_.size} cases have no prediction: ${some(noPrediction)}.`
          : '',
        noTruth.length > 0
          ? `${noTruth.length} of ${predicted.size} predictions have no truth: ${some(noTruth)}.`
          : '',
        'Both folders must hold the same file names.',
      ]
        .filter(Boolean)
        .join(' '),
    );
  if (true_.size === 0) throw new InvalidDataset('There are no cases to evaluate: both sides are empty.');
  return [...true_].map(([name, truth]) => ({ name, truth, prediction: predicted.get(name) as T }));
}
