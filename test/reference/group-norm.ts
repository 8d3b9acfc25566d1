/** Group norm with the activation behind it and its gradients, in float64, by plain loops over each group. */
import { dense, type Dense } from '../support/dense.ts';

export interface GroupNormOptions {
  readonly groups: number;
  readonly gamma: Float64Array;
  readonly beta: Float64Array;
  /** max(z, slope · z) behind the norm. */
  readonly slope: number;
}

export function groupNorm(y: Dense, { groups, gamma, beta, slope }: GroupNormOptions, dOutput: Dense) {
  const [batch, channels, depth, height, width] = y.shape;
  const size = depth * height * width;
  const length = (channels / groups) * size;
  const [output, dInput] = [dense(y.shape), dense(y.shape)];
  const [dGamma, dBeta] = [new Float64Array(channels), new Float64Array(channels)];
  for (let first = 0; first < batch * channels * size; first += length) {
    const voxels = Array.from({ length }, (_, i) => first + i);
    const mean = voxels.reduce((sum, i) => sum + y.data[i]!, 0) / length;
    const variance = voxels.reduce((sum, i) => sum + (y.data[i]! - mean) ** 2, 0) / length;
    const inverse = 1 / Math.sqrt(variance + 1e-5);
    const found = voxels.map((i) => {
      const channel = Math.floor(i / size) % channels;
      const normal = (y.data[i]! - mean) * inverse;
      const z = gamma[channel]! * normal + beta[channel]!;
      output.data[i] = Math.max(z, slope * z);
      const dz = dOutput.data[i]! * (z > 0 ? 1 : slope);
      dGamma[channel]! += dz * normal;
      dBeta[channel]! += dz;
      return { normal, dNormal: dz * gamma[channel]! };
    });
    const dMean = found.reduce((sum, { dNormal }) => sum + dNormal, 0) / length;
    const dSpread = found.reduce((sum, { dNormal, normal }) => sum + dNormal * normal, 0) / length;
    voxels.forEach((i, at) => {
      const { normal, dNormal } = found[at]!;
      dInput.data[i] = inverse * (dNormal - dMean - normal * dSpread);
    });
  }
  return { output, dInput, dGamma, dBeta };
}
