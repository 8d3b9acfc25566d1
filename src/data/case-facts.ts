/** Facts of one case of a data set: grid, intensities, classes, content hash. */
import { hexadecimal, sha256 } from '../hash.ts';
import type { Case } from './case.ts';
import { labelOf } from './label-values.ts';
import { spatial } from './prepare-checks.ts';
import { nonZeroBox } from './boxes.ts';
import { quantile } from '../quantile.ts';
import type { Size3 } from '../size.ts';
import { canonicalTransform, orientation, type Volume } from './volume.ts';

/** Intensities of one channel. Percentiles are of at most 100 000 voxels at equal distances. */
export interface IntensityFacts {
  /** The smallest finite value. */
  readonly min: number;
  /** The largest finite value. */
  readonly max: number;
  /** Of the finite values. */
  readonly mean: number;
  /** Population standard deviation. */
  readonly deviation: number;
  /** The 0.5th percentile. */
  readonly percentile005: number;
  /** The 50th percentile. */
  readonly median: number;
  /** The 99.5th percentile. */
  readonly percentile995: number;
  /** Voxels that are NaN or infinite; they count for nothing else. */
  readonly notFinite: number;
}

/** Facts of one case; shape and spacing along x, y, z of the canonical orientation. */
export interface CaseFacts {
  /** As in the data set. */
  readonly id: string;
  /** Whose case it is. */
  readonly subject: string;
  /** Voxels. */
  readonly shape: Size3;
  /** In mm. */
  readonly spacing: Size3;
  /** Of the smallest box of voxels that are not 0 in some channel; the whole shape where all are. */
  readonly cropped: Size3;
  /** How the file stores its axes, such as "RAS" or "LPI". */
  readonly orientation: string;
  /** One per channel. */
  readonly intensities: readonly IntensityFacts[];
  /** Per channel, intensities of `foregroundSamples` voxels of any class but background; undefined without any. */
  readonly foreground?: readonly Float32Array[];
  /** Label value to its number of voxels, unknown ones left out; undefined without a readable label. */
  readonly classVoxels?: ReadonlyMap<number, number>;
  /** How much of the label is known; undefined where all of it is, and without a readable label. */
  readonly annotated?: AnnotatedFacts;
  /** SHA-256 of the decoded image voxels and their shape. */
  readonly hash: string;
}

/** How much of a label is known. */
export interface AnnotatedFacts {
  /** Voxels that are known. */
  readonly voxels: number;
  /** Slices across x, y, z of the canonical orientation that hold a known voxel. */
  readonly slices: Size3;
}

/**
 * Facts of one channel's voxels; percentiles are of some 100,000 of them.
 * @param shape of the volume: of voxels at equal distances, all could lie in one column of it
 */
