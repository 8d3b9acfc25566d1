/**
 * Convolutions of every walk on matrix units, with operands in float16 and sums in float32, where a plan has chosen that
 * for their pass.
 */
import { matrixForwardConstants, matrixWeightConstants, type MatrixKernel } from '../../gpu/matrix-units.ts';
import { matrixKernelOf, type ConvPass } from '../../gpu/passes.ts';
import type { Planes, Recorder, Tensor, View, VolumeTensor } from '../../gpu/plan.ts';
import { ones, walkName, type Walk } from '../../gpu/walk.ts';
import {
  assertLength,
  blockRanges,
  inputPlanes,
  mostPartials,
  reducePartials,
  type AssignPlanes,
  type Input,
} from '../common.ts';
import type { JoinedTensors } from '../conv3/forward.ts';
import { parts } from '../conv3/weight-gradient.ts';
import { partsOf } from './parts.ts';
import { sourcePlanes, sourceUse, type ConvolveOptions, type WeightPlace } from './general.ts';
import type { Unpacked } from './pack.ts';
import { shareOf, tapsOf, type ConvShape } from './shape.ts';

/** What was packed in a plan, by what it was packed from: outputs that are computed again read the same. */
const packs = new WeakMap<Recorder, Map<string, Tensor>>();

/** Weights (out, in, taps) as conv_matrix/forward reads them: see `packWeights`. */
function pack(
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
  const { tensor, offset } = weights;
  const { version } = recorder.current(tensor);
  const key = [tensor.id, version, offset, outChannels, inChannels, taps, of, first, count, n, k].join();
  const earlier = packs.get(recorder) ?? new Map<string, Tensor>();
  packs.set(recorder, earlier);
  const known = earlier.get(key);
  if (known) return known;
  const packed = recorder.flat(`${label}.packed`, (tiles * chunks * taps * k * n) / 2);
  recorder.dispatch('conv_matrix/pack', {
    label: `${label} pack`,
    bindings: { source: weights, packed },
    params: { outChannels, inChannels, first, count },
    constants: { TRANSPOSE: of === 'in', TAPS: taps, N: n, K: k },
    workgroups: [Math.ceil((k * n) / 64), chunks, tiles],
  });
  earlier.set(key, packed);
  return packed;
}

/** What of a volume that is read decides which kernel is fastest. */
const described = ({ tensor: { channels }, scaleShifts }: Input) => ({
  channels,
  norm: scaleShifts !== undefined,
});

/** Gradients that are stored in float16 have overflowed already. */
const overflowing = ({ precision }: Recorder, { isGradient }: Input) =>
  isGradient && precision === 'f32' ? { OVERFLOWS: true } : {};

/** A convolution without its weights. */
export type ConvTensors = Omit<JoinedTensors, 'packed'>;

/** How it is computed. */
type ConvOptions = Walk & ConvolveOptions;

/** What of an output and a walk does. */
const placed = ({ channels, size: [x, y], planes }: VolumeTensor, { kernel, stride, dilation }: Walk) => {
  const walk = { kernel, stride, dilation };
  return {
    channelsOut: channels,
    grid: [x, y, planes] as const,
    ...(walkName(walk) !== undefined && { walk }),
  };
};

/** The pass of a convolution. */
export const forwardPass = (
  { precision }: Recorder,
  { inputs, target }: ConvTensors,
  walk: Walk,
): ConvPass => ({
  kind: 'forward',
  inputs: inputs.filter((input) => input !== undefined).map(described),
  ...placed(target, walk),
  precision,
});

/** The pass of a gradient of weights. */
export const weightPass = (
  { precision }: Recorder,
  input: Input,
  dOutput: VolumeTensor,
  walk: Walk,
): ConvPass => ({ kind: 'weights', inputs: [described(input)], ...placed(dOutput, walk), precision });

/**
 * Notes the pass; computes it if a plan has chosen matrix units for it, and gives back statistics of the result if it is
 * to be measured. Undefined where another kernel is to compute it.
 */
