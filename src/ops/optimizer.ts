/** Adam, AdamW and SGD over one flat buffer of parameters, with the global gradient norm and its clipping. */
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
  /** Multiplies every gradient before its norm is taken. */
  readonly gradientScale: number;
}

export const stepWords = 9;

export function stepArray(values: StepValues): Float32Array<ArrayBuffer> {
  return new Float32Array([
    values.learningRate,
    values.beta1,
    values.beta2,
    values.epsilon,
    values.weightDecay,
    values.correction1,
    values.correction2,
    Math.min(values.maxNorm, 3e38),
    values.gradientScale,
  ]);
}

export interface OptimizerTensors {
  readonly parameters: Tensor;
  readonly gradients: Tensor;
  readonly first: Tensor;
  /** Adam's second moment; unused by SGD. */
  readonly second: Tensor;
  readonly step: Tensor;
  /** Factor, norm, and whether the norm is not finite: then no parameter is touched. */
  readonly clip: Tensor;
}

/** Words that are updated at a time: no device binds less, so the norm's tree depends on the length only. */
const largestStretch = 2 ** 24;

/** One update of `length` parameters in place. */
export function optimizerStep(
  recorder: Recorder,
  label: string,
  kind: OptimizerKind,
  length: number,
  tensors: OptimizerTensors,
  { nesterov = true }: { nesterov?: boolean } = {},
): void {
  const { parameters, gradients, first, second, step, clip } = tensors;
  const stretch = Math.min(largestStretch, Math.floor(recorder.limits.maxBindingBytes / 256) * 64);
  const stretches: { from: number; count: number }[] = [];
  for (let from = 0; from < length; from += stretch)
    stretches.push({ from, count: Math.min(stretch, length - from) });
  const part = (tensor: Tensor, from: number, count: number): View => ({
    tensor,
    offset: from * 4,
    size: count * 4,
  });

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
    bindings: { partials, step, clip },
    params: { stretches: stretches.length },
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
