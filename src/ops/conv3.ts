/**
 * 3×3×3 convolution, stride 1, padding 1, over one input or two that stand for their concatenation.
 * Forward saves nothing: its inputs are read again by the weight gradient.
 */
import type { Recorder, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import { forwardKernel, weightKernel, type ConvPass } from '../gpu/passes.ts';
import { assertLength, assertSameGrid, type Input } from './common.ts';
import { block, convolveByChannels, convolveByVoxels, taps, work } from './conv3/forward.ts';
import { weightGradientByLines, weightGradientTiled } from './conv3/weight-gradient.ts';

/** weights (out, in, 27) → [out block][in][27][8]; with `transpose`, those of the data gradient for inputs [first, first + count). */
function pack(
  recorder: Recorder,
  label: string,
  weights: View,
  shape: { outChannels: number; inChannels: number },
  transpose?: { first: number; count: number },
): Tensor {
  const { outChannels, inChannels } = shape;
  assertLength(label, weights, outChannels * inChannels * taps);
  const inner = transpose ? outChannels : inChannels;
  const length = Math.ceil((transpose ? transpose.count : outChannels) / block) * block * inner * taps;
  const packed = recorder.flat(`${label}.packed`, length);
  recorder.dispatch('conv3/pack', {
    label: `${label} pack`,
    bindings: { source: weights, packed },
    params: { outChannels, inChannels, first: transpose?.first ?? 0, count: transpose?.count ?? inChannels },
    constants: { TRANSPOSE: transpose !== undefined },
    workgroups: [Math.ceil(inner / 8), length / (block * taps * inner), 1],
  });
  return packed;
}

function convolve(
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input?],
  packed: Tensor,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const [a, b] = inputs;
  assertSameGrid(label, a.tensor, target, ...(b ? [b.tensor] : []));
  const pass: ConvPass = {
    kind: 'forward',
    inputs: inputs.filter((input) => input !== undefined).map(described),
    channelsOut: target.channels,
    grid: [target.size[0], target.size[1], target.planes],
    precision: recorder.precision,
  };
  recorder.pass(pass, work(a.tensor.channels + (b?.tensor.channels ?? 0), target));
  const kernel = forwardKernel(recorder.limits.kernels, pass);
  if (kernel === 'channels') {
    const channelsIn = a.tensor.channels + (b?.tensor.channels ?? 0);
    convolveByChannels(recorder, label, a, packed, bias, target, { channelsIn, first: 0 });
    if (b)
      convolveByChannels(recorder, label, b, packed, undefined, target, {
        channelsIn,
        first: a.tensor.channels,
      });
  } else convolveByVoxels(recorder, kernel, label, inputs, packed, bias, target);
}

/** An input as the key of a pass has it. */
const described = ({ tensor: { channels }, affine }: Input) => ({ channels, norm: affine !== undefined });

/** target = conv(inputs) + bias. weights (out, in, 3, 3, 3), in = channels of all inputs, first input first. */
export function conv3Forward(
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input?],
  weights: View,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const inChannels = inputs[0].tensor.channels + (inputs[1]?.tensor.channels ?? 0);
  const packed = pack(recorder, label, weights, { outChannels: target.channels, inChannels });
  convolve(recorder, label, inputs, packed, bias, target);
}

/**
 * Assigns the gradient of the (activated) input channels [first, first + dInput.channels) of the
 * convolution's `inChannels`.
 */
export function conv3BackwardInput(
  recorder: Recorder,
  label: string,
  dOutput: VolumeTensor,
  weights: View,
  dInput: VolumeTensor,
  { inChannels = dInput.channels, first = 0 }: { inChannels?: number; first?: number } = {},
): void {
  const shape = { outChannels: dOutput.channels, inChannels };
  const packed = pack(recorder, label, weights, shape, { first, count: dInput.channels });
  convolve(recorder, label, [{ tensor: dOutput }], packed, undefined, dInput);
}

/**
 * Assigns the weight gradient (out, inChannels, 27) for the input channels [first, first + channels of
 * `input`). Summed in fixed order: the same bits for any cutting into dispatches.
 */
export function conv3BackwardWeight(
  recorder: Recorder,
  label: string,
  input: Input,
  dOutput: VolumeTensor,
  dWeights: View,
  { inChannels = input.tensor.channels, first = 0 }: { inChannels?: number; first?: number } = {},
): void {
  assertSameGrid(label, input.tensor, dOutput);
  assertLength(label, dWeights, dOutput.channels * inChannels * taps);
  const [width, height] = dOutput.size;
  const pass: ConvPass = {
    kind: 'weights',
    inputs: [described(input)],
    channelsOut: dOutput.channels,
    grid: [width, height, dOutput.planes],
    precision: recorder.precision,
  };
  recorder.pass(pass, work(input.tensor.channels, dOutput));
  const kernel = weightKernel(recorder.limits.kernels, pass);
  const place = { inChannels, first };
  if (kernel === 'lines') weightGradientByLines(recorder, label, input, dOutput, dWeights, place);
  else weightGradientTiled(recorder, kernel, label, input, dOutput, dWeights, place);
}
