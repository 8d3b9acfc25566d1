/** 1×1×1 convolution and its gradients, in float64, by plain loops. */
import { dense, type Dense } from '../support/dense.ts';
import { channelSums } from './conv.ts';

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (out, in); bias (out). */
export function conv1(input: Dense, weights: Float64Array, bias: Float64Array): Dense {
  const [batch, channels, depth, height, width] = input.shape;
  const size = spatial(input.shape);
  const output = dense([batch, bias.length, depth, height, width]);
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < bias.length; o++)
      for (let i = 0; i < size; i++) {
        let sum = bias[o]!;
        for (let c = 0; c < channels; c++)
          sum += weights[o * channels + c]! * input.data[(n * channels + c) * size + i]!;
        output.data[(n * bias.length + o) * size + i] = sum;
      }
  return output;
}

export function conv1Gradients(input: Dense, weights: Float64Array, dOutput: Dense) {
  const [batch, channels] = input.shape;
  const [, outChannels] = dOutput.shape;
  const size = spatial(input.shape);
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outChannels; o++)
      for (let c = 0; c < channels; c++)
        for (let i = 0; i < size; i++) {
          const from = (n * channels + c) * size + i;
          const d = dOutput.data[(n * outChannels + o) * size + i]!;
          dInput.data[from]! += weights[o * channels + c]! * d;
          dWeights[o * channels + c]! += input.data[from]! * d;
        }
  return { dInput, dWeights, dBias: channelSums(dOutput) };
}
