/** Convolution with zero padding and its gradients, in float64, by plain loops. */
import { convolvedSize, tapsOf, usualShape, type ConvShape } from '../../src/ops/conv/shape.ts';
import { dense, type Dense } from '../support/dense.ts';

/** Visits every (output voxel, input voxel, tap) triple inside the volume. */
function eachTap(
  input: Dense['shape'],
  { kernel: [kx, ky, kz], stride: [sx, sy, sz] }: ConvShape,
  visit: (n: number, output: number, input: number, tap: number) => void,
): void {
  const [batch, , depth, height, width] = input;
  const [w, h, d] = convolvedSize([width, height, depth], [sx, sy, sz]);
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++)
          for (let tap = 0; tap < kx * ky * kz; tap++) {
            const k = sz * z + Math.floor(tap / (kx * ky)) - (kz - 1) / 2;
            const j = sy * y + (Math.floor(tap / kx) % ky) - (ky - 1) / 2;
            const i = sx * x + (tap % kx) - (kx - 1) / 2;
            if (k < 0 || k >= depth || j < 0 || j >= height || i < 0 || i >= width) continue;
            visit(n, (z * h + y) * w + x, (k * height + j) * width + i, tap);
          }
}

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (out, in, taps); bias (out). */
export function conv(
  input: Dense,
  weights: Float64Array,
  bias: Float64Array,
  outChannels: number,
  shape: ConvShape = usualShape,
): Dense {
  const [batch, channels, depth, height, width] = input.shape;
  const taps = tapsOf(shape.kernel);
  const [w, h, d] = convolvedSize([width, height, depth], shape.stride);
  const output = dense([batch, outChannels, d, h, w]);
  const [from, to] = [spatial(input.shape), spatial(output.shape)];
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outChannels; o++)
      output.data.fill(bias[o]!, (n * outChannels + o) * to, (n * outChannels + o + 1) * to);
  eachTap(input.shape, shape, (n, outputAt, inputAt, tap) => {
    for (let o = 0; o < outChannels; o++)
      for (let c = 0; c < channels; c++)
        output.data[(n * outChannels + o) * to + outputAt]! +=
          weights[(o * channels + c) * taps + tap]! * input.data[(n * channels + c) * from + inputAt]!;
  });
  return output;
}

export function convGradients(
  input: Dense,
  weights: Float64Array,
  dOutput: Dense,
  shape: ConvShape = usualShape,
) {
  const [, channels] = input.shape;
  const [, outChannels] = dOutput.shape;
  const taps = tapsOf(shape.kernel);
  const [from, to] = [spatial(input.shape), spatial(dOutput.shape)];
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  eachTap(input.shape, shape, (n, outputAt, inputAt, tap) => {
    for (let o = 0; o < outChannels; o++)
      for (let c = 0; c < channels; c++) {
        const w = (o * channels + c) * taps + tap;
        const d = dOutput.data[(n * outChannels + o) * to + outputAt]!;
        dInput.data[(n * channels + c) * from + inputAt]! += weights[w]! * d;
        dWeights[w]! += input.data[(n * channels + c) * from + inputAt]! * d;
      }
  });
  return { dInput, dWeights, dBias: channelSums(dOutput) };
}

export function channelSums(values: Dense): Float64Array {
  const [, channels] = values.shape;
  const size = spatial(values.shape);
  const sums = new Float64Array(channels);
  for (let i = 0; i < values.data.length; i++) sums[Math.floor(i / size) % channels]! += values.data[i]!;
  return sums;
}
