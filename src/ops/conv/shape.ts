/** Kernel and stride of a convolution, and the sizes that follow. */
import { InvalidOption } from '../../errors.ts';
import type { Planes, VolumeTensor } from '../../gpu/plan.ts';
import type { Size3 } from '../../size.ts';

/** Along x, y and z. Volumes are padded with (kernel − 1) / 2 zeros on both sides. */
export interface ConvShape {
  /** Taps: 1 or 3. */
  readonly kernel: Size3;
  /** Input voxels from one output voxel to the next: 1 or 2. */
  readonly stride: Size3;
}

/** 3×3×3, stride 1: what networks are mostly made of. */
export const usualShape: ConvShape = { kernel: [3, 3, 3], stride: [1, 1, 1] };

/** Whether it is 3×3×3 with stride 1, for which there are kernels of its own. */
export const isUsual = ({ kernel, stride }: ConvShape): boolean =>
  kernel.every((n) => n === 3) && stride.every((n) => n === 1);

export const tapsOf = ([x, y, z]: Size3): number => x * y * z;

/** Size after a convolution: rounded up where a stride of 2 does not divide it. */
export const convolvedSize = ([x, y, z]: Size3, stride: Size3): Size3 => [
  Math.ceil(x / stride[0]),
  Math.ceil(y / stride[1]),
  Math.ceil(z / stride[2]),
];

/** Size after a transposed convolution. */
export const grownSize = ([x, y, z]: Size3, stride: Size3): Size3 => [
  x * stride[0],
  y * stride[1],
  z * stride[2],
];

/** Throws `InvalidOption` unless the convolution makes volumes of the output's samples and size from the input's. */
export function assertConvolved(
  label: string,
  input: VolumeTensor,
  output: VolumeTensor,
  { kernel, stride }: ConvShape,
): void {
  if (!kernel.every((n) => n === 1 || n === 3) || !stride.every((n) => n === 1 || n === 2))
    throw new InvalidOption(
      `${label}: kernel [${kernel.join(',')}] with stride [${stride.join(',')}]; along each axis a kernel is 1 or 3, a stride 1 or 2`,
    );
  const expected = convolvedSize(input.size, stride);
  const fits = expected.every((length, axis) => length === output.size[axis]) && input.batch === output.batch;
  if (!fits)
    throw new InvalidOption(
      `${label}: ${input.batch}×[${input.size.join(',')}] with stride [${stride.join(',')}] gives [${expected.join(',')}], ` +
        `not ${output.batch}×[${output.size.join(',')}]`,
    );
}

/** Throws `InvalidOption` unless `target` has as many times more voxels along each axis as the strides say. */
export function assertGrown(label: string, source: VolumeTensor, target: VolumeTensor, stride: Size3): void {
  const expected = grownSize(source.size, stride);
  const fits =
    expected.every((length, axis) => length === target.size[axis]) && source.batch === target.batch;
  if (!fits)
    throw new InvalidOption(
      `${label}: ${source.batch}×[${source.size.join(',')}] grows to [${expected.join(',')}], not to ${target.batch}×[${target.size.join(',')}]`,
    );
}

/** Multiplications and additions of a convolution from so many channels to `output`. */
export const convWork = (kernel: Size3, channels: number, { channels: out, size, planes }: VolumeTensor) =>
  2 * tapsOf(kernel) * channels * out * size[0] * size[1] * planes;

/** Of the work of a whole volume, that of some of its planes. */
export const shareOf = (work: number, { planes }: VolumeTensor, [from, to]: Planes): number =>
  (work * (to - from)) / planes;
