/** Sums of volumes and the gradient of an activation, in float64, by plain loops. */
import { dense, type Dense } from '../support/dense.ts';

export const sum = (a: Dense, b: Dense): Dense => ({
  shape: a.shape,
  data: a.data.map((value, i) => value + b.data[i]!),
});

/** Of max(z, slope · z). */
export function activationGradient(z: Dense, dOutput: Dense, slope: number): Dense {
  const dInput = dense(z.shape);
  for (let i = 0; i < z.data.length; i++) dInput.data[i] = dOutput.data[i]! * (z.data[i]! > 0 ? 1 : slope);
  return dInput;
}
