/** Adam, AdamW and SGD as PyTorch defines them, and clipping by the global norm, in float64. */

export interface OptimizerState {
  readonly parameters: Float64Array;
  /** First moment, or SGD's momentum. */
  readonly first: Float64Array;
  readonly second: Float64Array;
}

export interface OptimizerOptions {
  readonly kind: 'adam' | 'adamw' | 'sgd';
  readonly learningRate: number;
  /** Adam's β1 or SGD's momentum. */
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  /** Infinity for no clipping. */
  readonly maxNorm: number;
}

export function globalNorm(gradients: Float64Array): number {
  return Math.sqrt(gradients.reduce((sum, g) => sum + g * g, 0));
}

/** Step t (from 1), in place. */
export function optimizerStep(
  { parameters, first, second }: OptimizerState,
  gradients: Float64Array,
  t: number,
  options: OptimizerOptions,
): void {
  const { kind, learningRate, beta1, beta2, epsilon, weightDecay, nesterov, maxNorm } = options;
  const factor = Math.min(1, maxNorm / (globalNorm(gradients) + 1e-6));
  for (let i = 0; i < parameters.length; i++) {
    let g = gradients[i]! * factor;
    if (kind === 'adamw') parameters[i]! -= learningRate * weightDecay * parameters[i]!;
    else g += weightDecay * parameters[i]!;
    if (kind === 'sgd') {
      first[i] = beta1 * first[i]! + g;
      parameters[i]! -= learningRate * (nesterov ? g + beta1 * first[i]! : first[i]!);
      continue;
    }
    first[i] = beta1 * first[i]! + (1 - beta1) * g;
    second[i] = beta2 * second[i]! + (1 - beta2) * g * g;
    const mean = first[i]! / (1 - beta1 ** t);
    const spread = Math.sqrt(second[i]! / (1 - beta2 ** t));
    parameters[i]! -= (learningRate * mean) / (spread + epsilon);
  }
}
