/** Transposed convolution with a kernel as large as its strides, and its gradients, in float64, by plain loops. */
import type { Size3 } from '../../src/size.ts';
import { dense, type Dense } from '../support/dense.ts';
import { channelSums } from './conv.ts';

/** Visits every (input voxel, output voxel, tap): each input voxel makes a block of one voxel per tap. */
function eachTap(
  shape: Dense['shape'],
  [sx, sy, sz]: Size3,
  visit: (n: number, input: number, output: number, tap: number) => void,
): void {
  const [batch, , depth, height, width] = shape;
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let tap = 0; tap < sx * sy * sz; tap++) {
            const k = sz * z + Math.floor(tap / (sx * sy));
            const j = sy * y + (Math.floor(tap / sx) % sy);
            const i = sx * x + (tap % sx);
            visit(n, (z * height + y) * width + x, (k * sy * height + j) * sx * width + i, tap);
          }
}

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (in, out, taps); bias (out). */
export function upconv(
  input: Dense,
  weights: Float64Array,
  bias: Float64Array,
  stride: Size3 = [2, 2, 2],
): Dense {
  const taps = stride[0] * stride[1] * stride[2];
  const [batch, channels, depth, height, width] = input.shape;
  const out = bias.length;
  const size = spatial(input.shape);
  const output = dense([batch, out, stride[2] * depth, stride[1] * height, stride[0] * width]);
  for (let i = 0; i < output.data.length; i++) output.data[i] = bias[Math.floor(i / (taps * size)) % out]!;
  eachTap(input.shape, stride, (n, from, to, tap) => {
    for (let o = 0; o < out; o++)
      for (let c = 0; c < channels; c++)
        output.data[(n * out + o) * taps * size + to]! +=
          weights[(c * out + o) * taps + tap]! * input.data[(n * channels + c) * size + from]!;
  });
  return output;
}

export function upconvGradients(
  input: Dense,
  weights: Float64Array,
  dOutput: Dense,
  stride: Size3 = [2, 2, 2],
) {
  const taps = stride[0] * stride[1] * stride[2];
  const [, channels] = input.shape;
  const [, out] = dOutput.shape;
  const size = spatial(input.shape);
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  eachTap(input.shape, stride, (n, from, to, tap) => {
    for (let o = 0; o < out; o++)
      for (let c = 0; c < channels; c++) {
        const w = (c * out + o) * taps + tap;
        const d = dOutput.data[(n * out + o) * taps * size + to]!;
        dInput.data[(n * channels + c) * size + from]! += weights[w]! * d;
        dWeights[w]! += input.data[(n * channels + c) * size + from]! * d;
      }
  });
  return { dInput, dWeights, dBias: channelSums(dOutput) };
}
