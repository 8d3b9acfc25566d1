/** Choices by which every convolution of a plan runs on matrix units: on those of the adapter, or of sizes that it lacks. */
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import type { MatrixKernelName, MatrixShape } from '../../src/gpu/matrix-units.ts';
import { matrixDevice } from './device.ts';
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
  /** With blocks that fit 32 KiB of workgroup memory, as lavapipe has it. */
  readonly flat: MatrixKernelName;
}

function named(gpu: Gpu, { m, n, k }: MatrixShape): OnMatrices {
  const withOutputs = (outputs: number): MatrixKernelName => `matrix ${m}x${n}x${k}, ${outputs}`;
  const name = withOutputs(Math.max(m, n));
  return { gpu, name, wide: withOutputs(2 * Math.max(m, n)), flat: `${name} flat` };
}

/** One for each size of the adapter's own. */
export async function kernelsOnMatrices(): Promise<readonly OnMatrices[]> {
  const gpu = await matrixDevice();
  return gpu?.matrixUnits?.shapes.map((shape) => named(gpu, shape)) ?? [];
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