export function convolvedByMatrices(
  recorder: Recorder,
  label: string,
  tensors: ConvTensors,
  unpacked: Unpacked,
  options: ConvOptions,
): { readonly parts: VolumeTensor | undefined } | undefined {
  const { target } = tensors;
  const { planes = [0, target.planes] } = options;
  const assign = matrixConvolution(recorder, label, tensors, unpacked, options);
  return assign && { parts: assign(target, planes) };
}

/**
 * Notes the pass. If a plan has chosen matrix units for it, gives what assigns planes of the target, of which none need
 * be stored, and gives back what `convolvedByMatrices` does.
 */
export function matrixConvolution(
  recorder: Recorder,
  label: string,
  tensors: ConvTensors,
  unpacked: Unpacked,
  options: ConvOptions,
): ((...slab: Parameters<AssignPlanes>) => VolumeTensor | undefined) | undefined {
  const pass = forwardPass(recorder, tensors, options);
  const { planes = [0, tensors.target.planes], flops } = options;
  recorder.pass(pass, shareOf(flops, tensors.target, planes));
  const kernel = matrixKernelOf(recorder.limits.kernels, pass);
  if (!kernel) return undefined;
  const packed = pack(recorder, label, unpacked, kernel);
  return (target, planes) =>
    convolve(recorder, label, kernel, { ...tensors, packed, target }, { ...options, planes });
}

function convolve(
  recorder: Recorder,
  label: string,
  kernel: MatrixKernel,
  { inputs: [a, b], packed, bias, target }: JoinedTensors,
  { add, flops, planes, measured = false, ...walk }: ConvOptions & { readonly planes: Planes },
): VolumeTensor | undefined {
  const tile = matrixForwardConstants(kernel, walk);
  const [width, height, depth] = a.tensor.size;
  const [widthOut, heightOut, depthOut] = target.size;
  const blocks =
    Math.ceil((target.rowQuads * 4) / (tile.RUNS * tile.M * tile.DILATION_X)) *
    Math.ceil(heightOut / (tile.LINES * tile.DILATION_Y));
  // Of a plane, each of these workgroups has the part of one of a pair along y, in so many subgroups' runs.
  const sharers = (tile.SUBGROUPS / tile.PLANES) * tile.DILATION_Y;
  const statistics = partsOf(recorder, label, target, measured ? blocks * sharers : 0);
  const uses = [
    ...[a, ...(b ? [b] : [])].map((input) => sourceUse(input, target, walk)),
    { tensor: target },
    ...statistics.uses,
  ];
  // Planes of a block, which lies within one sample.
  const deep = tile.PLANES * tile.DILATION_Z;
  const blockOf = (plane: number) =>
    Math.floor(plane / depthOut) * Math.ceil(depthOut / deep) + Math.floor((plane % depthOut) / deep);
  const work = (planes: Planes) => shareOf(flops, target, planes);
  for (const [from, to] of recorder.slabs(planes, uses, { flops: work(planes) })) {
    const [bound0, bound1] = sourcePlanes(a.tensor, target, walk, [from, to]);
    const sourceA = inputPlanes(recorder, a, bound0, bound1);
    const sourceB = b ? inputPlanes(recorder, b, bound0, bound1) : sourceA;
    const out = recorder.planes(target, from, to);
    const left = statistics.at(from, to);
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
        parts: left.view,
      },
      params: {
        ...left.params,
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
        ...(measured && { STATISTICS: true }),
        ...overflowing(recorder, a),
        RAGGED: width % 4 !== 0 || widthOut % 4 !== 0,
        ...tile,
      },
      workgroups: [
        blocks,
        Math.ceil(target.channels / kernel.outputs) * tile.DILATION_Y * tile.DILATION_Z,
        blockOf(to - 1) + 1 - blockOf(from),
      ],
      flops: work([from, to]),
    });
  }
  return statistics.parts;
}

