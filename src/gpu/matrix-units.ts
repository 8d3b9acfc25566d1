/**
 * Matrix units: what an adapter offers, and the kernels that use them, by the name under which a plan chooses them. A
 * draft of WebGPU: all names of it are here and, in WGSL, in shaders/common/matrix_units.wgsl.
 */
import type { Size3 } from '../size.ts';
import type { Precision } from './precision.ts';
import type { Needs } from './tiles.ts';

/** What an adapter must offer; `subgroup-size-control` on top where its subgroups differ in size. */
export const matrixFeatures = [
  'shader-f16',
  'subgroups',
  'chromium-experimental-subgroup-matrix',
] as unknown as readonly GPUFeatureName[];
export const subgroupSizeControl = 'subgroup-size-control' as GPUFeatureName;

/** An M×K matrix times a K×N matrix, both float16, into float32. */
export interface MatrixShape {
  /** Rows of the first matrix and of the result. */
  readonly m: number;
  /** Columns of the second matrix and of the result. */
  readonly n: number;
  /** Columns of the first matrix, rows of the second. */
  readonly k: number;
}

/** What plans may use of an adapter's matrix units. */
export interface MatrixUnits {
  /** Of the products that they compute. */
  readonly shapes: readonly MatrixShape[];
  /** Threads of a subgroup. */
  readonly subgroup: number;
  /** Of stored volumes. In float32, operands lose thirteen of their bits: only where that was asked for. */
  readonly precisions: readonly Precision[];
}

interface Config {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** The matrix units of an adapter for these precisions; undefined where it offers none that the kernels can use. */
export function matrixUnitsOf(
  info: GPUAdapterInfo,
  features: ReadonlySet<string>,
  precisions: readonly Precision[],
): MatrixUnits | undefined {
  if (!matrixFeatures.every((feature) => features.has(feature))) return undefined;
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = info;
  if (subgroupMinSize !== subgroupMaxSize && !features.has(subgroupSizeControl)) return undefined;
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<Config> };
  const shapes = [...subgroupMatrixConfigs]
    .filter(
      ({ componentType, resultComponentType }) => componentType === 'f16' && resultComponentType === 'f32',
    )
    .map(({ M, N, K }) => ({ m: M, n: N, k: K }))
    .filter(isUsable);
  return shapes.length > 0 ? { shapes, subgroup: subgroupMaxSize, precisions } : undefined;
}

/** Matrices begin at multiples of eight numbers, and a quad lies within one. */
const isUsable = ({ m, n, k }: MatrixShape): boolean => [m, n, k].every((length) => length % 8 === 0);

/** A kernel on matrix units: the sizes of its matrices, and output channels of a workgroup. */
export interface MatrixKernel extends MatrixShape {
  readonly outputs: number;
}

/** `matrix MxNxK, outputs`. */
export type MatrixKernelName = `matrix ${string}`;

/** Sizes that a name may hold: none is larger on any adapter. */
const largest = 64;

/** What a name says; undefined for names of other kernels, and for sizes that cannot be. */
export function matrixKernel(name: string): MatrixKernel | undefined {
  const match = /^matrix (\d+)x(\d+)x(\d+), (\d+)$/.exec(name);
  if (!match) return undefined;
  const [m, n, k, outputs] = match.slice(1).map(Number) as [number, number, number, number];
  const fits = isUsable({ m, n, k }) && [m, n, k, outputs].every((length) => length > 0 && length <= largest);
  return fits && outputs % n === 0 && outputs % m === 0 ? { m, n, k, outputs } : undefined;
}

export const isMatrixKernel = (name: string): name is MatrixKernelName => matrixKernel(name) !== undefined;

/** The kernels to try for volumes of this precision. */
export function matrixKernels(
  units: MatrixUnits | undefined,
  precision: Precision,
): readonly MatrixKernelName[] {
  if (!units?.precisions.includes(precision)) return [];
  return units.shapes.flatMap(({ m, n, k }) =>
    [16, 32].map((outputs): MatrixKernelName => `matrix ${m}x${n}x${k}, ${outputs}`).filter(isMatrixKernel),
  );
}

