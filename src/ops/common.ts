/** What the ops have in common: how an input is read, and how weight gradients are cut into partial sums. */
import { InvalidOption } from '../errors.ts';
import {
  alignment,
  alignUp,
  type Planes,
  type Recorder,
  type SlabUse,
  type Tensor,
  type View,
  type VolumeTensor,
} from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';

/**
 * A volume as an op reads it: as it is stored, or, with `scaleShifts` (scale and shift per sample and
 * channel, from a norm), normalised and passed through max(z, slope·z) on the way in.
 */
export interface Input {
  readonly tensor: VolumeTensor;
  readonly scaleShifts?: Tensor | undefined;
  /** 0 for ReLU, 0.01 for nnU-Net's leaky ReLU, 1 for none; used with `scaleShifts` only. */
  readonly slope?: number | undefined;
  /** On matrix units a gradient overflows, so that its scale is seen to be too large; other numbers are clamped. */
  readonly isGradient?: boolean;
  /** Statistics of the tensor as it is stored, which the convolution that made it left tile by tile. */
  readonly parts?: VolumeTensor | undefined;
  /** Where no plane is stored: planes are made as they are about to be read. */
  readonly maker?: PlaneMaker | undefined;
}

/** Assigns planes of a volume to a slab that holds them. */
export type AssignPlanes = (slab: VolumeTensor, planes: Planes) => void;

/** Makes planes of a volume that never exists as a whole. */
export interface PlaneMaker {
  /** Of the planes that are made at a time. */
  readonly bytes: number;
  /** Planes from `from` up to `to`, counted over all samples, as a slab of the volume. */
  make(from: number, to: number): VolumeTensor;
}

/** Volumes that are made a slab of planes at a time have slabs of at most so many quads, 16 MiB in float32 (or a few planes). */
const slabQuads = 2 ** 20;

/**
 * Makes planes of `volume`, of which none is stored, as `assign` assigns them to a slab of it: a multiple of eight, so that
 * no kernel's tiles are cut, and one on either side, for those who read a neighbourhood.
 */
export function planeMaker(recorder: Recorder, volume: VolumeTensor, assign: AssignPlanes): PlaneMaker {
  const { name, planes, planeBytes, quadBytes } = volume;
  const budget = Math.min(slabQuads * quadBytes, recorder.limits.maxBindingBytes);
  const most = 8 * Math.max(1, Math.floor((budget / planeBytes - 2) / 8)) + 2;
  let slab = volume;
  let end = 0;
  return {
    bytes: most * planeBytes + alignment,
    make(from, to) {
      if (from >= slab.firstPlane && to <= end) return slab;
      end = Math.min(planes, Math.max(to, from + most));
      slab = recorder.slab(name, volume, [from, end]);
      assign(slab, [from, end]);
      return slab;
    },
  };
}

/** For `Recorder.slabs`. */
export const inputUse = ({ tensor, maker }: Input): SlabUse => ({ tensor, madeBytes: maker?.bytes });

/** The binding of planes [from, to) of an input, clipped to it, and the quads of the volume before it. */
export function inputPlanes(recorder: Recorder, { tensor, maker }: Input, from: number, to: number) {
  const stored = maker?.make(Math.max(0, from), Math.min(to, tensor.planes)) ?? tensor;
  return recorder.planes(stored, from, to);
}

/** Strides of 2 along every axis. */
export const doubling: Size3 = [2, 2, 2];

/** Strides along x, y and z as the constants of kernels that take 1 or 2. */
export const strideConstants = ([x, y, z]: Size3) => ({ STRIDE_X: x, STRIDE_Y: y, STRIDE_Z: z });

/** A view of the first `length` words of a tensor. */
export function words(tensor: Tensor, length: number): View {
  return { tensor, offset: 0, size: length * 4 };
}

/** Quads in one channel of one plane. */
export const planeQuads = (tensor: VolumeTensor): number => tensor.size[1] * tensor.rowQuads;

