/**
 * 3×3×3 convolution, stride 1, padding 1, over one input or two that stand for their concatenation.
 * Forward saves nothing: its inputs are read again by the weight gradient.
 */
import type { Recorder, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import { forwardKernel, weightKernel, type ConvPass } from '../gpu/passes.ts';
import { forwardConstants, forwardTiles, type ForwardTile, type ForwardTileName } from '../gpu/tiles.ts';
import {
  assertLength,
  assertSameGrid,
  chunking,
  groupsOf64,
  planeQuads,
  reducePartials,
  type Input,
} from './common.ts';
import { weightGradientTiled } from './conv3/weight-gradient.ts';

const taps = 27;
const block = 8;

/** weights (out, in, 27) → [out block][in][27][8]; with `transpose`, those of the data gradient for inputs [first, first + count). */
function pack(
  recorder: Recorder,
  label: string,
  weights: View,
  shape: { outChannels: number; inChannels: number },
  transpose?: { first: number; count: number },
): Tensor {
  const { outChannels, inChannels } = shape;
  assertLength(label, weights, outChannels * inChannels * taps);
  const inner = transpose ? outChannels : inChannels;
  const length = Math.ceil((transpose ? transpose.count : outChannels) / block) * block * inner * taps;
  const packed = recorder.flat(`${label}.packed`, length);
  recorder.dispatch('conv3/pack', {
    label: `${label} pack`,
    bindings: { source: weights, packed },
    params: { outChannels, inChannels, first: transpose?.first ?? 0, count: transpose?.count ?? inChannels },
    constants: { TRANSPOSE: transpose !== undefined },
    workgroups: [Math.ceil(inner / 8), length / (block * taps * inner), 1],
  });
  return packed;
}

function convolve(
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input?],
  packed: Tensor,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const [a, b] = inputs;
  assertSameGrid(label, a.tensor, target, ...(b ? [b.tensor] : []));
  const pass: ConvPass = {
    kind: 'forward',
    inputs: inputs.filter((input) => input !== undefined).map(described),
    channelsOut: target.channels,
    grid: [target.size[0], target.size[1], target.planes],
    precision: recorder.precision,
  };
  recorder.pass(pass, work(a.tensor.channels + (b?.tensor.channels ?? 0), target));
  const kernel = forwardKernel(recorder.limits.kernels, pass);
  if (kernel === 'channels') {
    const channelsIn = a.tensor.channels + (b?.tensor.channels ?? 0);
    convolveByChannels(recorder, label, a, packed, bias, target, { channelsIn, first: 0 });
    if (b)
      convolveByChannels(recorder, label, b, packed, undefined, target, {
        channelsIn,
        first: a.tensor.channels,
      });
  } else convolveByVoxels(recorder, kernel, label, inputs, packed, bias, target);
}

const work = (channels: number, target: VolumeTensor): number =>
  2 * taps * channels * target.channels * target.size[0] * target.size[1] * target.planes;

/** An input as the key of a pass has it. */
const described = ({ tensor: { channels }, affine }: Input) => ({ channels, norm: affine !== undefined });

