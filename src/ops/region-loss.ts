/**
 * Sigmoids of heads that each decide on a region, with soft Dice and binary cross-entropy: the counterparts of
 * `lossForward` and `lossBackward`, around the same `lossFinalize`. Its cross-entropy is the sum over the heads, averaged
 * over the voxels that count.
 */
import type { Planes, Recorder, Tensor, VolumeTensor } from '../gpu/plan.ts';
import { groupsOf64 } from './common.ts';
import { planesOf } from './loss.ts';

/** Words per head of the table of regions. */
export const regionWords = 9;

/** The table of regions by head: the label that is written, then one bit per label value that belongs to it. */
export function regionTable(
  regions: readonly { readonly labels: readonly number[]; readonly written: number }[],
): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(regionWords * regions.length);
  for (const [head, { labels, written }] of regions.entries()) {
    table[regionWords * head] = written;
    for (const label of labels) table[regionWords * head + 1 + (label >> 5)]! |= 1 << (label & 31);
  }
  return table;
}

/** Adds planes [from, to) to the partial sums; `logits` and `labels` hold at least these planes. */
export function regionLossForward(
  recorder: Recorder,
  label: string,
  { regions, partials, ...volumes }: RegionTensors & { readonly partials: Tensor },
  range?: Planes,
): void {
  for (const { views, params, constants, count } of planesOf(recorder, label, volumes, range))
    recorder.dispatch('loss/regions_forward', {
      label,
      bindings: { ...views, regions, partials },
      params,
      constants,
      workgroups: [1, 1, count],
    });
}

/** The gradient of the logits overwrites the logits, for planes [from, to). */
export function regionLossBackward(
  recorder: Recorder,
  label: string,
  { regions, coefficients, ...volumes }: RegionTensors & { readonly coefficients: Tensor },
  range?: Planes,
): void {
  const { size, batch } = volumes.logits;
  for (const { views, params, constants, count } of planesOf(recorder, label, volumes, range))
    recorder.dispatch('loss/regions_backward', {
      label,
      bindings: { ...views, regions, coefficients },
      params: { ...params, depth: size[2], samples: batch },
      constants,
      workgroups: [groupsOf64(params.area), 1, count],
    });
}

interface RegionTensors {
  readonly logits: VolumeTensor;
  readonly labels: VolumeTensor;
  /** As `regionTable` gives it. */
  readonly regions: Tensor;
}

/**
 * The labels of regions whose probability exceeds one half, later ones over earlier, as bytes laid out as labels, for
 * planes [from, to).
 */
export function regionLabels(
  recorder: Recorder,
  label: string,
  { regions, ...volumes }: RegionTensors,
  range?: Planes,
): void {
  for (const { views, params, constants, count } of planesOf(recorder, label, volumes, range))
    recorder.dispatch('infer/regions', {
      label,
      bindings: { ...views, regions },
      params,
      constants,
      workgroups: [groupsOf64(params.area), 1, count],
    });
}
