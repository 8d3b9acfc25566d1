/** Convolutions on matrix units, with operands in float16 and sums in float32. */
import { matrixForwardConstants, matrixWeightConstants, type MatrixKernel } from '../../gpu/matrix-units.ts';
import type { Recorder, Tensor } from '../../gpu/plan.ts';
import { assertLength, mostPartials, reducePartials, weightSlabs } from '../common.ts';
import type { JoinedTensors } from '../conv3/forward.ts';
import { parts, weightGradientByLines } from '../conv3/weight-gradient.ts';
import type { Place, WeightTensors } from './general.ts';
import type { Unpacked } from './pack.ts';
import { convWork, tapsOf, usualShape } from './shape.ts';

/** Weights (out, in, taps) as conv_matrix/forward reads them: see `packWeights`. */
export function packForMatrices(
  recorder: Recorder,
  label: string,
  { weights, channels, range }: Unpacked,
  { n, k }: MatrixKernel,
): Tensor {
  const { outChannels, inChannels, kernel } = channels;
  const { of, first = 0, count } = range;
  const taps = tapsOf(kernel);
  assertLength(label, weights, outChannels * inChannels * taps);
  const chunks = Math.ceil((of === 'in' ? outChannels : inChannels) / k);
  const tiles = Math.ceil(count / n);
  const packed = recorder.flat(`${label}.packed`, (tiles * chunks * taps * k * n) / 2);
  recorder.dispatch('conv_matrix/pack', {
    label: `${label} pack`,
    bindings: { source: weights, packed },
    params: { outChannels, inChannels, first, count },
    constants: { TRANSPOSE: of === 'in', TAPS: taps, N: n, K: k },
    workgroups: [Math.ceil((k * n) / 64), chunks, tiles],
  });
  return packed;
}

/** Assigns the target, or with `add` accumulates into it. */
export function convolveByMatrices(
  recorder: Recorder,
  kernel: MatrixKernel,
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
  const walk = usualShape;
  const tile = matrixForwardConstants(kernel, walk);
  const [width, height, depth] = a.tensor.size;
  const [widthOut, heightOut, depthOut] = target.size;
  const flops = convWork(walk.kernel, a.tensor.channels + (b?.tensor.channels ?? 0), target);
  const uses = [
    { tensor: a.tensor, halo: 1 },
    ...(b ? [{ tensor: b.tensor, halo: 1 }] : []),
    { tensor: target },
  ];
  const blockOf = (plane: number) =>
    Math.floor(plane / depthOut) * Math.ceil(depthOut / tile.PLANES) +
    Math.floor((plane % depthOut) / tile.PLANES);
  for (const [from, to] of recorder.slabs(target.planes, uses, { flops })) {
    const [bound0, bound1] = [Math.max(0, from - 1), Math.min(a.tensor.planes, to + 1)];
    const sourceA = recorder.planes(a.tensor, bound0, bound1);
    const sourceB = b ? recorder.planes(b.tensor, bound0, bound1) : sourceA;
    const out = recorder.planes(target, from, to);
    recorder.dispatch('conv_matrix/forward', {
      label,
      bindings: {
        sourceA: sourceA.view,
        scaleShiftsA: a.scaleShifts ?? packed,
        sourceB: sourceB.view,
        scaleShiftsB: b?.scaleShifts ?? packed,
        operand: packed,
        bias: bias ?? packed,
        target_: out.view,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: a.tensor.rowQuads,
        widthOut,
        heightOut,
        depthOut,
        rowQuadsOut: target.rowQuads,
        channelsA: a.tensor.channels,
        channelsB: b?.tensor.channels ?? 0,
        channelsOut: target.channels,
        plane0: from,
        plane1: to,
        bound0,
        bound1,
        block0: blockOf(from),
        startA: sourceA.start,
        startB: sourceB.start,
        startTarget: out.start,
        slopeA: a.slope ?? 1,
        slopeB: b?.slope ?? 1,
        biased: bias ? 1 : 0,
      },
      constants: {
        INPUTS: b ? 2 : 1,
        NORM_A: a.scaleShifts !== undefined,
        NORM_B: b?.scaleShifts !== undefined,
        ...(add && { ADD: true }),
        RAGGED: width % 4 !== 0 || widthOut % 4 !== 0,
        ...tile,
      },
      workgroups: [
        Math.ceil((target.rowQuads * 4) / (tile.RUNS * tile.M)) * Math.ceil(heightOut / tile.LINES),
        Math.ceil(target.channels / kernel.outputs),
        blockOf(to - 1) + 1 - blockOf(from),
      ],
      flops: (flops * (to - from)) / target.planes,
    });
  }
}

/**
 * Assigns the gradient of the weights between `input` and the output, at `first` of `inChannels` inputs. By lines where
 * so few planes can be bound at a time that the partial sums would not fit a binding.
 */
export function weightGradientByMatrices(
  recorder: Recorder,
  kernel: MatrixKernel,
  label: string,
  tensors: WeightTensors,
  place: Place,
): void {
  const { input, dOutput, dWeights } = tensors;
  const { inChannels, first } = place;
  const walk = usualShape;
  const taps = tapsOf(walk.kernel);
  const tile = matrixWeightConstants(kernel, walk);
  const { channels, size, rowQuads } = input.tensor;
  const [width, height, depth] = size;
  const [, heightOut, depthOut] = dOutput.size;
  const length = dOutput.channels * channels * taps;
  const groups = Math.ceil(channels / tile.N) * Math.ceil(dOutput.channels / kernel.outputs);
  const cut = parts(recorder, [input.tensor, dOutput], {
    lines: tile.LINES,
    most: mostPartials(recorder, length),
    groups,
  });
  const sums = cut.chunks * cut.stripes;
  if (sums * length * 4 > recorder.limits.maxBindingBytes) {
    weightGradientByLines(recorder, label, tensors, place);
    return;
  }
  const partials = recorder.flat(`${label}.partials`, sums * length);
  const work = convWork(walk.kernel, channels, dOutput);
  const options = { halo: 1, flops: work, multiple: cut.chunkPlanes };
  for (const slab of weightSlabs(recorder, input, dOutput, cut.chunkPlanes, options)) {
    recorder.dispatch('conv_matrix/weight_gradient', {
      label,
      bindings: { ...slab.bindings, partials },
      params: {
        ...slab.params,
        width,
        height,
        depth,
        rowQuads,
        heightOut,
        depthOut,
        rowQuadsOut: dOutput.rowQuads,
        channels,
        channelsOut: dOutput.channels,
        stripes: cut.stripes,
        stripeRows: cut.stripeRows,
      },
      constants: { ...tile, NORM: input.scaleShifts !== undefined, RAGGED: width % 4 !== 0 },
      workgroups: [groups, cut.stripes, slab.chunks],
      flops: (work * (slab.to - slab.from)) / dOutput.planes,
    });
  }
  reducePartials(recorder, `${label} sum`, partials, dWeights, {
    chunks: sums,
    length,
    part: channels * taps,
    stride: inChannels * taps,
    offset: first * taps,
  });
}
