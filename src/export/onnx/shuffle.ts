/**
 * A transposed convolution without one: a convolution makes all voxels that an input voxel becomes, as channels, and
 * these are moved into place.
 */
import type { NamedTensor } from '../../weights/safetensors.ts';
import type { Initializer, OnnxNode } from './format.ts';
import { joined, type Fragment, type Place } from './fragment.ts';

export type Lengths = readonly [z: number, y: number, x: number];

/** It multiplies lengths by its strides. */
export interface TransposedShape {
  readonly kernel: Lengths;
  readonly stride: Lengths;
  /** What is left out at the near end. */
  readonly padding: Lengths;
}

export function shuffled(shape: TransposedShape, place: Place): Fragment {
  const { name, inputs, output, channels, tensors } = place;
  const { stride } = shape;
  const steps = product(stride);
  const axes = ([0, 1, 2] as const).map((axis) => axisOf(shape, axis));
  const initializers = new Map<string, Initializer>();
  const integers = (part: string, ...values: readonly number[]): string => {
    const key = `${name}.${part}`;
    initializers.set(key, { shape: [values.length], data: BigInt64Array.from(values, BigInt) });
    return key;
  };
  const weights = [`${name}.weight`];
  initializers.set(weights[0]!, forward(tensors.get('weight')!, axes));
  const bias = tensors.get('bias');
  if (bias) {
    weights.push(`${name}.bias`);
    const data = Float32Array.from(
      { length: channels * steps },
      (_, index) => bias.data[Math.floor(index / steps)]!,
    );
    initializers.set(weights[1]!, { shape: [data.length], data });
  }
  const of = (part: string): string => `${name}.${part}`;
  const concat = (parts: readonly string[], to: string): OnnxNode => ({
    operator: 'Concat',
    inputs: parts,
    output: to,
    attributes: { axis: 0 },
  });
  // Of whatever batch: -1 is as many as are left.
  const [batch, made] = [integers('batch', -1), integers('made', channels, ...stride)];
  const [larger, kept] = [integers('steps', ...stride), integers('channels', channels)];
  const source = joined(place);
  const nodes: OnnxNode[] = [
    ...source.nodes,
    { operator: 'Shape', inputs: [inputs[0]!], output: of('size'), attributes: { start: 2 } },
    {
      operator: 'Conv',
      inputs: [source.input, ...weights],
      output: of('all'),
      attributes: {
        kernel_shape: axes.map((axis) => axis.length),
        pads: [...axes.map((axis) => axis.before), ...axes.map((axis) => axis.after)],
      },
    },
    concat([batch, made, of('size')], of('apart')),
    { operator: 'Reshape', inputs: [of('all'), of('apart')], output: of('voxels') },
    {
      // batch, channel, and along each axis its length and its stride
      operator: 'Transpose',
      inputs: [of('voxels')],
      output: of('placed'),
      attributes: { perm: [0, 1, 5, 2, 6, 3, 7, 4] },
    },
    { operator: 'Mul', inputs: [of('size'), larger], output: of('larger') },
    concat([batch, kept, of('larger')], of('joined')),
    { operator: 'Reshape', inputs: [of('placed'), of('joined')], output },
  ];
  return { nodes, initializers };
}

const product = (lengths: readonly number[]): number => lengths.reduce((total, length) => total * length, 1);

/** The convolution along one axis. */
interface Axis {
  readonly kernel: number;
  readonly stride: number;
  /** Of the convolution's kernel. */
  readonly length: number;
  /** Zeros around the input. */
  readonly before: number;
  readonly after: number;
  /** Which of the transposed kernel's weights brings input `at` to the voxel that is `rest` after a whole stride. */
  readonly tap: (rest: number, at: number) => number;
}

/** Voxel stride · q + rest gets weight stride · j + rest + padding times input q - j, for each j that has one. */
function axisOf({ kernel, stride, padding }: TransposedShape, axis: 0 | 1 | 2): Axis {
  const [length, step, missing] = [kernel[axis], stride[axis], padding[axis]];
  const before = Math.floor((length - 1 - missing) / step);
  const after = Math.floor((missing + step - 1) / step);
  return {
    kernel: length,
    stride: step,
    length: before + 1 + after,
    before,
    after,
    tap: (rest, at) => step * (before - at) + rest + missing,
  };
}

/** From (in, out, z, y, x) to (out · strides, in, z, y, x). */
function forward({ shape, data }: NamedTensor, axes: readonly Axis[]): NamedTensor {
  const [inputs, outputs] = shape as [number, number];
  const lengths = axes.map((axis) => axis.length);
  const taps = tapsOf(axes);
  const [steps, size, kernel] = [taps.length, product(lengths), product(axes.map((axis) => axis.kernel))];
  const turned = new Float32Array(outputs * steps * inputs * size);
  let at = 0;
  for (let output = 0; output < outputs; output++)
    for (const row of taps)
      for (let input = 0; input < inputs; input++) {
        const start = (input * outputs + output) * kernel;
        for (const tap of row) turned[at++] = tap === undefined ? 0 : data[start + tap]!;
      }
  return { shape: [outputs * steps, inputs, ...lengths], data: turned };
}

/** For each voxel of the strides and each of the convolution's kernel, the weight's place in the transposed one. */
function tapsOf(axes: readonly Axis[]): readonly (readonly (number | undefined)[])[] {
  return indices(axes.map((axis) => axis.stride)).map((rest) =>
    indices(axes.map((axis) => axis.length)).map((at) =>
      axes.reduce<number | undefined>((found, { kernel, tap }, axis) => {
        const along = tap(rest[axis]!, at[axis]!);
        return found === undefined || along < 0 || along >= kernel ? undefined : found * kernel + along;
      }, 0),
    ),
  );
}

/** All places of a grid, the last axis the fastest. */
const indices = (lengths: readonly number[]): readonly (readonly number[])[] =>
  lengths.reduce<number[][]>(
    (all, length) => all.flatMap((place) => Array.from({ length }, (_, at) => [...place, at])),
    [[]],
  );
