/**
 * Which of several kernels for the same work a plan uses. All give the same numbers up to rounding;
 * which is fastest depends on the adapter.
 */
import * as v from 'valibot';
import { numberAbove, object, oneOf, text } from '../schema.ts';
import type { MatrixKernelName } from './matrix-units.ts';
import type { ForwardTileName, WeightTileName } from './tiles.ts';

/**
 * A 3×3×3 convolution, forward or with respect to its input. `voxels`: a workgroup's threads take different
 * voxels; `channels`: different output channels of the same voxels; `subgroup`: the same, and hand each other what they
 * read; `tiled …`: from workgroup memory; `matrix …`: on matrix units.
 */
export type ForwardKernel = 'voxels' | 'channels' | 'subgroup' | ForwardTileName | MatrixKernelName;

/**
 * The gradient of a 3×3×3 convolution with respect to its weights. `lines`: a thread sums all lines of its planes
 * from global memory; `tiled …`: from workgroup memory; `matrix …`: on matrix units.
 */
export type WeightKernel = 'lines' | WeightTileName | MatrixKernelName;

/** Which of several kernels for the same work are used. */
export interface KernelChoices {
  /** Of 3×3×3 convolutions and their gradient with respect to the input. */
  readonly conv3: ForwardKernel;
  /** Of the gradient of their weights. */
  readonly conv3Weights: WeightKernel;
  /** `parallel`: a workgroup sums one plane's channel; `serial`: one thread does. */
  readonly reduction: 'parallel' | 'serial';
  /** Workgroups that keep the adapter busy; sums are not cut into more parts than that takes. */
  readonly workgroups: number;
  /**
   * Where a norm has the statistics of the convolution in front of it from. `joined`: from what that leaves tile by tile,
   * where its kernel does; `apart`, the default: from its whole output.
   */
  readonly statistics?: 'joined' | 'apart' | undefined;
  /**
   * `short`: kernels of convolutions whose code is a fraction as long for SwiftShader, which compiles and runs them sooner.
   * The same numbers. Default `usual`.
   */
  readonly code?: 'usual' | 'short' | undefined;
  /** Channels that the threads of a workgroup take, of `channels` and of `serial`: 16 for vectors of 512 bits. Default 8. */
  readonly lanes?: 16 | undefined;
  /** By the key of a pass (passes.ts): the kernel that measuring on the device has found faster than the above. */
  readonly tuned?: Readonly<Record<string, string>> | undefined;
}

/**
 * Software adapters compile on the CPU and run there; SwiftShader's compiler suffers from long kernels. `software`: one
 * that does not tell its name.
 */
export type AdapterClass = 'hardware' | 'lavapipe' | 'software' | 'swiftshader';

export const kernelChoices: Readonly<Record<AdapterClass, KernelChoices>> = {
  hardware: {
    conv3: 'voxels',
    conv3Weights: 'lines',
    reduction: 'parallel',
    workgroups: Infinity,
    statistics: 'joined',
  },
  lavapipe: { conv3: 'channels', conv3Weights: 'lines', reduction: 'serial', workgroups: 64 },
  software: { conv3: 'channels', conv3Weights: 'lines', reduction: 'serial', workgroups: 64 },
  swiftshader: {
    conv3: 'voxels',
    conv3Weights: 'lines',
    reduction: 'serial',
    workgroups: 64,
    code: 'short',
  },
};

/** Whether an adapter is a lavapipe with vectors of 512 bits: they are as wide as its subgroups. */
export const hasWideVectors = (adapter: AdapterClass, subgroup = 0): boolean =>
  adapter === 'lavapipe' && subgroup === 16;

/** Threads of a subgroup that the kernel `subgroup` is written for. */
export const subgroupThreads = 16;

/**
 * The kernels of an adapter.
 * @param subgroup threads of its subgroups at most
 * @param shared threads of each, where they may hand each other numbers
 */
export function choicesOn(adapter: AdapterClass, subgroup?: number, shared?: number): KernelChoices {
  const table = kernelChoices[adapter];
  if (!hasWideVectors(adapter, subgroup)) return table;
  return { ...table, lanes: 16, ...(shared === subgroupThreads && { conv3: 'subgroup' }) };
}

/** Kernels by the key of a pass. */
export const tunedSchema = v.record(v.string(), text, 'an object of kernels by pass');

/** Of JSON, which has no infinity: it is written as null. Names of kernels are not checked, see `unavailable`. */
export const choicesSchema = object({
  conv3: text as unknown as v.GenericSchema<ForwardKernel>,
  conv3Weights: text as unknown as v.GenericSchema<WeightKernel>,
  reduction: oneOf('parallel', 'serial'),
  workgroups: v.pipe(
    v.nullable(numberAbove(0)),
    v.transform((count) => count ?? Infinity),
  ),
  statistics: v.optional(oneOf('joined', 'apart')),
  code: v.optional(oneOf('usual', 'short')),
  lanes: v.optional(v.literal(16, '16')),
  tuned: v.optional(tunedSchema),
});

/** The constant of kernels that have two ways of being written. */
export const codeConstant = ({ code }: KernelChoices): { readonly SHORT?: true } =>
  code === 'short' ? { SHORT: true } : {};
