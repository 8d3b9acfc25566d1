/** Choices by which every convolution of a plan runs on matrix units: on those of the adapter, or of sizes that it lacks. */
import { test } from 'vitest';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import {
  matrixKernel,
  matrixKernels,
  multipliedSizes,
  type MatrixKernelName,
  type MatrixShape,
  type MatrixUnits,
} from '../../src/gpu/matrix-units.ts';
import { matrixAdapterInfo, matrixDevice } from './device.ts';
import { emulatedDevice } from './emulated-matrices.ts';

/** Those of GPUs: 8×8×8 of Apple's, 16×16×16 and 16×8×16 of NVIDIA's and AMD's, 8×16×16 of Intel's. */
export const matrixShapes: readonly MatrixShape[] = [
  { m: 8, n: 8, k: 8 },
  { m: 16, n: 16, k: 16 },
  { m: 16, n: 8, k: 16 },
  { m: 8, n: 16, k: 16 },
];

/** A kernel on matrix units, and a device that has them. */
export interface OnMatrices {
  readonly gpu: Gpu;
  /** With as few output channels as a workgroup can have: lavapipe compiles many seconds where it has several tiles. */
  readonly name: MatrixKernelName;
  /** The same with twice as many. */
  readonly wide: MatrixKernelName;
  /** With as many as are tried on any. */
  readonly widest: MatrixKernelName;
  /** With flat blocks. */
  readonly flat: MatrixKernelName;
}

function named(gpu: Gpu, { m, n, k }: MatrixShape): OnMatrices {
  const withOutputs = (outputs: number): MatrixKernelName => `matrix ${m}x${n}x${k}, ${outputs}`;
  const name = withOutputs(Math.max(m, n));
  const wide = withOutputs(2 * Math.max(m, n));
  return { gpu, name, wide, widest: withOutputs(32), flat: `${name} flat` };
}

const sizesOf = ({ m, n, k }: MatrixShape): string => `${m}x${n}x${k}`;

/** Sizes of matrices for which there are kernels to try. */
function withKernels(units: MatrixUnits | undefined): MatrixShape[] {
  const names = matrixKernels(units, { kind: 'forward', precision: 'f16' });
  const tried = new Set(names.map((name) => sizesOf(matrixKernel(name)!)));
  return units?.shapes.filter((shape) => tried.has(sizesOf(shape))) ?? [];
}

/** Sizes in which an adapter multiplies float16 into float32, and for which there is no kernel: nothing tries them. */
export function sizesLeftOut(info: GPUAdapterInfo, units: MatrixUnits | undefined): string[] {
  const tried = new Set(withKernels(units).map(sizesOf));
  return multipliedSizes(info)
    .map(sizesOf)
    .filter((name) => !tried.has(name));
}

/** A test that is not run, if there are such sizes. */
export async function tellSizesLeftOut(): Promise<void> {
  const gpu = await matrixDevice();
  const left = sizesLeftOut(await matrixAdapterInfo(), gpu?.matrixUnits);
  if (left.length > 0)
    test(`matrix units of ${left.join(', ')}`, ({ skip }) =>
      skip('there are no kernels for sizes that are no multiples of 8, or that do not divide 16 or 32'));
}

/** One for each size of the adapter's own for which there are kernels. */
export async function kernelsOnMatrices(): Promise<readonly OnMatrices[]> {
  const gpu = await matrixDevice();
  return withKernels(gpu?.matrixUnits).map((shape) => named(gpu!, shape));
}

/**
 * One for each size that GPUs have and the adapter has not, emulated; none where it has no float16, nor in a browser: one
 * device, and one compiler, is enough.
 */
export async function kernelsOnOthers(): Promise<readonly OnMatrices[]> {
  if (typeof window !== 'undefined') return [];
  const own = (await matrixDevice())?.matrixUnits?.shapes ?? [];
  const isOwn = ({ m, n, k }: MatrixShape) => own.some((one) => one.m === m && one.n === n && one.k === k);
  const others = matrixShapes.filter((shape) => !isOwn(shape));
  const found = await Promise.all(
    others.map(async (shape) => {
      const gpu = await emulatedDevice(shape);
      return gpu ? [named(gpu, shape)] : [];
    }),
  );
  return found.flat();
}

/** Whatever the pass: this kernel. */
export const always = (kernel: string): KernelChoices => ({
  ...kernelChoices.hardware,
  tuned: new Proxy({}, { get: () => kernel }),
});
