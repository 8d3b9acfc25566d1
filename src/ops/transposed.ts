/**
 * Transposed convolution with the kernels, strides and padding of `conv`, which makes as many times more voxels along
 * each axis as the strides say; PyTorch calls what is added at the far ends an output padding of stride - 1. It is that
 * convolution backwards: its forward pass is the other's gradient with respect to the input, and the other way round.
 * Forward saves nothing.
 */
import { InvalidOption } from '../errors.ts';
import type { Planes, Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import { ones } from '../gpu/walk.ts';
import { assertLength, type Input } from './common.ts';
import { convolve, weightGradient, type Place, type WeightTensors } from './conv/general.ts';
import { convolvedByMatrices, weightGradientByMatrices } from './conv/matrix.ts';
import { packWeights } from './conv/pack.ts';
import { isMeasured } from './conv/parts.ts';
import { assertConvolved, assertGrown, convWork, tapsOf, type ConvShape } from './conv/shape.ts';

function assertTransposed(label: string, source: VolumeTensor, target: VolumeTensor, shape: ConvShape): void {
  assertGrown(label, source, target, shape.stride);
  assertConvolved(label, target, source, shape);
}

/**
 * Assigns target = transposed conv(inputs) + bias, all of it or these planes. Gives back statistics of the target where
 * `convForward` does.
 */
export function transposedForward(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly inputs: readonly [Input, Input?];
    /** (in, out, z, y, x); in = channels of all inputs, first input first. */
    readonly weights: View;
    readonly bias?: View | undefined;
    readonly target: VolumeTensor;
    readonly measured?: boolean;
  },
  shape: ConvShape,
  planes?: Planes,
): VolumeTensor | undefined {
  const { inputs, weights, bias, target } = tensors;
  const measured = isMeasured(recorder, tensors);
  const { kernel, stride } = shape;
  const [a, b] = inputs;
  for (const { tensor } of b ? [a, b] : [a]) assertTransposed(label, tensor, target, shape);
  const inChannels = a.tensor.channels + (b?.tensor.channels ?? 0);
  const channels = { outChannels: inChannels, inChannels: target.channels, kernel };
  const range = { of: 'in', count: target.channels } as const;
  const walk = { kernel, stride: ones, dilation: stride, inChannels, planes };
  const flops = ({ tensor }: Input) => convWork(kernel, target.channels, tensor);
  const whole = { inputs, bias, target };
  const work = { ...walk, add: false, flops: flops(a) + (b ? flops(b) : 0), measured };
  const byMatrices = convolvedByMatrices(recorder, label, whole, { weights, channels, range }, work);
  if (byMatrices) return byMatrices.parts;
  const packed = packWeights(recorder, label, weights, channels, range);
  const own = { input: a, packed, bias, target };
  const first = { ...walk, first: 0, add: false, flops: flops(a), measured: measured && !b };
  const parts = convolve(recorder, label, own, first);
  if (!b) return parts;
  const second = { ...walk, first: a.tensor.channels, add: true, flops: flops(b), measured };
  return convolve(recorder, label, { input: b, packed, target }, second);
}

/**
 * The gradient of the (activated) input channels [first, first + dInput.channels) of `inChannels`: assigns `dInput`, or
 * with `add` accumulates into it.
 */
export function transposedBackwardInput(
  recorder: Recorder,
  label: string,
  tensors: { readonly dOutput: VolumeTensor; readonly weights: View; readonly dInput: VolumeTensor },
  options: Place & { readonly add?: boolean },
  shape: ConvShape,
): void {
  const { dOutput, weights, dInput } = tensors;
  const { inChannels, first, add = false } = options;
  const { kernel, stride } = shape;
  assertTransposed(label, dInput, dOutput, shape);
  const channels = { outChannels: inChannels, inChannels: dOutput.channels, kernel };
  const range = { of: 'out', first, count: dInput.channels } as const;
  const input = { tensor: dOutput, isGradient: true };
  const walk = { kernel, stride, dilation: ones, add, flops: convWork(kernel, dOutput.channels, dInput) };
  const backwards = { inputs: [input], target: dInput } as const;
  if (convolvedByMatrices(recorder, label, backwards, { weights, channels, range }, walk)) return;
  const packed = packWeights(recorder, label, weights, channels, range);
  const place = { inChannels: dOutput.channels, first: 0 };
  convolve(recorder, label, { input, packed, target: dInput }, { ...walk, ...place });
}

/**
 * Assigns the weight gradient (in, out, z, y, x) for the input channels [first, first + channels of `input`). Summed in
 * fixed order: the same bits for any cutting into dispatches.
 */
export function transposedBackwardWeight(
  recorder: Recorder,
  label: string,
  { input, dOutput, dWeights }: WeightTensors,
  { inChannels, first }: Place,
  shape: ConvShape,
): void {
  const { tensor, scaleShifts } = input;
  assertTransposed(label, tensor, dOutput, shape);
  if (scaleShifts)
    throw new InvalidOption(
      `${label}: ${tensor.name} has a norm or an activation to apply: store what they make of it`,
    );
  assertLength(label, dWeights, inChannels * dOutput.channels * tapsOf(shape.kernel));
  const backwards = { input: { tensor: dOutput, isGradient: true }, dWeights };
  const place = { inChannels: dOutput.channels, first: 0, firstOut: first };
  const options = { ...place, ...shape, flops: convWork(shape.kernel, dOutput.channels, tensor) };
  if (!weightGradientByMatrices(recorder, label, { ...backwards, dOutput: { tensor } }, options))
    weightGradient(recorder, label, { ...backwards, dOutput: tensor }, options);
}
