/** PReLU with one slope and its gradients, in float64, by plain loops. */
import { dense, type Dense } from '../support/dense.ts';

export function prelu(z: Dense, slope: number): Dense {
  return { shape: z.shape, data: z.data.map((value) => (value > 0 ? value : slope * value)) };
}

export function preluGradients(z: Dense, slope: number, dOutput: Dense) {
  const dInput = dense(z.shape);
  let dSlope = 0;
  /** Of the terms of the slope's gradient, whichever their sign: what rounding errors go with. */
  let slopeTerms = 0;
  for (let i = 0; i < z.data.length; i++) {
    const [value, d] = [z.data[i]!, dOutput.data[i]!];
    dInput.data[i] = value > 0 ? d : slope * d;
    if (value > 0) continue;
    dSlope += d * value;
    slopeTerms += Math.abs(d * value);
  }
  return { dInput, dSlope, slopeTerms };
}