/** A workgroup's threads take different voxels, read from global memory or from tiles in workgroup memory. */
function convolveByVoxels(
  recorder: Recorder,
  kernel: 'voxels' | ForwardTileName,
  label: string,
  [a, b]: readonly [Input, Input?],
  packed: Tensor,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const [width, height, depth] = target.size;
  const flops = work(a.tensor.channels + (b?.tensor.channels ?? 0), target);
  const uses = [
    { tensor: a.tensor, halo: 1 },
    ...(b ? [{ tensor: b.tensor, halo: 1 }] : []),
    { tensor: target },
  ];
  for (const [from, to] of recorder.slabs(target.planes, uses, { flops })) {
    const sourceA = recorder.planes(a.tensor, from - 1, to + 1);
    const sourceB = b ? recorder.planes(b.tensor, from - 1, to + 1) : sourceA;
    const out = recorder.planes(target, from, to);
    const bindings = {
      sourceA: sourceA.view,
      affineA: a.affine ?? packed,
      sourceB: sourceB.view,
      affineB: b?.affine ?? packed,
      weights: packed,
      bias: bias ?? packed,
      target_: out.view,
    };
    const params = {
      width,
      height,
      depth,
      rowQuads: target.rowQuads,
      channelsA: a.tensor.channels,
      channelsB: b?.tensor.channels ?? 0,
      channelsOut: target.channels,
      plane0: from,
      startA: sourceA.start,
      startB: sourceB.start,
      startTarget: out.start,
      slopeA: a.slope ?? 1,
      slopeB: b?.slope ?? 1,
      biased: bias ? 1 : 0,
    };
    const constants = {
      INPUTS: b ? 2 : 1,
      NORM_A: a.affine !== undefined,
      NORM_B: b?.affine !== undefined,
    };
    const common = { label, bindings, flops: (flops * (to - from)) / target.planes };
    if (kernel === 'voxels') {
      recorder.dispatch('conv3/forward', {
        ...common,
        params,
        constants,
        workgroups: [groupsOf64(planeQuads(target)), Math.ceil(target.channels / block), to - from],
      });
      continue;
    }
    const tile: ForwardTile = forwardTiles[kernel];
    recorder.dispatch('conv3/forward_tiled', {
      ...common,
      params: { ...params, plane1: to, readable: Math.min(to + 1, target.planes) },
      constants: { ...constants, ...forwardConstants(tile) },
      workgroups: [
        Math.ceil(target.rowQuads / tile.quads) * Math.ceil(height / (tile.rows * tile.lines)),
        Math.ceil(target.channels / ((2 / tile.rows) * block)),
        Math.ceil((to - from) / tile.planes),
      ],
    });
  }
}

/**
 * A workgroup's threads take different output channels of the same voxels. One input at a time: the channels of
 * the first are assigned, those of another are added.
 */
function convolveByChannels(
  recorder: Recorder,
  label: string,
  { tensor, affine, slope = 1 }: Input,
  packed: Tensor,
  bias: View | undefined,
  target: VolumeTensor,
  { channelsIn, first }: { channelsIn: number; first: number },
): void {
  const [width, height, depth] = target.size;
  const flops = work(tensor.channels, target);
  // Four columns of four rows; what a narrow row does not fill lies in the planes behind.
  const columns = target.rowQuads >= 3 ? 4 : target.rowQuads;
  const uses = [{ tensor, halo: 1 }, { tensor: target }];
  for (const [from, to] of recorder.slabs(target.planes, uses, { flops })) {
    const source = recorder.planes(tensor, from - 1, to + 1);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('conv3/forward_channels', {
      label,
      bindings: {
        source: source.view,
        affine: affine ?? packed,
        weights: packed,
        bias: bias ?? packed,
        target_: out.view,
      },
      params: {
        width,
        height,
        depth,
        samples: target.batch,
        rowQuads: target.rowQuads,
        channels: tensor.channels,
        channelsOut: target.channels,
        channelsIn,
        first,
        plane0: from,
        plane1: to,
        startSource: source.start,
        startTarget: out.start,
        slope,
        biased: bias ? 1 : 0,
        add: first > 0 ? 1 : 0,
      },
      constants: {
        NORM: affine !== undefined,
        COLUMNS: columns,
        RAGGED: width % 4 !== 0 && affine !== undefined,
      },
      workgroups: [
        Math.ceil(target.rowQuads / columns) * Math.ceil(height / 4),
        Math.ceil(target.channels / block),
        Math.ceil(((to - from) * columns) / 4),
      ],
      flops: (flops * (to - from)) / target.planes,
    });
  }
}

/** target = conv(inputs) + bias. weights (out, in, 3, 3, 3), in = channels of all inputs, first input first. */
export function conv3Forward(
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input?],
  weights: View,
  bias: View | undefined,
  target: VolumeTensor,
): void {
  const inChannels = inputs[0].tensor.channels + (inputs[1]?.tensor.channels ?? 0);
  const packed = pack(recorder, label, weights, { outChannels: target.channels, inChannels });
  convolve(recorder, label, inputs, packed, bias, target);
}

