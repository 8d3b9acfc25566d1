/** A convolution's weights in the order in which its kernels read them. */
import type { Recorder, Tensor, View } from '../../gpu/plan.ts';
import type { Size3 } from '../../size.ts';
import { assertLength } from '../common.ts';
import { tapsOf } from './shape.ts';

/** Output channels that are packed, and computed, together. */
export const block = 8;

/** Of all weights (out, in, taps) of a convolution. */
export interface WeightChannels {
  readonly outChannels: number;
  readonly inChannels: number;
  readonly kernel: Size3;
}

/** The output or input channels [first, first + count) that a kernel computes. */
export interface PackedRange {
  readonly of: 'out' | 'in';
  readonly first?: number;
  readonly count: number;
}

/** The weights of a convolution, and which of its channels they are for. */
export interface Unpacked {
  readonly weights: View;
  readonly channels: WeightChannels;
  readonly range: PackedRange;
}

/**
 * weights (out, in, taps) → [block][in][taps][8] for the output channels of a range; for its input channels [block][out]
 * [taps][8] with the taps flipped, which makes of the convolution the gradient with respect to its input.
 */
export function packWeights(
  recorder: Recorder,
  label: string,
  weights: View,
  { outChannels, inChannels, kernel }: WeightChannels,
  { of, first = 0, count }: PackedRange,
): Tensor {
  const taps = tapsOf(kernel);
  assertLength(label, weights, outChannels * inChannels * taps);
  const inner = of === 'in' ? outChannels : inChannels;
  const blocks = Math.ceil(count / block);
  const packed = recorder.flat(`${label}.packed`, blocks * block * inner * taps);
  recorder.dispatch('conv/pack', {
    label: `${label} pack`,
    bindings: { source: weights, packed },
    params: { outChannels, inChannels, first, count },
    constants: { TRANSPOSE: of === 'in', TAPS: taps },
    workgroups: [Math.ceil(inner / 8), blocks, 1],
  });
  return packed;
}