/** Whether the units have the sizes of a kernel. */
export const offers = (units: MatrixUnits | undefined, { m, n, k }: MatrixKernel): boolean =>
  units?.shapes.some((shape) => shape.m === m && shape.n === n && shape.k === k) ?? false;

/** Taps and strides along x, y and z. */
interface Walk {
  readonly kernel: Size3;
  readonly stride: Size3;
}

/** Voxels that a block of outputs sees along an axis. */
const seen = (outputs: number, kernel: number, stride: number): number => (outputs - 1) * stride + kernel;

/** A voxel's channels in workgroup memory, and eight more where rows of matrices would else share banks. */
const pitchOf = (channels: number): number => (channels > 8 ? channels + 8 : channels);

const blockConstants = ({ kernel, stride }: Walk) => ({
  KERNEL_X: kernel[0],
  KERNEL_Y: kernel[1],
  KERNEL_Z: kernel[2],
  STRIDE_X: stride[0],
  STRIDE_Y: stride[1],
  STRIDE_Z: stride[2],
});

/** Voxels along x of a block, and of a whole row of matrices. */
const alongX = 16;

/** The constants of conv_matrix/forward. */
export function matrixForwardConstants({ m, n, k, outputs }: MatrixKernel, walk: Walk) {
  const strided = (axis: 0 | 1 | 2) => walk.stride[axis] > 1;
  return {
    ...blockConstants(walk),
    M: m,
    N: n,
    K: k,
    RUNS: Math.ceil(alongX / m),
    LINES: strided(1) ? 2 : 4,
    PLANES: strided(2) ? 2 : 4,
    PITCH: pitchOf(k),
    OUTS: outputs / n,
    SUBGROUPS: m > 8 ? 4 : 8,
  };
}

/** Of the kernel for 3×3×3 with stride 1. */
export function matrixForwardNeeds(kernel: MatrixKernel, subgroup: number): Needs {
  const walk: Walk = { kernel: [3, 3, 3], stride: [1, 1, 1] };
  const { RUNS, LINES, PLANES, PITCH, SUBGROUPS, M, N } = matrixForwardConstants(kernel, walk);
  const staged = seen(RUNS * M, 3, 1) * seen(LINES, 3, 1) * seen(PLANES, 3, 1) * PITCH;
  return { bytes: 2 * staged + 4 * SUBGROUPS * M * N, threads: SUBGROUPS * subgroup };
}

/** The constants of conv_matrix/weight_gradient. */
export function matrixWeightConstants({ m, n, k, outputs }: MatrixKernel, walk: Walk) {
  const taps = walk.kernel[0] * walk.kernel[1] * walk.kernel[2];
  const [RUNS, LINES, PLANES] = [Math.ceil(alongX / k), walk.stride[1] > 1 ? 2 : 4, 2];
  return {
    ...blockConstants(walk),
    M: m,
    N: n,
    K: k,
    RUNS,
    LINES,
    PLANES,
    PITCH: pitchOf(n),
    OUTS: outputs / m,
    SUBGROUPS: Math.min(9, taps),
  };
}

export function matrixWeightNeeds(kernel: MatrixKernel, subgroup: number): Needs {
  const walk: Walk = { kernel: [3, 3, 3], stride: [1, 1, 1] };
  const { RUNS, LINES, PLANES, PITCH, SUBGROUPS, OUTS, M, N, K } = matrixWeightConstants(kernel, walk);
  const staged = seen(RUNS * K, 3, 1) * seen(LINES, 3, 1) * seen(PLANES, 3, 1) * PITCH;
  const gradient = OUTS * M * (RUNS * K * LINES * PLANES + 8);
  return { bytes: 2 * (staged + gradient) + 4 * SUBGROUPS * M * N, threads: SUBGROUPS * subgroup };
}
