/**
 * Adam, AdamW and SGD over one flat buffer of parameters, with the global gradient norm and its clipping, and the
 * running average of weights.
 */
import type { Recorder, Tensor, View } from '../gpu/plan.ts';
import { grid64 } from './common.ts';

export type OptimizerKind = 'adam' | 'adamw' | 'sgd';

/** The words of the Step struct in shaders/common/step.wgsl, in order. */
export interface StepValues {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** 1 − β1ᵗ */
  readonly correction1: number;
  /** √(1 − β2ᵗ) */
  readonly correction2: number;
  /** Largest global gradient norm; `Infinity` for no clipping. */
  readonly maxNorm: number;
  /** 1 − decay of the running average of the weights, where the plan has one. */
  readonly averaging?: number;
  /** Apply no step any more after one that is not finite. Default: later steps go on. */
  readonly halts?: boolean;
}

export const stepWords = 13;

/** Words of `clip` and of `lossScale`. */
export const clipWords = 5;
export const lossScaleWords = 2;

/** Loss scale that training in float16 begins with; float32 needs none. */
export const initialLossScale = { f32: 1, f16: 65536 } as const;

/** `part`: which of the batches whose gradients are averaged for one update this is. */
export function stepArray(
  values: StepValues,
  [index, of]: readonly [index: number, of: number] = [0, 1],
): Float32Array<ArrayBuffer> {
  return new Float32Array([
    values.learningRate,
    values.beta1,
    values.beta2,
    values.epsilon,
    values.weightDecay,
    values.correction1,
    values.correction2,
    Math.min(values.maxNorm, 3e38),
    1 / of,
    index > 0 ? 1 : 0,
    index + 1 === of ? 1 : 0,
    values.averaging ?? 0,
    values.halts ? 1 : 0,
  ]);
}

export interface OptimizerTensors {
  readonly parameters: Tensor;
  readonly gradients: Tensor;
  readonly first: Tensor;
  /** Adam's second moment; unused by SGD. */
  readonly second: Tensor;
  readonly step: Tensor;
  /** Factor, norm, whether parameters stay as they are, whether the norm is not finite, and the loss scale. */
  readonly clip: Tensor;
  /** What gradients were multiplied by, and the good steps since it last changed. */
  readonly lossScale: Tensor;
  /** Sum of the gradients of several batches; absent where every batch makes an update. */
  readonly accumulated?: Tensor | undefined;
}

/** Words that are updated at a time: no device binds less, so the norm's tree depends on the length only. */
const largestStretch = 2 ** 24;

/** Cuts a flat buffer into what is bound at a time. */
function stretchesOf(recorder: Recorder, length: number): { from: number; count: number }[] {
  const stretch = Math.min(largestStretch, Math.floor(recorder.limits.maxBindingBytes / 256) * 64);
  const stretches: { from: number; count: number }[] = [];
  for (let from = 0; from < length; from += stretch)
    stretches.push({ from, count: Math.min(stretch, length - from) });
  return stretches;
}

const part = (tensor: Tensor, from: number, count: number): View => ({
  tensor,
  offset: from * 4,
  size: count * 4,
});

/** One update of `length` parameters in place; with `accumulated`, after the last of its batches only. */
export function optimizerStep(
  recorder: Recorder,
  label: string,
  kind: OptimizerKind,
  length: number,
  tensors: OptimizerTensors,
  { nesterov = true }: { nesterov?: boolean } = {},
): void {
  const { parameters, first, second, step, clip, lossScale, accumulated } = tensors;
  const gradients = accumulated ?? tensors.gradients;
  const stretches = stretchesOf(recorder, length);
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
  recorder.dispatch('optimizer/clip', {
    label: `${label} clip`,
    bindings: { partials, step, clip, lossScale },
    params: { stretches: stretches.length },
    constants: { SCALING: recorder.precision === 'f16' },
    workgroups: [1, 1, 1],
  });
  for (const { from, count } of stretches) {
    const shared = {
      gradients: part(gradients, from, count),
      clip,
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
  { weights, average, step, clip }: Readonly<Record<'weights' | 'average' | 'step' | 'clip', Tensor>>,
): void {
  for (const { from, count } of stretchesOf(recorder, length)) {
    recorder.dispatch('optimizer/average', {
      label,
      bindings: { weights: part(weights, from, count), clip, step, average: part(average, from, count) },
      params: { length: count },
      workgroups: grid64(count),
    });
  }
}
