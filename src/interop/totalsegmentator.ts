/**
 * What TotalSegmentator does around nnU-Net: the image turned to RAS, brought to one spacing in whole numbers, segmented
 * by one network or several whose labels are merged by name, and the labels brought back to the image's own grid.
 */
import * as v from 'valibot';
import type { FileEntry } from '../data/case.ts';
import { affineAsWritten, gridOf } from '../data/nifti-affine.ts';
import { readNifti } from '../data/nifti.ts';
import { requireFinite } from '../data/prepare-checks.ts';
import { roundHalfEven } from '../data/rounding.ts';
import { readText, sourceName, sourceSchema, type Source } from '../data/source.ts';
import { resampleSpline } from '../data/spline.ts';
import { fromCanonical, spacingOf, spatialShape, type Volume } from '../data/volume.ts';
import { InvalidModel, InvalidVolume } from '../errors.ts';
import { Segmentation } from '../infer/predict.ts';
import { listed } from '../listed.ts';
import { assertOptions } from '../options.ts';
import { callback, numberFrom, signal, withParts } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { modelFiles, modelFilesSchema } from './model-files.ts';
import { modelFolders, type NnunetModel } from './nnunet/folder.ts';
import { fastestFirst, voxelsOf } from './nnunet/pipeline/axes.ts';
import { leastStep } from './nnunet/pipeline/logits.ts';
import { planSegmentation } from './nnunet/pipeline/memory.ts';
import { windowResult } from './nnunet/pipeline/network.ts';
import type { NnunetPredictor } from './nnunet/pipeline/predictor.ts';
import type { NnunetSegmentation, NnunetSegmentOptions } from './nnunet/pipeline/segment.ts';
import { datasetIn } from './nnunet/plans.ts';

/** A network that finds some of the classes. */
export interface TotalSegmentatorPart {
  /** What its folder says. */
  readonly model: NnunetModel;
  /** Opens it; it is closed again before the next one is opened. */
  readonly open: () => Promise<NnunetPredictor>;
}

/** What is left to the caller. */
export type TotalSegmentatorOptions = Pick<NnunetSegmentOptions, 'step' | 'signal' | 'onProgress'> & {
  /**
   * How the image gets the networks' spacing: `linear`, as the present source has it, `cubic`, by splines, as its releases
   * from 2.8 on did, such as 2.12; or `none`: nnU-Net resamples image and logits itself. Default: none for the tasks that
   * TotalSegmentator has it for, else linear.
   */
  readonly zoom?: Zoom | undefined;
};

/** How an image gets the networks' spacing. */
export type Zoom = (typeof zooms)[number];
export const zooms = ['linear', 'cubic', 'none'] as const;

/** Numbers of the data sets whose tasks are not zoomed: liver vessels, bleeds, lung vessels (legacy), hip implants, heart chambers, effusions. */
const notZoomed: readonly number[] = [8, 150, 258, 260, 301, 315];
const usualZoom = (parts: readonly Pick<TotalSegmentatorPart, 'model'>[]): Zoom =>
  parts.every(({ model }) => notZoomed.includes(Number(/^Dataset(\d+)_/.exec(model.plans.dataset)?.[1])))
    ? 'none'
    : 'linear';

const entries = {
  parts: v.array(
    withParts('a network with model and open', 'model', 'open'),
    'a list of networks, each with its model and how it is opened',
  ),
  source: sourceSchema,
};
const optionEntries = {
  step: v.optional(numberFrom(leastStep, 1)),
  zoom: v.optional(v.picklist(zooms)),
  signal,
  onProgress: callback,
} satisfies Record<keyof TotalSegmentatorOptions, unknown>;

const mergedEntries = {
  parts: v.array(withParts('a part with its model', 'model'), 'parts with their models'),
};

/** Names of the merged labels, background first: those of the parts in their order, each once. */
export function mergedNames(parts: readonly Pick<TotalSegmentatorPart, 'model'>[]): string[] {
  assertOptions('mergedNames', mergedEntries, { parts });
  const names = parts.flatMap(({ model }) => model.labels.heads.map(({ name }) => name));
  return ['background', ...new Set(names.filter((name) => name !== 'background'))];
}

/** Whether the data set that a network was trained on is called after TotalSegmentator. */
export const isTotalSegmentator = (dataset: string): boolean => /TotalSeg/i.test(dataset);

