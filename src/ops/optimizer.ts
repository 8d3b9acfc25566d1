/**
 * Adam, AdamW and SGD over one flat buffer of parameters, with the global gradient norm and its clipping, the decision
 * whether a step is applied, and the running average of weights.
 */
import type { KernelChoices } from '../gpu/choices.ts';
import { roundsToHalf } from '../gpu/passes.ts';
import type { Recorder, Tensor, View } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import { grid64 } from './common.ts';

/** How gradients change parameters. */
export type OptimizerKind = 'adam' | 'adamw' | 'sgd';

/** Of one step; `stepArray` makes the Step struct of shaders/common/step.wgsl from it. */
export interface StepValues {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; `Infinity` for no clipping. */
  readonly maxNorm: number;
  /** Decay of the running average of the weights, where the plan has one; it rises as (1 + n) / (10 + n) to this. */
  readonly decay?: number | undefined;
  /**
   * Steps that had been applied when the host last knew, at most `stepsInFlight` steps ago. Adam's bias correction and
   * the decay go by the steps that have been applied, which only the device knows: it takes its pick.
   */
  readonly applied: number;
  /** Steps in a row that may be left out as not finite; one more, and no step is applied any more. Default 0. */
  readonly mostSkipped?: number;
}

/** Steps whose outcome the host may not know yet when it sends the next. */
export const stepsInFlight = 3;

export const stepWords = 11 + 3 * (stepsInFlight + 1);
export const lossScaleWords = 2;

/** Loss scale that training in float16 begins with; float32 needs none. */
export const initialLossScale = { f32: 1, f16: 65536 } as const;

/** Where gradients pass as float32 or as float16: as volumes are stored, or as kernels on matrix units read them. */
export const gradientPrecision = (precision: Precision, kernels: KernelChoices): Precision =>
  roundsToHalf(kernels) ? 'f16' : precision;

/**
 * `part`: which of the batches whose gradients are averaged for one update this is; `accumulates`: whether its gradients
 * are added to those of a batch before.
 */
export function stepArray(
  values: StepValues,
  [index, of]: readonly [index: number, of: number] = [0, 1],
  accumulates = index > 0,
): Float32Array<ArrayBuffer> {
  const { beta1, beta2, decay, applied } = values;
  const before = Array.from({ length: stepsInFlight + 1 }, (_, since) => applied + since);
  return new Float32Array([
    values.learningRate,
    values.beta1,
    values.beta2,
    values.epsilon,
    values.weightDecay,
    Math.min(values.maxNorm, 3e38),
    1 / of,
    accumulates ? 1 : 0,
    index + 1 === of ? 1 : 0,
    values.mostSkipped ?? 0,
    applied,
    ...before.map((n) => 1 - beta1 ** (n + 1)),
    ...before.map((n) => Math.sqrt(1 - beta2 ** (n + 1))),
    ...before.map((n) => (decay === undefined ? 0 : 1 - Math.min(decay, (1 + n) / (10 + n)))),
  ]);
}

const outcomes = ['applied', 'overflowed', 'skipped', 'halted'] as const;

/** What became of a step: the Update struct of shaders/common/update.wgsl. */
export interface StepUpdate {
  /**
   * Only an applied step changes anything. One that is not finite has `overflowed` where the loss is and gradients are
   * multiplied by a loss scale above 1, which is halved; else it is `skipped` or, where no more may be, has `halted`
   * training: so do all that follow.
   */
  readonly outcome: (typeof outcomes)[number];
  /** Steps applied so far, and steps in a row that were skipped. */
  readonly applied: number;
  readonly skipped: number;
  /** What gradients were multiplied by on the device; 1 in float32. */
  readonly lossScale: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
}

export const updateWords = 11;

/** The Update struct before the first step, or after steps of an earlier run. */
export function updateArray({ applied, skipped } = { applied: 0, skipped: 0 }): Float32Array<ArrayBuffer> {
  const words = new Float32Array(updateWords);
  words.set([applied, skipped], 2);
  return words;
}

/** Of a step whose batches are all in. */
export function readUpdate(words: Float32Array): StepUpdate {
  const [, outcome = 0, applied = 0, skipped = 0, , lossScale = 1, gradientNorm = NaN] = words;
  return { outcome: outcomes[outcome]!, applied, skipped, lossScale, gradientNorm };
}

