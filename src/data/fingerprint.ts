/**
 * What a data set looks like: facts of each case (grid, intensities, classes, content hash), and their summary,
 * the fingerprint, from which spacing, normalisation and patch size are decided (as nnU-Net does).
 */
import type { Size3 } from './prepare.ts';

/** Intensities of one channel. Percentiles are of at most 100 000 voxels at equal distances. */
export interface IntensityFacts {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Population standard deviation. */
  readonly deviation: number;
  readonly percentile005: number;
  readonly median: number;
  readonly percentile995: number;
  /** Voxels that are NaN or infinite; they count for nothing else. */
  readonly notFinite: number;
}

/** Facts of one case; shape and spacing along x, y, z of the canonical orientation. */
export interface CaseFacts {
  readonly id: string;
  readonly subject: string;
  readonly shape: Size3;
  readonly spacing: Size3;
  /** How the file stores its axes, such as "RAS" or "LPI". */
  readonly orientation: string;
  /** One per channel. */
  readonly intensities: readonly IntensityFacts[];
  /** Label value to its number of voxels; undefined without a readable label. */
  readonly classVoxels?: ReadonlyMap<number, number>;
  /** SHA-256 of the decoded image voxels and their shape. */
  readonly hash: string;
}

/** Smallest, median and largest value. */
export interface Range<T> {
  readonly min: T;
  readonly median: T;
  readonly max: T;
}

/** Summary of a data set; plain JSON. */
export interface Fingerprint {
  readonly cases: number;
  readonly subjects: number;
  readonly shape: Range<Size3>;
  readonly spacing: Range<Size3>;
  readonly orientations: Readonly<Record<string, number>>;
  /** Per channel, medians over the cases. */
  readonly intensities: readonly Omit<IntensityFacts, 'notFinite'>[];
  /** Per label value: cases that show it, and its share of all labelled voxels. */
  readonly classes: readonly { readonly value: number; readonly cases: number; readonly share: number }[];
}

/** Median of some numbers; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Facts of one channel's voxels. */
export function intensityFacts(data: Float32Array): IntensityFacts {
  let [min, max, sum, count] = [Infinity, -Infinity, 0, 0];
  for (const value of data) {
    if (!Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    count += 1;
  }
  const mean = sum / count;
  let squares = 0;
  for (const value of data) if (Number.isFinite(value)) squares += (value - mean) ** 2;
  const stride = Math.max(1, Math.ceil(data.length / 100_000));
  const sample = Float32Array.from({ length: Math.ceil(data.length / stride) }, (_, i) => data[i * stride]!)
    .filter((value) => Number.isFinite(value))
    .sort();
  const percentile = (share: number): number => sample[Math.round(share * (sample.length - 1))] ?? NaN;
  return {
    min,
    max,
    mean,
    deviation: Math.sqrt(squares / count),
    percentile005: percentile(0.005),
    median: percentile(0.5),
    percentile995: percentile(0.995),
    notFinite: data.length - count,
  };
}

/** The summary of some cases (at least one). */
export function fingerprint(cases: readonly CaseFacts[]): Fingerprint {
  const range = (of: (item: CaseFacts) => Size3): Range<Size3> => {
    const per = (reduce: (values: number[]) => number): Size3 =>
      [0, 1, 2].map((axis) => reduce(cases.map((item) => of(item)[axis]!))) as unknown as Size3;
    return { min: per((v) => Math.min(...v)), median: per(median), max: per((v) => Math.max(...v)) };
  };
  const orientations: Record<string, number> = {};
  for (const { orientation } of cases) orientations[orientation] = (orientations[orientation] ?? 0) + 1;
  const keys = ['min', 'max', 'mean', 'deviation', 'percentile005', 'median', 'percentile995'] as const;
  const intensities = (cases[0]?.intensities ?? []).map((_, channel) => {
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
    spacing: range(({ spacing }) => spacing),
    orientations,
    intensities,
    classes: [...classes]
      .sort(([a], [b]) => a - b)
      .map(([value, entry]) => ({ value, cases: entry.cases, share: entry.voxels / voxels })),
  };
}
