/**
 * Convolution with 1 or 3 taps and a stride of 1 or 2 along each axis, "same" padding, over one input or two that stand
 * for their concatenation. 3×3×3 with stride 1 has kernels of its own (`conv3/`), from which a plan chooses; all others
 * share one (`conv/`); where a plan has chosen that, any runs on matrix units. Forward saves nothing: its inputs are read
 * again by the weight gradient.
 */
import { GpuError } from '../errors.ts';
import type { Planes, Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import { forwardKernel, weightKernel } from '../gpu/passes.ts';
import { isMatrixKernel } from '../gpu/matrix-units.ts';
import { ones, usualWalk } from '../gpu/walk.ts';
import { assertLength, type Input } from './common.ts';
import {
  convolvedByMatrices,
  forwardPass,
  weightGradientByMatrices,
  weightPass,
  type ConvTensors,
} from './conv/matrix.ts';
import { packWeights, type Unpacked } from './conv/pack.ts';
import { isMeasured } from './conv/parts.ts';
import {
  convolve,
  weightGradient,
  type ConvolveOptions,
  type Place,
  type WeightTensors,
} from './conv/general.ts';
import { assertConvolved, convWork, isUsual, tapsOf, usualShape, type ConvShape } from './conv/shape.ts';
import { convolveByChannels, convolveByVoxels } from './conv3/forward.ts';
import { weightGradientByLines, weightGradientTiled } from './conv3/weight-gradient.ts';

/** The fast kernels for 3×3×3 with stride 1. */
function convolve3(
  recorder: Recorder,
  label: string,
  tensors: ConvTensors,
  unpacked: Unpacked,
  { flops, ...options }: Required<ConvolveOptions>,
): VolumeTensor | undefined {
  const { add, measured, planes } = options;
  const work = { ...usualWalk, add, flops, measured, planes };
  const byMatrices = convolvedByMatrices(recorder, label, tensors, unpacked, work);
  if (byMatrices) return byMatrices.parts;
  const { weights, channels, range } = unpacked;
  const { inputs, bias, target } = tensors;
  const [a, b] = inputs;
  const kernel = forwardKernel(recorder.limits.kernels, forwardPass(recorder, tensors, usualWalk));
  const packed = packWeights(recorder, label, weights, channels, range);
  if (kernel === 'channels' || kernel === 'subgroup') {
    const inChannels = a.tensor.channels + (b?.tensor.channels ?? 0);
    const own = { input: a, packed, bias, target };
    const first = { inChannels, first: 0, add, measured: measured && !b, planes };
    const parts = convolveByChannels(recorder, kernel, label, own, first);
    if (!b) return parts;
    const second = { inChannels, first: a.tensor.channels, add: true, measured, planes };
    return convolveByChannels(recorder, kernel, label, { input: b, packed, target }, second);
  }
  if (isMatrixKernel(kernel)) throw new GpuError(`${label}: no dispatch of kernel '${kernel}' was recorded`);
  return convolveByVoxels(recorder, kernel, label, { ...tensors, packed }, options);
}

/**
 * Assigns target = conv(inputs) + bias, all of it or these planes. Gives back statistics of the target, tile by tile, if
 * a norm is to read them, the plan wants them from convolutions and the kernel has them.
 */
export function convForward(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly inputs: readonly [Input, Input?];
    /** (out, in, z, y, x); in = channels of all inputs, first input first. */
    readonly weights: View;
    readonly bias?: View | undefined;
    readonly target: VolumeTensor;
    /** Whether a norm is to read statistics of the target. */
    readonly measured?: boolean;
  },
  shape: ConvShape = usualShape,
  planes?: Planes,
): VolumeTensor | undefined {
  const { inputs, weights, bias, target } = tensors;
  const measured = isMeasured(recorder, tensors);
  const { kernel, stride } = shape;
  const [a, b] = inputs;
  for (const { tensor } of b ? [a, b] : [a]) assertConvolved(label, tensor, target, shape);
  const inChannels = a.tensor.channels + (b?.tensor.channels ?? 0);
  const flops = convWork(kernel, inChannels, target);
  const channels = { outChannels: target.channels, inChannels, kernel };
  const range = { of: 'out', count: target.channels } as const;
  const unpacked = { weights, channels, range };
  const whole = { inputs, bias, target };
  const options = { add: false, flops, measured, planes };
  if (isUsual(shape)) return convolve3(recorder, label, whole, unpacked, options);
  const walk = { kernel, stride, dilation: ones, inChannels, planes };
  const work = { ...walk, add: false, flops, measured };
  const byMatrices = convolvedByMatrices(recorder, label, whole, unpacked, work);
  if (byMatrices) return byMatrices.parts;
  const packed = packWeights(recorder, label, weights, channels, range);
  const of = ({ tensor: { channels } }: Input) => (flops * channels) / inChannels;
  const firstTensors = { input: a, packed, bias, target };
  const first = { ...walk, first: 0, add: false, flops: of(a), measured: measured && !b };
  const parts = convolve(recorder, label, firstTensors, first);
  if (!b) return parts;
  const second = { ...walk, first: a.tensor.channels, add: true, flops: of(b), measured };
  return convolve(recorder, label, { input: b, packed, target }, second);
}

