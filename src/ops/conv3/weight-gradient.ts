/** Weight gradients of the 3×3×3 convolution: by lines from global memory, and from workgroup memory, for GPUs. */
import { codeConstant } from '../../gpu/choices.ts';
import {
  bindablePlanes,
  defaultLimits,
  type Recorder,
  type SlabUse,
  type VolumeTensor,
} from '../../gpu/plan.ts';
import { weightConstants, weightTiles, type WeightTileName } from '../../gpu/tiles.ts';
import { blockRanges, chunking, mostPartials, reducePartials, weightSlabs, type Input } from '../common.ts';
import type { Place, WeightTensors } from '../conv/general.ts';
import { block } from '../conv/pack.ts';
import { convWork, tapsOf, usualShape } from '../conv/shape.ts';

const taps = tapsOf(usualShape.kernel);

/** The parameters of both kernels: the volumes, the gradient's words and which of all these are meant, and the work. */
function shapesOf({ tensor: { channels } }: Input, dOutput: VolumeTensor, { inChannels, first }: Place) {
  const [width, height, depth] = dOutput.size;
  const { rowQuads, channels: channelsOut } = dOutput;
  return {
    sizes: { width, height, depth, rowQuads, channels, channelsOut },
    length: channelsOut * channels * taps,
    range: { part: channels * taps, stride: inChannels * taps, offset: first * taps },
    work: convWork(usualShape.kernel, channels, dOutput),
  };
}

/** Each thread sums all lines of its chunk of planes. */
export function weightGradientByLines(
  recorder: Recorder,
  label: string,
  { input, dOutput, dWeights }: WeightTensors,
  place: Place,
): void {
  const { sizes, length, range, work } = shapesOf(input, dOutput, place);
  const workgroup = 48;
  const groups = [Math.ceil((sizes.channels * 3) / workgroup), Math.ceil(dOutput.channels / block)] as const;
  const { chunkPlanes, chunks } = chunking(recorder, dOutput.planes, length, groups[0] * groups[1]);
  // One sum alone is the gradient.
  const partials = chunks > 1 ? recorder.flat(`${label}.partials`, chunks * length) : undefined;
  for (const slab of weightSlabs(recorder, input, dOutput, chunkPlanes, { halo: 1, flops: work })) {
    recorder.dispatch('conv3/weight_gradient', {
      label,
      bindings: { ...slab.bindings, partials: partials ?? dWeights },
      params: {
        ...slab.params,
        ...sizes,
        stride: partials ? range.part : range.stride,
        offset: partials ? 0 : range.offset,
        normed: input.scaleShifts ? 1 : 0,
      },
      constants: { WORKGROUP: workgroup, ...codeConstant(recorder.limits.kernels) },
      workgroups: [...groups, slab.chunks],
      flops: (work * (slab.to - slab.from)) / dOutput.planes,
    });
  }
  if (!partials) return;
  reducePartials(recorder, `${label} sum`, partials, dWeights, { chunks, length, ...range });
}

/** Planes that a workgroup walks through where that leaves enough workgroups: it stages two more. */
const walk = 8;
/** Workgroups that keep a GPU busy. */
const plenty = 1024;
/** Quads of a plane below which no stripe is cut: partial sums would move more bytes than volumes. */
const leastQuads = 128;

/**
 * Cuts the planes of an output's gradient into chunks and its rows into stripes, at most `most` in all, for `groups`
 * workgroups in each; `source` says which planes of the source these are summed with. Depends on shapes and the tile
 * only, as long as bindings hold 128 MiB (every device's do).
 */
