/**
 * Batch and instance norm with the activation behind them, and their gradients, in float64, as PyTorch
 * defines them: biased variance to normalise, the unbiased one into the running statistics.
 */
import { dense, type Dense } from '../support/dense.ts';

export interface NormOptions {
  readonly kind: 'batch' | 'instance';
  readonly epsilon: number;
  /** max(z, slope · z) behind the norm; 1 for none. */
  readonly slope: number;
}

/** Indices of the voxels that share one mean: one group per channel, or per sample and channel. */
function groups(shape: Dense['shape'], kind: NormOptions['kind']): { channel: number; voxels: number[] }[] {
  const [batch, channels, depth, height, width] = shape;
  const size = depth * height * width;
  const made: { channel: number; voxels: number[] }[] = [];
  for (let c = 0; c < channels; c++)
    for (let n = 0; n < batch; n++) {
      if (n === 0 || kind === 'instance') made.push({ channel: c, voxels: [] });
      for (let i = 0; i < size; i++) made.at(-1)!.voxels.push((n * channels + c) * size + i);
    }
  return made;
}

function statistics(data: Float64Array, voxels: readonly number[]): { mean: number; variance: number } {
  const mean = voxels.reduce((sum, i) => sum + data[i]!, 0) / voxels.length;
  const variance = voxels.reduce((sum, i) => sum + (data[i]! - mean) ** 2, 0) / voxels.length;
  return { mean, variance };
}

const activated = (z: number, slope: number) => Math.max(z, slope * z);

/** γ · (y − mean)/√(variance + ε) + β, activated. */
export function norm(y: Dense, gamma: Float64Array, beta: Float64Array, options: NormOptions): Dense {
  const output = dense(y.shape);
  for (const { channel, voxels } of groups(y.shape, options.kind)) {
    const { mean, variance } = statistics(y.data, voxels);
    for (const i of voxels) {
      const normalised = (y.data[i]! - mean) / Math.sqrt(variance + options.epsilon);
      output.data[i] = activated(gamma[channel]! * normalised + beta[channel]!, options.slope);
    }
  }
  return output;
}

/** running ← (1 − momentum) · running + momentum · batch statistics. */
export function runningStatistics(y: Dense, mean: Float64Array, variance: Float64Array, momentum: number) {
  const next = { mean: mean.slice(), variance: variance.slice() };
  for (const { channel, voxels } of groups(y.shape, 'batch')) {
    const batch = statistics(y.data, voxels);
    const unbiased = (batch.variance * voxels.length) / (voxels.length - 1);
    next.mean[channel] = (1 - momentum) * mean[channel]! + momentum * batch.mean;
    next.variance[channel] = (1 - momentum) * variance[channel]! + momentum * unbiased;
  }
  return next;
}

/** With running statistics in place of the batch's. */
export function normInference(
  y: Dense,
  gamma: Float64Array,
  beta: Float64Array,
  running: { mean: Float64Array; variance: Float64Array },
  { epsilon, slope }: { epsilon: number; slope: number },
): Dense {
  const output = dense(y.shape);
  for (const { channel, voxels } of groups(y.shape, 'batch'))
    for (const i of voxels) {
      const normalised =
        (y.data[i]! - running.mean[channel]!) / Math.sqrt(running.variance[channel]! + epsilon);
      output.data[i] = activated(gamma[channel]! * normalised + beta[channel]!, slope);
    }
  return output;
}

/** Ioffe & Szegedy 2015: dy = γ/σ · (dz − mean(dz) − x̂ · mean(dz · x̂)). */
export function normGradients(
  y: Dense,
  gamma: Float64Array,
  beta: Float64Array,
  dOutput: Dense,
  options: NormOptions,
) {
  const dInput = dense(y.shape);
  const dGamma = new Float64Array(gamma.length);
  const dBeta = new Float64Array(beta.length);
  for (const { channel, voxels } of groups(y.shape, options.kind)) {
    const { mean, variance } = statistics(y.data, voxels);
    const sigma = Math.sqrt(variance + options.epsilon);
    const normalised = voxels.map((i) => (y.data[i]! - mean) / sigma);
    const dz = voxels.map((i, at) => {
      const z = gamma[channel]! * normalised[at]! + beta[channel]!;
      return z > 0 ? dOutput.data[i]! : options.slope * dOutput.data[i]!;
    });
    const sum = dz.reduce((total, d) => total + d, 0);
    const product = dz.reduce((total, d, at) => total + d * normalised[at]!, 0);
    dBeta[channel]! += sum;
    dGamma[channel]! += product;
    voxels.forEach((i, at) => {
      const centred = dz[at]! - sum / voxels.length - (normalised[at]! * product) / voxels.length;
      dInput.data[i] = (gamma[channel]! / sigma) * centred;
    });
  }
  return { dInput, dGamma, dBeta };
}
