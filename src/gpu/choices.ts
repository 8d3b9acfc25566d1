/**
 * Which of several kernels for the same work a plan uses. All give the same numbers up to rounding;
 * which is fastest depends on the adapter.
 */
import type { ForwardTileName, WeightTileName } from './tiles.ts';

/**
 * A 3×3×3 convolution, forward or with respect to its input. `voxels`: a workgroup's threads take different
 * voxels; `channels`: different output channels of the same voxels; `tiled …`: from workgroup memory.
 */
export type ForwardKernel = 'voxels' | 'channels' | ForwardTileName;

/**
 * The gradient of a 3×3×3 convolution with respect to its weights. `lines`: a thread sums all lines of its planes
 * from global memory; `tiled …`: from workgroup memory.
 */
export type WeightKernel = 'lines' | WeightTileName;

export interface KernelChoices {
  readonly conv3: ForwardKernel;
  readonly conv3Weights: WeightKernel;
  /** `parallel`: a workgroup sums one plane's channel; `serial`: one thread does. */
  readonly reduction: 'parallel' | 'serial';
  /** Workgroups that keep the adapter busy; sums are not cut into more parts than that takes. */
  readonly workgroups: number;
  /** By the key of a pass (passes.ts): the kernel that measuring on the device has found faster than the above. */
  readonly tuned?: Readonly<Record<string, string>>;
}

/** Software adapters compile on the CPU and run there; SwiftShader's compiler suffers from long kernels. */
export type AdapterClass = 'hardware' | 'lavapipe' | 'swiftshader';

export const kernelChoices: Readonly<Record<AdapterClass, KernelChoices>> = {
  hardware: { conv3: 'voxels', conv3Weights: 'lines', reduction: 'parallel', workgroups: Infinity },
  lavapipe: { conv3: 'channels', conv3Weights: 'lines', reduction: 'serial', workgroups: 64 },
  swiftshader: { conv3: 'voxels', conv3Weights: 'lines', reduction: 'serial', workgroups: 64 },
};

export const isTextRecord = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((entry) => typeof entry === 'string');

/** As JSON, which has no infinity. */
export const formatChoices = (choices: KernelChoices): string => JSON.stringify(choices);

/** The reverse; undefined where it is no such thing. Names of kernels are not checked: see `unavailable`. */
export function parseChoices(text: string): KernelChoices | undefined {
  let value: Partial<Record<keyof KernelChoices, unknown>> | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  const { conv3, conv3Weights, reduction, workgroups, tuned = {} } = value ?? {};
  const valid =
    typeof conv3 === 'string' &&
    typeof conv3Weights === 'string' &&
    (reduction === 'parallel' || reduction === 'serial') &&
    (workgroups === null || typeof workgroups === 'number') &&
    isTextRecord(tuned);
  if (!valid) return undefined;
  return { ...(value as KernelChoices), workgroups: workgroups ?? Infinity };
}
