/**
 * What TotalSegmentator does around nnU-Net: the image turned to RAS, brought to one spacing in whole numbers, segmented
 * by one network or several whose labels are merged by name, and the labels brought back to the image's own grid.
 */
import * as v from 'valibot';
import { gridOf } from '../data/nifti-affine.ts';
import { readNifti } from '../data/nifti.ts';
import { requireFinite } from '../data/prepare-checks.ts';
import { roundHalfEven } from '../data/rounding.ts';
import { sourceName, sourceSchema, type Source } from '../data/source.ts';
import {
  canonicalGrid,
  fromCanonical,
  spacingOf,
  spatialShape,
  turnedVolume,
  type Volume,
} from '../data/volume.ts';
import { InvalidModel, InvalidVolume } from '../errors.ts';
import { Segmentation } from '../infer/predict.ts';
import { listed } from '../listed.ts';
import { assertOptions } from '../options.ts';
import { callback, numberFrom, signal, withParts } from '../schema.ts';
import type { Size3 } from '../size.ts';
import type { NnunetModel } from './nnunet/folder.ts';
import { fastestFirst, voxelsOf } from './nnunet/pipeline/axes.ts';
import type { NnunetPredictor } from './nnunet/pipeline/predictor.ts';
import type { NnunetSegmentation, NnunetSegmentOptions } from './nnunet/pipeline/segment.ts';

/** A network that finds some of the classes. */
export interface TotalSegmentatorPart {
  /** What its folder says. */
  readonly model: NnunetModel;
  /** Opens it; it is closed again before the next one is opened. */
  readonly open: () => Promise<NnunetPredictor>;
}

/** What is left to the caller. */
export type TotalSegmentatorOptions = Pick<NnunetSegmentOptions, 'step' | 'signal' | 'onProgress'>;

const entries = {
  parts: v.array(
    withParts('a network with model and open', 'model', 'open'),
    'a list of networks, each with its model and how it is opened',
  ),
  source: sourceSchema,
};
const optionEntries = {
  step: v.optional(numberFrom(1e-3, 1)),
  signal,
  onProgress: callback,
} satisfies Record<keyof TotalSegmentatorOptions, unknown>;

/** Names of the merged labels, background first: those of the parts in their order, each once. */
export function mergedNames(parts: readonly Pick<TotalSegmentatorPart, 'model'>[]): string[] {
  const names = parts.flatMap(({ model }) => model.labels.heads.map(({ name }) => name));
  return ['background', ...new Set(names.filter((name) => name !== 'background'))];
}

/** Of neighbouring windows: its networks for the whole body take fewer. */
const usualStep = ({ model }: TotalSegmentatorPart): number =>
  /TotalSeg/i.test(model.plans.dataset) ? 0.8 : 0.5;

/**
 * Segments one CT or MR image. Parts go one after the other; later ones win over earlier.
 * @throws InvalidModel if the parts are of different spacings, have regions or more than one channel; InvalidVolume;
 *   and as `NnunetPredictor.predict`
 */
export async function segmentAsTotalSegmentator(
  parts: readonly TotalSegmentatorPart[],
  source: Source,
  options: TotalSegmentatorOptions = {},
): Promise<NnunetSegmentation> {
  assertOptions('segmentAsTotalSegmentator', entries, { parts, source });
  assertOptions('segmentAsTotalSegmentator', optionEntries, options);
  const { step, signal: abort, onProgress } = options;
  const millimetres = commonSpacing(parts);
  const name = sourceName(source);
  const read = await readNifti(source, { statistics: true });
  if (read.shape.slice(3).some((n) => n > 1) || read.shape.length < 3)
    throw new InvalidVolume(
      `${name} has the shape ${read.shape.join(' x ')}; expected one volume of x, y, z`,
    );
  requireFinite(name, read);
  const canonical = turnedVolume(read, canonicalGrid(read));
  const size = spatialShape(canonical.shape);
  const image = atSpacing(canonical, millimetres);
  const names = mergedNames(parts);
  const merged = names.length <= 255 ? new Uint8Array(image.data.length) : new Uint16Array(image.data.length);
  for (const [index, part] of parts.entries()) {
    const predictor = await part.open();
    try {
      const { labels } = await predictor.segment([name], [image], {
        mirror: false,
        step: step ?? usualStep(part),
        signal: abort,
        onProgress: ({ loaded, total }) =>
          onProgress?.({ loaded: index * total + loaded, total: parts.length * total }),
      });
      const values = part.model.labels.heads.map((head) => Math.max(0, names.indexOf(head.name)));
      labels.data.forEach((label, voxel) => {
        if (label > 0) merged[voxel] = values[label]!;
      });
    } finally {
      predictor.dispose();
    }
  }
  const { affine, shape: stored } = gridOf(read.header);
  const shape = spatialShape(stored);
  const back = nearestAligned(merged, spatialShape(image.shape), size);
  const data = fromCanonical(back, { shape, affine });
  const grid = { affine, spacing: spacingOf(affine), header: read.header };
  return new Segmentation({ ...grid, data, shape }, undefined, undefined, []);
}

