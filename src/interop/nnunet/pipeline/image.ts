/** Images as nnU-Net's readers give them: as they are stored or turned to RAS, then transposed. */
import { affineAsWritten, gridOf, millimetresPerUnit } from '../../../data/nifti-affine.ts';
import { readNifti } from '../../../data/nifti.ts';
import type { NiftiHeader } from '../../../data/nifti-header.ts';
import { channelsOf, requireFinite, requireOneGrid } from '../../../data/prepare-checks.ts';
import { sourceName, type Source } from '../../../data/source.ts';
import {
  canonicalGrid,
  canonicalTransform,
  spacingOf,
  spatialShape,
  turnedGrid,
  turnedVolume,
  type AxisTransform,
  type Grid,
  type Volume,
} from '../../../data/volume.ts';
import { InvalidModel, InvalidOption } from '../../../errors.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetPlans } from '../plans.ts';
import { transposition } from './axes.ts';

/** An image on the axes of nnU-Net's arrays. */
export interface NnunetImage {
  /** What messages call it. */
  readonly name: string;
  /** One array [z][y][x] per channel, until `nnunetInput` takes them. */
  readonly channels: Float32Array[];
  readonly size: Size3;
  /** In mm; of readers by nibabel in the file's own unit. */
  readonly spacing: Size3;
  readonly origin: ImageOrigin;
}

/** The grid that an image came from, and the way back to it. */
export interface ImageOrigin {
  /** Voxels along the axes of the file. */
  readonly shape: Size3;
  readonly affine: readonly number[];
  readonly header: NiftiHeader;
  /** Voxel (x, y, z) of nnU-Net's array is voxel start + x * steps[0] + y * steps[1] + z * steps[2] of the file. */
  readonly start: number;
  readonly steps: Size3;
}

/**
 * Reads the channels of an image: one file for each, or one 4-D file of all. Where the reader turns them, files may store
 * one place on other axes.
 * @throws as `nnunetImage`, InvalidVolume
 */
export async function readImage(sources: readonly Source[], plans: NnunetPlans): Promise<NnunetImage> {
  const volumes: Volume[] = [];
  const turned = reorients(plans);
  for (const source of sources)
    volumes.push(
      await readNifti(source, { statistics: true, ...(turned && volumes[0] && { onto: volumes[0] }) }),
    );
  return nnunetImage(sources.map(sourceName), volumes, plans);
}

/**
 * An image of volumes as their files hold them.
 * @param names what messages call the files
 * @throws InvalidOption for no file and another number of channels; InvalidDataset if they differ in shape or place;
 *   InvalidVolume if voxels are NaN or infinite; InvalidModel for a reader that is not known
 */
export function nnunetImage(
  names: readonly string[],
  volumes: readonly Volume[],
  plans: NnunetPlans,
): NnunetImage {
  const [name, first] = [names[0], volumes[0]];
  if (name === undefined || !first) throw new InvalidOption('there is no file to predict; give at least one');
  const expected = plans.configuration.normalization.length;
  const count = volumes.reduce((sum, volume) => sum + channelsOf(volume), 0);
  if (count !== expected)
    throw new InvalidOption(
      `${name} has ${count} channel(s), this model takes ${expected}: give one file per channel, or one 4-D file`,
    );
  volumes.forEach((volume, index) => requireFinite(names[index]!, volume));
  requireOneGrid({ id: name, images: volumes, files: { images: names } });
  const turn = turnOf(first, plans);
  const channels = volumes.flatMap((volume) => {
    const { data } = turnedVolume(volume, turnedGrid(volume, turn));
    const count = channelsOf(volume);
    const voxels = data.length / count;
    return Array.from({ length: count }, (_, c) => data.subarray(c * voxels, (c + 1) * voxels));
  });
  const { affine, shape: stored } = gridOf(first.header);
  const shape = spatialShape(stored);
  const steps: Size3 = [1, shape[0], shape[0] * shape[1]];
  const along = (list: readonly number[]) => turn.axes.map((axis) => list[axis]!) as unknown as Size3;
  return {
    name,
    channels,
    size: along(shape),
    spacing: along(spacingAsRead(first, plans)),
    origin: {
      shape,
      affine,
      header: first.header,
      start: turn.axes.reduce<number>(
        (at, axis, i) => at + (turn.flips[i] ? (shape[axis] - 1) * steps[axis] : 0),
        0,
      ),
      steps: turn.axes.map((axis, i) => (turn.flips[i] ? -steps[axis] : steps[axis])) as unknown as Size3,
    },
  };
}

/** nnU-Net's readers of other files than NIfTI. */
const otherReaders = new Map([
  ['NaturalImage2DIO', 'which reads pictures'],
  ['Tiff3DIO', 'which reads TIFF'],
]);

/**
 * Whether nnU-Net's reader turns images to RAS, rather than leave their axes as they are stored.
 * @throws InvalidModel for a reader of other files, and for one that is not known
 */
export function reorients({ reader }: Pick<NnunetPlans, 'reader'>): boolean {
  if (reader.endsWith('WithReorient')) return true;
  if (['SimpleITKIO', 'NibabelIO'].includes(reader)) return false;
  throw new InvalidModel(
    `plans.json has image_reader_writer ${JSON.stringify(reader)}, ${otherReaders.get(reader) ?? 'of which it is not known how it turns axes'}; ` +
      'expected SimpleITKIO or NibabelIO, which leave them as they are stored, or one of these WithReorient, which turns them to ' +
      'RAS: write the one there that fits your NIfTI files',
  );
}

/** From the axes of the file to those of nnU-Net's arrays. */
function turnOf({ affine }: Grid, plans: NnunetPlans): AxisTransform {
  const order = transposition(plans.transpose);
  if (!reorients(plans)) return order;
  const { axes, flips } = canonicalTransform(affine);
  return {
    axes: order.axes.map((axis) => axes[axis]) as unknown as AxisTransform['axes'],
    flips: order.axes.map((axis) => flips[axis]) as unknown as AxisTransform['flips'],
  };
}

/** Voxels and spacing of an image that is not read yet, along the axes and in the unit that nnU-Net's reader gives it. */
export function gridAsRead(
  header: Volume['header'],
  plans: NnunetPlans,
): { readonly size: Size3; readonly spacing: Size3 } {
  const { affine, shape } = gridOf(header);
  const axes = reorients(plans) ? canonicalTransform(affine).axes : ([0, 1, 2] as const);
  const along = (list: readonly number[]) => axes.map((axis) => list[axis]!) as unknown as Size3;
  return {
    size: along(spatialShape(shape)),
    spacing: along(spacingAsRead({ header, affine, shape }, plans)),
  };
}

/**
 * Along the axes of the file: what its header says, of images that are turned to RAS what their affine says. Readers by
 * nibabel pass the file's unit over (`header.get_zooms()`), those by ITK bring it to mm.
 */
function spacingAsRead(
  { header, affine, shape }: Grid & Pick<Volume, 'header'>,
  plans: NnunetPlans,
): readonly number[] {
  const isAsWritten = plans.reader.startsWith('Nibabel');
  const fromAffine = spacingOf(isAsWritten ? affineAsWritten(affine, header) : affine).map(Math.fround);
  if (reorients(plans) && !canonicalGrid({ affine, shape }).same) return fromAffine;
  const unit = isAsWritten ? 1 : millimetresPerUnit(header.xyztUnits);
  const stated = [1, 2, 3].map((axis) => Math.abs(header.pixdim[axis]!) * unit);
  return stated.every((length) => length > 0 && length < Infinity) ? stated : fromAffine;
}
