/** Segments images as nnU-Net does, from the image to labels on its own grid. */
import { spacingOf } from '../../../data/volume.ts';
import { InvalidModel, InvalidOption } from '../../../errors.ts';
import { Segmentation, type PredictOptions } from '../../../infer/predict.ts';
import { softmax } from '../../../infer/probabilities.ts';
import type { Size3 } from '../../../size.ts';
import { foregroundLabels } from '../labels.ts';
import type { NnunetRules } from '../rules.ts';
import { fastestFirst, transposition, voxelsOf } from './axes.ts';
import type { ImageOrigin, NnunetImage } from './image.ts';
import { PlaneReducer } from './labels-of-planes.ts';
import { logitPlanes, windowGrid, type WindowLogits, type WindowOptions } from './logits.ts';
import { nnunetInput, type NnunetInput, type PreviousStage } from './preprocess.ts';
import { sizeAt, splineOf } from './resampling.ts';

/** What of a model a segmentation needs. */
export type SegmentationRules = Pick<NnunetRules, 'plans' | 'labels' | 'mirrorAxes'>;

export interface NnunetSegmentOptions extends Omit<WindowOptions, 'mirrorAxes'> {
  /** Whether windows are mirrored along the axes that the model allows. Default true. */
  readonly mirror?: boolean | undefined;
  /** Whether probabilities are given beside the labels, which takes memory for all heads at once. Default false. */
  readonly probabilities?: boolean | undefined;
  /** Needed by the second network of a cascade. */
  readonly previous?: PreviousStage | undefined;
}

/**
 * Options of `UNet3D.predict` for a model that follows nnU-Net's rules.
 * @throws InvalidOption for those that these rules have no place for
 */
export function optionsForNnunet(options: PredictOptions): NnunetSegmentOptions {
  const { overlap = 0.5, tta = true, window, mirrorAxes, output, signal, onProgress } = options;
  const refused = window
    ? 'window'
    : mirrorAxes
      ? 'mirrorAxes'
      : output === 'logits'
        ? "output 'logits'"
        : '';
  if (refused)
    throw new InvalidOption(
      `this model follows nnU-Net's rules, which have no place for ${refused}: leave it out`,
    );
  return { step: 1 - overlap, mirror: tta, probabilities: output === 'probabilities', signal, onProgress };
}

/** Labels are uint16 from 255 foreground labels on. */
export type NnunetSegmentation = Segmentation<Uint8Array | Uint16Array>;

/**
 * @param networks one per fold, as `window` takes them: [channel][z][y][x] of the plans' patch
 * @throws InvalidVolume, InvalidOption, InvalidModel, Aborted, NotFinite, OutOfMemory
 */
export async function segmentAsNnunet(
  { plans, labels, mirrorAxes }: SegmentationRules,
  image: NnunetImage,
  networks: readonly WindowLogits[],
  { mirror = true, probabilities = false, previous, ...options }: NnunetSegmentOptions = {},
): Promise<NnunetSegmentation> {
  const { configuration } = plans;
  if ((configuration.previousStage === undefined) !== (previous === undefined))
    throw new InvalidModel(
      configuration.previousStage === undefined
        ? `configuration "${configuration.name}" has no previous stage; leave its labels out`
        : `configuration "${configuration.name}" takes the labels of "${configuration.previousStage}"; give them too`,
    );
  const input = nnunetInput(image, plans, previous);
  const heads = labels.heads.length;
  const shape = { window: fastestFirst(configuration.patch), heads };
  const planes = logitPlanes(input, shape, networks, { ...options, mirrorAxes: mirror ? mirrorAxes : [] });
  return labelsOfPlanes({ plans, labels }, image, input, planes, probabilities);
}

/**
 * @param planes of logits [head][y][x] on the network's grid, in order
 * @param probabilities whether they are given too
 */
export async function labelsOfPlanes(
  model: Pick<SegmentationRules, 'plans' | 'labels'>,
  image: NnunetImage,
  input: Pick<NnunetInput, 'size' | 'box'>,
  planes: AsyncIterable<Float32Array> | Iterable<Float32Array>,
  probabilities = false,
): Promise<NnunetSegmentation> {
  const reducer = reducerOf(model, image, input, probabilities);
  const result = new Placement(image.origin, input.box, model.labels, probabilities);
  for await (const plane of planes)
    for (const { z, labels, logits } of reducer.push(plane)) result.put(z, labels, logits);
  return result.segmentation();
}

