/** Transposed convolution 2×2×2, stride 2. Forward saves nothing: its output is recomputed for the backward pass. */
import { InvalidOption } from '../errors.ts';
import type { Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import {
  assertLength,
  chunking,
  groupsOf64,
  planeQuads,
  reducePartials,
  reductionGroups,
  reductionLanes,
  weightSlabs,
  type Input,
} from './common.ts';

const taps = 8;

function assertDoubled(label: string, source: VolumeTensor, target: VolumeTensor): void {
  const fits =
    source.size.every((length, axis) => 2 * length === target.size[axis]) && source.batch === target.batch;
  if (!fits)
    throw new InvalidOption(
      `${label}: ${source.batch}×[${source.size.join(',')}] doubles to twice each axis, not to ${target.batch}×[${target.size.join(',')}]`,
    );
}

/** Assigns target. weights (in, out, 2, 2, 2). */
export function upconvForward(
  recorder: Recorder,
  label: string,
  input: Input,
  weights: View,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const { tensor } = input;
  assertDoubled(label, tensor, target);
  assertLength(label, weights, tensor.channels * target.channels * taps);
  const [width, height, depth] = tensor.size;
  const uses = [{ tensor, ratio: 0.5, halo: 1 }, { tensor: target }];
  const planeWork = 2 * tensor.channels * target.channels * width * height * 4;
  const cut = { groupsPerPlane: 2, flops: planeWork * target.planes };
  for (const [from, to] of recorder.slabs(target.planes, uses, cut)) {
    const source = recorder.planes(tensor, Math.floor(from / 2), Math.ceil(to / 2));
    const out = recorder.planes(target, from, to);
    recorder.dispatch('upconv/forward', {
      label,
      bindings: {
        source: source.view,
        affine: input.affine ?? source.view,
        weights,
        bias: bias ?? weights,
        target_: out.view,
      },
      params: {
        depth,
        height,
        rowQuads: tensor.rowQuads,
        channels: tensor.channels,
        widthOut: target.size[0],
        rowQuadsOut: target.rowQuads,
        channelsOut: target.channels,
        plane0: from,
        startSource: source.start,
        startTarget: out.start,
        slope: input.slope ?? 1,
      },
      constants: { NORM: input.affine !== undefined, BIAS: bias !== undefined },
      workgroups: [groupsOf64(height * target.rowQuads), Math.ceil(target.channels / 8), (to - from) * 2],
      flops: planeWork * (to - from),
    });
  }
}

/** Assigns the gradient of the (activated) input. */
export function upconvBackwardInput(
  recorder: Recorder,
  label: string,
  dOutput: VolumeTensor,
  weights: View,
  dInput: VolumeTensor,
): void {
  assertDoubled(label, dInput, dOutput);
  assertLength(label, weights, dInput.channels * dOutput.channels * taps);
  const [width, height] = dInput.size;
  const uses = [{ tensor: dOutput, ratio: 2 }, { tensor: dInput }];
  const planeWork = 2 * taps * dInput.channels * dOutput.channels * width * height;
  const cut = { flops: planeWork * dInput.planes };
  for (const [from, to] of recorder.slabs(dInput.planes, uses, cut)) {
    const gradient = recorder.planes(dOutput, 2 * from, 2 * to);
    const out = recorder.planes(dInput, from, to);
    recorder.dispatch('upconv/backward_input', {
      label,
      bindings: { gradient: gradient.view, weights, target_: out.view },
      params: {
        width,
        height,
        rowQuads: dInput.rowQuads,
        channels: dInput.channels,
        rowQuadsOut: dOutput.rowQuads,
        channelsOut: dOutput.channels,
        plane0: from,
        startGradient: gradient.start,
        startTarget: out.start,
      },
      workgroups: [groupsOf64(planeQuads(dInput)), Math.ceil(dInput.channels / 8), to - from],
      flops: planeWork * (to - from),
    });
  }
}

/** Assigns the weight gradient (in, out, 2, 2, 2). */
export function upconvBackwardWeight(
  recorder: Recorder,
  label: string,
  input: Input,
  dOutput: VolumeTensor,
  dWeights: View,
): void {
  const { tensor } = input;
  assertDoubled(label, tensor, dOutput);
  const { channels, planes } = tensor;
  const [width, height, depth] = tensor.size;
  const length = channels * dOutput.channels * taps;
  assertLength(label, dWeights, length);
  const groups = [reductionGroups(recorder, channels), Math.ceil(dOutput.channels / 4)] as const;
  const { chunkPlanes, chunks } = chunking(recorder, planes, length, groups[0] * groups[1]);
  const partials = recorder.flat(`${label}.partials`, chunks * length);
  const planeWork = 2 * length * width * height;
  const cut = { ratio: 2, flops: planeWork * planes };
  for (const slab of weightSlabs(recorder, input, dOutput, chunkPlanes, cut)) {
    recorder.dispatch('upconv/weight_gradient', {
      label,
      bindings: { ...slab.bindings, partials },
      params: {
        ...slab.params,
        width,
        height,
        depth,
        rowQuads: tensor.rowQuads,
        channels,
        rowQuadsOut: dOutput.rowQuads,
        channelsOut: dOutput.channels,
      },
      constants: { NORM: input.affine !== undefined, LANES: reductionLanes(recorder) },
      workgroups: [...groups, slab.chunks],
      flops: planeWork * (slab.to - slab.from),
    });
  }
  reducePartials(recorder, `${label} sum`, partials, dWeights, {
    chunks,
    length,
    part: dOutput.channels * taps,
  });
}
