/**
 * From a case's files to the arrays the network takes: read, turned to canonical RAS, cropped to what is not zero,
 * normalised per channel, resampled to the model's spacing, labels checked. How it is done is plain data (`Preprocessing`) that is
 * stored with the model and replayed at prediction.
 */
import { InvalidDataset, InvalidVolume, OutOfMemory } from '../errors.ts';
import * as v from 'valibot';
import { assertOptions, assertValue } from '../options.ts';
import { arrayFor } from './allocation.ts';
import { affine, numbers, openObject, text, wholeNumber, withParts } from '../schema.ts';
import type { Size3 } from '../size.ts';
import type { Case } from './case.ts';
import { defaultPreprocessing, preprocessingSchema, type Preprocessing } from './preprocessing.ts';
import { readNifti } from './nifti.ts';
import { turnedOnto } from './grid.ts';
import {
  channelsOf,
  checkedLabels,
  imageName,
  requireFinite,
  requireKnown,
  requireOneGrid,
  shapeText,
  spatial,
  type BareVolume,
  type LabelRules,
  type ReadCase,
} from './prepare-checks.ts';
import { insideMask, normalize } from './normalize.ts';
import { crop, isWhole, nonZeroBox, type Box } from './boxes.ts';
import { resampleTo, sizeAtSpacing } from './resample.ts';
import { sourceName, type Source } from './source.ts';
import { apartAxis, resampleLabels, resampleSpline, type SplineOptions } from './spline.ts';
import { spacingOf, toCanonical, turnedVolume, type Volume } from './volume.ts';
import { channelsIn } from './voxels.ts';

/** A case as the network takes it. */
export interface PreparedCase {
  /** Of the case. */
  readonly id: string;
  /** [channel][z][y][x] */
  readonly image: Float32Array;
  /** [z][y][x]; 255 where the loss leaves the voxel out. */
  readonly label?: Uint8Array;
  /** Voxels along x, y, z, after cropping and resampling. */
  readonly shape: Size3;
  /** Channels of the image. */
  readonly channels: number;
  /** Millimetres along x, y, z, after resampling. */
  readonly spacing: Size3;
  /** The image's canonical grid before cropping and resampling, which predictions go back to. */
  readonly grid?: {
    readonly shape: Size3;
    readonly spacing: Size3;
    readonly affine: readonly number[];
    /** What was cut out of it; undefined for all. */
    readonly box?: Box | undefined;
  };
}

/** A volume in memory with x fastest: what phantoms and callers with their own arrays bring. */
export interface ArrayVolume {
  /** As many numbers as `dims` says. */
  readonly data: ArrayLike<number>;
  /** x, y, z, and possibly channels. */
  readonly dims: readonly number[];
  /** Voxel to mm, 16 numbers row-major; default: the identity. */
  readonly affine?: readonly number[];
}

/**
 * A case of volumes that are read already (the first image canonical): one per channel, or one 4-D volume of all.
 * @param owned nobody else needs the images' arrays, so that one volume may become the case's image in place
 * @throws InvalidDataset if shapes or places differ, a label value is outside the classes or none is known; InvalidVolume if an
 *   image holds voxels that are NaN or infinite; OutOfMemory, with the file's name and the spacing, for what is too large
 */
