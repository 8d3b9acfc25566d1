/** From logits to probabilities and labels, and mirror test-time augmentation: the mean over flipped copies. */
import { arrayFor } from '../data/allocation.ts';
import { filled } from '../data/allocation.ts';
import type { Heads, Region } from '../data/regions.ts';
import { mirrorable } from '../data/sides.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import { allAxes, type Axis, type Size3 } from '../size.ts';
import type { DenseCase } from './evaluator.ts';
import type { WindowProgress } from './window.ts';

/** Test-time augmentation by mirroring. */
export interface MirrorOptions {
  /** Mirror test-time augmentation: probabilities are averaged over flips of the volume. Default false. */
  readonly tta?: boolean;
  /**
   * Axes to flip, in all combinations; implies `tta`. Default: those that training mirrored, where the model says so
   * (`mirrorAxes` of its description), else all three, which makes eight passes, or y and z where labels tell left from right.
   */
  readonly mirrorAxes?: readonly Axis[];
}

/** Every combination of flips that the options ask for, none first. */
export function mirrorings({ mirrorAxes, tta = mirrorAxes !== undefined }: MirrorOptions): Axis[][] {
  const axes = tta ? (mirrorAxes ?? allAxes) : [];
  if (!axes.every((axis) => allAxes.includes(axis)) || new Set(axes).size < axes.length)
    throw new InvalidOption(`mirrorAxes is [${axes.join(', ')}]; give some of x, y and z, each once`);
  return axes.reduce<Axis[][]>((sets, axis) => [...sets, ...sets.map((set) => [...set, axis])], [[]]);
}

/** What is known of a network that may flip. */
interface Mirrored {
  readonly mirrorAxes?: readonly Axis[] | undefined;
  readonly labels?: readonly string[] | undefined;
  readonly regions?: readonly Region[] | undefined;
}

/**
 * The axes that test-time augmentation flips: those that training mirrored; of a model that does not say, all, but not
 * from left to right where its labels tell these apart.
 * @throws InvalidOption where training mirrored none
 */
export function axesToFlip(model: Mirrored): readonly Axis[] {
  const { mirrorAxes = mirrorable(model) } = model;
  if (mirrorAxes.length > 0) return mirrorAxes;
  throw new InvalidOption(
    'tta is true, but this model was trained without mirroring: leave tta out, or name the axes to flip in mirrorAxes',
  );
}

/** The options with these axes, unless they name others. @throws as `axesToFlip` */
export const mirroredAsTrained = <Options extends MirrorOptions>(
  options: Options,
  model: Mirrored,
): Options => (options.tta && !options.mirrorAxes ? { ...options, mirrorAxes: axesToFlip(model) } : options);

/** A copy of [channel][z][y][x] that runs backwards along some axes. */
export function flip(data: Float32Array, [x, y, z]: Size3, axes: readonly Axis[]): Float32Array<ArrayBuffer> {
  const [alongX, alongY, alongZ] = allAxes.map((axis) => axes.includes(axis));
  const result = new Float32Array(data.length);
  for (let row = 0; row < data.length / x; row++) {
    const [c, k, j] = [Math.floor(row / (y * z)), Math.floor(row / y) % z, row % y];
    const to = ((c * z + (alongZ ? z - 1 - k : k)) * y + (alongY ? y - 1 - j : j)) * x;
    result.set(data.subarray(row * x, (row + 1) * x), to);
    if (alongX) result.subarray(to, to + x).reverse();
  }
  return result;
}

/** What `segmentProbabilities` and those above it take. */
export interface ProbabilityOptions extends MirrorOptions {
  /** Stops the work, which then throws `Aborted`. */
  readonly signal?: AbortSignal;
  /** Windows done, over all passes. */
  readonly onProgress?: (progress: WindowProgress) => void;
}

/**
 * Probabilities [head][z][y][x] of a volume, averaged over the flips asked for.
 * @param planes gives the logits of a volume of this shape, [head][y][x] from z = 0 on
 * @throws Aborted; InvalidOption for axes that are none
 */
