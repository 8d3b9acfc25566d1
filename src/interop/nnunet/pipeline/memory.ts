/** What a segmentation takes on the host, known beforehand, and into how many strips logits are cut to fit. */
import type { SplineOptions } from '../../../data/spline.ts';
import type { Size3 } from '../../../size.ts';
import { foregroundLabels, labelsAreBytes } from '../labels.ts';
import type { NnunetRules } from '../rules.ts';
import { fastestFirst, transposition, voxelsOf } from './axes.ts';
import { stripsOf, type Strip } from './labels-of-planes.ts';
import { readAtMost } from '../../../model/plan.ts';
import { windowGrid } from './logits.ts';
import type { WindowResult } from './network.ts';
import { sizeAt, splineOf } from './resampling.ts';

/** Bytes that logits and features may take on the host where nobody says otherwise. */
export const defaultLogitBytes = 2 ** 30;

/** What logits take, and how that is kept within bounds. */
export interface LogitPlan {
  /** Rows that go through the windows one strip after the other. */
  readonly strips: readonly Strip[];
  /** Sums over windows and planes on their way back to the image, at most. */
  readonly bytes: number;
  /** Of all strips; those at their borders count once for each. */
  readonly windows: number;
}

/** The way between the network's grid and what was cropped of the image. */
interface Way {
  readonly network: Size3;
  readonly image: Size3;
  readonly how: SplineOptions | undefined;
}

/**
 * As few strips as let logits fit the bytes, if any do.
 * @param parts networks that have sums of their own
 */
export function planLogits(
  { network, image, how }: Way,
  {
    window,
    step,
    heads,
    channels,
    parts,
  }: {
    readonly window: Size3;
    readonly step: number | undefined;
    readonly heads: number;
    readonly channels: number;
    readonly parts: number;
  },
  most: number,
): LogitPlan {
  const { size } = windowGrid(network, window, step);
  const bytesOf = ({ source, result }: Strip): number => {
    const rows = source[1] - source[0];
    const sums = parts * (channels + 1) * size[0] * rows * window[2];
    // The last plane, the next, and the features that it is made of, on the way into WASM memory and out of it.
    const planes = (3 * heads + 2 * channels) * network[0] * rows;
    return 4 * (sums + planes + 3 * image[0] * (result[1] - result[0]));
  };
  for (let count = 1; ; count++) {
    const strips = stripsOf(network[1], image[1], how, count);
    const bytes = Math.max(...strips.map(bytesOf));
    if (bytes > most && count < image[1]) continue;
    const windows = strips.reduce(
      (sum, { source }) => sum + windowGrid(network, window, step, source).count,
      0,
    );
    return { strips, bytes, windows };
  }
}

/** What a segmentation takes at most on the host, beside the network's own plan on the GPU. */
export interface SegmentationPlan {
  /** Voxels along x, y, z of nnU-Net's array that the network sees. */
  readonly size: Size3;
  /** Of one network; more where the rows of the image go through in strips. */
  readonly windows: number;
  /** Of the image as it is read, cropped and resampled, before the first window. */
  readonly imageBytes: number;
  /** Of the image as the network takes it, which stays. */
  readonly inputBytes: number;
  /** Of the logits that windows still reach, however long the image is. */
  readonly logitBytes: number;
  /** Of a part of a window's results on their way from the GPU. */
  readonly readBytes: number;
  readonly labelBytes: number;
  /** Of probabilities, where they are asked for, with those of a plane on their way. */
  readonly probabilityBytes: number;
  /** What is there at one time. */
  readonly peakBytes: number;
}

/**
 * What an image needs, nothing of which is cropped.
 * @param image voxels and mm along x, y, z, as `gridAsRead` gives them
 */
export function planSegmentation(
  { plans, labels }: Pick<NnunetRules, 'plans' | 'labels'>,
  image: { readonly size: Size3; readonly spacing: Size3 },
  { kind, channels }: WindowResult,
  {
    step,
    folds = 1,
    logitBytes: most = defaultLogitBytes,
    probabilities = false,
  }: {
    readonly step?: number | undefined;
    readonly folds?: number | undefined;
    readonly logitBytes?: number | undefined;
    readonly probabilities?: boolean | undefined;
  } = {},
): SegmentationPlan {
  const { spacing, patch, resampling, normalization, previousStage } = plans.configuration;
  const { axes } = transposition(plans.transpose);
  const along = (list: Size3) => axes.map((axis) => list[axis]) as unknown as Size3;
  const [from, own, next] = [along(image.size), along(image.spacing), fastestFirst(spacing)];
  const size = resampling.data.method === 'none' ? from : sizeAt(from, own, next);
  const isSame = size.join() === from.join();
  const window = fastestFirst(patch);
  const way = {
    network: size,
    image: from,
    how: isSame ? undefined : splineOf(resampling.probabilities, next, own),
  };
  const heads = labels.heads.length;
  const parts = kind === 'features' ? folds : 1;
  const logits = planLogits(way, { window, step, heads, channels, parts }, most);
  const images = normalization.length;
  const inputs = images + (previousStage === undefined ? 0 : foregroundLabels(labels).length);
  const [voxels, seen] = [voxelsOf(from), voxelsOf(size)];
  const inputBytes = 4 * inputs * seen;
  // Cropped one by one; while one is resampled there is a volume between its grid and the network's.
  const cropping = 4 * voxels * (images + 1);
  const preparing = 4 * voxels * images + (isSame ? 0 : 4 * Math.max(voxels, seen)) + inputBytes;
  // Labels of a previous stage stay; beside the images there is what was cropped of them, and last what that becomes.
  const earlier = previousStage === undefined ? 0 : 2 * voxels;
  const preparingEarlier = earlier && (isSame ? 0 : 2 * seen) + inputBytes;
  const imageBytes = earlier + Math.max(cropping, earlier + Math.max(preparing, preparingEarlier));
  const labelBytes = voxels * (labelsAreBytes(labels) ? 1 : 2);
  const probabilityBytes = probabilities ? 4 * heads * (voxels + 2 * from[0] * from[1]) : 0;
  const segmenting = earlier + inputBytes + labelBytes + probabilityBytes;
  // Written, they are there in a file, too, before and behind gzip.
  const writing = labelBytes + 3 * probabilityBytes;
  // What is read, as it was stored and in order, and the window itself.
  const readBytes = 2 * readAtMost(window, channels) + 8 * inputs * voxelsOf(window);
  return {
    size,
    windows: logits.windows,
    imageBytes,
    inputBytes,
    logitBytes: logits.bytes,
    readBytes,
    labelBytes,
    probabilityBytes,
    peakBytes: Math.max(imageBytes, segmenting + logits.bytes + readBytes, writing),
  };
}