export function prepareVolumes(
  item: ReadCase,
  preprocessing: Preprocessing,
  rules: LabelRules = {},
  { owned = false }: { readonly owned?: boolean } = {},
): PreparedCase {
  const { id, images, label } = item;
  const first = images[0];
  if (!first) throw new InvalidDataset(`Case "${id}" has no image.`);
  const shape = spatial(first);
  const channels = preprocessing.normalization.length;
  requireOneGrid(item, channels);
  const labels = label && checkedLabels(id, label.data, rules, item);
  // Before resampling, which would spread them.
  images.forEach((image, index) => requireFinite(imageName(item, index), image));

  const name = imageName(item, 0);
  const box = preprocessing.crop && boxOf(images, shape, name);
  const from = box?.size ?? shape;
  const target = preprocessing.spacing ?? first.spacing;
  const change = target.some((mm, axis) => Math.abs(mm / first.spacing[axis]! - 1) > 1e-3);
  const to = change ? sizeAtSpacing(from, first.spacing, target) : from;

  const cuts = box !== undefined && !isWhole(box, shape);
  const cut = images.map(({ data }, index) => (cuts ? crop(data, shape, box, imageName(item, index)) : data));
  let image = cut.length === 1 && (owned || cuts) ? cut[0]! : joined(cut, name);
  const spline = preprocessing.resampling && splineFor(first.spacing, target);
  const onTarget = <T>(resample: () => T): T => {
    try {
      return resample();
    } catch (error) {
      throw tooLarge(error, name, [first.spacing, target]);
    }
  };
  const resampled = (): void => {
    if (!change) return;
    image = onTarget(() =>
      spline
        ? joined(
            channelsIn(image, from).map((values) => resampleSpline(values, from, to, spline)),
            `the image of ${channels} channel(s)`,
          )
        : resampleTo(image, from, to, 'linear'),
    );
  };
  if (preprocessing.order) resampled();
  const grid = preprocessing.order ? to : from;
  const hasInside = preprocessing.normalization.includes('z-score inside');
  const inside = hasInside ? insideMask(image, grid) : undefined;
  // Still the voxels that were read, one channel in each file?
  const asRead = !cuts && !(preprocessing.order && change) && images.length === channels;
  channelsIn(image, grid).forEach((values, channel) => {
    const known = asRead ? images[channel]!.statistics : undefined;
    normalize(values, preprocessing.normalization[channel]!, { inside, known });
  });
  if (!preprocessing.order) resampled();

  const kept =
    labels && cuts ? crop(labels, shape, box, `Case "${id}": ${item.files?.label ?? 'the label'}`) : labels;
  const moved = (given: Uint8Array): Uint8Array =>
    spline
      ? Uint8Array.from(resampleLabels(given, from, to, [...new Set(given)], spline))
      : resampleTo(given, from, to, 'nearest');
  const result = kept && change ? onTarget(() => moved(kept)) : kept;
  if (result) requireKnown(id, result, change ? ` at ${target.join(' x ')} mm` : ' where the image is not 0');
  return {
    id,
    image,
    ...(result ? { label: result } : {}),
    shape: to,
    channels,
    spacing: first.spacing.map((mm, axis) => (mm * from[axis]!) / to[axis]!) as unknown as Size3,
    grid: { shape, spacing: first.spacing, affine: first.affine, box },
  };
}

/** The box of voxels that are not 0 in some channel. @throws InvalidVolume if there is none */
function boxOf(images: readonly BareVolume[], shape: Size3, name: string): Box {
  const box = nonZeroBox(
    images.flatMap(({ data }) => channelsIn(data, shape)),
    shape,
  );
  if (box) return box;
  throw new InvalidVolume(
    `${name}: all voxels are 0, so nothing is left of it after cropping to what is not; leave the case out.`,
  );
}

/** Cubic, or of thick slices each by itself. */
function splineFor(spacing: Size3, target: Size3): SplineOptions {
  const axis = apartAxis(spacing, target);
  return axis === undefined ? {} : { apart: { axis } };
}

/** A new array with all channels. @param name what messages call it */
function joined(parts: readonly Float32Array[], name: string): Float32Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const result = arrayFor(Float32Array, length, name);
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

/** The error of a resampling, with the image and the spacings in front if there is too little memory. */
const tooLarge = (error: unknown, name: string, spacings: readonly [from: Size3, to: Size3]): unknown => {
  if (!(error instanceof OutOfMemory)) return error;
  const [from, to] = spacings.map((spacing) => `${spacing.join(' x ')} mm`);
  const text = `${name}, of ${from}, does not fit the memory at ${to}: see whether the spacing in its header is right; ${error.message}`;
  return new OutOfMemory(text, error.planned, error.limit);
};

/** The error with the case's name in front, if it is about a volume. */
function named(id: string, error: unknown): unknown {
  return error instanceof InvalidVolume
    ? new InvalidVolume(`Case "${id}": ${error.message}`, { cause: error })
    : error;
}

/**
 * The files of a case: the first image turned to canonical axes, the others and the label to its axes.
 * @throws InvalidVolume, naming the case, for a file that cannot be read
 */
export async function readCase(
  item: Omit<Case, 'subject'>,
): Promise<ReadCase & { readonly images: Volume[]; readonly label: Volume | undefined }> {
  const images: Volume[] = [];
  try {
    for (const source of item.images) images.push(await readOnto(images[0], source, true));
    const label = item.label === undefined ? undefined : await readOnto(images[0], item.label);
    return { id: item.id, images, label, files: fileNames(item) };
  } catch (error) {
    throw named(item.id, error);
  }
}

