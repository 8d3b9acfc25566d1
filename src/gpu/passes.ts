/**
 * The passes of a plan for which there are several kernels, and the key under which a choice among them is made:
 * what matters for speed, with sizes rounded, so that one measurement serves all shapes near by.
 */
import type { ForwardKernel, KernelChoices, WeightKernel } from './choices.ts';
import {
  isMatrixKernel,
  matrixForwardNeeds,
  matrixKernel,
  matrixKernels,
  matrixWeightNeeds,
  offers,
  type MatrixUnits,
} from './matrix-units.ts';
import type { Size3 } from '../size.ts';
import type { Precision } from './precision.ts';
import {
  fits,
  forwardNeeds,
  forwardTiles,
  isForwardTile,
  isWeightTile,
  weightNeeds,
  weightTiles,
} from './tiles.ts';

/** One 3×3×3 convolution. */
export interface ConvPass {
  /** `forward` is also the gradient with respect to the input; `weights` that with respect to the weights. */
  readonly kind: 'forward' | 'weights';
  /** Channels of each input that is read, and whether it is read through a norm. */
  readonly inputs: readonly { readonly channels: number; readonly norm: boolean }[];
  /** Channels of the output. */
  readonly channelsOut: number;
  /** x, y, and planes of z over all samples. */
  readonly grid: Size3;
  /** Of the volumes. */
  readonly precision: Precision;
}

/** A pass with the work that a plan has for it and others of its key. */
export interface CountedPass extends ConvPass {
  /** What measurements of it are kept under. */
  readonly key: string;
  /** Floating-point operations. */
  readonly flops: number;
}

const roundUp = (length: number): number => 2 ** Math.ceil(Math.log2(length));

/** Such as `forward 16n+16>16 256x256x256 f32`: n where there is a norm; each side up to a power of two. */
export function passKey({ kind, inputs, channelsOut, grid, precision }: ConvPass): string {
  const sources = inputs.map(({ channels, norm }) => `${channels}${norm ? 'n' : ''}`).join('+');
  return `${kind} ${sources}>${channelsOut} ${grid.map(roundUp).join('x')} ${precision}`;
}

const isForwardKernel = (name: string): name is ForwardKernel =>
  name === 'voxels' || name === 'channels' || isForwardTile(name) || isMatrixKernel(name);

const isWeightKernel = (name: string): name is WeightKernel =>
  name === 'lines' || isWeightTile(name) || isMatrixKernel(name);

/** The kernel of a forward pass: what was tuned for its key, else the table's. */
export function forwardKernel({ conv3, tuned }: KernelChoices, pass: ConvPass): ForwardKernel {
  const name = tuned?.[passKey(pass)];
  return name !== undefined && isForwardKernel(name) ? name : conv3;
}

/** The same for the gradient of the weights. */
export function weightKernel({ conv3Weights, tuned }: KernelChoices, pass: ConvPass): WeightKernel {
  const name = tuned?.[passKey(pass)];
  return name !== undefined && isWeightKernel(name) ? name : conv3Weights;
}

/** Whether any of the kernels rounds what it reads to float16. */
export const roundsToHalf = ({ conv3, conv3Weights, tuned = {} }: KernelChoices): boolean =>
  [conv3, conv3Weights, ...Object.values(tuned)].some(isMatrixKernel);

/** The names of all kernels for a pass of this kind: those on an adapter's matrix units first. */
export const kernelsOf = (
  { kind, precision }: Pick<ConvPass, 'kind' | 'precision'>,
  units?: MatrixUnits,
): readonly string[] => [
  ...matrixKernels(units, precision),
  ...(kind === 'forward'
    ? ['voxels', 'channels', ...Object.keys(forwardTiles)]
    : ['lines', ...Object.keys(weightTiles)]),
];

/** What decides whether a device runs a kernel. */
export interface Abilities {
  /** Of the device. */
  readonly limits: GPUSupportedLimits;
  /** That may be used. */
  readonly matrixUnits?: MatrixUnits | undefined;
}

/** Whether a device has what a kernel needs; false for names that this package does not know. */
export function runsOn(name: string, { limits, matrixUnits }: Abilities): boolean {
  if (isForwardTile(name)) return fits(forwardNeeds(forwardTiles[name]), limits);
  if (isWeightTile(name)) return fits(weightNeeds(weightTiles[name]), limits);
  const matrix = matrixKernel(name);
  if (!matrix) return isForwardKernel(name) || isWeightKernel(name);
  const needs = [matrixForwardNeeds, matrixWeightNeeds].map((of) => of(matrix, matrixUnits?.subgroup ?? 0));
  return offers(matrixUnits, matrix) && needs.every((one) => fits(one, limits));
}

/** The precision that the key of a pass ends with. */
const precisionOf = (key: string): string => key.slice(key.lastIndexOf(' ') + 1);

/** Whether a kernel may be used for the pass of a key: matrix units, for volumes of this precision only if allowed. */
export const mayServe = (key: string, name: string, { matrixUnits }: Abilities): boolean =>
  !isMatrixKernel(name) ||
  (matrixUnits?.precisions.some((precision) => precision === precisionOf(key)) ?? false);

/** Kernels among the choices that a device cannot run, or that this package does not know. */
export function unavailable(
  { conv3, conv3Weights, tuned = {} }: KernelChoices,
  abilities: Abilities,
): string[] {
  const refused = Object.entries(tuned).filter(([key, name]) => !mayServe(key, name, abilities));
  const names = [conv3, conv3Weights, ...Object.values(tuned)].filter((name) => !runsOn(name, abilities));
  return [...new Set([...names, ...refused.map(([, name]) => name)])];
}
