/** Segments images as nnU-Net does, from the image to labels on its own grid. */
import { arrayFor } from '../../../data/allocation.ts';
import type { SplineOptions } from '../../../data/spline.ts';
import { spacingOf } from '../../../data/volume.ts';
import { InvalidModel, InvalidOption } from '../../../errors.ts';
import { Segmentation, type PredictOptions } from '../../../infer/predict.ts';
import { softmax } from '../../../infer/probabilities.ts';
import { labelsAreBytes } from '../labels.ts';
import type { NnunetConfiguration } from '../plans.ts';
import type { NnunetRules } from '../rules.ts';
import { fastestFirst, voxelsOf } from './axes.ts';
import type { ImageOrigin, NnunetImage } from './image.ts';
import { PlaneReducer, type Strip } from './labels-of-planes.ts';
import { logitPlanes, windowGrid, type Rows, type WindowNetwork, type WindowOptions } from './logits.ts';
import { defaultLogitBytes, planLogits } from './memory.ts';
import { nnunetInput, type NnunetInput, type PreviousStage } from './preprocess.ts';
import { splineOf } from './resampling.ts';

/** What of a model a segmentation needs. */
export type SegmentationRules = Pick<NnunetRules, 'plans' | 'labels' | 'mirrorAxes'>;

/** How an image is segmented. */
export interface NnunetSegmentOptions extends Omit<WindowOptions, 'mirrorAxes'> {
  /** Whether windows are mirrored along the axes that the model allows. Default true. */
  readonly mirror?: boolean | undefined;
  /** Whether probabilities are given beside the labels, which takes memory for all heads at once. Default false. */
  readonly probabilities?: boolean | undefined;
  /** Needed by the second network of a cascade. */
  readonly previous?: PreviousStage | undefined;
  /**
   * Bytes of host memory for the sums of windows. Where a whole volume would take more, its rows go through in strips:
   * the same labels, and some windows are computed twice. Default 1 GiB.
   */
  readonly logitBytes?: number | undefined;
}

/**
 * Options of `UNet3D.predict` for a model that follows nnU-Net's rules.
 * @throws InvalidOption for those that these rules have no place for
 */
export function optionsForNnunet(options: PredictOptions): NnunetSegmentOptions {
  const { overlap = 0.5, tta = true, window, mirrorAxes, output, uncertainty, signal, onProgress } = options;
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
  const probabilities = output === 'probabilities' || uncertainty;
  const step = Number((1 - overlap).toPrecision(15)); // of 0.9 it is 0.1
  return { step, mirror: tta, probabilities, signal, onProgress };
}

/** Labels are uint16 from 255 foreground labels on. */
export type NnunetSegmentation = Segmentation<Uint8Array | Uint16Array>;

/** @throws InvalidModel where labels of a previous stage are given and not taken, or the other way round */
export function requireStages({ name, previousStage }: NnunetConfiguration, areGiven: boolean): void {
  if ((previousStage !== undefined) === areGiven) return;
  throw new InvalidModel(
    areGiven
      ? `configuration "${name}" has no previous stage; leave its labels out`
      : `configuration "${name}" takes the labels of "${previousStage}": give these, too, or both networks in one folder`,
  );
}

/**
 * @param image is used up: its channels are emptied
 * @param networks one per fold, for windows of the plans' patch
 * @throws InvalidVolume, InvalidOption, InvalidModel, Aborted, NotFinite, OutOfMemory
 */
