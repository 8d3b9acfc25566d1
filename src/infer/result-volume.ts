/** Results of a prediction on a grid. */
import type { NiftiHeader } from '../data/nifti-header.ts';

/** A result on a grid: one value per voxel, or one per voxel and class. */
export interface ResultVolume<T extends Uint8Array | Uint16Array | Float32Array> {
  /** x fastest, then y, z, class. */
  readonly data: T;
  /** x, y, z, and classes. */
  readonly shape: readonly number[];
  /** Voxel to millimetres, 16 numbers row-major. */
  readonly affine: readonly number[];
  /** Millimetres between voxels along x, y, z. */
  readonly spacing: readonly [number, number, number];
  /** The source's, so that q- and sform codes and units are written back. */
  readonly header: NiftiHeader;
}
