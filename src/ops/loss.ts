/**
 * Softmax with weighted soft Dice, cross-entropy, or both. Forward leaves the coefficients that turn
 * logits into their gradient; backward overwrites logits, which may be recomputed for it.
 */
import type { Planes, Recorder, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import { assertSameGrid, groupsOf64, planeQuads } from './common.ts';

/** What a loss is made of; class weights are data. */
export interface LossShape {
  /** Classes, or heads that decide on regions. */
  readonly classes: number;
  /** Factor of Σ_c w_c (1 − D_c); 0 for none. */
  readonly dice: number;
  /** Factor of the weighted mean cross-entropy; 0 for none. */
  readonly crossEntropy: number;
  /** s in D_c = (2Σpg + s)/(Σp + Σg + s). */
  readonly smooth: number;
  /** Dice over the whole batch instead of per sample. */
  readonly batchDice: boolean;
  /** Counts −D_c instead of 1 − D_c, as nnU-Net does: less by Σ w_c, with the same gradient. */
  readonly negativeDice?: boolean;
  /** Heads that each decide on a region by a sigmoid, with binary cross-entropy: see region-loss.ts. */
  readonly regions?: boolean;
  /** Adds to the loss that `results` holds already, of a finer output. */
  readonly add?: boolean;
}

/**
 * Planes [from, to) of logits and labels, cut where a binding holds fewer: views of them, where they begin, and how many
 * they are.
 */
export function* planesOf(
  recorder: Recorder,
  label: string,
  { logits, labels }: { readonly logits: VolumeTensor; readonly labels: VolumeTensor },
  planes: Planes = [0, logits.planes],
) {
  assertSameGrid(label, logits, labels);
  for (const [from, to] of recorder.slabs(planes, [{ tensor: logits }, { tensor: labels }])) {
    const values = recorder.planes(logits, from, to);
    const truth = recorder.planes(labels, from, to);
    yield {
      views: { logits: values.view, labels: truth.view },
      params: {
        area: planeQuads(logits),
        plane0: from,
        startLogits: values.start,
        startLabels: truth.start,
      },
      constants: { CLASSES: logits.channels },
      count: to - from,
    };
  }
}

/** What a loss is computed from. */
interface LossTensors {
  readonly logits: VolumeTensor;
  readonly labels: VolumeTensor;
  /** Of the Dice part, then of the cross-entropy part. */
  readonly classWeights: Tensor;
}

/** Numbers per plane that the loss kernels leave. */
export const lossValues = (classes: number): number => 3 * classes + 2;

/** Adds planes [from, to) to the partial sums; `logits` and `labels` hold at least these planes. */
export function lossForward(
  recorder: Recorder,
  label: string,
  { classWeights, partials, ...volumes }: LossTensors & { readonly partials: Tensor },
  range?: Planes,
): void {
  for (const { views, params, constants, count } of planesOf(recorder, label, volumes, range))
    recorder.dispatch('loss/forward', {
      label,
      bindings: { ...views, classWeights, partials },
      params,
      constants,
      workgroups: [1, 1, count],
    });
}

/** From partial sums to loss, per-class Dice (`results`) and the coefficients of the gradient, times `lossScale`. */
export function lossFinalize(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly partials: Tensor;
    readonly classWeights: Tensor;
    readonly results: Tensor | View;
    readonly lossScale: Tensor;
  },
  { samples, depth }: { readonly samples: number; readonly depth: number },
  shape: LossShape,
): Tensor {
  const totals = recorder.flat(`${label}.totals`, samples * lossValues(shape.classes));
  const coefficients = recorder.flat(`${label}.coefficients`, (samples * shape.classes + 1) * 2);
  recorder.dispatch('loss/finalize', {
    label,
    bindings: { ...tensors, totals, coefficients },
    params: {
      samples,
      depth,
      diceFactor: shape.dice,
      entropyFactor: shape.crossEntropy,
      smoothing: shape.smooth,
    },
    constants: {
      CLASSES: shape.classes,
      BATCH_DICE: shape.batchDice,
      ADD: shape.add ?? false,
      ...(shape.negativeDice && { NEGATIVE: true }),
    },
    workgroups: [1, 1, 1],
  });
  return coefficients;
}

/** The gradient of the logits overwrites the logits, for planes [from, to). */
export function lossBackward(
  recorder: Recorder,
  label: string,
  { classWeights, coefficients, ...volumes }: LossTensors & { readonly coefficients: Tensor },
  range?: Planes,
): void {
  const { size, batch } = volumes.logits;
  for (const { views, params, constants, count } of planesOf(recorder, label, volumes, range))
    recorder.dispatch('loss/backward', {
      label,
      bindings: { ...views, classWeights, coefficients },
      params: { ...params, depth: size[2], samples: batch },
      constants,
      workgroups: [groupsOf64(params.area), 1, count],
    });
}

/** The class of the largest logit as bytes, laid out as labels, for planes [from, to). */
export function argmax(
  recorder: Recorder,
  label: string,
  logits: VolumeTensor,
  labels: VolumeTensor,
  range?: Planes,
): void {
  for (const { views, params, constants, count } of planesOf(recorder, label, { logits, labels }, range))
    recorder.dispatch('infer/argmax', {
      label,
      bindings: views,
      params,
      constants,
      workgroups: [groupsOf64(params.area), 1, count],
    });
}
