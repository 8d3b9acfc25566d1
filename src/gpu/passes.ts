/**
 * The passes of a plan for which there are several kernels, and the key under which a choice among them is made:
 * what matters for speed, with sizes rounded, so that one measurement serves all shapes near by.
 */
import { subgroupThreads, type ForwardKernel, type KernelChoices, type WeightKernel } from './choices.ts';
import {
  isMatrixKernel,
  matrixKernel,
  matrixKernels,
  matrixNeeds,
  offers,
  type MatrixKernel,
  type MatrixUnits,
  type PassKind,
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
import { walkName, walkOf } from './walk.ts';

/** One convolution. */
export interface ConvPass extends PassKind {
  /** Channels of each input that is read, and whether it is read through a norm. */
  readonly inputs: readonly { readonly channels: number; readonly norm: boolean }[];
  /** Channels of the output. */
  readonly channelsOut: number;
  /** x, y, and planes of z over all samples. */
  readonly grid: Size3;
  /** Of the volumes. */
  readonly precision: Precision;
  /** Of a pass to be proved: where a norm behind it has statistics from, which then belong to its result. */
  readonly measured?: KernelChoices['statistics'];
}

/** A pass with the work that a plan has for it and others of its key. */
export interface CountedPass extends ConvPass {
  /** What measurements of it are kept under. */
  readonly key: string;
  /** Floating-point operations. */
  readonly flops: number;
}

const roundUp = (length: number): number => 2 ** Math.ceil(Math.log2(length));

/** `forward` or `weights` of the usual walk, else followed by the walk, as in `forward 3x3x3/2x2x2`. */
export function kindName({ kind, walk }: PassKind): string {
  const name = walk && walkName(walk);
  return name === undefined ? kind : `${kind} ${name}`;
}

/**
 * Such as `forward 16n+16>16 256x256x256 f32`: n where there is a norm; each side up to a power of two. `kindName` comes
 * first.
 */
export function passKey({ inputs, channelsOut, grid, precision, ...kind }: ConvPass): string {
  const sources = inputs.map(({ channels, norm }) => `${channels}${norm ? 'n' : ''}`).join('+');
  return `${kindName(kind)} ${sources}>${channelsOut} ${grid.map(roundUp).join('x')} ${precision}`;
}

/** What a key begins with. */
export function kindOf(key: string): PassKind {
  const [first, second = ''] = key.split(' ');
  return { kind: first === 'weights' ? 'weights' : 'forward', walk: walkOf(second) };
}

/** The one kernel that needs no matrix units, of walks other than the usual. */
export const plainKernel = 'plain';

const isForwardKernel = (name: string): name is ForwardKernel =>
  name === 'voxels' ||
  name === 'channels' ||
  name === 'subgroup' ||
  isForwardTile(name) ||
  isMatrixKernel(name);

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

/** The kernel of a pass where none was tuned for it. */
export const standardKernel = ({ conv3, conv3Weights }: KernelChoices, { kind, walk }: PassKind): string =>
  walk ? plainKernel : kind === 'forward' ? conv3 : conv3Weights;

/** The kernel of a pass that is to run on matrix units; undefined where another is chosen. */
export function matrixKernelOf(kernels: KernelChoices, pass: ConvPass): MatrixKernel | undefined {
  if (pass.walk) return matrixKernel(kernels.tuned?.[passKey(pass)] ?? plainKernel);
  return matrixKernel((pass.kind === 'forward' ? forwardKernel : weightKernel)(kernels, pass));
}

/** The same choices with a kernel for one pass. */
export const withKernel = (kernels: KernelChoices, pass: ConvPass, kernel: string): KernelChoices => ({
  ...kernels,
  tuned: { ...kernels.tuned, [passKey(pass)]: kernel },
});

/** Whether any of the kernels rounds what it reads to float16. */
export const roundsToHalf = ({ conv3, conv3Weights, tuned = {} }: KernelChoices): boolean =>
  [conv3, conv3Weights, ...Object.values(tuned)].some(isMatrixKernel);

/** What is to be said where matrix units were asked for and none of the kernels uses them. */
export const idleMatrixUnits = (
  { matrixWish }: { readonly matrixWish: boolean | undefined },
  kernels: KernelChoices,
  why: string,
): string | undefined =>
  matrixWish && !roundsToHalf(kernels)
    ? `matrix units were asked for, but no convolution runs on them: ${why}`
    : undefined;

/** The names of all kernels for a pass of this kind: those on an adapter's matrix units first. */
export function kernelsOf(
  { kind, walk, precision }: Pick<ConvPass, 'kind' | 'walk' | 'precision'>,
  units?: MatrixUnits,
): readonly string[] {
  const matrices = matrixKernels(units, { kind, walk, precision });
  if (walk) return [...matrices, plainKernel];
  return kind === 'forward'
    ? [...matrices, 'voxels', 'channels', 'subgroup', ...Object.keys(forwardTiles)]
    : [...matrices, 'lines', ...Object.keys(weightTiles)];
}

/** Whether a device has several kernels for a pass. */
export const hasChoice = (pass: ConvPass, { matrixUnits }: Abilities): boolean =>
  kernelsOf(pass, matrixUnits).length > 1;

/** What decides whether a device runs a kernel. */
export interface Abilities {
  /** Of the device. */
  readonly limits: GPUSupportedLimits;
  /** Threads of its subgroups, if that is one number and they may hand each other numbers. */
  readonly subgroup?: number | undefined;
  /** That may be used. */
  readonly matrixUnits?: MatrixUnits | undefined;
}

/**
 * Whether a device has what a kernel needs for passes of a kind, or for those of both kinds with the usual walk; false
 * for names that this package does not know.
 */
export function runsOn(
  name: string,
  { limits, subgroup: threads, matrixUnits }: Abilities,
  of?: PassKind,
): boolean {
  if (name === 'subgroup') return threads === subgroupThreads;
  if (isForwardTile(name)) return fits(forwardNeeds(forwardTiles[name]), limits);
  if (isWeightTile(name)) return fits(weightNeeds(weightTiles[name]), limits);
  const matrix = matrixKernel(name);
  if (!matrix) return name === plainKernel || isForwardKernel(name) || isWeightKernel(name);
  const kinds: readonly PassKind[] = of ? [of] : [{ kind: 'forward' }, { kind: 'weights' }];
  const { subgroup = 0 } = matrixUnits ?? {};
  return (
    offers(matrixUnits, matrix) && kinds.every((kind) => fits(matrixNeeds(kind, matrix, subgroup), limits))
  );
}

/** The precision that the key of a pass ends with. */
const precisionOf = (key: string): string => key.slice(key.lastIndexOf(' ') + 1);

/**
 * Whether a device has what a kernel needs for the pass of a key, and may use it there: matrix units, for volumes of this
 * precision only if allowed.
 */
export const mayServe = (key: string, name: string, abilities: Abilities): boolean =>
  runsOn(name, abilities, kindOf(key)) &&
  (!isMatrixKernel(name) ||
    (abilities.matrixUnits?.precisions.some((precision) => precision === precisionOf(key)) ?? false));

/** Kernels among the choices that a device cannot run, or that this package does not know. */
export function unavailable(
  { conv3, conv3Weights, tuned = {} }: KernelChoices,
  abilities: Abilities,
): string[] {
  const refused = Object.entries(tuned).filter(([key, name]) => !mayServe(key, name, abilities));
  const names = [conv3, conv3Weights].filter((name) => !runsOn(name, abilities));
  return [...new Set([...names, ...refused.map(([, name]) => name)])];
}
