/**
 * Augmentation of a batch, in nnU-Net's order: geometry, noise, blur, brightness, contrast, low resolution, gamma
 * with and without inversion. What each sample gets is drawn by the host and written before each step; what was
 * not drawn leaves the bits as they are. Mirroring is part of the geometry and brightness goes with the noise:
 * the other operations treat both directions alike, and a factor commutes with the blur.
 */
import { InvalidOption, OutOfMemory } from '../errors.ts';
import type { Recorder, Tensor, VolumeTensor } from '../gpu/plan.ts';
import { assertSameGrid, groupsOf64, planeQuads, reductionGroups, reductionConstants } from './common.ts';

/** What one channel of a sample gets. */
export interface ChannelDraw {
  /** Standard deviations of the blur along x, y, z in voxels, up to `largestSigma`. */
  readonly blur?: readonly [number, number, number] | undefined;
  /** Factor on all values. */
  readonly brightness?: number | undefined;
  /** Factor on the distance from the mean; the range is kept. */
  readonly contrast?: number | undefined;
  /** Voxels along x, y, z that the channel is reduced to, at least half of its own. */
  readonly lowResolution?: readonly [number, number, number] | undefined;
  /** Exponents; the inverted one works from the largest value down. */
  readonly invertedGamma?: number | undefined;
  /** See `invertedGamma`. */
  readonly gamma?: number | undefined;
}

/** Target voxel (x, y, z, 1) to source voxel. */
export type Matrix3x4 = readonly (readonly [number, number, number, number])[];

/** What one sample gets. */
export interface SampleDraw {
  /** Axes x, y, z that are mirrored. */
  readonly mirror?: readonly [boolean, boolean, boolean] | undefined;
  /** Rotation and scaling about the centre, mirroring included: resamples, where `mirror` alone only moves voxels. */
  readonly matrix?: Matrix3x4 | undefined;
  /** Standard deviation, and the key that the noise is made from: two unsigned 32-bit numbers. */
  readonly noise?: { readonly deviation: number; readonly key: readonly [number, number] } | undefined;
  /** One per channel. */
  readonly channels: readonly ChannelDraw[];
}

/** Taps of the blur reach three voxels to either side. */
export const largestSigma = 1;
const blurHalo = 3;
const lowResolutionHalo = 2;

const sampleWords = 16;
const channelWords = 12;

/** Where the host writes what was drawn. */
export interface DrawTensors {
  /** One record per sample. */
  readonly samples: Tensor;
  /** One record per sample and channel. */
  readonly channels: Tensor;
}

export function drawTensors(recorder: Recorder, batch: number, channels: number): DrawTensors {
  return {
    samples: recorder.flat('augmentation.samples', batch * sampleWords, 'resident'),
    channels: recorder.flat('augmentation.channels', batch * channels * channelWords, 'resident'),
  };
}

/** The words of `DrawTensors`, for samples of this size (x, y, z). */
export function encodeDraws(draws: readonly SampleDraw[], size: readonly [number, number, number]) {
  const samples = new Float32Array(draws.length * sampleWords);
  const keys = new Uint32Array(samples.buffer);
  const perSample = draws[0]?.channels.length ?? 0;
  const channels = new Float32Array(draws.length * perSample * channelWords);
  draws.forEach(({ mirror, matrix, noise, channels: drawn }, sample) => {
    const at = sample * sampleWords;
    const mirrored = mirror?.some(Boolean) ?? false;
    const rows = matrix ?? mirrorMatrix(mirror ?? [false, false, false], size);
    rows.forEach((row, index) => samples.set(row, at + 4 * index));
    keys[at + 12] = matrix ? 2 : mirrored ? 1 : 0;
    samples[at + 13] = noise?.deviation ?? 0;
    keys.set(noise?.key ?? [0, 0], at + 14);
    drawn.forEach(({ blur, brightness, contrast, lowResolution, invertedGamma, gamma }, channel) => {
      const words = [
        ...(blur ? [...blur, 1] : [0, 0, 0, 0]),
        ...(lowResolution ? [...lowResolution, 1] : [0, 0, 0, 0]),
        ...[brightness, contrast, invertedGamma, gamma].map((value) => value ?? 1),
      ];
      channels.set(words, (sample * perSample + channel) * channelWords);
    });
  });
  return { samples, channels };
}

