/** Transposed convolution with a kernel as large as the strides, 1 or 2 along each axis. Forward saves nothing. */
import type { Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import {
  assertLength,
  chunking,
  doubling,
  groupsOf64,
  planeQuads,
  reducePartials,
  reductionGroups,
  reductionConstants,
  strideConstants,
  weightSlabs,
  type AssignPlanes,
  type Input,
} from './common.ts';
import { ones } from '../gpu/walk.ts';
import { convolvedByMatrices, matrixConvolution, weightGradientByMatrices } from './conv/matrix.ts';
import { assertGrown, tapsOf } from './conv/shape.ts';

/** Its weights are those of the convolution that it is the gradient of: from its outputs to its inputs. */
const backwards = (input: VolumeTensor, output: VolumeTensor, kernel: Size3) => ({
  outChannels: input.channels,
  inChannels: output.channels,
  kernel,
});

interface Tensors {
  readonly input: Input;
  /** (in, out, z, y, x), as many taps as the strides. */
  readonly weights: View;
  readonly bias?: View | undefined;
  readonly target: VolumeTensor;
}

/** Assigns target. */
export function upconvForward(
  recorder: Recorder,
  label: string,
  tensors: Tensors,
  stride: Size3 = doubling,
): void {
  const { target } = tensors;
  upconvPlanes(recorder, label, tensors, stride)(target, [0, target.planes]);
}

/** Gives what assigns planes from the first up to the second of a slab of `target`, of which none need be stored. */
export function upconvPlanes(
  recorder: Recorder,
  label: string,
  tensors: Tensors,
  stride: Size3,
): AssignPlanes {
  const { input, weights, bias, target } = tensors;
  const [strideX, strideY, strideZ] = stride;
  const { tensor } = input;
  assertGrown(label, tensor, target, stride);
  assertLength(label, weights, tensor.channels * target.channels * tapsOf(stride));
  const [width, height, depth] = tensor.size;
  const planeWork = 2 * tensor.channels * target.channels * width * height * strideX * strideY;
  const flops = planeWork * target.planes;
  const channels = backwards(tensor, target, stride);
  const unpacked = { weights, channels, range: { of: 'in', count: target.channels } } as const;
  const walk = { kernel: stride, stride: ones, dilation: stride, add: false, flops };
  const byMatrices = matrixConvolution(recorder, label, { inputs: [input], bias, target }, unpacked, walk);
  if (byMatrices) return byMatrices;
  return (slab, planes) => {
    const uses = [{ tensor, ratio: 1 / strideZ, halo: strideZ - 1 }, { tensor: slab }];
    const cut = { groupsPerPlane: strideY, flops: planeWork * (planes[1] - planes[0]) };
    for (const [from, to] of recorder.slabs(planes, uses, cut)) {
      const source = recorder.planes(tensor, Math.floor(from / strideZ), Math.ceil(to / strideZ));
      const out = recorder.planes(slab, from, to);
      recorder.dispatch('upconv/forward', {
        label,
        bindings: {
          source: source.view,
          scaleShifts: input.scaleShifts ?? source.view,
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
        constants: {
          NORM: input.scaleShifts !== undefined,
          BIAS: bias !== undefined,
          ...strideConstants(stride),
        },
        workgroups: [groupsOf64(planeQuads(tensor)), Math.ceil(target.channels / 8), (to - from) * strideY],
        flops: planeWork * (to - from),
      });
    }
  };
}

/** Assigns the gradient of the (activated) input. */
export function upconvBackwardInput(
  recorder: Recorder,
  label: string,
  tensors: { readonly dOutput: VolumeTensor; readonly weights: View; readonly dInput: VolumeTensor },
  stride: Size3 = doubling,
): void {
  const { dOutput, weights, dInput } = tensors;
  const strideZ = stride[2];
  assertGrown(label, dInput, dOutput, stride);
  assertLength(label, weights, dInput.channels * dOutput.channels * tapsOf(stride));
  const [width, height] = dInput.size;
  const planeWork = 2 * tapsOf(stride) * dInput.channels * dOutput.channels * width * height;
  const cut = { flops: planeWork * dInput.planes };
  const channels = backwards(dInput, dOutput, stride);
  const unpacked = { weights, channels, range: { of: 'out', count: dInput.channels } } as const;
  const walk = { kernel: stride, stride, dilation: ones, add: false, ...cut };
  const whole = { inputs: [{ tensor: dOutput, isGradient: true }], target: dInput } as const;
  if (convolvedByMatrices(recorder, label, whole, unpacked, walk)) return;
  const uses = [{ tensor: dOutput, ratio: strideZ }, { tensor: dInput }];
  for (const [from, to] of recorder.slabs(dInput.planes, uses, cut)) {
    const gradient = recorder.planes(dOutput, strideZ * from, strideZ * to);
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
      constants: strideConstants(stride),
      workgroups: [groupsOf64(planeQuads(dInput)), Math.ceil(dInput.channels / 8), to - from],
      flops: planeWork * (to - from),
    });
  }
}

/** Assigns the weight gradient (in, out, z, y, x). */
export function upconvBackwardWeight(
  recorder: Recorder,
  label: string,
  tensors: { readonly input: Input; readonly dOutput: VolumeTensor; readonly dWeights: View },
  stride: Size3 = doubling,
): void {
  const { input, dOutput, dWeights } = tensors;
  const { tensor } = input;
  const taps = tapsOf(stride);
  assertGrown(label, tensor, dOutput, stride);
  const { channels, planes } = tensor;
  const [width, height, depth] = tensor.size;
  const length = channels * dOutput.channels * taps;
  assertLength(label, dWeights, length);
  const planeWork = 2 * length * width * height;
  const flops = planeWork * planes;
  const exchanged = { input: { tensor: dOutput, isGradient: true }, dOutput: input, dWeights };
  const place = { inChannels: dOutput.channels, first: 0 };
  const walk = { kernel: stride, stride, ...place, flops };
  if (weightGradientByMatrices(recorder, label, exchanged, walk)) return;
  const groups = [reductionGroups(recorder, channels), Math.ceil(dOutput.channels / 4)] as const;
  const { chunkPlanes, chunks } = chunking(recorder, planes, length, groups[0] * groups[1]);
  const partials = recorder.flat(`${label}.partials`, chunks * length);
  const cut = { ratio: stride[2], flops };
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
      constants: {
        NORM: input.scaleShifts !== undefined,
        ...reductionConstants(recorder),
        ...strideConstants(stride),
      },
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