export function intensityFacts(data: Float32Array, [x, y]: readonly number[]): IntensityFacts {
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
  let stride = Math.max(1, Math.ceil(data.length / 100_000));
  while (commonDivisor(stride, x! * y!) > 1) stride++;
  const sample = Float32Array.from({ length: Math.ceil(data.length / stride) }, (_, i) => data[i * stride]!)
    .filter((value) => Number.isFinite(value))
    .sort();
  return {
    min,
    max,
    mean,
    deviation: Math.sqrt(squares / count),
    percentile005: quantile(sample, 0.005),
    median: quantile(sample, 0.5),
    percentile995: quantile(sample, 0.995),
    notFinite: data.length - count,
  };
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

/** Voxels that stand for the foreground of a case: as many for each, so that large cases do not outweigh others. */
export const foregroundSamples = 10_000;

/**
 * Per channel, `foregroundSamples` intensities of voxels that `isForeground`, at equal distances among them (some
 * several times where there are fewer); undefined if there are none.
 */
function sampleForeground(
  channels: readonly Float32Array[],
  isForeground: (voxel: number) => boolean,
): Float32Array[] | undefined {
  const voxels = channels[0]!.length;
  let count = 0;
  for (let voxel = 0; voxel < voxels; voxel++) if (isForeground(voxel)) count += 1;
  if (count === 0) return undefined;
  const samples = channels.map(() => new Float32Array(foregroundSamples));
  let [seen, taken] = [0, 0];
  for (let voxel = 0; taken < foregroundSamples; voxel++) {
    if (!isForeground(voxel)) continue;
    for (; taken < foregroundSamples && Math.floor((taken * count) / foregroundSamples) === seen; taken++)
      samples.forEach((sample, channel) => (sample[taken] = channels[channel]![voxel]!));
    seen += 1;
  }
  return samples;
}

/** Voxels of each value but the one of unknown voxels. */
export function countValues(data: ArrayLike<number>, ignoreLabel?: number): Map<number, number> {
  const counts = new Map<number, number>();
  for (let at = 0; at < data.length; at++) {
    const value = labelOf(data[at]!);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  if (ignoreLabel !== undefined) counts.delete(ignoreLabel);
  return counts;
}

/** How much of a label is known, on its own axes; undefined where all is. */
function annotatedFacts(
  data: ArrayLike<number>,
  [nx, ny, nz]: Size3,
  ignoreLabel: number,
): AnnotatedFacts | undefined {
  const seen = [nx, ny, nz].map((n) => new Uint8Array(n)) as [Uint8Array, Uint8Array, Uint8Array];
  let voxels = 0;
  for (let at = 0; at < data.length; at++) {
    if (labelOf(data[at]!) === ignoreLabel) continue;
    voxels += 1;
    seen[0][at % nx] = seen[1][Math.floor(at / nx) % ny] = seen[2][Math.floor(at / (nx * ny))] = 1;
  }
  if (voxels === data.length) return undefined;
  const count = (flags: Uint8Array): number => flags.reduce((sum, flag) => sum + flag, 0);
  return { voxels, slices: seen.map(count) as unknown as Size3 };
}

/**
 * Facts of a case whose files have been read.
 * @param images one per channel or one of all channels, on one grid
 * @param label on the images' grid
 */
export async function measureCase(
  { id, subject }: Case,
  images: readonly Volume[],
  label?: Volume,
  ignoreLabel?: number,
): Promise<CaseFacts> {
  const first = images[0]!;
  const size = spatial(first);
  const voxels = size.reduce((a, b) => a * b, 1);
  const channels = images.flatMap(({ data }) =>
    Array.from({ length: data.length / voxels }, (_, c) => data.subarray(c * voxels, (c + 1) * voxels)),
  );
  const cropped = nonZeroBox(channels, size)?.size ?? size;
  const { axes } = canonicalTransform(first.affine);
  const canonical = (values: Size3): Size3 => axes.map((axis) => values[axis]) as unknown as Size3;
  const isForeground = (value: number): boolean => value > 0 && value !== ignoreLabel;
  const annotated =
    label && ignoreLabel !== undefined ? annotatedFacts(label.data, size, ignoreLabel) : undefined;
  const foreground =
    label && sampleForeground(channels, (voxel) => isForeground(labelOf(label.data[voxel]!)));
  return {
    id,
    subject,
    shape: canonical(size),
    spacing: canonical(first.spacing),
    cropped: canonical(cropped),
    orientation: orientation(first.affine),
    intensities: channels.map((channel) => intensityFacts(channel, size)),
    ...(foreground ? { foreground } : {}),
    ...(label ? { classVoxels: countValues(label.data, ignoreLabel) } : {}),
    ...(annotated && { annotated: { ...annotated, slices: canonical(annotated.slices) } }),
    hash: await contentHash(images),
  };
}

/** Whether some channel has more than one value; of images without contrast, equal ones are no copies. */
export const hasContrast = ({ intensities }: Pick<CaseFacts, 'intensities'>): boolean =>
  intensities.some(({ min, max }) => max > min);

const hex = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> => hexadecimal(await sha256(bytes));

/** SHA-256, in hexadecimal digits, of the shapes of some volumes and the SHA-256 of the voxels of each. */
export async function contentHash(volumes: readonly Pick<Volume, 'data' | 'shape'>[]): Promise<string> {
  const parts: string[] = [];
  for (const { data, shape } of volumes) {
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    parts.push(shape.join(), await hex(bytes));
  }
  return hex(new TextEncoder().encode(parts.join('\n')));
}
