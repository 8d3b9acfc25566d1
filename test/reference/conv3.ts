/** 3×3×3 convolution with zero padding and its gradients, in float64, by plain loops. */
import { dense, type Dense } from '../support/run.ts';

/** Visits every (output voxel, input voxel, tap) triple inside the volume. */
function eachTap(
  shape: Dense['shape'],
  visit: (n: number, output: number, input: number, tap: number) => void,
): void {
  const [batch, , depth, height, width] = shape;
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let tap = 0; tap < 27; tap++) {
            const k = z + Math.floor(tap / 9) - 1;
            const j = y + (Math.floor(tap / 3) % 3) - 1;
            const i = x + (tap % 3) - 1;
            if (k < 0 || k >= depth || j < 0 || j >= height || i < 0 || i >= width) continue;
            visit(n, (z * height + y) * width + x, (k * height + j) * width + i, tap);
          }
}

const spatial = (shape: Dense['shape']) => shape[2] * shape[3] * shape[4];

/** weights (out, in, 27); bias (out). */
export function conv3(input: Dense, weights: Float64Array, bias: Float64Array, outChannels: number): Dense {
  const [batch, channels, depth, height, width] = input.shape;
  const size = spatial(input.shape);
  const output = new Float64Array(batch * outChannels * size);
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outChannels; o++)
      output.fill(bias[o]!, (n * outChannels + o) * size, (n * outChannels + o + 1) * size);
  eachTap(input.shape, (n, to, from, tap) => {
    for (let o = 0; o < outChannels; o++)
      for (let c = 0; c < channels; c++)
        output[(n * outChannels + o) * size + to]! +=
          weights[(o * channels + c) * 27 + tap]! * input.data[(n * channels + c) * size + from]!;
  });
  return { shape: [batch, outChannels, depth, height, width], data: output };
}

export function conv3Gradients(input: Dense, weights: Float64Array, dOutput: Dense) {
  const [, channels] = input.shape;
  const [, outChannels] = dOutput.shape;
  const size = spatial(input.shape);
  const dInput = dense(input.shape);
  const dWeights = new Float64Array(weights.length);
  eachTap(input.shape, (n, to, from, tap) => {
    for (let o = 0; o < outChannels; o++)
      for (let c = 0; c < channels; c++) {
        const w = (o * channels + c) * 27 + tap;
        const d = dOutput.data[(n * outChannels + o) * size + to]!;
        dInput.data[(n * channels + c) * size + from]! += weights[w]! * d;
        dWeights[w]! += input.data[(n * channels + c) * size + from]! * d;
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
