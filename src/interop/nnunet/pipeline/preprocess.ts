/** What nnU-Net does to an image before the network: crop, normalise, resample. */
import { arrayFor } from '../../../data/allocation.ts';
import { insideMask, normalize } from '../../../data/normalize.ts';
import { copyWindow, crop, nonZeroBox, type Box } from '../../../data/boxes.ts';
import { resampleLabels, resampleSpline } from '../../../data/spline.ts';
import { InvalidModel, InvalidVolume } from '../../../errors.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetNormalization, NnunetPlans } from '../plans.ts';
import { fastestFirst, voxelsOf } from './axes.ts';
import type { NnunetImage } from './image.ts';
import { byMost, sizeAt, splineOf } from './resampling.ts';

/** An image as the network takes it. */
export interface NnunetInput {
  /** [channel][z][y][x] */
  readonly data: Float32Array<ArrayBuffer>;
  readonly size: Size3;
  /** What of the image was kept. */
  readonly box: Box;
}

/** Labels of the previous stage of a cascade, on the axes of nnU-Net's arrays. */
export interface PreviousStage {
  /** [z][y][x] of the whole image. */
  readonly labels: Uint8Array | Uint16Array;
  /** Each becomes a channel of 0 and 1. */
  readonly values: readonly number[];
}

/**
 * @param image is used up: each of its channels goes once it is cropped, so that no more than one is there twice
 * @throws InvalidVolume if all voxels are 0, and for RGB values that are none; InvalidModel; OutOfMemory
 */
export function nnunetInput(
  image: NnunetImage,
  { configuration }: NnunetPlans,
  previous?: PreviousStage,
): NnunetInput {
  const box = nonZeroBox(image.channels, image.size);
  if (!box)
    throw new InvalidVolume(
      `${image.name}: all voxels are 0, so there is nothing to segment; take another image.`,
    );
  const count = image.channels.length;
  const cut = Array.from({ length: count }, () => crop(image.channels.shift()!, image.size, box, image.name));
  const spacing = fastestFirst(configuration.spacing);
  const { resampling, normalization } = configuration;
  const how = splineOf(resampling.data, image.spacing, spacing);
  const size = how ? sizeAt(box.size, image.spacing, spacing) : box.size;
  const voxels = voxelsOf(size);
  const data = arrayFor(
    Float32Array,
    voxels * (count + (previous?.values.length ?? 0)),
    `${image.name} at ${spacing.join(' x ')} mm`,
  );
  const earlier =
    previous &&
    copyWindow({ data: previous.labels, shape: image.size }, box, new Uint16Array(voxelsOf(box.size)));
  const isMasked = normalization.some((scheme) => 'masked' in scheme && scheme.masked);
  const mask = isMasked ? maskOf(cut, box.size, earlier) : undefined;
  const isSame = size.every((n, axis) => n === box.size[axis]);
  for (let index = 0; index < count; index++) {
    const channel = cut.shift()!;
    normalizeAs(normalization[index]!, channel, mask, image.name);
    data.set(isSame ? channel : resampleSpline(channel, box.size, size, how), index * voxels);
  }
  if (previous && earlier) {
    const { how, winner } = resampling.labels;
    const options = splineOf(how, image.spacing, spacing);
    if (!options && !isSame)
      throw new InvalidModel(
        'plans.json resamples images but not labels of the previous stage; expected one of nnU-Net’s resampling_fn_seg',
      );
    const by = winner === 'most' ? byMost : undefined;
    const found =
      isSame || !options ? earlier : resampleLabels(earlier, box.size, size, previous.values, options, by);
    previous.values.forEach((value, index) => {
      const at = (count + index) * voxels;
      for (let voxel = 0; voxel < voxels; voxel++) data[at + voxel] = found[voxel] === value ? 1 : 0;
    });
  }
  return { data, size, box };
}

/** 1 where some channel is not 0, holes filled, and where the previous stage found something. */
function maskOf(channels: readonly Float32Array[], size: Size3, earlier?: Uint16Array): Uint8Array {
  const found = channels.length === 1 ? channels[0]! : Float32Array.from(channels[0]!);
  for (const channel of channels.slice(1))
    for (let voxel = 0; voxel < found.length; voxel++) if (channel[voxel] !== 0) found[voxel] = 1;
  const mask = insideMask(found, size);
  earlier?.forEach((label, voxel) => {
    if (label !== 0) mask[voxel] = 1;
  });
  return mask;
}

/** In place. */
function normalizeAs(
  how: NnunetNormalization,
  values: Float32Array,
  mask: Uint8Array | undefined,
  name: string,
): void {
  switch (how.scheme) {
    case 'CTNormalization':
      return normalize(values, how);
    case 'ZScoreNormalization':
      return how.masked
        ? normalize(values, 'z-score inside', { inside: mask })
        : normalize(values, 'z-score');
    case 'RescaleTo01Normalization':
      return normalize(values, 'min-max');
    case 'RGBTo01Normalization':
      for (let voxel = 0; voxel < values.length; voxel++) {
        const value = values[voxel]!;
        if (!(value >= 0 && value <= 255))
          throw new InvalidVolume(
            `${name} has the value ${value}; this model takes colours from 0 to 255 (RGBTo01Normalization).`,
          );
        values[voxel] = value / 255;
      }
  }
}