export async function segmentAsNnunet(
  { plans, labels, mirrorAxes }: SegmentationRules,
  image: NnunetImage,
  networks: readonly WindowNetwork[],
  {
    mirror = true,
    probabilities = false,
    previous,
    logitBytes = defaultLogitBytes,
    ...options
  }: NnunetSegmentOptions = {},
): Promise<NnunetSegmentation> {
  const { configuration } = plans;
  requireStages(configuration, previous !== undefined);
  const input = nnunetInput(image, plans, previous);
  const window = fastestFirst(configuration.patch);
  const how = wayBack(plans, image, input);
  const channels = networks[0]?.channels ?? 1;
  const parts = networks[0]?.head ? networks.length : 1;
  const { strips, windows } = planLogits(
    { network: input.size, image: input.box.size, how },
    { window, step: options.step, heads: labels.heads.length, channels, parts },
    logitBytes,
  );
  const result = new Placement(image, input.box, labels, probabilities);
  const total = windows * networks.length;
  let before = 0;
  for (const strip of strips) {
    const planes = logitPlanes(
      input,
      window,
      networks,
      {
        ...options,
        mirrorAxes: mirror ? mirrorAxes : [],
        onProgress: ({ loaded }) => options.onProgress?.({ loaded: before + loaded, total }),
      },
      strip.source,
    );
    const reducer = new PlaneReducer(input.size, input.box.size, labels, {
      how,
      keepLogits: probabilities,
      strip,
    });
    await result.fill(reducer, planes, strip);
    before += networks.length * windowGrid(input.size, window, options.step, strip.source).count;
  }
  return result.segmentation();
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
  const { size, box } = input;
  const how = wayBack(model.plans, image, input);
  const result = new Placement(image, box, model.labels, probabilities);
  await result.fill(
    new PlaneReducer(size, box.size, model.labels, { how, keepLogits: probabilities }),
    planes,
  );
  return result.segmentation();
}

/** How logits come from the network's grid to what was cropped; undefined where that is the same. */
function wayBack(
  plans: SegmentationRules['plans'],
  image: Pick<NnunetImage, 'spacing'>,
  { size, box }: Pick<NnunetInput, 'size' | 'box'>,
): SplineOptions | undefined {
  const { resampling, spacing } = plans.configuration;
  const isSame = size.every((n, axis) => n === box.size[axis]);
  const how = isSame ? undefined : splineOf(resampling.probabilities, fastestFirst(spacing), image.spacing);
  if (!how && !isSame)
    throw new InvalidModel(
      'plans.json resamples images but not logits; expected one of nnU-Net’s resampling_fn_probabilities',
    );
  return how;
}

/** Labels and probabilities on the grid of the file, filled plane by plane. */
class Placement {
  readonly #labels: Uint8Array | Uint16Array;
  readonly #probabilities: Float32Array | undefined;

  readonly origin: ImageOrigin;

  /** @throws OutOfMemory */
  constructor(
    { origin, name }: Pick<NnunetImage, 'origin' | 'name'>,
    readonly box: NnunetInput['box'],
    readonly rules: SegmentationRules['labels'],
    probabilities: boolean,
  ) {
    this.origin = origin;
    const voxels = voxelsOf(origin.shape);
    const kind = labelsAreBytes(rules) ? Uint8Array : Uint16Array;
    this.#labels = arrayFor<Uint8Array | Uint16Array>(kind, voxels, `${name}, segmented,`);
    if (!probabilities) return;
    const heads = rules.heads.length;
    this.#probabilities = arrayFor(
      Float32Array,
      voxels * heads,
      `the stack of ${heads} probabilities of ${name}`,
    );
    // Around the box there is background.
    if (!rules.regions) this.#probabilities.fill(1, 0, voxels);
  }

  /** With what the reducer makes of the planes. */
  async fill(
    reducer: PlaneReducer,
    planes: AsyncIterable<Float32Array> | Iterable<Float32Array>,
    { result: rows }: Pick<Strip, 'result'> = { result: [0, this.box.size[1]] },
  ): Promise<void> {
    for await (const plane of planes)
      for (const { z, labels, logits } of reducer.push(plane)) this.#put(z, rows, labels, logits);
  }

  #put(z: number, rows: Rows, labels: Uint16Array, logits: Float32Array | undefined): void {
    this.#putPlane(this.#labels, 0, labels, z, rows);
    if (!logits || !this.#probabilities) return;
    const { heads, regions } = this.rules;
    const values = regions
      ? logits.map((value) => 1 / (1 + Math.exp(-value)))
      : softmax(logits, heads.length);
    const voxels = this.#labels.length;
    heads.forEach((_, head) => {
      const plane = values.subarray(head * labels.length, (head + 1) * labels.length);
      this.#putPlane(this.#probabilities!, head * voxels, plane, z, rows);
    });
  }

  #putPlane(
    target: Uint8Array | Uint16Array | Float32Array,
    first: number,
    plane: ArrayLike<number>,
    z: number,
    [low, high]: Rows,
  ) {
    const { start, steps } = this.origin;
    const { start: corner, size } = this.box;
    const place = first + start + corner[0] * steps[0] + (corner[2] + z) * steps[2];
    for (let y = low, at = 0; y < high; y++) {
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
