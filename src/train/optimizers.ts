/** Optimisers by name; all compute as PyTorch's of the same name do. */
import type { OptimizerKind } from '../ops/optimizer.ts';

/** An optimiser as plain data: made by `adam`, `adamW` or `sgd`. */
export interface Optimizer {
  /** Which update it makes. */
  readonly kind: OptimizerKind;
  /** Adam's β1, or SGD's momentum. A schedule that cycles momentum overrides it. */
  readonly beta1: number;
  /** Adam's β2; of no meaning for SGD. */
  readonly beta2: number;
  /** Adam's ε; of no meaning for SGD. */
  readonly epsilon: number;
  /** L2 penalty; AdamW applies it to the weights instead of the gradients. */
  readonly weightDecay: number;
  /** Whether SGD's momentum is Nesterov's. */
  readonly nesterov: boolean;
}

interface AdamOptions {
  readonly betas?: readonly [number, number];
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

/** Adam: β 0.9 / 0.999, ε 1e-8, no weight decay. */
export function adam({ betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 }: AdamOptions = {}): Optimizer {
  return { kind: 'adam', beta1: betas[0], beta2: betas[1], epsilon, weightDecay, nesterov: false };
}

/** AdamW: Adam with decoupled weight decay, 0.01 by default. */
export function adamW({
  betas = [0.9, 0.999],
  epsilon = 1e-8,
  weightDecay = 0.01,
}: AdamOptions = {}): Optimizer {
  return { kind: 'adamw', beta1: betas[0], beta2: betas[1], epsilon, weightDecay, nesterov: false };
}

/** SGD with Nesterov momentum, by default as nnU-Net uses it: 0.99, weight decay 3e-5. */
export function sgd({
  momentum = 0.99,
  weightDecay = 3e-5,
  nesterov = true,
}: { momentum?: number; weightDecay?: number; nesterov?: boolean } = {}): Optimizer {
  return { kind: 'sgd', beta1: momentum, beta2: 0, epsilon: 0, weightDecay, nesterov };
}
