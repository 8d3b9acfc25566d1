/** Optimisers by name; all compute as PyTorch's of the same name do. */
import * as v from 'valibot';
import type { OptimizerKind } from '../ops/optimizer.ts';
import { assertOptions } from '../options.ts';
import { belowOne, flag, numberAbove, numberFrom, object, oneOf, type Schema } from '../schema.ts';

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

const fraction = numberFrom(0, 1);
const amount = numberFrom(0);

export const optimizerSchema = object(
  {
    kind: oneOf('adam', 'adamw', 'sgd'),
    beta1: fraction,
    beta2: fraction,
    epsilon: amount,
    weightDecay: amount,
    nesterov: flag,
  },
  'an optimiser, such as adam()',
) satisfies Schema<Optimizer>;

/** PyTorch's, under its names. */
interface AdamOptions {
  /** Decay of both moments. Default 0.9 and 0.999. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** L2 penalty, by default 0; of AdamW, decay of the weights themselves, by default 0.01. */
  readonly weightDecay?: number;
}

const adamEntries = {
  betas: v.optional(v.strictTuple([belowOne, belowOne], 'two numbers from 0 to below 1')),
  epsilon: v.optional(numberAbove(0)),
  weightDecay: v.optional(amount),
} satisfies Record<keyof AdamOptions, unknown>;

/**
 * Adam: β 0.9 / 0.999, ε 1e-8, no weight decay. @throws InvalidOption
 * @example
 * ```js
 * const optimizer = adam({ betas: [0.95, 0.999] });
 * ```
 */
export function adam(options: AdamOptions = {}): Optimizer {
  assertOptions('adam', adamEntries, options);
  const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 } = options;
  return { kind: 'adam', beta1: betas[0], beta2: betas[1], epsilon, weightDecay, nesterov: false };
}

/**
 * AdamW: Adam with decoupled weight decay, 0.01 by default. @throws InvalidOption
 * @example
 * ```js
 * const optimizer = adamW({ weightDecay: 0.01 });
 * ```
 */
export function adamW(options: AdamOptions = {}): Optimizer {
  assertOptions('adamW', adamEntries, options);
  const { weightDecay = 0.01, ...rest } = options;
  return { ...adam({ ...rest, weightDecay }), kind: 'adamw' };
}

/** PyTorch's, under its names. */
interface SgdOptions {
  /** From 0 to 1. Default 0.99. */
  readonly momentum?: number;
  /** L2 penalty. Default 3e-5. */
  readonly weightDecay?: number;
  /** Whether the momentum is Nesterov's. Default true. */
  readonly nesterov?: boolean;
}

const sgdEntries = {
  momentum: v.optional(fraction),
  weightDecay: v.optional(amount),
  nesterov: v.optional(flag),
} satisfies Record<keyof SgdOptions, unknown>;

/**
 * SGD with Nesterov momentum, by default as nnU-Net uses it: 0.99, weight decay 3e-5. @throws InvalidOption
 * @example
 * ```js
 * const optimizer = sgd({ momentum: 0.99, nesterov: true, weightDecay: 3e-5 });
 * ```
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  assertOptions('sgd', sgdEntries, options);
  const { momentum = 0.99, weightDecay = 3e-5, nesterov = true } = options;
  return { kind: 'sgd', beta1: momentum, beta2: 0, epsilon: 0, weightDecay, nesterov };
}
