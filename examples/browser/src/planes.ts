/** The planes in which slices are shown. */
import type { Plane } from 'unet3d-gpu/worker';

export const planes: readonly Plane[] = ['axial', 'coronal', 'sagittal'];