function commonSpacing(parts: readonly TotalSegmentatorPart[]): Size3 {
  const wrong = parts.find(({ model }) => model.labels.regions || model.labels.channels.length !== 1);
  if (wrong || parts.length === 0)
    throw new InvalidModel(
      wrong
        ? `${wrong.model.plans.dataset} has regions or several channels; expected labels and one channel, as TotalSegmentator's networks have`
        : 'there is no network; give the folder of one of TotalSegmentator’s',
    );
  const spacings = new Set(parts.map(({ model }) => model.plans.configuration.spacing.join(' x ')));
  if (spacings.size > 1)
    throw new InvalidModel(
      `the networks are of different spacings: ${listed([...spacings])} mm; give those of one task`,
    );
  const { plans } = parts[0]!.model;
  // The plans' is along the axes behind `transpose_forward`, which are the file's z, y, x in that order.
  const along = [0, 0, 0] as [number, number, number];
  plans.transpose.forEach((axis, index) => (along[axis] = plans.configuration.spacing[index]!));
  return fastestFirst(along);
}

/** A canonical volume at another spacing, in whole numbers; with the same voxels if it is there already. */
function atSpacing(volume: Volume, millimetres: Size3): Volume {
  const size = spatialShape(volume.shape);
  const spacing = volume.spacing.map(Math.fround);
  if (spacing.every((mm, axis) => mm === Math.fround(millimetres[axis]!)))
    return onGrid(volume.header, volume.data, size, volume.affine, millimetres);
  const ratio = spacing.map((mm, axis) => mm / millimetres[axis]!);
  const to = size.map((n, axis) => Math.max(1, roundHalfEven(n * ratio[axis]!))) as unknown as Size3;
  const data = linearAligned(volume.data, size, to).map(Math.trunc);
  const affine = volume.affine.map((value, at) => (at % 4 < 3 && at < 12 ? value / ratio[at % 4]! : value));
  return onGrid(volume.header, Float32Array.from(data), to, affine, millimetres);
}

/** A volume whose header says where it lies. */
function onGrid(
  header: Volume['header'],
  data: Float32Array,
  shape: Size3,
  affine: number[],
  spacing: Size3,
): Volume {
  const placed = {
    ...header,
    shape,
    pixdim: [1, ...spacing, 1, 1, 1, 1],
    sformCode: 1,
    srow: affine.slice(0, 12),
    xyztUnits: 2,
  };
  return { data, shape: [...shape], affine, spacing: [...spacing], header: placed };
}

/** Place of each voxel among those of another number, the first and the last on each other. */
const alignedPlaces = (from: number, to: number): Float64Array =>
  Float64Array.from({ length: to }, (_, i) =>
    to === 1 ? 0 : Math.min(from - 1, ((from - 1) / (to - 1)) * i),
  );

/**
 * By straight lines with the corners on each other, in float64 and in the order of scipy.ndimage.zoom with order 1: what
 * is truncated afterwards hangs on the last digit. (Where rounding takes the last place beyond the end, scipy gives a
 * plane of zeros; here the end is held.)
 */
export function linearAligned(data: Float32Array, from: Size3, to: Size3): Float64Array {
  const [xs, ys, zs] = from.map((n, axis) => alignedPlaces(n, to[axis]!)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const [nx, ny, nz] = from;
  const result = new Float64Array(voxelsOf(to));
  let at = 0;
  for (const pz of zs)
    for (const py of ys)
      for (const px of xs) {
        const [x0, y0, z0] = [Math.floor(px), Math.floor(py), Math.floor(pz)];
        const [x1, y1, z1] = [Math.min(x0 + 1, nx - 1), Math.min(y0 + 1, ny - 1), Math.min(z0 + 1, nz - 1)];
        const [tx, ty, tz] = [px - x0, py - y0, pz - z0];
        const row = (x: number, wx: number, y: number, wy: number): void => {
          const place = y * nx + x;
          result[at]! += data[z0 * nx * ny + place]! * wx * wy * (1 - tz);
          result[at]! += data[z1 * nx * ny + place]! * wx * wy * tz;
        };
        row(x0, 1 - tx, y0, 1 - ty);
        row(x0, 1 - tx, y1, ty);
        row(x1, tx, y0, 1 - ty);
        row(x1, tx, y1, ty);
        at++;
      }
  return result;
}

/** Labels of the nearest voxels, with the corners on each other. */
export function nearestAligned<T extends Uint8Array | Uint16Array>(labels: T, from: Size3, to: Size3): T {
  const [xs, ys, zs] = from.map((n, axis) =>
    Int32Array.from(alignedPlaces(n, to[axis]!), (place) => Math.floor(place + 0.5)),
  ) as [Int32Array, Int32Array, Int32Array];
  const result = new (labels.constructor as new (length: number) => T)(voxelsOf(to));
  let at = 0;
  for (const z of zs)
    for (const y of ys) {
      const row = (z * from[1] + y) * from[0];
      for (const x of xs) result[at++] = labels[row + x]!;
    }
  return result;
}
