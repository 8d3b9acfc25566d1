/**
 * From a file to its segmentation: read, turned to canonical axes and prepared as in training, through the network,
 * and back onto the file's own grid. Probabilities, not labels, are resampled on the way back; what was cropped away is
 * background.
 */
import { prepareVolumes, readOnto } from '../data/prepare.ts';
import { defaultPreprocessing, type Preprocessing } from '../data/preprocessing.ts';
import type { Axis, Size3 } from '../size.ts';
import { channelsOf } from '../data/prepare-checks.ts';
import { isWhole, pad, type Box } from '../data/boxes.ts';
import { resampleTo } from '../data/resample.ts';
import { gridOf } from '../data/nifti-affine.ts';
import { writeNifti } from '../data/nifti.ts';
import { sourceList, sourceName, type Source } from '../data/source.ts';
import { fromCanonical, spacingOf, spatialShape, type Volume } from '../data/volume.ts';
import { InvalidOption } from '../errors.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { postprocessed, type Postprocessing } from '../metrics/components.ts';
import type { Heads, Region } from '../data/regions.ts';
import type { DenseCase } from './evaluator.ts';
import {
  labelsOf,
  labelsThrough,
  mirroredAsTrained,
  mirrorings,
  probabilitiesOf,
  segmentProbabilities,
  type MirrorOptions,
} from './probabilities.ts';
import { stacked } from './inference.ts';
import { segmentLabels } from './labels.ts';
import type { ResultVolume } from './result-volume.ts';
import { entropyOf, uncertaintyOf, type Uncertainty } from './uncertainty.ts';
import type { WindowProgress } from './window.ts';

/** What a prediction may give: a label for each voxel, probabilities of classes or regions, or the network's outputs. */
export type PredictOutput = 'labels' | 'probabilities' | 'logits';

/** How files are segmented. */
export interface PredictOptions extends MirrorOptions {
  /** What `toNifti` writes; labels are there in any case. Default 'labels'. */
  readonly output?: PredictOutput;
  /** Whether it is also told how unsure the network is, and where. Default false. */
  readonly uncertainty?: boolean;
  /** Of neighbouring windows, where the volume needs several. Default 0.5. */
  readonly overlap?: number;
  /** x, y, z; forces windows of this size. */
  readonly window?: Size3;
  /** Whether labels are cleaned as validation chose it for this model; probabilities never are. Default true. */
  readonly postprocess?: boolean;
  /** Looked at between windows; the call then throws `Aborted`. */
  readonly signal?: AbortSignal;
  /** Called after each window. */
  readonly onProgress?: (progress: WindowProgress) => void;
}

/** What prediction needs of a model. */
export interface Segmenter {
  readonly config: Pick<UNet3DConfig, 'inChannels' | 'classes'>;
  readonly description: {
    readonly preprocessing?: Preprocessing | undefined;
    readonly postprocessing?: Postprocessing | undefined;
    readonly regions?: readonly Region[] | undefined;
    readonly mirrorAxes?: readonly Axis[] | undefined;
    readonly labels?: readonly string[] | undefined;
  };
  /** Logits of a prepared volume, as planes [head][y][x] in order. */
  readonly planes: (volume: DenseCase, options: PredictOptions) => AsyncIterable<Float32Array>;
}

/** Volumes as their files hold them, and what messages call these. */
export interface ReadSources {
  readonly names: readonly string[];
  readonly volumes: readonly Volume[];
}

/**
 * A segmented volume.
 * @example
 * ```js
 * const segmentation = await model.predict('scan.nii.gz');
 * const { data, shape, spacing } = segmentation.labels;
 * const file = await segmentation.toNifti();
 * ```
 */