/**
 * Assigns the gradient of the (activated) input channels [first, first + dInput.channels) of the
 * convolution's `inChannels`.
 */
export function conv3BackwardInput(
  recorder: Recorder,
  label: string,
  dOutput: VolumeTensor,
  weights: View,
  dInput: VolumeTensor,
  { inChannels = dInput.channels, first = 0 }: { inChannels?: number; first?: number } = {},
): void {
  const shape = { outChannels: dOutput.channels, inChannels };
  const packed = pack(recorder, label, weights, shape, { first, count: dInput.channels });
  convolve(recorder, label, [{ tensor: dOutput }], packed, undefined, dInput);
}

/**
 * Assigns the weight gradient (out, inChannels, 27) for the input channels [first, first + channels of
 * `input`). Summed in fixed order: the same bits for any cutting into dispatches.
 */
export function conv3BackwardWeight(
  recorder: Recorder,
  label: string,
  input: Input,
  dOutput: VolumeTensor,
  dWeights: View,
  { inChannels = input.tensor.channels, first = 0 }: { inChannels?: number; first?: number } = {},
): void {
  assertSameGrid(label, input.tensor, dOutput);
  const { channels } = input.tensor;
  const [width, height, depth] = dOutput.size;
  const length = dOutput.channels * channels * taps;
  assertLength(label, dWeights, dOutput.channels * inChannels * taps);
  const pass: ConvPass = {
    kind: 'weights',
    inputs: [described(input)],
    channelsOut: dOutput.channels,
    grid: [width, height, dOutput.planes],
    precision: recorder.precision,
  };
  const work = 2 * length * width * height * dOutput.planes;
  recorder.pass(pass, work);
  const kernel = weightKernel(recorder.limits.kernels, pass);
  if (kernel !== 'lines') {
    weightGradientTiled(recorder, kernel, label, input, dOutput, dWeights, { inChannels, first });
    return;
  }
  const workgroup = 48;
  const groups = [Math.ceil((channels * 3) / workgroup), Math.ceil(dOutput.channels / block)] as const;
  const { chunkPlanes, chunks } = chunking(recorder, dOutput.planes, length, groups[0] * groups[1]);
  // One sum alone is the gradient.
  const partials = chunks > 1 ? recorder.flat(`${label}.partials`, chunks * length) : undefined;
  for (const [from, to] of recorder.slabs(
    dOutput.planes,
    [{ tensor: input.tensor, halo: 1 }, { tensor: dOutput }],
    { flops: work },
  )) {
    const source = recorder.planes(input.tensor, from - 1, to + 1);
    const gradient = recorder.planes(dOutput, from, to);
    const chunk0 = Math.floor(from / chunkPlanes);
    recorder.dispatch('conv3/weight_gradient', {
      label,
      bindings: {
        source: source.view,
        affine: input.affine ?? source.view,
        gradient: gradient.view,
        partials: partials ?? dWeights,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: dOutput.rowQuads,
        channels,
        channelsOut: dOutput.channels,
        plane0: from,
        plane1: to,
        chunk0,
        chunkPlanes,
        startSource: source.start,
        startGradient: gradient.start,
        stride: (partials ? channels : inChannels) * taps,
        offset: partials ? 0 : first * taps,
        slope: input.slope ?? 1,
      },
      constants: { NORM: input.affine !== undefined, WORKGROUP: workgroup },
      workgroups: [...groups, Math.ceil(to / chunkPlanes) - chunk0],
      flops: (work * (to - from)) / dOutput.planes,
    });
  }
  if (!partials) return;
  reducePartials(recorder, `${label} sum`, partials, dWeights, {
    chunks,
    length,
    part: channels * taps,
    stride: inChannels * taps,
    offset: first * taps,
  });
}
