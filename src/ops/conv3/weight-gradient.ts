/** Weight gradients of the 3×3×3 convolution: by lines from global memory, and from workgroup memory, for GPUs. */
import type { Recorder, View, VolumeTensor } from '../../gpu/plan.ts';
import { weightConstants, weightTiles, type WeightTileName } from '../../gpu/tiles.ts';
import { chunking, reducePartials, type Input } from '../common.ts';
import { block, taps, work as workOf } from './forward.ts';

/** Where the weights of one input stand among those of all: see `conv3BackwardWeight`. */
interface Place {
  readonly inChannels: number;
  readonly first: number;
}

/** Each thread sums all lines of its chunk of planes. */
export function weightGradientByLines(
  recorder: Recorder,
  label: string,
  input: Input,
  dOutput: VolumeTensor,
  dWeights: View,
  { inChannels, first }: Place,
): void {
  const { channels } = input.tensor;
  const [width, height, depth] = dOutput.size;
  const length = dOutput.channels * channels * taps;
  const work = workOf(channels, dOutput);
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

const partialBudget = 16 * 2 ** 20;
/** Quads of a plane below which no stripe is cut: partial sums would move more bytes than volumes. */
const leastQuads = 128;

/**
 * Cuts planes into chunks and a plane's rows into stripes, as many as the budget for partial sums allows. Depends
 * on shapes and the tile only, as long as bindings hold 16 MiB.
 */
function parts(
  { planes, size: [, height], rowQuads }: VolumeTensor,
  lines: number,
  bytes: number,
  maxBytes: number,
) {
  const most = Math.max(1, Math.floor(Math.min(partialBudget, maxBytes) / bytes));
  const chunkPlanes = Math.ceil(planes / most);
  const chunks = Math.ceil(planes / chunkPlanes);
  const wanted = Math.min(Math.floor(most / chunks), Math.floor((height * rowQuads) / leastQuads));
  const stripeRows = lines * Math.ceil(height / lines / Math.max(1, wanted));
  return { chunkPlanes, chunks, stripeRows, stripes: Math.ceil(height / stripeRows) };
}

/** Assigns the gradient of the weights between `input` and the output, at `first` of `inChannels` inputs. */
export function weightGradientTiled(
  recorder: Recorder,
  name: WeightTileName,
  label: string,
  input: Input,
  dOutput: VolumeTensor,
  dWeights: View,
  { inChannels, first }: Place,
): void {
  const { channels } = input.tensor;
  const [width, height, depth] = dOutput.size;
  const length = dOutput.channels * channels * taps;
  const constants = weightConstants(weightTiles[name], channels);
  const { INPUTS, LANES, GROUPS, OUTS, LINES } = constants;
  const { maxBindingBytes } = recorder.limits;
  const cut = parts(dOutput, LINES, LANES * length * 4, maxBindingBytes);
  const sums = cut.chunks * cut.stripes;
  const partials = recorder.flat(`${label}.partials`, sums * LANES * length);
  const work = workOf(channels, dOutput);
  const uses = [{ tensor: input.tensor, halo: 1 }, { tensor: dOutput }];
  for (const [from, to] of recorder.slabs(dOutput.planes, uses, { flops: work })) {
    const source = recorder.planes(input.tensor, from - 1, to + 1);
    const gradient = recorder.planes(dOutput, from, to);
    const chunk0 = Math.floor(from / cut.chunkPlanes);
    recorder.dispatch('conv3/weight_gradient_tiled', {
      label,
      bindings: {
        source: source.view,
        affine: input.affine ?? source.view,
        gradient: gradient.view,
        partials,
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
        chunkPlanes: cut.chunkPlanes,
        stripes: cut.stripes,
        stripeRows: cut.stripeRows,
        startSource: source.start,
        startGradient: gradient.start,
        slope: input.slope ?? 1,
      },
      constants: { ...constants, NORM: input.affine !== undefined },
      workgroups: [
        Math.ceil(channels / INPUTS) * Math.ceil(dOutput.channels / (GROUPS * OUTS)),
        cut.stripes,
        Math.ceil(to / cut.chunkPlanes) - chunk0,
      ],
      flops: (work * (to - from)) / dOutput.planes,
    });
  }
  const place = { length, part: channels * taps, stride: inChannels * taps, offset: first * taps };
  if (LANES === 1 || sums === 1) {
    reducePartials(recorder, `${label} sum`, partials, dWeights, { chunks: sums * LANES, ...place });
    return;
  }
  // Few weights have few threads to add them: first across chunks and stripes, each lane by itself.
  const lanes = recorder.flat(`${label}.lanes`, LANES * length);
  const whole = { tensor: lanes, offset: 0, size: lanes.bytes };
  reducePartials(recorder, `${label} sum`, partials, whole, { chunks: sums, length: LANES * length });
  reducePartials(recorder, `${label} lanes`, lanes, dWeights, { chunks: LANES, ...place });
}
