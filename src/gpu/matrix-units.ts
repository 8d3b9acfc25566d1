/**
 * Matrix units: what an adapter offers, and the kernels that use them, by the name under which a plan chooses them. A
 * draft of WebGPU: all names of it are here and, in WGSL, in shaders/common/matrix_units.wgsl.
 */
import type { Precision } from './precision.ts';
import type { Needs } from './tiles.ts';
import { axisConstants, usualWalk, type Walk } from './walk.ts';

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

/**
 * How far a result may be off, ‖x - y‖ / ‖y‖. Rounding to float16, which has 11 digits, changes an operand by at most
 * u = 2⁻¹¹ of it (but for numbers below 2⁻¹⁴, by 2⁻²⁵). A number of [1, 2) is off by u/√3 in the mean square; over
 * numbers whose logarithms are evenly spread that is u/√3 · √(3 / (8 ln 2)) = 0.42 u of a number, and of two operands √2
 * as much: 2.9e-4, also of a sum, where signs are as good as random, as then errors add up as the terms do. This leaves a
 * factor of three.
 */
export const operandTolerance = 1e-3;

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
  const shapes = multipliedSizes(info).filter(isUsable);
  return shapes.length > 0 ? { shapes, subgroup: subgroupMaxSize, precisions } : undefined;
}

/** Sizes in which an adapter multiplies float16 into float32. */
export function multipliedSizes(info: GPUAdapterInfo): MatrixShape[] {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<Config> };
  return [...subgroupMatrixConfigs]
    .filter(
      ({ componentType, resultComponentType }) => componentType === 'f16' && resultComponentType === 'f32',
    )
    .map(({ M, N, K }) => ({ m: M, n: N, k: K }));
}

/** Matrices begin at multiples of eight numbers, and a quad lies within one. */
const isUsable = ({ m, n, k }: MatrixShape): boolean => [m, n, k].every((length) => length % 8 === 0);

/** A kernel on matrix units. */
export interface MatrixKernel extends MatrixShape {
  /** Output channels of a workgroup. */
  readonly outputs: number;
  /** Whether its blocks are half as deep, and take little more than half the workgroup memory. */
  readonly flat: boolean;
}

/** `matrix MxNxK, outputs`, and ` flat`. */
export type MatrixKernelName = `matrix ${string}`;

/** Sizes that a name may hold: none is larger on any adapter. */
const largest = 64;

/** What a name says; undefined for names of other kernels, and for sizes that cannot be. */
export function matrixKernel(name: string): MatrixKernel | undefined {
  const match = /^matrix (\d+)x(\d+)x(\d+), (\d+)( flat)?$/.exec(name);
  if (!match) return undefined;
  const [m, n, k, outputs] = match.slice(1, 5).map(Number) as [number, number, number, number];
  const flat = match[5] !== undefined;
  const fits = isUsable({ m, n, k }) && [m, n, k, outputs].every((length) => length > 0 && length <= largest);
  return fits && outputs % n === 0 && outputs % m === 0 ? { m, n, k, outputs, flat } : undefined;
}

export const isMatrixKernel = (name: string): name is MatrixKernelName => matrixKernel(name) !== undefined;

/** What kernels there are for a pass depends on. */
export interface PassKind {
  /** `forward` is also the gradient with respect to the input; `weights` that with respect to the weights. */
  readonly kind: 'forward' | 'weights';
  /** Absent of 3×3×3 with stride 1, for which there are most kernels. */
  readonly walk?: Walk | undefined;
}

/** Workgroup memory beyond this, which Direct3D 12 has not, is a reason to try flat blocks, too. */
const ampleBytes = 32 * 2 ** 10;

/** The kernels to try for a pass over volumes of a precision; flat ones behind all others. */
export function matrixKernels(
  units: MatrixUnits | undefined,
  { precision, ...pass }: PassKind & { readonly precision: Precision },
): readonly MatrixKernelName[] {
  if (!units?.precisions.includes(precision)) return [];
  const names = units.shapes.flatMap(({ m, n, k }) =>
    [16, 32].map((outputs): MatrixKernelName => `matrix ${m}x${n}x${k}, ${outputs}`).filter(isMatrixKernel),
  );
  const deep = names.filter(
    (name) => matrixNeeds(pass, matrixKernel(name)!, units.subgroup).bytes > ampleBytes,
  );
  return [...names, ...deep.map((name): MatrixKernelName => `${name} flat`)];
}