/** Whether the only network among some files is so called. @throws InvalidModel where plans.json cannot be read */
export async function isOnePart(files: readonly FileEntry[] | Source): Promise<boolean> {
  assertOptions('isOnePart', { files: modelFilesSchema }, { files });
  const all = await modelFiles(files);
  const [folder, another] = modelFolders(all);
  if (folder === undefined || another !== undefined) return false;
  const plans = all.find(({ path }) => path === `${folder}plans.json`)!;
  return isTotalSegmentator(datasetIn(await readText(await plans.open())));
}

/**
 * The folders of its networks, as `modelFolders` names them; what lies within one, such as the plans that nnU-Net writes
 * beside results of cross-validation, belongs to it.
 * @throws InvalidModel for one that lacks plans.json or its folds, without which labels would have other numbers
 */
export function totalSegmentatorParts(files: readonly { readonly path: string }[]): string[] {
  const whole = modelFolders(files);
  const some = files.map(({ path }) => /^(?:.*\/)?(?=plans\.json$|fold_(\d+|all)\/)/.exec(path)?.[0]);
  const broken = some.find(
    (folder) => folder !== undefined && !whole.some((part) => folder.startsWith(part)),
  );
  if (broken !== undefined)
    throw new InvalidModel(
      `${broken} lacks plans.json or its folds, and without a part the labels have other numbers: get that part anew, or take its folder away`,
    );
  return whole;
}

/** Its networks of single structures that are named as those for the whole body are. */
const ofStructures = /TotalSeg[a-z]*_(vertebrae|appendicular|face|thigh)/i;

/** Of neighbouring windows: its networks for the whole body take fewer. */
const usualStep = ({ model: { plans } }: Pick<TotalSegmentatorPart, 'model'>): number =>
  isTotalSegmentator(plans.dataset) && !ofStructures.test(plans.dataset) ? 0.8 : 0.5;

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
  const { step, zoom = usualZoom(parts), signal: abort, onProgress } = options;
  const millimetres = commonSpacing(parts);
  const name = sourceName(source);
  const { image, size, header } = await readAtSpacing(source, millimetres, zoom);
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
  const { affine, shape: stored } = gridOf(header);
  const shape = spatialShape(stored);
  const back = nearestAligned(merged, spatialShape(image.shape), size);
  const data = fromCanonical(back, { shape, affine });
  const grid = { affine, spacing: spacingOf(affine), header };
  return new Segmentation({ ...grid, data, shape }, undefined, undefined, []);
}

/** Turned to RAS and, if it is zoomed, at the networks' spacing: the volume as it was stored does not stay. */
async function readAtSpacing(source: Source, millimetres: Size3, zoom: Zoom) {
  const name = sourceName(source);
  const read = await readNifti(source, { statistics: true, canonical: true });
  if (read.shape.slice(3).some((n) => n > 1) || read.shape.length < 3)
    throw new InvalidVolume(
      `${name} has the shape ${read.shape.join(' x ')}; expected one volume of x, y, z`,
    );
  requireFinite(name, read);
  const { header } = read;
  return { image: atSpacing(read, millimetres, zoom), size: spatialShape(read.shape), header };
}

/** Of the network's grid, by the spacing of the volume. */
const sizeAt = (size: Size3, spacing: readonly number[], millimetres: Size3): Size3 =>
  size.map((n, axis) =>
    Math.max(1, roundHalfEven(n * (spacing[axis]! / millimetres[axis]!))),
  ) as unknown as Size3;

/**
 * What a volume takes on the host at most, beside the plans of the networks on the GPU.
 * @param volume voxels and spacing as it is written, along the axes of RAS
 */