/**
 * The gradient of the (activated) input channels [first, first + dInput.channels) of the convolution's `inChannels`:
 * assigns `dInput`, or with `add` accumulates into it.
 */
export function convBackwardInput(
  recorder: Recorder,
  label: string,
  tensors: { readonly dOutput: VolumeTensor; readonly weights: View; readonly dInput: VolumeTensor },
  options: Partial<Place> & { readonly add?: boolean } = {},
  shape: ConvShape = usualShape,
): void {
  const { dOutput, weights, dInput } = tensors;
  const { inChannels = dInput.channels, first = 0, add = false } = options;
  const { kernel, stride } = shape;
  assertConvolved(label, dInput, dOutput, shape);
  const flops = convWork(kernel, dInput.channels, dOutput);
  const channels = { outChannels: dOutput.channels, inChannels, kernel };
  const range = { of: 'in', first, count: dInput.channels } as const;
  const input = { tensor: dOutput, isGradient: true };
  const unpacked = { weights, channels, range };
  const backwards = { inputs: [input], target: dInput } as const;
  if (isUsual(shape)) {
    const options = { add, flops, measured: false, planes: undefined };
    convolve3(recorder, label, backwards, unpacked, options);
    return;
  }
  const walk = { kernel, stride: ones, dilation: stride, add, flops };
  if (convolvedByMatrices(recorder, label, backwards, unpacked, walk)) return;
  const packed = packWeights(recorder, label, weights, channels, range);
  const place = { inChannels: dOutput.channels, first: 0 };
  convolve(recorder, label, { input, packed, target: dInput }, { ...walk, ...place });
}

/**
 * Assigns the weight gradient (out, inChannels, z, y, x) for the input channels [first, first + channels of
 * `input`). Summed in fixed order: the same bits for any cutting into dispatches.
 */
export function convBackwardWeight(
  recorder: Recorder,
  label: string,
  tensors: WeightTensors,
  options: Partial<Place> = {},
  shape: ConvShape = usualShape,
): void {
  const { input, dOutput, dWeights } = tensors;
  const { inChannels = input.tensor.channels, first = 0 } = options;
  assertConvolved(label, input.tensor, dOutput, shape);
  assertLength(label, dWeights, dOutput.channels * inChannels * tapsOf(shape.kernel));
  const place = { inChannels, first };
  const flops = convWork(shape.kernel, input.tensor.channels, dOutput);
  const work = { ...place, ...shape, flops };
  if (weightGradientByMatrices(recorder, label, { ...tensors, dOutput: { tensor: dOutput } }, work)) return;
  if (!isUsual(shape)) {
    weightGradient(recorder, label, tensors, work);
    return;
  }
  const kernel = weightKernel(recorder.limits.kernels, weightPass(recorder, input, dOutput, usualWalk));
  if (kernel === 'lines' || isMatrixKernel(kernel)) weightGradientByLines(recorder, label, tensors, place);
  else weightGradientTiled(recorder, kernel, label, tensors, place);
}
