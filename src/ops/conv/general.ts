/** Convolution with 1 or 3 taps and a stride of 1 or 2 along each axis, one input at a time. */
import type { Planes, Recorder, SlabUse, Tensor, View, VolumeTensor } from '../../gpu/plan.ts';
import { axisConstants, ones, reach, type Walk } from '../../gpu/walk.ts';
import {
  chunking,
  groupsOf64,
  inputPlanes,
  inputUse,
  planeQuads,
  reducePartials,
  type Input,
} from '../common.ts';
import { partsOf } from './parts.ts';
import { shareOf, tapsOf, type ConvShape } from './shape.ts';

/** For `Recorder.slabs`: planes of the source for those of the output. */
export const sourceUse = (input: Input, output: VolumeTensor, walk: Walk): SlabUse => ({
  ...inputUse(input),
  ratio: walk.stride[2] > 1 ? walk.stride[2] : input.tensor.size[2] / output.size[2],
  halo: reach(walk, 2).before > 0 || walk.dilation[2] > 1 ? 1 : 0,
});

/** Source planes that output planes [from, to) are computed from; never none. */
export function sourcePlanes(
  { size: [, , depth] }: VolumeTensor,
  { size: [, , depthOut] }: VolumeTensor,
  walk: Walk,
  [from, to]: Planes,
): [number, number] {
  const { stride, dilation } = walk;
  const { before, after } = reach(walk, 2);
  const place = (plane: number) => ({
    sample: Math.floor(plane / depthOut) * depth,
    z: stride[2] * (plane % depthOut),
  });
  const [first, last] = [place(from), place(to - 1)];
  const begin = Math.max(0, Math.ceil((first.z - before) / dilation[2]));
  const end = Math.min(depth - 1, Math.floor((last.z + after) / dilation[2]));
  const start = first.sample + Math.min(begin, depth - 1);
  return [start, Math.max(start, last.sample + end) + 1];
}

/** Where the weights of one input stand among those of all inputs' channels. */
export interface Place {
  readonly inChannels: number;
  readonly first: number;
}

/** Of a gradient of weights, in which input and output may have changed places. */
export interface WeightPlace extends Place {
  /** The output channel that the first of `dOutput` stands for; default 0. */
  readonly firstOut?: number;
}

/** What a convolution of one input reads and writes. */
export interface PackedTensors {
  readonly input: Input;
  /** [out block][in][taps][8] */
  readonly packed: Tensor;
  readonly bias?: View | undefined;
  readonly target: VolumeTensor;
}

/** How a convolution is computed. */
export interface ConvolveOptions {
  /** Accumulates into the target. */
  readonly add: boolean;
  /** Of the whole target. */
  readonly flops: number;
  /** Whether statistics of the result are given back. Default false. */
  readonly measured?: boolean;
  /** Of the target; default all. */
  readonly planes?: Planes | undefined;
}

/** Assigns `target`, or with `add` accumulates into it. Gives back statistics of the result if it is to be `measured`. */
export function convolve(
  recorder: Recorder,
  label: string,
  tensors: PackedTensors,
  {
    inChannels,
    first,
    add,
    flops,
    measured = false,
    planes = [0, tensors.target.planes],
    ...walk
  }: Walk & Place & ConvolveOptions,
): VolumeTensor | undefined {
  const { input, packed, bias, target } = tensors;
  const { tensor, scaleShifts, slope = 1 } = input;
  const [width, height, depth] = tensor.size;
  // Rows between dilated ones are computed apart.
  const rowStep = walk.dilation[1];
  const tiles = groupsOf64(Math.ceil(target.size[1] / rowStep) * target.rowQuads);
  const statistics = partsOf(recorder, label, target, measured ? tiles * rowStep : 0);
  const uses = [sourceUse(input, target, walk), { tensor: target }, ...statistics.uses];
  const work = (planes: Planes) => shareOf(flops, target, planes);
  const cut = { flops: work(planes), groupsPerPlane: rowStep };
  for (const [from, to] of recorder.slabs(planes, uses, cut)) {
    const source = inputPlanes(recorder, input, ...sourcePlanes(tensor, target, walk, [from, to]));
    const left = statistics.at(from, to);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('conv/forward', {
      label,
      bindings: {
        source: source.view,
        scaleShifts: scaleShifts ?? packed,
        weights: packed,
        bias: bias ?? packed,
        target_: out.view,
        parts: left.view,
      },
      params: {
        ...left.params,
        width,
        height,
        depth,
        rowQuads: tensor.rowQuads,
        channels: tensor.channels,
        widthOut: target.size[0],
        heightOut: target.size[1],
        depthOut: target.size[2],
        rowQuadsOut: target.rowQuads,
        channelsOut: target.channels,
        channelsIn: inChannels,
        first,
        plane0: from,
        startSource: source.start,
        startTarget: out.start,
        slope,
      },
      constants: {
        NORM: scaleShifts !== undefined,
        BIAS: bias !== undefined,
        ADD: add,
        ...(measured && { STATISTICS: true }),
        ...axisConstants('KERNEL', walk.kernel),
        ...axisConstants('STRIDE', walk.stride),
        ...axisConstants('DILATION', walk.dilation),
      },
      workgroups: [tiles, Math.ceil(target.channels / 8), (to - from) * rowStep],
      flops: work([from, to]),
    });
  }
  return statistics.parts;
}

