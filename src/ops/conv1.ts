/** 1×1×1 convolution: the head. Forward saves nothing; logits are recomputed where they are needed. */
import type { Planes, Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import {
  assertLength,
  assertSameGrid,
  chunking,
  groupsOf64,
  planeQuads,
  reducePartials,
  reductionGroups,
  reductionConstants,
  weightSlabs,
  type Input,
  type SlabSum,
} from './common.ts';

interface Range {
  /** First plane and the plane after the last; all of them by default. */
  readonly planes?: Planes | undefined;
  /** Accumulates into the target instead of assigning it. */
  readonly add?: boolean;
}

interface Conv1Tensors {
  readonly input: Input;
  /** (out, in) */
  readonly weights: View;
  readonly bias?: View | undefined;
  readonly target: VolumeTensor;
}

function multiply(
  recorder: Recorder,
  label: string,
  { input, weights, bias, target }: Conv1Tensors,
  strides: { readonly strideOut: number; readonly strideIn: number },
  { planes = [0, target.planes], add = false }: Range,
): void {
  assertSameGrid(label, input.tensor, target);
  const { channels } = input.tensor;
  assertLength(label, weights, channels * target.channels);
  const [width, height, depth] = target.size;
  const blocks = Math.ceil(target.channels / 8);
  for (const [from, to] of recorder.slabs(planes, [{ tensor: input.tensor }, { tensor: target }])) {
    const source = recorder.planes(input.tensor, from, to);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('conv1/forward', {
      label,
      bindings: {
        source: source.view,
        scaleShifts: input.scaleShifts ?? source.view,
        weights,
        bias: bias ?? weights,
        target_: out.view,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: target.rowQuads,
        channels,
        channelsOut: target.channels,
        ...strides,
        plane0: from,
        startSource: source.start,
        startTarget: out.start,
        slope: input.slope ?? 1,
      },
      constants: { NORM: input.scaleShifts !== undefined, BIAS: bias !== undefined, ADD: add },
      workgroups: [groupsOf64(planeQuads(target)), blocks, to - from],
      flops: 2 * channels * target.channels * width * height * (to - from),
    });
  }
}

/** target = W·input + bias. */
export function conv1Forward(
  recorder: Recorder,
  label: string,
  tensors: Conv1Tensors,
  range: Range = {},
): void {
  const strides = { strideOut: tensors.input.tensor.channels, strideIn: 1 };
  multiply(recorder, label, tensors, strides, range);
}

/** Assigns the gradient of the (activated) input, or with `add` accumulates into it. */
export function conv1BackwardInput(
  recorder: Recorder,
  label: string,
  tensors: { readonly dOutput: VolumeTensor; readonly weights: View; readonly dInput: VolumeTensor },
  range: Range = {},
): void {
  const { dOutput, weights, dInput } = tensors;
  const strides = { strideOut: 1, strideIn: dInput.channels };
  multiply(recorder, label, { input: { tensor: dOutput }, weights, target: dInput }, strides, range);
}

/** The weight gradient (out, in), filled slab by slab. */
export function conv1WeightSum(
  recorder: Recorder,
  label: string,
  input: Input,
  outChannels: number,
): SlabSum {
  const { channels, planes } = input.tensor;
  const [width, height, depth] = input.tensor.size;
  const length = outChannels * channels;
  const groups = [reductionGroups(recorder, channels), Math.ceil(outChannels / 8)] as const;
  const { chunkPlanes, chunks } = chunking(recorder, planes, length, groups[0] * groups[1]);
  const partials = recorder.flat(`${label}.partials`, chunks * length);
  return {
    add(dOutput, first, last) {
      assertSameGrid(label, input.tensor, dOutput);
      for (const slab of weightSlabs(recorder, input, dOutput, chunkPlanes, { planes: [first, last] })) {
        recorder.dispatch('conv1/weight_gradient', {
          label,
          bindings: { ...slab.bindings, partials },
          params: {
            ...slab.params,
            height,
            depth,
            rowQuads: dOutput.rowQuads,
            channels,
            channelsOut: outChannels,
          },
          constants: { NORM: input.scaleShifts !== undefined, ...reductionConstants(recorder) },
          workgroups: [...groups, slab.chunks],
          flops: 2 * length * width * height * (slab.to - slab.from),
        });
      }
    },
    finish(dWeights) {
      assertLength(label, dWeights, length);
      reducePartials(recorder, `${label} sum`, partials, dWeights, { chunks, length });
    },
  };
}

/** Assigns the weight gradient (out, in). */
export function conv1BackwardWeight(
  recorder: Recorder,
  label: string,
  tensors: { readonly input: Input; readonly dOutput: VolumeTensor; readonly dWeights: View },
): void {
  const { input, dOutput, dWeights } = tensors;
  const sum = conv1WeightSum(recorder, label, input, dOutput.channels);
  sum.add(dOutput, 0, dOutput.planes);
  sum.finish(dWeights);
}