/** Workgroups of 64 that cover `items`. */
export const groupsOf64 = (items: number): number => Math.ceil(items / 64);

/** The same as a grid of two axes, for kernels that find their item from both. */
export function grid64(items: number): readonly [number, number, number] {
  const groups = groupsOf64(items);
  return [Math.min(groups, 32768), Math.ceil(groups / 32768), 1];
}

/** Throws `InvalidOption` unless all have the same samples and size. */
export function assertSameGrid(label: string, ...tensors: VolumeTensor[]): void {
  const grids = tensors.map(({ batch, size }) => `${batch}×[${size.join(',')}]`);
  if (new Set(grids).size > 1)
    throw new InvalidOption(`${label}: grids differ: ${grids.join(' and ')}; they must be equal`);
}

/** Throws `InvalidOption` unless the view holds `length` words. */
export function assertLength(label: string, { tensor, size }: View, length: number): void {
  if (size < length * 4)
    throw new InvalidOption(`${label}: ${tensor.name} holds ${size / 4} numbers; ${length} are needed`);
}

const partialBudget = 16 * 2 ** 20;

/** Partial sums of so many words each that the budget for them and a binding hold; one at least. */
export const mostPartials = ({ limits: { maxBindingBytes } }: Recorder, length: number): number =>
  Math.max(1, Math.floor(Math.min(partialBudget, maxBindingBytes) / (length * 4)));

/**
 * Cuts `planes` into chunks for a deterministic sum: as many as the budget for partial sums allows, and no more
 * than keep the adapter busy with `groups` workgroups for each. Depends on shapes and the adapter only, as long
 * as bindings hold 16 MiB (every device's do), so the reduction tree is the same however the work is dispatched.
 */
export function chunking(
  recorder: Recorder,
  planes: number,
  length: number,
  groups: number,
): { chunkPlanes: number; chunks: number } {
  const busy = Math.ceil(recorder.limits.kernels.workgroups / groups);
  const most = Math.min(mostPartials(recorder, length), busy);
  const chunkPlanes = Math.ceil(planes / most);
  return { chunkPlanes, chunks: Math.ceil(planes / chunkPlanes) };
}

/**
 * Cuts the blocks of channels that are summed in whole chunks of planes, which do `flops` in all, into ranges that stay
 * under the limit of work, of one block at least: for where a single chunk exceeds it.
 */
export function blockRanges({ limits }: Recorder, blocks: number, flops: number): Planes[] {
  const most = Math.max(1, Math.floor((blocks * limits.maxDispatchFlops) / flops));
  const ranges: Planes[] = [];
  for (let from = 0; from < blocks; from += most) ranges.push([from, Math.min(blocks, from + most)]);
  return ranges;
}

/** A dispatch of a weight gradient: planes [from, to) of the input, and the chunks that they are summed in. */
interface WeightSlab {
  readonly from: number;
  readonly to: number;
  readonly bindings: { readonly source: View; readonly scaleShifts: View | Tensor; readonly gradient: View };
  readonly params: Readonly<
    Record<'plane0' | 'plane1' | 'chunk0' | 'chunkPlanes' | 'startSource' | 'startGradient' | 'slope', number>
  >;
  /** Chunks that it begins or goes on with. */
  readonly chunks: number;
}

/**
 * Cuts planes of an input (all by default) with the output's gradient, which has `ratio` planes for each, into
 * dispatches of a multiple of planes; `halo` planes of the input are read beyond either side, and `flops` is the
 * work of all.
 */