export class Segmentation<Labels extends Uint8Array | Uint16Array = Uint8Array | Uint16Array> {
  constructor(
    /** Class of each voxel on the source's own grid. */
    readonly labels: ResultVolume<Labels>,
    /** Probabilities on the source's own grid, where they were asked for. */
    readonly probabilities: ResultVolume<Float32Array> | undefined,
    /** Logits on the network's grid (canonical axes, the model's spacing), where they were asked for. */
    readonly logits: ResultVolume<Float32Array> | undefined,
    /** What the user should know, one sentence each. */
    readonly warnings: readonly string[],
    /** How unsure the network is of each voxel, and where most, where that was asked for. */
    readonly uncertainty?: Uncertainty,
  ) {}

  /** The output that was asked for as the bytes of a .nii.gz (or .nii) file. */
  async toNifti(options: { readonly gzip?: boolean } = {}): Promise<Uint8Array<ArrayBuffer>> {
    return writeNifti(this.logits ?? this.probabilities ?? this.labels, options);
  }
}

/** A segmentation with its uncertainty, from probabilities that it has; these stay if they were asked for. */
export function withUncertainty(
  { labels, probabilities, logits, warnings }: Segmentation,
  heads: Heads,
  output: PredictOutput | undefined,
): Segmentation {
  const { data, shape, ...grid } = probabilities!;
  const uncertainty = uncertaintyOf({ ...grid, data: entropyOf(data, heads), shape: shape.slice(0, 3) });
  const kept = output === 'probabilities' ? probabilities : undefined;
  return new Segmentation(labels, kept, logits, warnings, uncertainty);
}

/** @throws InvalidOption for logits where probabilities are averaged */
export function assertNoMeanOfLogits({ output, ...options }: PredictOptions): void {
  if (output === 'logits' && mirrorings(options).length > 1)
    throw new InvalidOption(
      "test-time augmentation averages probabilities, not logits: leave tta and mirrorAxes out, or give output 'probabilities'",
    );
}

/**
 * Reads what is to be segmented: one file per channel, or one 4-D file of all channels.
 * @throws InvalidVolume if a file cannot be read; InvalidOption for no file and for what is no source
 */
export async function readSources(sources: Source | readonly Source[]): Promise<ReadSources> {
  const files = sourceList(sources);
  if (files.length === 0) throw new InvalidOption('there is no file to predict; give at least one');
  const volumes: Volume[] = [];
  for (const file of files) volumes.push(await readOnto(volumes[0], file, true));
  return { names: files.map(sourceName), volumes };
}

/**
 * Segments what was read, which is used up.
 * @throws InvalidVolume or InvalidDataset if the files do not fit together; InvalidOption if their channels are not the
 *   model's; Aborted; and what `planes` throws
 */