export async function segmentProbabilities<Options extends ProbabilityOptions>(
  planes: (volume: DenseCase, options: Options) => AsyncIterable<Float32Array>,
  { image, shape }: DenseCase,
  heads: Heads,
  options: Options,
): Promise<Float32Array<ArrayBuffer>> {
  const { signal, onProgress } = options;
  const flips = mirrorings(options);
  const [x, y, z] = shape;
  const area = x * y;
  const count = heads.regions?.length ?? heads.classes;
  const mean = arrayFor(
    Float32Array,
    count * z * area,
    `the stack of ${count} heads at ${shape.join(' x ')} voxels`,
  );
  for (const [pass, axes] of flips.entries()) {
    if (signal?.aborted) throw new Aborted(`prediction was stopped after ${pass} of ${flips.length} passes`);
    const logits = planes(
      { image: axes.length > 0 ? flip(image, shape, axes) : image, shape },
      {
        ...options,
        onProgress: ({ loaded, total }: WindowProgress) =>
          onProgress?.({ loaded: pass * total + loaded, total: flips.length * total }),
      },
    );
    let k = 0;
    for await (const plane of logits) {
      const found = flip(probabilitiesOf(plane, heads), [x, y, 1], axes);
      const place = axes.includes('z') ? z - 1 - k : k;
      for (let at = 0; at < found.length; at += area)
        for (let voxel = 0, to = at * z + place * area; voxel < area; voxel++, to++)
          mean[to]! += found[at + voxel]!;
      k++;
    }
  }
  if (flips.length > 1) for (let at = 0; at < mean.length; at++) mean[at]! /= flips.length;
  return mean;
}

/** Probabilities [head][voxel] of logits [head][voxel]: of classes that exclude each other, or of each region by itself. */
export const probabilitiesOf = (
  logits: Float32Array,
  { classes, regions }: Heads,
): Float32Array<ArrayBuffer> =>
  regions
    ? filled(new Float32Array(logits.length), logits, (z) => 1 / (1 + Math.exp(-z)))
    : softmax(logits, classes);

/** The label of each voxel: the likeliest class, or of the last region whose probability exceeds one half. */
export function labelsOf(probabilities: Float32Array, { classes, regions }: Heads): Uint8Array<ArrayBuffer> {
  if (!regions) return argmax(probabilities, classes);
  const voxels = probabilities.length / regions.length;
  const labels = new Uint8Array(voxels);
  for (const [head, { written }] of regions.entries()) {
    const found = probabilities.subarray(head * voxels, (head + 1) * voxels);
    for (let voxel = 0; voxel < voxels; voxel++) if (found[voxel]! > 0.5) labels[voxel] = written;
  }
  return labels;
}

/**
 * The same on another grid, to which probabilities are brought head by head: there is one at a time beside the largest so
 * far, however many they are.
 * @param probabilities are used up
 * @param bring gives the probabilities of a head on that grid
 */
export function labelsThrough(
  probabilities: Float32Array,
  { classes, regions }: Heads,
  bring: (head: Float32Array) => Float32Array,
): Uint8Array<ArrayBuffer> {
  const heads = regions?.length ?? classes;
  const voxels = probabilities.length / heads;
  let labels: Uint8Array<ArrayBuffer> | undefined;
  let best: Float32Array | undefined;
  for (let head = 0; head < heads; head++) {
    const found = bring(probabilities.subarray(head * voxels, (head + 1) * voxels));
    labels ??= new Uint8Array(found.length);
    if (regions) {
      for (let voxel = 0; voxel < found.length; voxel++)
        if (found[voxel]! > 0.5) labels[voxel] = regions[head]!.written;
      continue;
    }
    if (!best) {
      best = found;
      continue;
    }
    for (let voxel = 0; voxel < found.length; voxel++)
      if (found[voxel]! > best[voxel]!) {
        best[voxel] = found[voxel]!;
        labels[voxel] = head;
      }
  }
  return labels!;
}

/** Probabilities [class][voxel] of logits [class][voxel]. */
export function softmax(logits: Float32Array, classes: number): Float32Array<ArrayBuffer> {
  const voxels = logits.length / classes;
  const result = new Float32Array(logits.length);
  for (let voxel = 0; voxel < voxels; voxel++) {
    let largest = -Infinity;
    for (let at = voxel; at < logits.length; at += voxels) largest = Math.max(largest, logits[at]!);
    let sum = 0;
    for (let at = voxel; at < logits.length; at += voxels)
      sum += result[at] = Math.exp(logits[at]! - largest);
    for (let at = voxel; at < logits.length; at += voxels) result[at]! /= sum;
  }
  return result;
}

/** The class with the highest score of each voxel of [class][voxel], the lowest on a tie. */
export function argmax(scores: Float32Array, classes: number): Uint8Array<ArrayBuffer> {
  const voxels = scores.length / classes;
  const result = new Uint8Array(voxels);
  for (let voxel = 0; voxel < voxels; voxel++) {
    let best = scores[voxel]!;
    for (let label = 1, at = voxel + voxels; label < classes; label++, at += voxels) {
      if (scores[at]! > best) {
        best = scores[at]!;
        result[voxel] = label;
      }
    }
  }
  return result;
}
