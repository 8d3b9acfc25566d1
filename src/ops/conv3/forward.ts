/** Forward kernels of the 3×3×3 convolution; the gradient with respect to the input is one of them with other weights. */
import type { Recorder, VolumeTensor } from '../../gpu/plan.ts';
import { forwardConstants, forwardTiles, type ForwardTile, type ForwardTileName } from '../../gpu/tiles.ts';
import { groupsOf64, planeQuads, type Input } from '../common.ts';
import type { PackedTensors } from '../conv/general.ts';
import { block } from '../conv/pack.ts';
import { convWork, usualShape } from '../conv/shape.ts';

/** Multiplications and additions. */
const work = (channels: number, target: VolumeTensor): number =>
  convWork(usualShape.kernel, channels, target);

/** What a convolution of one input, or two that stand for their concatenation, reads and writes. */
export interface JoinedTensors extends Omit<PackedTensors, 'input'> {
  readonly inputs: readonly [Input, Input?];
}

/** A workgroup's threads take different voxels, read from global memory or from tiles in workgroup memory. */
export function convolveByVoxels(
  recorder: Recorder,
  kernel: 'voxels' | ForwardTileName,
  label: string,
  tensors: JoinedTensors,
  add: boolean,
): void {
  const {
    inputs: [a, b],
    packed,
    bias,
    target,
  } = tensors;
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
      scaleShiftsA: a.scaleShifts ?? packed,
      sourceB: sourceB.view,
      scaleShiftsB: b?.scaleShifts ?? packed,
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
      NORM_A: a.scaleShifts !== undefined,
      NORM_B: b?.scaleShifts !== undefined,
      ...(add && { ADD: true }),
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
        Math.ceil(target.rowQuads / tile.quads) * Math.ceil(height / (tile.rows * tile.lines)),
        Math.ceil(target.channels / ((2 / tile.rows) * block)),
        blockOf(to - 1) + 1 - blockOf(from),
      ],
    });
  }
}

/** A workgroup's threads take different output channels of the same voxels. One input at a time. */
export function convolveByChannels(
  recorder: Recorder,
  label: string,
  tensors: PackedTensors,
  { channelsIn, first, add }: { channelsIn: number; first: number; add: boolean },
): void {
  const {
    input: { tensor, scaleShifts, slope = 1 },
    packed,
    bias,
    target,
  } = tensors;
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
        scaleShifts: scaleShifts ?? packed,
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
        add: add ? 1 : 0,
      },
      constants: {
        NORM: scaleShifts !== undefined,
        COLUMNS: columns,
        RAGGED: width % 4 !== 0 && scaleShifts !== undefined,
      },
      workgroups: [
        Math.ceil(target.channels / block),
        Math.ceil(target.rowQuads / columns) * Math.ceil(height / 4),
        Math.ceil(((to - from) * columns) / 4),
      ],
      flops: (flops * (to - from)) / target.planes,
    });
  }
}