export async function segmentVolumes(
  model: Segmenter,
  { names, volumes }: ReadSources,
  given: PredictOptions = {},
): Promise<Segmentation> {
  const options = mirroredAsTrained(given, model.description);
  const { output = 'labels', postprocess = true } = options;
  const { inChannels, classes } = model.config;
  const { postprocessing, regions } = model.description;
  const heads = { classes, regions };
  const channels = volumes.reduce((sum, volume) => sum + channelsOf(volume), 0);
  const name = names[0]!;
  if (channels !== inChannels)
    throw new InvalidOption(
      `${name} has ${channels} channel(s), this model takes ${inChannels}: give one file per channel, or one 4-D file`,
    );

  const warnings: string[] = [];
  const preprocessing = model.description.preprocessing ?? defaultPreprocessing(inChannels);
  const item = { id: name, images: volumes, files: { images: names } };
  const prepared = prepareVolumes(item, preprocessing, {}, { owned: true });
  const grid = prepared.grid!;
  if (preprocessing.spacing === null) {
    const own = grid.spacing.map((mm) => Number(mm.toFixed(3))).join(' x ');
    warnings.push(
      model.description.preprocessing
        ? `The model does not say at which spacing it was trained: ${name} is used at its own, ${own} mm.`
        : `The model does not say how images were prepared for it: ${name} is turned to RAS, used at its own spacing, ${own} mm, and each channel is z-scored.`,
    );
  }
  const logits =
    output === 'logits' ? await stacked(model.planes(prepared, options), prepared.shape, classes) : undefined;
  // All heads at once are there for those alone who ask for them.
  const isAsked = output === 'probabilities' || options.uncertainty;
  const scores = logits
    ? probabilitiesOf(logits, heads)
    : isAsked
      ? await segmentProbabilities(model.planes, prepared, heads, options)
      : undefined;

  const { header } = volumes[0]!;
  const source = gridOf(header);
  const onSource = { affine: source.affine, spacing: spacingOf(source.affine), header };
  const shape = spatialShape(source.shape);
  const box = grid.box ?? { start: [0, 0, 0], size: grid.shape };
  const brought = (values: Float32Array): Float32Array =>
    isWhole(box, prepared.shape) ? values : resampleTo(values, prepared.shape, box.size, 'linear');
  const inBox = scores && isAsked ? brought(scores) : undefined;
  const inPlace = inBox
    ? labelsOf(inBox, heads)
    : scores
      ? labelsThrough(scores, heads, brought)
      : await segmentLabels(model.planes, prepared, heads, options, box.size);
  const found = placed(inPlace, box, grid.shape);
  const cleaned = postprocess ? postprocessed(found, grid.shape, postprocessing, regions) : found;
  const labels = {
    ...onSource,
    data: fromCanonical(cleaned, { shape, affine: source.affine }),
    shape,
  };
  const uncertainty = options.uncertainty
    ? uncertaintyOf({
        ...onSource,
        data: fromCanonical(placed(entropyOf(inBox!, heads), box, grid.shape), {
          shape,
          affine: source.affine,
        }),
        shape,
      })
    : undefined;
  if (output === 'probabilities') {
    const probabilities = placed(inBox!, box, grid.shape, regions ? 0 : 1);
    const data = fromCanonical(probabilities, { shape, affine: source.affine });
    const found = { ...onSource, data, shape: [...shape, classes] };
    return new Segmentation(labels, found, undefined, warnings, uncertainty);
  }
  if (!logits) return new Segmentation(labels, undefined, undefined, warnings, uncertainty);
  const affine = resampledAffine(grid.affine, box, prepared.shape);
  const raw = {
    data: logits,
    shape: [...prepared.shape, classes],
    affine,
    spacing: spacingOf(affine),
    header,
  };
  return new Segmentation(labels, undefined, raw, warnings, uncertainty);
}

/** [channel][z][y][x] of a box in its grid; around it the first channel (the background's) is `background`, else 0. */
function placed<T extends Float32Array | Uint8Array>(data: T, box: Box, shape: Size3, background = 0): T {
  if (isWhole(box, shape)) return data;
  const after = shape.map((n, axis) => n - box.start[axis]! - box.size[axis]!) as unknown as Size3;
  const grown = <A extends Float32Array | Uint8Array>(part: A): A =>
    pad(part, box.size, box.start, after).data as A;
  const result = grown(data);
  if (background === 0) return result;
  const inside = grown(new Uint8Array(box.size[0] * box.size[1] * box.size[2]).fill(1));
  for (let voxel = 0; voxel < inside.length; voxel++) if (!inside[voxel]) result[voxel] = background;
  return result;
}

/** Affine of a box of a grid with the same field of view and another number of voxels. */
function resampledAffine(affine: readonly number[], { start, size }: Box, to: Size3): number[] {
  const ratio = size.map((n, axis) => n / to[axis]!);
  const result = [...affine];
  for (const row of [0, 4, 8]) {
    for (const axis of [0, 1, 2]) {
      result[row + axis] = affine[row + axis]! * ratio[axis]!;
      result[row + 3]! += affine[row + axis]! * (start[axis]! + (ratio[axis]! - 1) / 2);
    }
  }
  return result;
}