/** What a gradient of weights is computed from, and where it goes. */
export interface WeightTensors {
  readonly input: Input;
  readonly dOutput: VolumeTensor;
  readonly dWeights: View;
}

/** Output channels of one thread of the weight gradient. */
const outs = 4;

/** Threads that share the sums of a plane: a power of two, as many as it has quads; one where threads wait for each other. */
const lanesOf = ({ limits: { kernels } }: Recorder, quads: number): number =>
  kernels.reduction === 'serial' ? 1 : Math.min(64, 2 ** Math.ceil(Math.log2(quads)));

/** Assigns the gradient of the weights between `input` and the output's channels from `firstOut` on. */
export function weightGradient(
  recorder: Recorder,
  label: string,
  { input, dOutput, dWeights }: WeightTensors,
  { inChannels, first, firstOut = 0, flops, ...shape }: ConvShape & WeightPlace & { readonly flops: number },
): void {
  const { tensor, scaleShifts, slope = 1 } = input;
  const { channels } = tensor;
  const [width, height, depth] = tensor.size;
  const taps = tapsOf(shape.kernel);
  const length = dOutput.channels * channels * taps;
  const lanes = lanesOf(recorder, planeQuads(dOutput));
  const groups = [
    Math.ceil((channels * shape.kernel[2] * lanes) / 64),
    Math.ceil(dOutput.channels / outs),
  ] as const;
  const { chunkPlanes, chunks } = chunking(recorder, dOutput.planes, length, groups[0] * groups[1]);
  const partials = recorder.flat(`${label}.partials`, chunks * length);
  const walk: Walk = { ...shape, dilation: ones };
  const uses = [sourceUse(input, dOutput, walk), { tensor: dOutput }];
  for (const [from, to] of recorder.slabs(dOutput.planes, uses, { flops })) {
    const source = recorder.planes(tensor, ...sourcePlanes(tensor, dOutput, walk, [from, to]));
    const upstream = recorder.planes(dOutput, from, to);
    const chunk0 = Math.floor(from / chunkPlanes);
    recorder.dispatch('conv/weight_gradient', {
      label,
      bindings: {
        source: source.view,
        scaleShifts: scaleShifts ?? source.view,
        gradient: upstream.view,
        partials,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: tensor.rowQuads,
        channels,
        heightOut: dOutput.size[1],
        depthOut: dOutput.size[2],
        rowQuadsOut: dOutput.rowQuads,
        channelsOut: dOutput.channels,
        plane0: from,
        plane1: to,
        chunk0,
        chunkPlanes,
        startSource: source.start,
        startGradient: upstream.start,
        slope,
      },
      constants: {
        NORM: scaleShifts !== undefined,
        LANES: lanes,
        ROWS: recorder.limits.kernels.code === 'short' ? 1 : outs * shape.kernel[1],
        ...axisConstants('KERNEL', shape.kernel),
        ...axisConstants('STRIDE', shape.stride),
      },
      workgroups: [...groups, Math.ceil(to / chunkPlanes) - chunk0],
      flops: (flops * (to - from)) / dOutput.planes,
    });
  }
  reducePartials(recorder, `${label} sum`, partials, dWeights, {
    chunks,
    length,
    part: channels * taps,
    stride: inChannels * taps,
    offset: (firstOut * inChannels + first) * taps,
  });
}