/** Target to source voxel where only axes are mirrored. */
export const mirrorMatrix = (
  mirror: readonly [boolean, boolean, boolean],
  size: readonly [number, number, number],
): Matrix3x4 =>
  ([0, 1, 2] as const).map((axis) => {
    const row: [number, number, number, number] = [0, 0, 0, mirror[axis] ? size[axis] - 1 : 0];
    row[axis] = mirror[axis] ? -1 : 1;
    return row;
  });

export interface AugmentVolumes {
  /** As the host wrote them: larger than the image by a margin on both sides of each axis, along x of whole quads. */
  readonly source: VolumeTensor;
  readonly sourceLabels: VolumeTensor;
  /** Assigned. */
  readonly image: VolumeTensor;
  readonly labels: VolumeTensor;
}

/**
 * Assigns `image` and `labels`.
 * @throws OutOfMemory where a sample of the source exceeds one binding: a rotation may read any of it
 */
export function augment(
  recorder: Recorder,
  label: string,
  volumes: AugmentVolumes,
  draws: DrawTensors,
): void {
  const { source, sourceLabels, image, labels } = volumes;
  assertSameGrid(label, source, sourceLabels);
  assertSameGrid(label, image, labels);
  if (source.channels !== image.channels)
    throw new InvalidOption(
      `${label}: the source has ${source.channels} channels, the image ${image.channels}`,
    );
  resample(recorder, `${label}.resample`, volumes, draws);
  const scratch = recorder.volume(`${label}.scratch`, image.batch, image.channels, image.size);
  const filtered = { image, scratch, draws };
  alongZThenXY(recorder, 'augment/blur', `${label}.blur`, filtered, blurHalo);
  intensity(recorder, `${label}.contrast`, filtered, 0);
  alongZThenXY(recorder, 'augment/low_resolution', `${label}.lowResolution`, filtered, lowResolutionHalo);
  intensity(recorder, `${label}.invertedGamma`, filtered, 1);
  intensity(recorder, `${label}.gamma`, filtered, 2);
}

const shapeParams = ({ size, rowQuads, channels }: VolumeTensor) => ({
  width: size[0],
  height: size[1],
  depth: size[2],
  rowQuads,
  channels,
});

function resample(
  recorder: Recorder,
  label: string,
  { source, sourceLabels, image, labels }: AugmentVolumes,
  draws: DrawTensors,
): void {
  const { maxBindingBytes } = recorder.limits;
  const margin = source.size.map((length, axis) => (length - image.size[axis]!) / 2);
  const [marginX, marginY, marginZ] = margin as [number, number, number];
  if (
    source.batch !== image.batch ||
    marginX % 4 !== 0 ||
    !margin.every((n) => Number.isInteger(n) && n >= 0)
  )
    throw new InvalidOption(
      `${label}: ${source.batch} sources of [${source.size.join(', ')}] for ${image.batch} images of ` +
        `[${image.size.join(', ')}]; they must be as many, with a margin of whole voxels on both sides, along x of whole fours`,
    );
  const [depth, sourceDepth] = [image.size[2], source.size[2]];
  // Samples one by one where the whole batch exceeds a binding.
  const whole = source.bytes <= maxBindingBytes;
  if (!whole && sourceDepth * source.planeBytes + 256 > maxBindingBytes) {
    throw new OutOfMemory(
      `${label}: a sample of ${source.channels}×[${source.size.join(', ')}] takes ${sourceDepth * source.planeBytes} bytes, and ` +
        `rotation and mirroring may read any of it; this device binds at most ${maxBindingBytes} bytes: train on smaller ` +
        'patches or without augmentation',
      sourceDepth * source.planeBytes,
      maxBindingBytes,
    );
  }
  const samples = whole ? source.batch : 1;
  for (let sample = 0; sample < source.batch; sample += samples) {
    const seen = [sample * sourceDepth, (sample + samples) * sourceDepth] as const;
    const raw = recorder.planes(source, ...seen);
    const rawLabels = recorder.planes(sourceLabels, ...seen);
    const first = sample * depth;
    const planes = [first, first + samples * depth] as const;
    for (const [from, to] of recorder.slabs(planes, [{ tensor: image }, { tensor: labels }])) {
      const [out, outLabels] = [image, labels].map((tensor) => recorder.planes(tensor, from, to)) as [
        ReturnType<Recorder['planes']>,
        ReturnType<Recorder['planes']>,
      ];
      recorder.dispatch('augment/resample', {
        label,
        bindings: {
          source: raw.view,
          sourceLabels: rawLabels.view,
          samples: draws.samples,
          channelDraws: draws.channels,
          image: out.view,
          labels: outLabels.view,
        },
        params: {
          ...shapeParams(image),
          sourceWidth: source.size[0],
          sourceHeight: source.size[1],
          sourceDepth,
          sourceRowQuads: source.rowQuads,
          marginX,
          marginY,
          marginZ,
          plane0: from,
          startSource: raw.start,
          startSourceLabels: rawLabels.start,
          startImage: out.start,
          startLabels: outLabels.start,
        },
        workgroups: [groupsOf64(planeQuads(image)), 1, to - from],
      });
    }
  }
}