/** From the network's grid to what was cropped. */
function reducerOf(
  { plans, labels }: Pick<SegmentationRules, 'plans' | 'labels'>,
  image: NnunetImage,
  { size, box }: Pick<NnunetInput, 'size' | 'box'>,
  keepLogits: boolean,
): PlaneReducer {
  const { resampling, spacing } = plans.configuration;
  const isSame = size.every((n, axis) => n === box.size[axis]);
  const how = isSame ? undefined : splineOf(resampling.probabilities, fastestFirst(spacing), image.spacing);
  if (!how && !isSame)
    throw new InvalidModel(
      'plans.json resamples images but not logits; expected one of nnU-Net’s resampling_fn_probabilities',
    );
  return new PlaneReducer(size, box.size, how, labels, keepLogits);
}

/** Labels and probabilities on the grid of the file, filled plane by plane. */
class Placement {
  readonly #labels: Uint8Array | Uint16Array;
  readonly #probabilities: Float32Array | undefined;

  constructor(
    readonly origin: ImageOrigin,
    readonly box: NnunetInput['box'],
    readonly rules: SegmentationRules['labels'],
    probabilities: boolean,
  ) {
    const voxels = voxelsOf(origin.shape);
    const bytesDo = foregroundLabels(rules).length < 255 && rules.heads.every(({ written }) => written < 256);
    this.#labels = bytesDo ? new Uint8Array(voxels) : new Uint16Array(voxels);
    if (!probabilities) return;
    this.#probabilities = new Float32Array(voxels * rules.heads.length);
    // Around the box there is background.
    if (!rules.regions) this.#probabilities.fill(1, 0, voxels);
  }

  put(z: number, labels: Uint16Array, logits: Float32Array | undefined): void {
    this.#putPlane(this.#labels, 0, labels, z);
    if (!logits || !this.#probabilities) return;
    const { heads, regions } = this.rules;
    const values = regions
      ? logits.map((value) => 1 / (1 + Math.exp(-value)))
      : softmax(logits, heads.length);
    const voxels = this.#labels.length;
    heads.forEach((_, head) => {
      const plane = values.subarray(head * labels.length, (head + 1) * labels.length);
      this.#putPlane(this.#probabilities!, head * voxels, plane, z);
    });
  }

  #putPlane(
    target: Uint8Array | Uint16Array | Float32Array,
    first: number,
    plane: ArrayLike<number>,
    z: number,
  ) {
    const { start, steps } = this.origin;
    const { start: corner, size } = this.box;
    const place = first + start + corner[0] * steps[0] + (corner[2] + z) * steps[2];
    for (let y = 0, at = 0; y < size[1]; y++) {
      let to = place + (corner[1] + y) * steps[1];
      for (let x = 0; x < size[0]; x++, to += steps[0]) target[to] = plane[at++]!;
    }
  }

  segmentation(): NnunetSegmentation {
    const { shape, affine, header } = this.origin;
    const grid = { affine, spacing: spacingOf(affine), header };
    const probabilities = this.#probabilities && {
      ...grid,
      data: this.#probabilities,
      shape: [...shape, this.rules.heads.length],
    };
    return new Segmentation({ ...grid, data: this.#labels, shape }, probabilities, undefined, []);
  }
}

/** What a segmentation takes at most on the host, beside the network's own plan on the GPU. */
export interface SegmentationPlan {
  /** Voxels along x, y, z of nnU-Net's array that the network sees. */
  readonly size: Size3;
  readonly windows: number;
  /** Of the image as it is read, prepared and resampled. */
  readonly imageBytes: number;
  /** Of the logits that windows still reach, however long the image is. */
  readonly logitBytes: number;
  readonly labelBytes: number;
}

/**
 * What an image needs, nothing of which is cropped.
 * @param image voxels and mm along x, y, z of the file
 */
export function planSegmentation(
  { plans, labels }: Pick<SegmentationRules, 'plans' | 'labels'>,
  image: { readonly size: Size3; readonly spacing: Size3 },
  step?: number,
): SegmentationPlan {
  const { spacing, patch, resampling, normalization } = plans.configuration;
  const { axes } = transposition(plans.transpose);
  const along = (list: Size3) => axes.map((axis) => list[axis]) as unknown as Size3;
  const [from, own, next] = [along(image.size), along(image.spacing), fastestFirst(spacing)];
  const size = resampling.data.method === 'none' ? from : sizeAt(from, own, next);
  const window = fastestFirst(patch);
  const grid = windowGrid(size, window, step);
  const channels = normalization.length;
  return {
    size,
    windows: grid.count,
    imageBytes: 4 * channels * (2 * voxelsOf(from) + voxelsOf(size)),
    logitBytes:
      4 * grid.size[0] * grid.size[1] * (window[2] * (labels.heads.length + 1) + 2 * labels.heads.length),
    labelBytes: voxelsOf(from) * (foregroundLabels(labels).length < 255 ? 1 : 2),
  };
}
