/**
 * Which of several kernels for the same work a plan uses. All give the same numbers up to rounding;
 * which is fastest depends on the adapter.
 */

export interface KernelChoices {
  /** `voxels`: a workgroup's threads take different voxels; `channels`: different output channels of the same voxels. */
  readonly conv3: 'voxels' | 'channels';
  /** `parallel`: a workgroup sums one plane's channel; `serial`: one thread does. */
  readonly reduction: 'parallel' | 'serial';
  /** Workgroups that keep the adapter busy; sums are not cut into more parts than that takes. */
  readonly workgroups: number;
}

/** Software adapters compile on the CPU and run there; SwiftShader's compiler suffers from long kernels. */
export type AdapterClass = 'hardware' | 'lavapipe' | 'swiftshader';

export const kernelChoices: Readonly<Record<AdapterClass, KernelChoices>> = {
  hardware: { conv3: 'voxels', reduction: 'parallel', workgroups: Infinity },
  lavapipe: { conv3: 'channels', reduction: 'serial', workgroups: 64 },
  swiftshader: { conv3: 'voxels', reduction: 'serial', workgroups: 64 },
};
