/** Forward kernels of the 3×3×3 convolution; the gradient with respect to the input is one of them with other weights. */
import { codeConstant, subgroupThreads } from '../../gpu/choices.ts';
import type { Planes, Recorder, VolumeTensor } from '../../gpu/plan.ts';
import { forwardConstants, forwardTiles, type ForwardTile, type ForwardTileName } from '../../gpu/tiles.ts';
import { groupsOf64, inputPlanes, inputUse, planeQuads, type Input } from '../common.ts';
import type { ConvolveOptions, PackedTensors, Place } from '../conv/general.ts';
import { block } from '../conv/pack.ts';
import { partsOf } from '../conv/parts.ts';
import { convWork, shareOf, usualShape } from '../conv/shape.ts';

/** Multiplications and additions of planes of the target. */
const work =
  (channels: number, target: VolumeTensor) =>
  (planes: Planes): number =>
    shareOf(convWork(usualShape.kernel, channels, target), target, planes);

/** What a convolution of one input, or two that stand for their concatenation, reads and writes. */
export interface JoinedTensors extends Omit<PackedTensors, 'input'> {
  readonly inputs: readonly [Input, Input?];
}

/** The work follows from the channels. */
type Options = Omit<Required<ConvolveOptions>, 'flops'>;

/** A workgroup's threads take different voxels, read from global memory or from tiles in workgroup memory. */
export function convolveByVoxels(
  recorder: Recorder,
  kernel: 'voxels' | ForwardTileName,
  label: string,
  tensors: JoinedTensors,
  { add, measured, planes = [0, tensors.target.planes] }: Options,
): VolumeTensor | undefined {
  const {
    inputs: [a, b],
    packed,
    bias,
    target,
  } = tensors;
  const [width, height, depth] = target.size;
  const workOf = work(a.tensor.channels + (b?.tensor.channels ?? 0), target);
  const tile: ForwardTile | undefined = kernel === 'voxels' ? undefined : forwardTiles[kernel];
  const tiles = tile
    ? Math.ceil(target.rowQuads / tile.quads) * Math.ceil(height / (tile.rows * tile.lines))
    : groupsOf64(planeQuads(target));
  // A thread's two rows of the same channels have statistics of their own.
  const statistics = partsOf(recorder, label, target, measured ? tiles * (tile?.rows ?? 1) : 0);
  const uses = [
    { ...inputUse(a), halo: 1 },
    ...(b ? [{ ...inputUse(b), halo: 1 }] : []),
    { tensor: target },
    ...statistics.uses,
  ];
  for (const [from, to] of recorder.slabs(planes, uses, { flops: workOf(planes) })) {
    const sourceA = inputPlanes(recorder, a, from - 1, to + 1);
    const sourceB = b ? inputPlanes(recorder, b, from - 1, to + 1) : sourceA;
    const out = recorder.planes(target, from, to);
    const left = statistics.at(from, to);
    const bindings = {
      sourceA: sourceA.view,
      scaleShiftsA: a.scaleShifts ?? packed,
      sourceB: sourceB.view,
      scaleShiftsB: b?.scaleShifts ?? packed,
      weights: packed,
      bias: bias ?? packed,
      target_: out.view,
      parts: left.view,
    };
    const params = {
      ...left.params,
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
      NORM_A: a.scaleShifts !== undefined,
      NORM_B: b?.scaleShifts !== undefined,
      ...(add && { ADD: true }),
      ...(measured && { STATISTICS: true }),
    };
    const common = { label, bindings, flops: workOf([from, to]) };
    if (!tile) {
      recorder.dispatch('conv3/forward', {
        ...common,
        params,
        constants: { ...constants, ...codeConstant(recorder.limits.kernels) },
        workgroups: [tiles, Math.ceil(target.channels / block), to - from],
      });
      continue;
    }
    const blockOf = (plane: number) =>
      Math.floor(plane / depth) * Math.ceil(depth / tile.planes) + Math.floor((plane % depth) / tile.planes);
    recorder.dispatch('conv3/forward_tiled', {
      ...common,
      params: {
        ...params,
        plane1: to,
        readable: Math.min(to + 1, target.planes),
        block0: blockOf(from),
      },
      constants: { ...constants, RAGGED: width % 4 !== 0, ...forwardConstants(tile) },
      workgroups: [
        tiles,
        Math.ceil(target.channels / ((2 / tile.rows) * block)),
        blockOf(to - 1) + 1 - blockOf(from),
      ],
    });
  }
  return statistics.parts;
}

