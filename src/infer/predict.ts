/**
 * From a file to its segmentation: read, turned to canonical axes and prepared as in training, through the network,
 * and back onto the file's own grid. Probabilities, not labels, are resampled on the way back.
 */
import { defaultPreprocessing, prepareVolumes, type Preprocessing, type Size3 } from '../data/prepare.ts';
import { resampleTo } from '../data/preprocess.ts';
import { readNifti, writeNifti } from '../data/nifti.ts';
import type { NiftiHeader } from '../data/nifti-header.ts';
import { sourceName, type Source } from '../data/source.ts';
import { fromCanonical, spacingOf, spatialShape, toCanonical, type Volume } from '../data/volume.ts';
import { InvalidOption } from '../errors.ts';
import type { UNet3DConfig } from '../model/config.ts';
import type { DenseCase } from './evaluator.ts';
import type { WindowProgress } from './window.ts';

export type PredictOutput = 'labels' | 'probabilities' | 'logits';

export interface PredictOptions {
  /** What `toNifti` writes; labels are there in any case. Default 'labels'. */
  readonly output?: PredictOutput;
  /** Of neighbouring windows, where the volume needs several. Default 0.5. */
  readonly overlap?: number;
  /** x, y, z; forces windows of this size. */
  readonly window?: Size3;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WindowProgress) => void;
}

/** A result on a grid: one value per voxel, or one per voxel and class. */
export interface ResultVolume<T extends Uint8Array | Float32Array> {
  /** x fastest, then y, z, class. */
  readonly data: T;
  /** x, y, z, and classes. */
  readonly shape: readonly number[];
  /** Voxel to millimetres, 16 numbers row-major. */
  readonly affine: readonly number[];
  /** Millimetres between voxels along x, y, z. */
  readonly spacing: readonly [number, number, number];
  /** The source's, so that q- and sform codes and units are written back. */
  readonly header: NiftiHeader;
}

/** What prediction needs of a model. */
export interface Segmenter {
  readonly config: Pick<UNet3DConfig, 'inChannels' | 'classes'>;
  readonly description: { readonly preprocessing?: Preprocessing | undefined };
  logits(volume: DenseCase, options?: PredictOptions): Promise<Float32Array>;
}

/** A segmented volume. */
export class Segmentation {
  constructor(
    /** Class of each voxel on the source's own grid. */
    readonly labels: ResultVolume<Uint8Array>,
    /** Probabilities on the source's own grid, where they were asked for. */
    readonly probabilities: ResultVolume<Float32Array> | undefined,
    /** Logits on the network's grid (canonical axes, the model's spacing), where they were asked for. */
    readonly logits: ResultVolume<Float32Array> | undefined,
    /** What the user should know, one sentence each. */
    readonly warnings: readonly string[],
  ) {}

  /** The output that was asked for as the bytes of a .nii.gz (or .nii) file. */
  async toNifti(options: { readonly gzip?: boolean } = {}): Promise<Uint8Array> {
    return writeNifti(this.logits ?? this.probabilities ?? this.labels, options);
  }
}

/**
 * Segments one volume.
 * @param sources one file per channel, or one 4-D file of all channels
 * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption if their
 *   channels are not the model's; Aborted
 */
export async function predictVolume(
  model: Segmenter,
  sources: Source | readonly Source[],
  options: PredictOptions = {},
): Promise<Segmentation> {
  const { output = 'labels' } = options;
  if (!['labels', 'probabilities', 'logits'].includes(output))
    throw new InvalidOption(`output is '${output}'; give 'labels', 'probabilities' or 'logits'`);
  const { inChannels, classes } = model.config;
  const files = Array.isArray(sources) ? (sources as readonly Source[]) : [sources as Source];
  if (files.length === 0) throw new InvalidOption('there is no file to predict; give at least one');
  const volumes: Volume[] = [];
  for (const file of files) volumes.push(await readNifti(file));
  const found = volumes.reduce((sum, { shape }) => sum + (shape[3] ?? 1), 0);
  const name = sourceName(files[0]!);
  if (found !== inChannels)
    throw new InvalidOption(
      `${name} has ${found} channel(s), this model takes ${inChannels}: give one file per channel, or one 4-D file`,
    );

  const warnings: string[] = [];
  const preprocessing = model.description.preprocessing ?? defaultPreprocessing(inChannels);
  const prepared = prepareVolumes(
    name,
    volumes.map(toCanonical),
    undefined,
    preprocessing,
    {},
    { owned: true },
  );
  const grid = prepared.grid!;
  if (preprocessing.spacing === null) {
    const own = grid.spacing.map((mm) => Number(mm.toFixed(3))).join(' x ');
    warnings.push(
      `The model does not say at which spacing it was trained: ${name} is used at its own, ${own} mm.`,
    );
  }
  const logits = await model.logits(prepared, options);

  const source = volumes[0]!;
  const onSource = { affine: source.affine, spacing: source.spacing, header: source.header };
  const shape = spatialShape(source.shape);
  const probabilities = resampleTo(softmax(logits, classes), prepared.shape, grid.shape, 'linear');
  const labels = {
    ...onSource,
    data: fromCanonical(argmax(probabilities, classes), { shape, affine: source.affine }),
    shape,
  };
  if (output === 'probabilities') {
    const data = fromCanonical(probabilities, { shape, affine: source.affine });
    return new Segmentation(labels, { ...onSource, data, shape: [...shape, classes] }, undefined, warnings);
  }
  if (output === 'labels') return new Segmentation(labels, undefined, undefined, warnings);
  const affine = resampledAffine(grid.affine, grid.shape, prepared.shape);
  const raw = {
    data: logits,
    shape: [...prepared.shape, classes],
    affine,
    spacing: spacingOf(affine),
    header: source.header,
  };
  return new Segmentation(labels, undefined, raw, warnings);
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

/** Affine of a grid with the same field of view and another number of voxels. */
function resampledAffine(affine: readonly number[], from: Size3, to: Size3): number[] {
  const ratio = from.map((n, axis) => n / to[axis]!);
  const result = [...affine];
  for (const row of [0, 4, 8]) {
    for (const axis of [0, 1, 2]) {
      result[row + axis] = affine[row + axis]! * ratio[axis]!;
      result[row + 3]! += (affine[row + axis]! * (ratio[axis]! - 1)) / 2;
    }
  }
  return result;
}
