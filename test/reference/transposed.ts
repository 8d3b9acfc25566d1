/**
 * Transposed convolution with the padding of a convolution and its gradients, in float64: PyTorch's definition scatters
 * every input voxel over the outputs that its taps reach.
 */
import type { ConvShape } from '../../src/ops/conv/shape.ts';
import { dense, type Dense } from '../support/dense.ts';
import { channelSums } from './conv.ts';

/** Visits every (input voxel, output voxel, tap) triple inside the volume. */
function eachTap(
  [batch, , depth, height, width]: Dense['shape'],
  { kernel: [kx, ky, kz], stride: [sx, sy, sz] }: ConvShape,
  visit: (n: number, input: number, output: number, tap: number) => void,
): void {
  const [w, h, d] = [sx * width, sy * height, sz * depth];
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let tap = 0; tap < kx * ky * kz; tap++) {
            const k = sz * z + Math.floor(tap / (kx * ky)) - (kz - 1) / 2;
            const j = sy * y + (Math.floor(tap / kx) % ky) - (ky - 1) / 2;
            const i = sx * x + (tap % kx) - (kx - 1) / 2;
            if (k < 0 || k >= d || j < 0 || j >= h || i < 0 || i >= w) continue;
            visit(n, (z * height + y) * width + x, (k * h + j) * w + i, tap);
          }
}

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (in, out, taps); bias (out). */
export function transposed(input: Dense, weights: Float64Array, bias: Float64Array, shape: ConvShape): Dense {
  const [batch, channels, depth, height, width] = input.shape;
  const [sx, sy, sz] = shape.stride;
  const out = bias.length;
  const output = dense([batch, out, sz * depth, sy * height, sx * width]);
  const [from, to] = [spatial(input.shape), spatial(output.shape)];
  for (let i = 0; i < output.data.length; i++) output.data[i] = bias[Math.floor(i / to) % out]!;
  const taps = weights.length / (channels * out);
  eachTap(input.shape, shape, (n, inputAt, outputAt, tap) => {
    for (let c = 0; c < channels; c++)
      for (let o = 0; o < out; o++)
        output.data[(n * out + o) * to + outputAt]! +=
          weights[(c * out + o) * taps + tap]! * input.data[(n * channels + c) * from + inputAt]!;
  });
  return output;
}

export function transposedGradients(input: Dense, weights: Float64Array, dOutput: Dense, shape: ConvShape) {
  const [, channels] = input.shape;
  const [, out] = dOutput.shape;
  const [from, to] = [spatial(input.shape), spatial(dOutput.shape)];
  const taps = weights.length / (channels * out);
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  eachTap(input.shape, shape, (n, inputAt, outputAt, tap) => {
    for (let c = 0; c < channels; c++)
      for (let o = 0; o < out; o++) {
        const w = (c * out + o) * taps + tap;
        const d = dOutput.data[(n * out + o) * to + outputAt]!;
        dInput.data[(n * channels + c) * from + inputAt]! += weights[w]! * d;
        dWeights[w]! += input.data[(n * channels + c) * from + inputAt]! * d;
      }
  });
  return { dInput, dWeights, dBias: channelSums(dOutput) };
}