export interface OptimizerTensors {
  readonly parameters: Tensor;
  readonly gradients: Tensor;
  readonly first: Tensor;
  /** Adam's second moment; unused by SGD. */
  readonly second: Tensor;
  readonly step: Tensor;
  /** What becomes of the step. */
  readonly update: Tensor;
  /** Of the batch, its loss first. */
  readonly results: Tensor;
  /** What gradients were multiplied by, and the good steps since it last changed. */
  readonly lossScale: Tensor;
  /** Sum of the gradients of several batches; absent where every batch makes an update. */
  readonly accumulated?: Tensor | undefined;
}

/** Words that are updated at a time: no device binds less, so the norm's tree depends on the length only. */
const largestStretch = 2 ** 24;

/** Cuts a flat buffer, from its first word or a later one on, into what is bound at a time. */
function stretchesOf(recorder: Recorder, length: number, first = 0): { from: number; count: number }[] {
  const stretch = Math.min(largestStretch, Math.floor(recorder.limits.maxBindingBytes / 256) * 64);
  const stretches: { from: number; count: number }[] = [];
  for (let from = first; from < length; from += stretch)
    stretches.push({ from, count: Math.min(stretch, length - from) });
  return stretches;
}

const part = (tensor: Tensor, from: number, count: number): View => ({
  tensor,
  offset: from * 4,
  size: count * 4,
});

/** How parameters are updated, and which. */
interface UpdateOptions {
  readonly kind: OptimizerKind;
  /** Words up to this one are updated. */
  readonly length: number;
  /** Words before this one are left as they are. Default 0. */
  readonly from?: number;
  /** Of SGD. Default true. */
  readonly nesterov?: boolean;
}

/** One update of the parameters, in place; with `accumulated`, after the last of its batches only. */
export function optimizerStep(
  recorder: Recorder,
  label: string,
  tensors: OptimizerTensors,
  { kind, length, from: start = 0, nesterov = true }: UpdateOptions,
): void {
  const { parameters, first, second, step, update, results, lossScale, accumulated } = tensors;
  const gradients = accumulated ?? tensors.gradients;
  const stretches = stretchesOf(recorder, length, start);
  if (accumulated) {
    for (const { from, count } of stretches) {
      recorder.dispatch('optimizer/accumulate', {
        label: `${label} accumulate`,
        bindings: {
          gradients: part(tensors.gradients, from, count),
          step,
          sum: part(accumulated, from, count),
        },
        params: { length: count },
        workgroups: grid64(count),
      });
    }
  }
  const partials = recorder.flat(`${label}.partials`, 64 * stretches.length);
  for (const [index, { from, count }] of stretches.entries()) {
    recorder.dispatch('optimizer/gradient_norm', {
      label: `${label} norm`,
      bindings: { gradients: part(gradients, from, count), partials },
      params: { length: count, stretch: index },
      workgroups: [64, 1, 1],
      flops: 2 * count,
    });
  }
  recorder.dispatch('optimizer/decide', {
    label: `${label} decide`,
    bindings: { partials, results, step, update, lossScale },
    params: { stretches: stretches.length },
    constants: { SCALING: gradientPrecision(recorder.precision, recorder.limits.kernels) === 'f16' },
    workgroups: [1, 1, 1],
  });
  for (const { from, count } of stretches) {
    const shared = {
      gradients: part(gradients, from, count),
      update,
      step,
      parameters: part(parameters, from, count),
      first: part(first, from, count),
    };
    const workgroups = grid64(count);
    if (kind === 'sgd') {
      recorder.dispatch('optimizer/sgd', {
        label,
        bindings: shared,
        params: { length: count },
        constants: { NESTEROV: nesterov },
        workgroups,
      });
    } else {
      recorder.dispatch('optimizer/adam', {
        label,
        bindings: { ...shared, second: part(second, from, count) },
        params: { length: count },
        constants: { DECOUPLED: kind === 'adamw' },
        workgroups,
        flops: 12 * count,
      });
    }
  }
}

/** Moves `average` towards the weights, after a step that was applied. */
export function averageStep(
  recorder: Recorder,
  label: string,
  length: number,
  { weights, average, update }: Readonly<Record<'weights' | 'average' | 'update', Tensor>>,
): void {
  for (const { from, count } of stretchesOf(recorder, length)) {
    recorder.dispatch('optimizer/average', {
      label,
      bindings: { weights: part(weights, from, count), update, average: part(average, from, count) },
      params: { length: count },
      workgroups: grid64(count),
    });
  }
}
