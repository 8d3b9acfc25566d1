/** What a data set looks like: the summary of its cases, from which preprocessing and patch are decided (decide.ts). */
import { foregroundSamples, type CaseFacts, type IntensityFacts } from './case-facts.ts';
import { percentiles, statistics } from './statistics.ts';
import type { Size3 } from '../size.ts';

/** Smallest, median and largest value. */
export interface Range<T> {
  /** The smallest. */
  readonly min: T;
  /** The median. */
  readonly median: T;
  /** The largest. */
  readonly max: T;
}

/** Intensities under the labels of the whole data set, every case counting the same. */
export type ForegroundFacts = Pick<IntensityFacts, 'mean' | 'deviation' | 'percentile005' | 'percentile995'>;

/** Summary of a data set; plain JSON. */
export interface Fingerprint {
  /** Number of cases. */
  readonly cases: number;
  /** Number of subjects. */
  readonly subjects: number;
  /** Voxels along x, y, z, on canonical axes. */
  readonly shape: Range<Size3>;
  /** Millimetres along x, y, z, on canonical axes. */
  readonly spacing: Range<Size3> & { readonly percentile10: Size3 };
  /** After cropping to what is not zero. */
  readonly cropped: {
    readonly shape: Range<Size3>;
    readonly millimetres: Range<Size3>;
    /** Of a volume's voxels, those that are left; median over the cases. */
    readonly share: number;
    /** Each case's voxels and millimetres between them, along x, y, z. */
    readonly volumes: readonly { readonly shape: Size3; readonly spacing: Size3 }[];
  };
  /** Number of cases by how their files store the axes, such as "LAS". */
  readonly orientations: Readonly<Record<string, number>>;
  /** Per channel that all cases have, medians over the cases. */
  readonly intensities: readonly Omit<IntensityFacts, 'notFinite'>[];
  /** Per channel; empty where no case has foreground. */
  readonly foreground: readonly ForegroundFacts[];
  /** Per label value: cases that show it, and its share of all labelled voxels. */
  readonly classes: readonly { readonly value: number; readonly cases: number; readonly share: number }[];
}

/** Median of some numbers; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function foregroundFacts(cases: readonly CaseFacts[], channel: number): ForegroundFacts {
  const samples = cases.flatMap(({ foreground }) => foreground?.[channel] ?? []);
  const all = new Float32Array(samples.length * foregroundSamples);
  samples.forEach((sample, index) => all.set(sample, index * foregroundSamples));
  const { mean, sd } = statistics(all);
  const [low, high] = percentiles(all, [0.5, 99.5], { nonFinite: 'zero' });
  return { mean, deviation: sd, percentile005: low!, percentile995: high! };
}

/** A percentile of some numbers, linear between neighbours. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (percent / 100) * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  return low + (high - low) * (place - Math.floor(place));
}

const product = ([x, y, z]: Size3): number => x * y * z;

/** The summary of some cases (at least one); the same to the last bit in whatever order they are given. */
export function fingerprint(given: readonly CaseFacts[]): Fingerprint {
  const cases = [...given].sort((a, b) => (a.id < b.id ? -1 : 1));
  type Of = (item: CaseFacts) => Size3;
  const per = (of: Of, reduce: (values: number[]) => number): Size3 =>
    [0, 1, 2].map((axis) => reduce(cases.map((item) => of(item)[axis]!))) as unknown as Size3;
  const range = (of: Of): Range<Size3> => ({
    min: per(of, (values) => Math.min(...values)),
    median: per(of, median),
    max: per(of, (values) => Math.max(...values)),
  });
  const millimetres: Of = ({ cropped, spacing }) =>
    cropped.map((n, axis) => n * spacing[axis]!) as unknown as Size3;
  const orientations: Record<string, number> = {};
  for (const { orientation } of cases) orientations[orientation] = (orientations[orientation] ?? 0) + 1;
  const keys = ['min', 'max', 'mean', 'deviation', 'percentile005', 'median', 'percentile995'] as const;
  // Of cases with different numbers of channels, those that all have.
  const channels = Math.min(...cases.map(({ intensities }) => intensities.length));
  const intensities = Array.from({ length: channels }, (_, channel) => {
    const of = (key: (typeof keys)[number]): number =>
      median(cases.flatMap((item) => item.intensities[channel]?.[key] ?? []));
    return Object.fromEntries(keys.map((key) => [key, of(key)])) as Record<(typeof keys)[number], number>;
  });
  const classes = new Map<number, { cases: number; voxels: number }>();
  let voxels = 0;
  for (const { classVoxels } of cases)
    for (const [value, count] of classVoxels ?? []) {
      const entry = classes.get(value) ?? { cases: 0, voxels: 0 };
      classes.set(value, { cases: entry.cases + 1, voxels: entry.voxels + count });
      voxels += count;
    }
  return {
    cases: cases.length,
    subjects: new Set(cases.map(({ subject }) => subject)).size,
    shape: range(({ shape }) => shape),
    spacing: {
      ...range(({ spacing }) => spacing),
      percentile10: per(
        ({ spacing }) => spacing,
        (values) => percentile(values, 10),
      ),
    },
    cropped: {
      shape: range(({ cropped }) => cropped),
      millimetres: range(millimetres),
      share: median(cases.map(({ cropped, shape }) => product(cropped) / product(shape))),
      volumes: cases.map(({ cropped, spacing }) => ({ shape: cropped, spacing })),
    },
    orientations,
    intensities,
    foreground: cases.some(({ foreground }) => foreground)
      ? intensities.map((_, channel) => foregroundFacts(cases, channel))
      : [],
    classes: [...classes]
      .sort(([a], [b]) => a - b)
      .map(([value, entry]) => ({ value, cases: entry.cases, share: entry.voxels / voxels })),
  };
}