/** Whether the units have the sizes of a kernel. */
export const offers = (units: MatrixUnits | undefined, { m, n, k }: MatrixKernel): boolean =>
  units?.shapes.some((shape) => shape.m === m && shape.n === n && shape.k === k) ?? false;

/** Voxels that a block of places sees along an axis; of dilated ones, a place is a pair of outputs. */
const seen = (places: number, { kernel, stride, dilation }: Walk, axis: 0 | 1 | 2): number =>
  (places - 1) * stride[axis] + Math.floor((kernel[axis] - 1) / dilation[axis]) + 1;

/** A voxel's channels in workgroup memory, and eight more where rows of matrices would else share banks. */
const pitchOf = (channels: number): number => (channels > 8 ? channels + 8 : channels);

const blockConstants = ({ kernel, stride, dilation }: Walk) => ({
  ...axisConstants('KERNEL', kernel),
  ...axisConstants('STRIDE', stride),
  ...axisConstants('DILATION', dilation),
});

interface Block {
  readonly RUNS: number;
  readonly LINES: number;
  readonly PLANES: number;
  readonly PITCH: number;
}

/** Halves of workgroup memory that hold what a block of runs of so many voxels sees. */
const staged = ({ RUNS, LINES, PLANES, PITCH }: Block, run: number, walk: Walk): number =>
  seen(RUNS * run, walk, 0) * seen(LINES, walk, 1) * seen(PLANES, walk, 2) * PITCH;

/** Voxels along x of a block, and of a whole row of matrices. */
const alongX = 16;

/** Rows and planes of a block: half of either where it is to be flat. */
function blockOf(lines: number, planes: number, flat: boolean): { LINES: number; PLANES: number } {
  if (!flat) return { LINES: lines, PLANES: planes };
  return planes > 1 ? { LINES: lines, PLANES: planes / 2 } : { LINES: lines / 2, PLANES: planes };
}

/** The constants of conv_matrix/forward. */
export function matrixForwardConstants({ m, n, k, outputs, flat }: MatrixKernel, walk: Walk) {
  const { stride, dilation } = walk;
  const RUNS = Math.ceil(alongX / m);
  const block = blockOf(stride[1] > 1 || dilation[0] > 1 ? 2 : 4, stride[2] > 1 ? 2 : 4, flat);
  return {
    ...blockConstants(walk),
    M: m,
    N: n,
    K: k,
    RUNS,
    ...block,
    PITCH: pitchOf(k),
    OUTS: outputs / n,
    SUBGROUPS: Math.min(m > 8 ? 4 : 8, RUNS * block.LINES * block.PLANES),
  };
}

/** The constants of conv_matrix/weight_gradient. */
export function matrixWeightConstants({ m, n, k, outputs, flat }: MatrixKernel, walk: Walk) {
  const { kernel, stride } = walk;
  const taps = kernel[0] * kernel[1] * kernel[2];
  const RUNS = Math.ceil(alongX / k);
  const { LINES, PLANES } = blockOf(stride[1] > 1 ? 2 : 4, stride[2] > 1 ? 1 : 2, flat);
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
    SHARES: Math.min(9, taps),
    LANES: taps < 8 ? Math.min(RUNS * LINES * PLANES, 2 ** Math.floor(Math.log2(8 / taps))) : 1,
  };
}

/** What a kernel for a pass of this kind asks of a device whose subgroups have so many threads. */
export function matrixNeeds(
  { kind, walk = usualWalk }: PassKind,
  kernel: MatrixKernel,
  subgroup: number,
): Needs {
  const result = kernel.m * kernel.n;
  if (kind === 'forward') {
    const block = matrixForwardConstants(kernel, walk);
    const { SUBGROUPS, DILATION_X, M } = block;
    const bytes = 2 * staged(block, M, walk) + 4 * SUBGROUPS * DILATION_X * result;
    return { bytes, threads: SUBGROUPS * subgroup };
  }
  const block = matrixWeightConstants(kernel, walk);
  const { RUNS, LINES, PLANES, SHARES, LANES, OUTS, M, K } = block;
  const gradient = OUTS * M * (RUNS * K * LINES * PLANES + 8);
  const bytes = 2 * (staged(block, K, walk) + gradient) + 4 * SHARES * LANES * result;
  return { bytes, threads: SHARES * LANES * subgroup };
}