/**
 * A file on the axes of a volume that is read already; on canonical axes where there is none.
 * @throws InvalidVolume, naming the file
 */
export async function readOnto(
  first: Volume | undefined,
  source: Source,
  statistics = false,
): Promise<Volume> {
  try {
    return await readNifti(source, { canonical: true, onto: first, statistics });
  } catch (error) {
    const name = sourceName(source);
    if (!(error instanceof InvalidVolume) || error.message.includes(name)) throw error;
    throw new InvalidVolume(`${name}: ${error.message}`, { cause: error });
  }
}

const ruleEntries = {
  classes: v.optional(wholeNumber(1, 255)),
  classNames: v.optional(v.array(text, 'a list of names of classes')),
  ignoreLabel: v.optional(wholeNumber()),
} satisfies Record<keyof LabelRules, unknown>;

/** What messages call the files of a case. */
export const fileNames = ({
  images,
  label,
}: Pick<Case, 'images' | 'label'>): NonNullable<ReadCase['files']> => ({
  images: images.map(sourceName),
  label: label === undefined ? undefined : sourceName(label),
});

/**
 * Reads and prepares a case of a data set.
 * @throws InvalidDataset as prepareVolumes does; InvalidVolume, naming the case, for a file that cannot be read
 * @example
 * ```js
 * const item = await prepareCase(dataset.cases[0], defaultPreprocessing());
 * console.log(item.id, item.shape);
 * ```
 */
export async function prepareCase(
  item: Case,
  preprocessing: Preprocessing,
  rules: LabelRules = {},
): Promise<PreparedCase> {
  assertValue('prepareCase', withParts('a case of a data set', 'id', 'images'), item);
  assertOptions('prepareCase', { preprocessing: preprocessingSchema }, { preprocessing });
  assertOptions('prepareCase', ruleEntries, rules);
  return prepareVolumes(await readCase(item), preprocessing, rules, { owned: true });
}

const arraySchema = openObject({
  data: numbers,
  dims: v.array(wholeNumber(1), 'voxels along x, y, z'),
  affine: v.optional(affine),
});
const arrayEntries = {
  id: text,
  images: v.array(arraySchema),
  label: v.optional(arraySchema),
  preprocessing: v.optional(preprocessingSchema),
};

/**
 * Prepares a case of arrays in memory: phantoms, or what a caller has read.
 * @throws InvalidDataset if an array does not fill its dims, and as prepareVolumes does; InvalidOption for what is
 *   unknown or out of range
 * @example
 * ```js
 * const grid = { dims: [4, 3, 2], affine };
 * const item = fromArrays('case 1', { data: new Float32Array(24), ...grid }, { data: new Uint8Array(24), ...grid });
 * ```
 */
export function fromArrays(
  id: string,
  images: ArrayVolume | readonly ArrayVolume[],
  label?: ArrayVolume,
  preprocessing?: Preprocessing,
  rules: LabelRules = {},
): PreparedCase {
  const all = [images].flat();
  assertOptions('fromArrays', arrayEntries, { id, images: all, label, preprocessing });
  assertOptions('fromArrays', ruleEntries, rules);
  const given = all.map((image) => arrayVolume(id, image));
  const first = given[0] && toCanonical(given[0]);
  const onto = (volume: BareVolume): BareVolume => turnedVolume(volume, turnedOnto(volume, first!));
  const volumes = given.map((volume, index) => (index === 0 ? first! : onto(volume)));
  const channels = volumes.reduce((sum, volume) => sum + channelsOf(volume), 0);
  const item = { id, images: volumes, label: label && onto(arrayVolume(id, label)) };
  return prepareVolumes(item, preprocessing ?? defaultPreprocessing(channels), rules);
}

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

function arrayVolume(id: string, { data, dims, affine = identity }: ArrayVolume): BareVolume {
  const voxels = dims.reduce((a, b) => a * b, 1);
  if (data.length !== voxels)
    throw new InvalidDataset(
      `Case "${id}": an array of ${data.length} voxels does not fill ${shapeText(dims)} = ${voxels}.`,
    );
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  return { data: values, shape: [...dims], affine: [...affine], spacing: spacingOf(affine) };
}
