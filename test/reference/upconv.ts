/** Transposed convolution 2×2×2, stride 2, and its gradients, in float64, by plain loops. */
import { dense, type Dense } from '../support/run.ts';
import { channelSums } from './conv3.ts';

/** Visits every (input voxel, output voxel, tap): each input voxel makes a block of 2×2×2. */
function eachTap(
  shape: Dense['shape'],
  visit: (n: number, input: number, output: number, tap: number) => void,
): void {
  const [batch, , depth, height, width] = shape;
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let tap = 0; tap < 8; tap++) {
            const k = 2 * z + (tap >> 2);
            const j = 2 * y + ((tap >> 1) & 1);
            const i = 2 * x + (tap & 1);
            visit(n, (z * height + y) * width + x, (k * 2 * height + j) * 2 * width + i, tap);
          }
}

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (in, out, 8); bias (out). */
export function upconv(input: Dense, weights: Float64Array, bias: Float64Array): Dense {
  const [batch, channels, depth, height, width] = input.shape;
  const out = bias.length;
  const size = spatial(input.shape);
  const output = dense([batch, out, 2 * depth, 2 * height, 2 * width]);
  for (let i = 0; i < output.data.length; i++) output.data[i] = bias[Math.floor(i / (8 * size)) % out]!;
  eachTap(input.shape, (n, from, to, tap) => {
    for (let o = 0; o < out; o++)
      for (let c = 0; c < channels; c++)
        output.data[(n * out + o) * 8 * size + to]! +=
          weights[(c * out + o) * 8 + tap]! * input.data[(n * channels + c) * size + from]!;
  });
  return output;
}

export function upconvGradients(input: Dense, weights: Float64Array, dOutput: Dense) {
  const [, channels] = input.shape;
  const [, out] = dOutput.shape;
  const size = spatial(input.shape);
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  eachTap(input.shape, (n, from, to, tap) => {
    for (let o = 0; o < out; o++)
      for (let c = 0; c < channels; c++) {
        const w = (c * out + o) * 8 + tap;
        const d = dOutput.data[(n * out + o) * 8 * size + to]!;
        dInput.data[(n * channels + c) * size + from]! += weights[w]! * d;
        dWeights[w]! += input.data[(n * channels + c) * size + from]! * d;
      }
  });
  return { dInput, dWeights, dBias: channelSums(dOutput) };
}