/** Of a thread's four columns those side by side: four, or two where rows fill pairs better by more than these cost. */
function columnsOf(rowQuads: number): number {
  const filled = (columns: number) => Math.ceil(rowQuads / columns) * columns;
  return filled(4) > 1.1 * filled(2) ? 2 : 4;
}

/**
 * A workgroup's threads take different output channels of the same voxels. One input at a time. By subgroups no statistics
 * are left.
 */
export function convolveByChannels(
  recorder: Recorder,
  kernel: 'channels' | 'subgroup',
  label: string,
  tensors: PackedTensors,
  { inChannels, first, add, measured, planes = [0, tensors.target.planes] }: Options & Place,
): VolumeTensor | undefined {
  const { input, packed, bias, target } = tensors;
  const { tensor, scaleShifts, slope = 1 } = input;
  const [width, height, depth] = target.size;
  const workOf = work(tensor.channels, target);
  const bySubgroup = kernel === 'subgroup';
  const lanes = bySubgroup ? subgroupThreads : (recorder.limits.kernels.lanes ?? block);
  const columns = columnsOf(target.rowQuads);
  const halves = bySubgroup && columns === 4 && target.channels <= lanes / 2 ? 2 : 1;
  const tiles = Math.ceil(target.rowQuads / columns) * Math.ceil(height / (bySubgroup ? 8 : 4));
  const statistics = partsOf(recorder, label, target, measured && !bySubgroup ? tiles : 0);
  const uses = [{ ...inputUse(input), halo: 1 }, { tensor: target }, ...statistics.uses];
  for (const [from, to] of recorder.slabs(planes, uses, { flops: workOf(planes) })) {
    const source = inputPlanes(recorder, input, from - 1, to + 1);
    const out = recorder.planes(target, from, to);
    const left = statistics.at(from, to);
    const bindings = {
      source: source.view,
      scaleShifts: scaleShifts ?? packed,
      weights: packed,
      bias: bias ?? packed,
      target_: out.view,
    };
    const params = {
      width,
      height,
      depth,
      samples: target.batch,
      rowQuads: target.rowQuads,
      channels: tensor.channels,
      channelsOut: target.channels,
      channelsIn: inChannels,
      first,
      plane0: from,
      plane1: to,
      startSource: source.start,
      startTarget: out.start,
      slope,
      biased: bias ? 1 : 0,
      add: add ? 1 : 0,
    };
    const common = {
      label,
      flops: workOf([from, to]),
      workgroups: [
        Math.ceil(target.channels / lanes),
        tiles,
        Math.ceil(((to - from) * columns) / (4 * halves)),
      ] as const,
    };
    if (bySubgroup) {
      recorder.dispatch('conv3/forward_subgroup', {
        ...common,
        bindings,
        params: { ...params, normed: scaleShifts ? 1 : 0, slope: scaleShifts ? slope : 1 },
        constants: { COLUMNS: columns, PLANES: halves },
      });
      continue;
    }
    recorder.dispatch('conv3/forward_channels', {
      ...common,
      bindings: { ...bindings, parts: left.view },
      params: { ...left.params, ...params },
      constants: {
        NORM: scaleShifts !== undefined,
        COLUMNS: columns,
        ...(lanes !== block && { LANES: lanes }),
        RAGGED: width % 4 !== 0 && scaleShifts !== undefined,
        ...(measured && { STATISTICS: true }),
      },
    });
  }
  return statistics.parts;
}