interface FilterTensors {
  readonly image: VolumeTensor;
  readonly scratch: VolumeTensor;
  readonly draws: DrawTensors;
}

/** A separable filter: along z from `image` to `scratch`, then along x and y back to `image`. */
function alongZThenXY(
  recorder: Recorder,
  shader: 'augment/blur' | 'augment/low_resolution',
  label: string,
  { image, scratch, draws }: FilterTensors,
  reach: number,
): void {
  const filter = (alongZ: boolean, source: VolumeTensor, target: VolumeTensor): void => {
    const halo = alongZ ? reach : 0;
    for (const [from, to] of recorder.slabs(source.planes, [{ tensor: source, halo }, { tensor: target }])) {
      const [input, out] = [
        recorder.planes(source, from - halo, to + halo),
        recorder.planes(target, from, to),
      ];
      recorder.dispatch(shader, {
        label,
        bindings: { source: input.view, channelDraws: draws.channels, target_: out.view },
        params: {
          ...shapeParams(source),
          plane0: from,
          startSource: input.start,
          startTarget: out.start,
        },
        constants: { ALONG_Z: alongZ },
        workgroups: [groupsOf64(planeQuads(source)), source.channels, to - from],
      });
    }
  };
  filter(true, image, scratch);
  filter(false, scratch, image);
}

/** Contrast (0), inverted gamma (1) or gamma (2), in place. */
function intensity(
  recorder: Recorder,
  label: string,
  { image, draws }: Omit<FilterTensors, 'scratch'>,
  stage: 0 | 1 | 2,
): void {
  const before = statistics(recorder, label, { image, draws }, stage);
  const after = stage === 0 ? before : statistics(recorder, label, { image, draws, before }, stage);
  for (const [from, to] of recorder.slabs(image.planes, [{ tensor: image }])) {
    const slab = recorder.planes(image, from, to);
    recorder.dispatch('augment/intensity', {
      label,
      bindings: { channelDraws: draws.channels, before, after, image: slab.view },
      params: { ...shapeParams(image), plane0: from, startImage: slab.start, stage },
      workgroups: [groupsOf64(planeQuads(image)), image.channels, to - from],
    });
  }
}

/** Mean, deviation, least and largest value per sample and channel; with `before` of the values after the power. */
function statistics(
  recorder: Recorder,
  label: string,
  { image, draws, before }: Omit<FilterTensors, 'scratch'> & { readonly before?: Tensor },
  stage: 0 | 1 | 2,
): Tensor {
  const { batch, channels, planes, size } = image;
  const partials = recorder.flat(`${label}.partials`, 4 * planes * channels);
  const result = recorder.flat(`${label}.statistics`, 4 * batch * channels);
  for (const [from, to] of recorder.slabs(planes, [{ tensor: image }])) {
    const slab = recorder.planes(image, from, to);
    recorder.dispatch('augment/statistics', {
      label: `${label} statistics`,
      bindings: {
        source: slab.view,
        channelDraws: draws.channels,
        before: before ?? draws.channels,
        partials,
      },
      params: { ...shapeParams(image), plane0: from, startSource: slab.start, stage },
      constants: { ...reductionConstants(recorder), GAMMA: before !== undefined },
      workgroups: [reductionGroups(recorder, channels), 1, to - from],
    });
  }
  recorder.dispatch('augment/finalize', {
    label: `${label} statistics`,
    bindings: { partials, statistics: result },
    params: { channels, depth: size[2], area: size[0] * size[1] },
    workgroups: [channels, batch, 1],
  });
  return result;
}