export function parts(
  recorder: Recorder,
  dOutput: VolumeTensor,
  source: SlabUse,
  { lines, most, groups }: { lines: number; most: number; groups: number },
) {
  const {
    planes,
    size: [, height],
    rowQuads,
  } = dOutput;
  const bytes = Math.min(recorder.limits.maxBindingBytes, defaultLimits.maxBindingBytes);
  const { tensor, ratio = 1 } = source;
  const bound = Math.min(
    bindablePlanes(dOutput, bytes, 1),
    Math.floor(bindablePlanes(tensor, bytes, 1) / ratio),
  );
  const finest = Math.max(1, Math.floor((height * rowQuads) / leastQuads));
  let chunkPlanes = Math.min(walk, planes);
  const chunks = () => Math.ceil(planes / chunkPlanes);
  while (chunkPlanes > 1 && chunks() * finest * groups < plenty) chunkPlanes = Math.ceil(chunkPlanes / 2);
  chunkPlanes = Math.max(1, Math.min(bound, Math.max(chunkPlanes, Math.ceil(planes / most))));
  const stripes = Math.max(1, Math.min(Math.floor(most / chunks()), finest));
  const stripeRows = lines * Math.ceil(height / lines / stripes);
  return { chunkPlanes, chunks: chunks(), stripeRows, stripes: Math.ceil(height / stripeRows) };
}

/**
 * Assigns the gradient of the weights between `input` and the output, at `first` of `inChannels` inputs. By lines
 * where so few planes can be bound at a time that the partial sums would not fit a binding.
 */
export function weightGradientTiled(
  recorder: Recorder,
  name: WeightTileName,
  label: string,
  tensors: WeightTensors,
  place: Place,
): void {
  const { input, dOutput, dWeights } = tensors;
  const { sizes, length, range, work } = shapesOf(input, dOutput, place);
  const { channels } = sizes;
  const constants = weightConstants(weightTiles[name], channels);
  const { INPUTS, LANES, GROUPS, OUTS, LINES } = constants;
  const groups = Math.ceil(channels / INPUTS) * Math.ceil(dOutput.channels / (GROUPS * OUTS));
  const most = mostPartials(recorder, LANES * length);
  const source = { tensor: input.tensor };
  const cut = parts(recorder, dOutput, source, { lines: LINES, most, groups });
  const sums = cut.chunks * cut.stripes;
  if (sums * LANES * length * 4 > recorder.limits.maxBindingBytes) {
    weightGradientByLines(recorder, label, tensors, place);
    return;
  }
  const partials = recorder.flat(`${label}.partials`, sums * LANES * length);
  const { planes } = input.tensor;
  const options = { halo: 1, flops: work, multiple: cut.chunkPlanes };
  for (const slab of weightSlabs(recorder, input, dOutput, cut.chunkPlanes, options)) {
    const flops = (work * (slab.to - slab.from)) / dOutput.planes;
    for (const [from, to] of blockRanges(recorder, groups, flops))
      recorder.dispatch('conv3/weight_gradient_tiled', {
        label,
        bindings: { ...slab.bindings, partials },
        params: {
          ...slab.params,
          ...sizes,
          readable: Math.min(slab.to + 1, planes),
          stripes: cut.stripes,
          stripeRows: cut.stripeRows,
          block0: from,
        },
        constants: { ...constants, NORM: input.scaleShifts !== undefined, RAGGED: sizes.width % 4 !== 0 },
        workgroups: [to - from, cut.stripes, slab.chunks],
        flops: (flops * (to - from)) / groups,
      });
  }
  if (LANES === 1 || sums === 1) {
    reducePartials(recorder, `${label} sum`, partials, dWeights, { chunks: sums * LANES, length, ...range });
    return;
  }
  // Few weights have few threads to add them: first across chunks and stripes, each lane by itself.
  const lanes = recorder.flat(`${label}.lanes`, LANES * length);
  const whole = { tensor: lanes, offset: 0, size: lanes.bytes };
  reducePartials(recorder, `${label} sum`, partials, whole, { chunks: sums, length: LANES * length });
  reducePartials(recorder, `${label} lanes`, lanes, dWeights, { chunks: LANES, length, ...range });
}
