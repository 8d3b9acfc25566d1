/** Labels with other values than those of classes, written anew with the classes' own; and series of volumes. */
import { labelOf, readNifti, sourceName, stemOf, writeNifti, type Volume } from 'unet3d-gpu/worker';
import type { VolumeFile } from './state.ts';

/** Values of a label map, as many as a person can map. */
export const mostValues = 64;

export const readVolume = (file: VolumeFile): Promise<Volume> =>
  'header' in file ? readNifti(file.header, { image: file.image }) : readNifti(file);

/** The values of a label in the order of its image's voxels. @throws InvalidVolume where it shows another place */
export async function labelOver(image: VolumeFile, label: VolumeFile): Promise<Int32Array> {
  const [volume, truth] = [await readVolume(image), await readVolume(label)];
  const { mapsOver } = await import('unet3d-gpu/report');
  return mapsOver({ name: sourceName(label), image: volume, truth }).truth!;
}

/** The different values of a label, with the number of voxels; one more than `mostValues` where there are too many. */
export async function valuesIn(label: VolumeFile): Promise<Map<number, number>> {
  const { data } = await readVolume(label);
  const counts = new Map<number, number>();
  for (let at = 0; at < data.length && counts.size <= mostValues; at++) {
    const value = labelOf(data[at]!);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return counts;
}

/** A label whose values are replaced; those that are not mentioned become background, or stay as they are. */
export async function mapped(
  label: VolumeFile,
  map: ReadonlyMap<number, number>,
  others: 'background' | 'stay',
): Promise<File> {
  const { data, shape, affine, header } = await readVolume(label);
  const labels = others === 'stay' ? new Float32Array(data.length) : new Uint8Array(data.length);
  for (let at = 0; at < data.length; at++)
    labels[at] = map.get(labelOf(data[at]!)) ?? (others === 'stay' ? data[at]! : 0);
  return written({ data: labels, shape: [...shape], affine, header }, sourceName(label));
}

/** A volume without compression, of which there are kinds that not all programs read. */
export async function unzipped(volume: VolumeFile): Promise<File> {
  const bytes = await writeNifti(await readVolume(volume), { gzip: false });
  return new File([bytes], `${stemOf(sourceName(volume))}.nii`);
}

/** One volume of a series: its first, or the mean of all. */
export async function volumeOf(image: VolumeFile, which: 'first' | 'mean'): Promise<File> {
  const { data, shape, affine, header } = await readVolume(image);
  const [nx, ny, nz] = shape as [number, number, number];
  const voxels = nx * ny * nz;
  const volume = data.slice(0, voxels);
  const count = data.length / voxels;
  if (which === 'mean')
    for (let voxel = 0; voxel < voxels; voxel++) {
      let sum = 0;
      for (let time = 0; time < count; time++) sum += data[time * voxels + voxel]!;
      volume[voxel] = sum / count;
    }
  return written({ data: volume, shape: [nx, ny, nz], affine, header }, sourceName(image));
}

/**
 * Voxels by label value, and the labels as they are drawn: of several volumes of 0 and 1 each voxel is of the value of the
 * last that holds it, counted from 1.
 */
export function counted<Data extends Uint8Array | Uint16Array>(
  { data, shape }: { readonly data: Data; readonly shape: readonly number[] },
  values: number,
): { readonly counts: readonly number[]; readonly drawn: Data | Uint8Array } {
  const counts = new Array<number>(values).fill(0);
  if (shape.length < 4) {
    for (const value of data) counts[value]! += 1;
    return { counts, drawn: data };
  }
  const drawn = new Uint8Array(shape[0]! * shape[1]! * shape[2]!);
  data.forEach((isIn, at) => {
    if (isIn === 0) return;
    const value = 1 + Math.floor(at / drawn.length);
    counts[value]! += 1;
    drawn[at % drawn.length] = value;
  });
  return { counts, drawn };
}

async function written(volume: Parameters<typeof writeNifti>[0], like: string): Promise<File> {
  const bytes = await writeNifti(volume);
  return new File([bytes], `${stemOf(like)}.nii.gz`);
}
