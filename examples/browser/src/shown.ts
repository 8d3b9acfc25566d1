/** Volumes as they are shown: what is too large to be drawn smoothly, with fewer voxels over the same place. */
import { readHeader, sourceName, stemOf, writeNifti, type Size3 } from 'unet3d-gpu/worker';
import { readVolume } from './label-maps.ts';
import { restsUntil } from './pieces.ts';
import type { VolumeFile } from './state.ts';

export interface Shown {
  /** What is drawn; undefined where that is the file itself. */
  readonly file: File | undefined;
  /** Why it is not the whole. */
  readonly note: string;
}

/** How many voxels along each axis become one. */
function factors(shape: readonly number[], most: number): [number, number, number] {
  const size = shape.slice(0, 3) as [number, number, number];
  const result: [number, number, number] = [1, 1, 1];
  const length = (axis: number): number => Math.ceil(size[axis]! / result[axis]!);
  while (length(0) * length(1) * length(2) > most) {
    const longest = [0, 1, 2].reduce((a, b) => (length(b) > length(a) ? b : a));
    result[longest]! += 1;
  }
  return result;
}

/**
 * @param isLabels whether values are labels, which have no mean
 * @param most voxels that are drawn
 */
export async function shown(
  volume: VolumeFile,
  isLabels: boolean,
  most: number,
  signal?: AbortSignal,
): Promise<Shown> {
  const source = 'header' in volume ? volume.header : volume;
  const { shape } = await readHeader(source);
  const factor = factors([...shape, 1, 1, 1].slice(0, 3), most);
  const isWhole = factor.every((n) => n === 1) && shape.slice(3).every((n) => n === 1);
  if (isWhole) return { file: undefined, note: '' };
  const read = await readVolume(volume);
  signal?.throwIfAborted();
  const size = [...read.shape, 1, 1, 1].slice(0, 3) as [number, number, number];
  const fewer = size.map((n, axis) => Math.ceil(n / factor[axis]!)) as [number, number, number];
  const data = await reduced(read.data, size, factor, fewer, isLabels, signal);
  const affine = [...read.affine];
  for (const row of [0, 4, 8])
    for (const axis of [0, 1, 2]) {
      affine[row + axis] = read.affine[row + axis]! * factor[axis]!;
      // A new voxel lies in the middle of those that it stands for.
      affine[row + 3]! += read.affine[row + axis]! * ((factor[axis]! - 1) / 2);
    }
  const bytes = await writeNifti({ data, shape: fewer, affine }, { gzip: false });
  const volumes = read.data.length / (size[0] * size[1] * size[2]);
  const note = [
    ...(factor.some((n) => n > 1)
      ? [`Shown with ${fewer.join(' × ')} of its ${size.join(' × ')} voxels; all are segmented and saved.`]
      : []),
    ...(volumes > 1 ? [`Shown is the first of ${volumes} volumes.`] : []),
  ].join(' ');
  return { file: new File([bytes], `${stemOf(sourceName(volume))}.nii`), note };
}

/** The first volume with one voxel for each block: its mean, or of labels the one in the middle. */
async function reduced(
  data: Float32Array,
  [nx, ny, nz]: Size3,
  [fx, fy, fz]: Size3,
  [mx, my, mz]: Size3,
  isLabels: boolean,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const result = new Float32Array(mx * my * mz);
  const middle = (at: number, factor: number, end: number): number =>
    Math.min(end - 1, at * factor + (factor >> 1));
  let at = 0;
  const rest = restsUntil(signal);
  for (let z = 0; z < mz; z++) {
    await rest();
    for (let y = 0; y < my; y++)
      for (let x = 0; x < mx; x++) {
        if (isLabels) {
          result[at++] = data[(middle(z, fz, nz) * ny + middle(y, fy, ny)) * nx + middle(x, fx, nx)]!;
          continue;
        }
        let [sum, count] = [0, 0];
        for (let k = z * fz; k < Math.min(nz, (z + 1) * fz); k++)
          for (let j = y * fy; j < Math.min(ny, (y + 1) * fy); j++)
            for (let i = x * fx; i < Math.min(nx, (x + 1) * fx); i++) {
              sum += data[(k * ny + j) * nx + i]!;
              count += 1;
            }
        result[at++] = sum / count;
      }
  }
  return result;
}
