/**
 * Which of several kernels for the same work a plan uses. All give the same numbers up to rounding;
 * which is fastest depends on the adapter.
 */

export interface KernelChoices {
  /** `voxels`: a workgroup's threads take different voxels; `channels`: different output channels of the same voxels. */
  readonly conv3: 'voxels' | 'channels';
  /** `parallel`: a workgroup sums one plane's channel; `serial`: one thread does. */
  readonly reduction: 'parallel' | 'serial';
}

/** Software adapters compile on the CPU and run there; SwiftShader's compiler suffers from long kernels. */
export type AdapterClass = 'hardware' | 'lavapipe' | 'swiftshader';

export const kernelChoices: Readonly<Record<AdapterClass, KernelChoices>> = {
  hardware: { conv3: 'voxels', reduction: 'parallel' },
  lavapipe: { conv3: 'channels', reduction: 'serial' },
  swiftshader: { conv3: 'voxels', reduction: 'serial' },
};