export function planTotalSegmentator(
  parts: readonly Pick<TotalSegmentatorPart, 'model'>[],
  volume: { readonly size: Size3; readonly spacing: Size3 },
  { step, zoom = usualZoom(parts) }: Pick<TotalSegmentatorOptions, 'step' | 'zoom'> = {},
): { readonly peakBytes: number; readonly windows: number } {
  const millimetres = commonSpacing(parts);
  const isZoomed = zoom !== 'none';
  const size = isZoomed ? sizeAt(volume.size, volume.spacing, millimetres) : volume.size;
  const [voxels, seen] = [voxelsOf(volume.size), voxelsOf(size)];
  const labelBytes = mergedNames(parts).length <= 255 ? 1 : 2;
  const plans = parts.map(({ model }) =>
    planSegmentation(
      model,
      { size, spacing: isZoomed ? millimetres : volume.spacing },
      windowResult(model.config, model.folds.length),
      {
        step: step ?? usualStep({ model }),
        folds: model.folds.length,
      },
    ),
  );
  // Between two axes.
  const between = zoom === 'cubic' ? Math.max(voxels, seen) : 0;
  const segmenting = (4 + labelBytes) * seen + Math.max(...plans.map(({ peakBytes }) => peakBytes));
  return {
    peakBytes: Math.max(4 * (voxels + between + seen), segmenting, labelBytes * (seen + 2 * voxels)),
    windows: plans.reduce((sum, { windows }) => sum + windows, 0),
  };
}

function commonSpacing(parts: readonly Pick<TotalSegmentatorPart, 'model'>[]): Size3 {
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

/** A canonical volume at another spacing, in whole numbers; with the same voxels if it is there already or not zoomed. */
function atSpacing(volume: Volume, millimetres: Size3, zoom: Zoom): Volume {
  const size = spatialShape(volume.shape);
  // Of the affine, in float32 and whatever the unit: so says the header of the image that the original makes of voxels
  // and affine alone.
  const spacing = spacingOf(affineAsWritten(volume.affine, volume.header)).map(Math.fround);
  if (zoom === 'none')
    return onGrid(volume.header, volume.data, size, volume.affine, spacing as unknown as Size3);
  if (spacing.every((mm, axis) => mm === Math.fround(millimetres[axis]!)))
    return onGrid(volume.header, volume.data, size, volume.affine, millimetres);
  const ratio = spacing.map((mm, axis) => mm / millimetres[axis]!);
  const to = sizeAt(size, spacing, millimetres);
  const data = (zoom === 'cubic' ? cubicWholeNumbers : linearWholeNumbers)(volume.data, size, to);
  const affine = volume.affine.map((value, at) => (at % 4 < 3 && at < 12 ? value / ratio[at % 4]! : value));
  return onGrid(volume.header, data, to, affine, millimetres);
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
 * By straight lines with the corners on each other, in float64 and in the order of scipy.ndimage.zoom with order 1, and
 * truncated, which hangs on the last digit. (Where rounding takes the last place beyond the end, scipy gives a
 * plane of zeros; here the end is held.)
 */
function linearWholeNumbers(data: Float32Array, from: Size3, to: Size3): Float32Array {
  const [xs, ys, zs] = from.map((n, axis) => alignedPlaces(n, to[axis]!)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const [nx, ny, nz] = from;
  const result = new Float32Array(voxelsOf(to));
  let at = 0;
  for (const pz of zs)
    for (const py of ys)
      for (const px of xs) {
        const [x0, y0, z0] = [Math.floor(px), Math.floor(py), Math.floor(pz)];
        const [x1, y1, z1] = [Math.min(x0 + 1, nx - 1), Math.min(y0 + 1, ny - 1), Math.min(z0 + 1, nz - 1)];
        const [tx, ty, tz] = [px - x0, py - y0, pz - z0];
        let sum = 0;
        const row = (x: number, wx: number, y: number, wy: number): void => {
          const place = y * nx + x;
          sum += data[z0 * nx * ny + place]! * wx * wy * (1 - tz);
          sum += data[z1 * nx * ny + place]! * wx * wy * tz;
        };
        row(x0, 1 - tx, y0, 1 - ty);
        row(x0, 1 - tx, y1, ty);
        row(x1, tx, y0, 1 - ty);
        row(x1, tx, y1, ty);
        result[at++] = Math.trunc(sum);
      }
  return result;
}

/** By cubic splines, as scipy.ndimage.zoom with mode "nearest" has them, truncated: a value beside a whole number may be one off. */
function cubicWholeNumbers(data: Float32Array, from: Size3, to: Size3): Float32Array {
  const result = resampleSpline(data, from, to, { ends: true });
  result.forEach((value, at) => (result[at] = Math.trunc(value)));
  return result;
}

/** Labels of the nearest voxels, with the corners on each other. */
function nearestAligned<T extends Uint8Array | Uint16Array>(labels: T, from: Size3, to: Size3): T {
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