/**
 * What a gradient of weights is summed from: `dOutput` has as many voxels as outputs, `input` those that these see. Of a
 * transposed convolution, the gradient of the output is the one that is seen, and its input, which may be read through a
 * norm, stands for `dOutput`.
 */
export interface MatrixWeightTensors {
  readonly input: Input;
  readonly dOutput: Input;
  readonly dWeights: View;
}

/**
 * Notes the pass; assigns the gradient of the weights between `input` and the channels of `dOutput` if a plan has chosen
 * matrix units for it, and says whether it has. They are not used where so few planes can be bound at a time that the
 * partial sums would not fit a binding.
 */
export function weightGradientByMatrices(
  recorder: Recorder,
  label: string,
  { input, dOutput: { tensor: dOutput, scaleShifts, slope }, dWeights }: MatrixWeightTensors,
  { inChannels, first, firstOut = 0, flops, ...shape }: ConvShape & WeightPlace & { readonly flops: number },
): boolean {
  const walk = { ...shape, dilation: ones };
  const pass = weightPass(recorder, input, dOutput, walk);
  recorder.pass(pass, flops);
  const kernel = matrixKernelOf(recorder.limits.kernels, pass);
  if (!kernel) return false;
  const taps = tapsOf(walk.kernel);
  const tile = matrixWeightConstants(kernel, walk);
  const { channels, size, rowQuads } = input.tensor;
  const [width, height, depth] = size;
  const [widthOut, heightOut, depthOut] = dOutput.size;
  const length = dOutput.channels * channels * taps;
  const groups = Math.ceil(channels / tile.N) * Math.ceil(dOutput.channels / kernel.outputs);
  const use = sourceUse(input, dOutput, walk);
  const { chunks, chunkPlanes, stripes, stripeRows } = parts(recorder, dOutput, use, {
    lines: tile.LINES,
    most: mostPartials(recorder, tile.LANES * length),
    groups,
  });
  const sums = chunks * stripes * tile.LANES;
  if (sums * length * 4 > recorder.limits.maxBindingBytes) return false;
  const partials = recorder.flat(`${label}.partials`, sums * length);
  const cut = { flops, multiple: chunkPlanes };
  for (const [from, to] of recorder.slabs(dOutput.planes, [use, { tensor: dOutput }], cut)) {
    const source = recorder.planes(input.tensor, ...sourcePlanes(input.tensor, dOutput, walk, [from, to]));
    const upstream = recorder.planes(dOutput, from, to);
    const chunk0 = from / chunkPlanes;
    const slabFlops = (flops * (to - from)) / dOutput.planes;
    for (const [block0, block1] of blockRanges(recorder, groups, slabFlops))
      recorder.dispatch('conv_matrix/weight_gradient', {
        label,
        bindings: {
          source: source.view,
          scaleShifts: input.scaleShifts ?? scaleShifts ?? source.view,
          gradient: upstream.view,
          partials,
        },
        params: {
          width,
          height,
          depth,
          rowQuads,
          widthOut,
          heightOut,
          depthOut,
          rowQuadsOut: dOutput.rowQuads,
          channels,
          channelsOut: dOutput.channels,
          plane0: from,
          plane1: to,
          chunk0,
          chunkPlanes,
          stripes,
          stripeRows,
          block0,
          startSource: source.start,
          startGradient: upstream.start,
          slope: input.slope ?? slope ?? 1,
        },
        constants: {
          ...tile,
          NORM: input.scaleShifts !== undefined,
          ...(scaleShifts && { NORM_GRADIENT: true }),
          ...overflowing(recorder, input),
          RAGGED: width % 4 !== 0 || widthOut % 4 !== 0,
        },
        workgroups: [block1 - block0, stripes, Math.ceil(to / chunkPlanes) - chunk0],
        flops: (slabFlops * (block1 - block0)) / groups,
      });
  }
  reducePartials(recorder, `${label} sum`, partials, dWeights, {
    chunks: sums,
    length,
    part: channels * taps,
    stride: inChannels * taps,
    offset: (firstOut * inChannels + first) * taps,
  });
  return true;
}
