/**
 * Sigmoids of heads that each decide on a region, with soft Dice and binary cross-entropy: the counterparts of
 * `lossForward` and `lossBackward`, around the same `lossFinalize`. Its cross-entropy is the sum over the heads, averaged
 * over the voxels that count.
 */
import type { Recorder, Tensor, VolumeTensor } from '../gpu/plan.ts';
import { assertSameGrid, groupsOf64, planeQuads } from './common.ts';

/** Words per head of the table of its labels. */
export const regionWords = 8;

/** The table of labels by head: one bit per label value. */
export function regionTable(regions: readonly (readonly number[])[]): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(regionWords * regions.length);
  for (const [head, labels] of regions.entries())
    for (const label of labels) table[regionWords * head + (label >> 5)]! |= 1 << (label & 31);
  return table;
}

/** Adds planes [from, to) to the partial sums; `logits` and `labels` hold at least these planes. */
export function regionLossForward(
  recorder: Recorder,
  label: string,
  { logits, labels, regions, partials }: RegionTensors & { readonly partials: Tensor },
  [from, to]: readonly [number, number] = [0, logits.planes],
): void {
  assertSameGrid(label, logits, labels);
  for (const [a, b] of recorder.slabs(to - from, [{ tensor: logits }, { tensor: labels }])) {
    const source = recorder.planes(logits, from + a, from + b);
    const truth = recorder.planes(labels, from + a, from + b);
    recorder.dispatch('loss/regions_forward', {
      label,
      bindings: { logits: source.view, labels: truth.view, regions, partials },
      params: {
        area: planeQuads(logits),
        plane0: from + a,
        startLogits: source.start,
        startLabels: truth.start,
      },
      constants: { CLASSES: logits.channels },
      workgroups: [1, 1, b - a],
    });
  }
}

/** The gradient of the logits overwrites the logits, for planes [from, to). */
export function regionLossBackward(
  recorder: Recorder,
  label: string,
  { logits, labels, regions, coefficients }: RegionTensors & { readonly coefficients: Tensor },
  [from, to]: readonly [number, number] = [0, logits.planes],
): void {
  assertSameGrid(label, logits, labels);
  for (const [a, b] of recorder.slabs(to - from, [{ tensor: logits }, { tensor: labels }])) {
    const target = recorder.planes(logits, from + a, from + b);
    const truth = recorder.planes(labels, from + a, from + b);
    recorder.dispatch('loss/regions_backward', {
      label,
      bindings: { labels: truth.view, regions, coefficients, logits: target.view },
      params: {
        area: planeQuads(logits),
        depth: logits.size[2],
        samples: logits.batch,
        plane0: from + a,
        startLogits: target.start,
        startLabels: truth.start,
      },
      constants: { CLASSES: logits.channels },
      workgroups: [groupsOf64(planeQuads(logits)), 1, b - a],
    });
  }
}

interface RegionTensors {
  readonly logits: VolumeTensor;
  readonly labels: VolumeTensor;
  /** As `regionTable` gives it. */
  readonly regions: Tensor;
}
