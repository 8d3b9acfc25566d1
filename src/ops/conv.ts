/**
 * Convolution with 1 or 3 taps and a stride of 1 or 2 along each axis, "same" padding, over one input or two that stand
 * for their concatenation. 3×3×3 with stride 1 has kernels of its own (`conv3/`), from which a plan chooses; all others
 * share one (`conv/`). Forward saves nothing: its inputs are read again by the weight gradient.
 */
import type { Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import { forwardKernel, weightKernel, type ConvPass } from '../gpu/passes.ts';
import { isMatrixKernel, matrixKernel } from '../gpu/matrix-units.ts';
import { assertLength, type Input } from './common.ts';
import { convolveByMatrices, packForMatrices, weightGradientByMatrices } from './conv/matrix.ts';
import { packWeights, type Unpacked } from './conv/pack.ts';
import { convolve, weightGradient, type Place, type WeightTensors } from './conv/general.ts';
import { assertConvolved, convWork, isUsual, tapsOf, usualShape, type ConvShape } from './conv/shape.ts';
import { convolveByChannels, convolveByVoxels, type JoinedTensors } from './conv3/forward.ts';
import { weightGradientByLines, weightGradientTiled } from './conv3/weight-gradient.ts';

/** The fast kernels for 3×3×3 with stride 1. */
function convolve3(
  recorder: Recorder,
  label: string,
  tensors: Omit<JoinedTensors, 'packed'>,
  { weights, channels, range }: Unpacked,
  { add, flops }: { readonly add: boolean; readonly flops: number },
): void {
  const { inputs, bias, target } = tensors;
  const [a, b] = inputs;
  const pass: ConvPass = {
    kind: 'forward',
    inputs: inputs.filter((input) => input !== undefined).map(described),
    channelsOut: target.channels,
    grid: [target.size[0], target.size[1], target.planes],
    precision: recorder.precision,
  };
  recorder.pass(pass, flops);
  const kernel = forwardKernel(recorder.limits.kernels, pass);
  if (isMatrixKernel(kernel)) {
    const matrix = matrixKernel(kernel)!;
    const packed = packForMatrices(recorder, label, { weights, channels, range }, matrix);
    convolveByMatrices(recorder, matrix, label, { ...tensors, packed }, add);
    return;
  }
  const packed = packWeights(recorder, label, weights, channels, range);
  if (kernel === 'channels') {
    const channelsIn = a.tensor.channels + (b?.tensor.channels ?? 0);
    const own = { input: a, packed, bias, target };
    convolveByChannels(recorder, label, own, { channelsIn, first: 0, add });
    if (b) {
      const place = { channelsIn, first: a.tensor.channels, add: true };
      convolveByChannels(recorder, label, { input: b, packed, target }, place);
    }
  } else convolveByVoxels(recorder, kernel, label, { ...tensors, packed }, add);
}

/** An input as the key of a pass has it. */
const described = ({ tensor: { channels }, scaleShifts }: Input) => ({
  channels,
  norm: scaleShifts !== undefined,
});

const none: Size3 = [1, 1, 1];

/** Assigns target = conv(inputs) + bias. */
export function convForward(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly inputs: readonly [Input, Input?];
    /** (out, in, z, y, x); in = channels of all inputs, first input first. */
    readonly weights: View;
    readonly bias?: View | undefined;
    readonly target: VolumeTensor;
  },
  shape: ConvShape = usualShape,
): void {
  const { inputs, weights, bias, target } = tensors;
  const { kernel, stride } = shape;
  const [a, b] = inputs;
  for (const { tensor } of b ? [a, b] : [a]) assertConvolved(label, tensor, target, shape);
  const inChannels = a.tensor.channels + (b?.tensor.channels ?? 0);
  const flops = convWork(kernel, inChannels, target);
  const channels = { outChannels: target.channels, inChannels, kernel };
  const range = { of: 'out', count: target.channels } as const;
  if (isUsual(shape)) {
    convolve3(recorder, label, { inputs, bias, target }, { weights, channels, range }, { add: false, flops });
    return;
  }
  const packed = packWeights(recorder, label, weights, channels, range);
  const walk = { kernel, stride, dilation: none, inChannels };
  const of = ({ tensor: { channels } }: Input) => (flops * channels) / inChannels;
  const firstTensors = { input: a, packed, bias, target };
  convolve(recorder, label, firstTensors, { ...walk, first: 0, add: false, flops: of(a) });
  if (b) {
    const second = { ...walk, first: a.tensor.channels, add: true, flops: of(b) };
    convolve(recorder, label, { input: b, packed, target }, second);
  }
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
  const input = { tensor: dOutput };
  if (isUsual(shape)) {
    const tensors = { inputs: [input], target: dInput } as const;
    convolve3(recorder, label, tensors, { weights, channels, range }, { add, flops });
  } else {
    const packed = packWeights(recorder, label, weights, channels, range);
    const place = { inChannels: dOutput.channels, first: 0 };
    const walk = { kernel, stride: none, dilation: stride, ...place, add, flops };
    convolve(recorder, label, { input, packed, target: dInput }, walk);
  }
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
  if (!isUsual(shape)) {
    weightGradient(recorder, label, tensors, { ...place, ...shape, flops });
    return;
  }
  const [width, height] = dOutput.size;
  const pass: ConvPass = {
    kind: 'weights',
    inputs: [described(input)],
    channelsOut: dOutput.channels,
    grid: [width, height, dOutput.planes],
    precision: recorder.precision,
  };
  recorder.pass(pass, flops);
  const kernel = weightKernel(recorder.limits.kernels, pass);
  if (kernel === 'lines') weightGradientByLines(recorder, label, tensors, place);
  else if (isMatrixKernel(kernel))
    weightGradientByMatrices(recorder, matrixKernel(kernel)!, label, tensors, place);
  else weightGradientTiled(recorder, kernel, label, tensors, place);
}