export function weightSlabs(
  recorder: Recorder,
  { tensor, scaleShifts, slope = 1 }: Input,
  gradient: VolumeTensor,
  chunkPlanes: number,
  options: {
    halo?: number;
    ratio?: number;
    flops?: number;
    multiple?: number;
    planes?: Planes;
  },
): WeightSlab[] {
  const { halo = 0, ratio = 1, flops = 0, multiple = 1, planes = [0, tensor.planes] } = options;
  const uses = [
    { tensor, halo },
    { tensor: gradient, ratio },
  ];
  return recorder.slabs(planes, uses, { flops, multiple }).map(([from, to]) => {
    const source = recorder.planes(tensor, from - halo, to + halo);
    const upstream = recorder.planes(gradient, ratio * from, ratio * to);
    const chunk0 = Math.floor(from / chunkPlanes);
    return {
      from,
      to,
      bindings: { source: source.view, scaleShifts: scaleShifts ?? source.view, gradient: upstream.view },
      params: {
        plane0: from,
        plane1: to,
        chunk0,
        chunkPlanes,
        startSource: source.start,
        startGradient: upstream.start,
        slope,
      },
      chunks: Math.ceil(to / chunkPlanes) - chunk0,
    };
  });
}

/**
 * Adds partial sums [chunks][length] into `result`, `part` consecutive numbers every `stride`, from `offset`.
 * `part` divides `length`.
 */
export function reducePartials(
  recorder: Recorder,
  label: string,
  partials: Tensor,
  result: View,
  shape: { chunks: number; length: number; part?: number; stride?: number; offset?: number },
): void {
  const { chunks, length, part = length, stride = part, offset = 0 } = shape;
  recorder.dispatch('reduce/partials', {
    label,
    bindings: { partials, result },
    params: { chunks, length, part, stride, offset },
    workgroups: [Math.ceil(part / 256), length / part, 1],
    flops: chunks * length,
  });
}

/** Threads that share the sum of one plane's channel. */
const reductionLanes = (recorder: Recorder): number =>
  recorder.limits.kernels.reduction === 'parallel' ? 64 : 1;

/** Threads of a workgroup that sums channels: 64 for one of them, or one for each of as many as a vector has lanes. */
const reductionThreads = (recorder: Recorder): number =>
  Math.max(reductionLanes(recorder), recorder.limits.kernels.lanes ?? 8);

/** The constants of kernels that sum channels (shaders/common/sum.wgsl). */
export const reductionConstants = (recorder: Recorder): { LANES: number; GROUP: number } => ({
  LANES: reductionLanes(recorder),
  GROUP: reductionThreads(recorder),
});

/** Workgroups of such a kernel for so many channels. */
export const reductionGroups = (recorder: Recorder, channels: number): number =>
  Math.ceil((channels * reductionLanes(recorder)) / reductionThreads(recorder));

/** A sum over planes that is filled slab by slab and finished once. */
export interface SlabSum {
  /** Adds planes [from, to) of the output's gradient. */
  add(gradient: VolumeTensor, from: number, to: number): void;
  /** Assigns the result. */
  finish(result: View): void;
}

/** Gradient of a bias: the sum of the output's gradient per channel over `planes` planes. */
export function biasSum(recorder: Recorder, label: string, channels: number, planes: number): SlabSum {
  const partials = recorder.flat(`${label}.partials`, planes * channels);
  return {
    add(gradient, ...range) {
      for (const [from, to] of recorder.slabs(range, [{ tensor: gradient }])) {
        const source = recorder.planes(gradient, from, to);
        recorder.dispatch('reduce/channel_sums', {
          label,
          bindings: { source: source.view, partials },
          params: { area: planeQuads(gradient), channels, plane0: from, startSource: source.start },
          constants: reductionConstants(recorder),
          workgroups: [reductionGroups(recorder, channels), 1, to - from],
        });
      }
    },
    finish(result) {
      reducePartials(recorder, `${label} sum`, partials, result, { chunks: planes, length: channels });
    },
  };
}

/** Gradient of a bias from the whole output's gradient. Assigns `result`. */
export function biasGradient(recorder: Recorder, label: string, gradient: VolumeTensor, result: View): void {
  const sum = biasSum(recorder, label, gradient.channels, gradient.planes);
  sum.add(gradient, 0, gradient.planes);
  sum.finish(result);
}

/** `length` words rounded up to where the next binding may start. */
export const alignedWords = (length: number): number => alignUp(length * 4, 256) / 4;
