/**
 * A plan is plain data: tensors with lifetimes and buffers, and the dispatches that fill them. It is
 * recorded without a GPU, can be printed, tested and compared with limits, and is replayed by `Program`.
 */
import { GpuError, OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { limit, object, withParts } from '../schema.ts';
import { kernelChoices, type KernelChoices } from './choices.ts';
import { assignBuffers, type PlannedTensor, type Storage } from './lifetimes.ts';
import { passKey, type ConvPass, type CountedPass } from './passes.ts';
import type { Precision } from './precision.ts';
import type { Size3 } from '../size.ts';
import {
  shaderInfo,
  writtenBindings,
  type BindingName,
  type ConstantName,
  type Constants,
  type ParamName,
  type ShaderName,
} from './shader.ts';

/** Numbers on the GPU that dispatches read or write. */
export interface Tensor {
  /** Its place among the plan's tensors. */
  readonly id: number;
  /** For people; those of shared tensors say which buffer they are. */
  readonly name: string;
  /** Rounded up to the binding alignment. */
  readonly bytes: number;
  /** Who else sees it, and for how long it is kept. */
  readonly storage: Storage;
  /** How often it had been written when it was taken with `Recorder.current`: reading it later is an error. */
  readonly version?: number;
}

/** Of a volume, without how it is stored. */
export interface VolumeShape {
  /** Samples. */
  readonly batch: number;
  /** Of each sample. */
  readonly channels: number;
  /** Voxels along x, y, z. */
  readonly size: Size3;
}

/** A stored volume [sample][z][channel][y][x]; rows of x are padded to whole quads of four. */
export interface VolumeTensor extends Tensor, VolumeShape {
  /** Bytes of four voxels: 16 in float32, 8 in float16, 4 of labels. */
  readonly quadBytes: number;
  /** Without the alignment at the end. */
  readonly dataBytes: number;
  /** Quads in one row of x. */
  readonly rowQuads: number;
  /** z-planes over all samples. */
  readonly planes: number;
  /** Bytes of one z-plane with all its channels. */
  readonly planeBytes: number;
  /** The first plane that is stored; 0 unless the tensor holds only a slab of the volume. */
  readonly firstPlane: number;
}

/** A byte range of a tensor; `offset` is a multiple of the binding alignment. */
export interface View {
  /** Of which this is a range. */
  readonly tensor: Tensor;
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
  /** Bytes that a dispatch has to do with, where it is less than all. */
  readonly used?: number;
}

/** One kernel run over some workgroups. */
export interface Dispatch {
  /** Says what it computes, such as `encoder.0.conv1`. */
  readonly label: string;
  /** Which kernel. */
  readonly shader: ShaderName;
  /** What the kernel is specialised by, by name. */
  readonly constants: Constants;
  /** What it reads and writes, by name. */
  readonly bindings: Readonly<Record<string, View>>;
  /** Its uniform parameters, by name. */
  readonly params: Readonly<Record<string, number>>;
  /** Along x, y and z. */
  readonly workgroups: Size3;
  /** Floating-point operations. */
  readonly flops: number;
  /** Bytes of the bound ranges that the dispatch has to do with, each once: a lower bound of the traffic. */
  readonly bytes: number;
}

/** Everything that a step does on the GPU, in order, and the memory it does it in. */
export interface Plan {
  /** How it stores volumes. */
  readonly precision: Precision;
  /** All tensors, those of the model included. */
  readonly tensors: readonly PlannedTensor[];
  /** In the order in which they run. */
  readonly dispatches: readonly Dispatch[];
  /** Bytes of each buffer that the plan allocates. */
  readonly buffers: readonly number[];
  /** Bytes of the uniform buffer that holds every dispatch's parameters. */
  readonly paramBytes: number;
  /** Bytes of the plan's buffers, of its parameters and of the shared tensors it uses: all that it allocates. */
  readonly peakBytes: number;
  /** Bytes of the largest range that is bound to a kernel. */
  readonly largestBindingBytes: number;
  /** Floating-point operations of all dispatches. */
  readonly flops: number;
  /** What may be tuned, each key once; the most work first. */
  readonly passes: readonly CountedPass[];
}

/** Operations, and of memory as many as a device computes in the time of one byte: to compare dispatches by. */
export const workOf = ({ flops, bytes }: Pick<Dispatch, 'flops' | 'bytes'>): number => flops + 4 * bytes;

/** What a plan may not exceed. */
export interface PlanLimits {
  /** Largest storage binding in bytes. */
  readonly maxBindingBytes: number;
  /** Largest buffer in bytes. */
  readonly maxBufferBytes: number;
  /** Upper bound on the work of one dispatch, memory included (see workOf); larger ones are cut along z, gradients of weights also by channels. */
  readonly maxDispatchFlops: number;
  /** Which kernels to use. */
  readonly kernels: KernelChoices;
}

const bytes = limit('a number of bytes above 0');
export const limitsSchema = object({
  maxBindingBytes: bytes,
  maxBufferBytes: bytes,
  maxDispatchFlops: limit('a number of operations above 0'),
  kernels: withParts('a choice of kernels', 'conv3', 'conv3Weights', 'reduction', 'workgroups'),
});

/** Limits every WebGPU implementation grants. */
export const defaultLimits: PlanLimits = {
  maxBindingBytes: 128 * 2 ** 20,
  maxBufferBytes: 256 * 2 ** 20,
  maxDispatchFlops: Infinity,
  kernels: kernelChoices.hardware,
};

/** minStorageBufferOffsetAlignment of every WebGPU implementation. */
export const alignment = 256;
const maxWorkgroups = 65535;

export const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Planes that a binding of so many bytes holds wherever they begin, besides a halo on both sides. */
export const bindablePlanes = ({ planeBytes }: VolumeTensor, bytes: number, halo: number): number =>
  Math.floor((bytes - alignment) / planeBytes) - 2 * halo;

interface DispatchRequest<N extends ShaderName> {
  label: string;
  bindings: Record<BindingName<N>, View | Tensor>;
  params: Record<ParamName<N>, number>;
  constants?: Partial<Record<ConstantName<N>, number | boolean>>;
  workgroups: Size3;
  flops?: number;
}

/** z-planes of a volume, counted over all its samples: from the first up to the second. */
export type Planes = readonly [from: number, to: number];

/** How the planes of one tensor relate to the output planes of a dispatch that is cut along z. */
export interface SlabUse {
  readonly tensor: VolumeTensor;
  /** Planes of this tensor per output plane (2 for a tensor at twice the resolution, 0.5 at half). */
  readonly ratio?: number;
  /** Planes read beyond the range at either side. */
  readonly halo?: number;
  /** Of a volume whose planes are made range by range: bytes of those that are there at a time. */
  readonly madeBytes?: number | undefined;
}

/** Records tensors and dispatches; `finish()` turns them into a plan. */
export class Recorder {
  readonly tensors: Tensor[] = [];
  readonly dispatches: Dispatch[] = [];
  readonly #passes = new Map<string, CountedPass>();
  /** By tensor: bindings so far that write it. */
  readonly #versions: number[] = [];

  constructor(
    readonly limits: PlanLimits = defaultLimits,
    readonly precision: Precision = 'f32',
  ) {}

  /** `length` 32-bit words. */
  flat(name: string, length: number, storage: Storage = 'transient'): Tensor {
    return this.#add({
      id: this.tensors.length,
      name,
      bytes: alignUp(Math.max(length, 1) * 4, alignment),
      storage,
    });
  }

  volume(
    name: string,
    batch: number,
    channels: number,
    size: Size3,
    storage: Storage = 'transient',
  ): VolumeTensor {
    return this.#volume(name, { batch, channels, size }, { storage });
  }

  /** Planes `from` up to `to` of a volume, counted over all its samples. */
  slab(name: string, shape: VolumeShape, stored: Planes): VolumeTensor {
    return this.#volume(name, shape, { storage: 'transient', stored });
  }

  /** Label bytes [sample][z][y][x], four to a word, rows padded to whole words. */
  labels(name: string, batch: number, size: Size3, storage: Storage = 'transient'): VolumeTensor {
    return this.#volume(name, { batch, channels: 1, size }, { storage, quadBytes: 4 });
  }

  /** 32-bit words for each plane of a volume. */
  planewise(name: string, { batch, size }: VolumeShape, words: number): VolumeTensor {
    const shape = { batch, channels: 1, size: [4 * words, 1, size[2]] } as const;
    return this.#volume(name, shape, { storage: 'transient', quadBytes: 4 });
  }

  #volume(
    name: string,
    { batch, channels, size }: VolumeShape,
    {
      storage,
      quadBytes = this.precision === 'f32' ? 16 : 8,
      stored,
    }: {
      readonly storage: Storage;
      readonly quadBytes?: number;
      readonly stored?: Planes;
    },
  ): VolumeTensor {
    const rowQuads = Math.ceil(size[0] / 4);
    const planes = batch * size[2];
    const [from, to] = stored ?? [0, planes];
    const planeBytes = channels * size[1] * rowQuads * quadBytes;
    const dataBytes = (to - from) * planeBytes;
    const bytes = alignUp(dataBytes, alignment);
    const shape = { batch, channels, size, rowQuads, quadBytes, planes, planeBytes, firstPlane: from };
    return this.#add({ id: this.tensors.length, name, bytes, dataBytes, storage, ...shape });
  }

  #add<T extends Tensor>(tensor: T): T {
    this.tensors.push(tensor);
    this.#versions.push(0);
    return tensor;
  }

  /** The tensor with its content of now: a dispatch that reads it after the next write is refused. */
  current<T extends Tensor>(tensor: T): T {
    return { ...tensor, version: this.#versions[tensor.id] };
  }

  /** Notes a pass for which there are several kernels. */
  pass(pass: ConvPass, flops: number): void {
    const key = passKey(pass);
    this.#passes.set(key, { ...pass, key, flops: (this.#passes.get(key)?.flops ?? 0) + flops });
  }

  dispatch<N extends ShaderName>(shader: N, request: DispatchRequest<N>): void {
    const bindings: Record<string, View> = {};
    let bytes = 0;
    for (const [name, bound] of Object.entries<View | Tensor>(request.bindings)) {
      const view = 'tensor' in bound ? bound : { tensor: bound, offset: 0, size: bound.bytes };
      if (view.size > this.limits.maxBindingBytes) {
        throw new OutOfMemory(
          `${request.label}: binding ${name} (${view.tensor.name}) needs ${formatBytes(view.size)}; this device binds at most ` +
            `${formatBytes(this.limits.maxBindingBytes)}: use smaller volumes or fewer features`,
          view.size,
          this.limits.maxBindingBytes,
        );
      }
      bindings[name] = view;
      bytes += view.used ?? view.size;
    }
    this.#trackVersions(shader, request.label, bindings);
    const workgroups = request.workgroups;
    const most = Math.max(...workgroups);
    if (most > maxWorkgroups)
      throw new OutOfMemory(
        `${request.label}: ${workgroups.join('×')} workgroups; WebGPU runs at most ${maxWorkgroups} along an axis: ` +
          'use smaller volumes or fewer features',
        bytes,
        Math.floor((bytes * maxWorkgroups) / most),
      );
    if (Math.min(...workgroups) < 1)
      throw new GpuError(`${request.label}: ${workgroups.join('×')} workgroups; each axis takes at least 1`);
    this.dispatches.push({
      label: request.label,
      shader,
      constants: (request.constants ?? {}) as Constants,
      bindings,
      params: request.params,
      workgroups,
      flops: request.flops ?? 0,
      bytes,
    });
  }

  /** What keeps gradients that take the place of volumes from taking it too early, without a GPU. */
  #trackVersions(shader: ShaderName, label: string, bindings: Readonly<Record<string, View>>): void {
    const written = writtenBindings(shader);
    for (const [name, { tensor }] of Object.entries(bindings)) {
      if (written.has(name)) this.#versions[tensor.id]!++;
      else if (tensor.version !== undefined && tensor.version !== this.#versions[tensor.id])
        throw new GpuError(
          `${label} reads ${tensor.name} (binding ${name}) as it was before something else was written in its place: ` +
            'record the reader first, or the volume again',
        );
    }
  }

  /**
   * Cuts output planes, all up to `planes` or those of a range, into ranges such that every tensor's part, halo
   * included, fits one binding and each range stays under the limit of work, `flops` in all beside what is read and
   * written. Gives one range where nothing needs cutting.
   * `groupsPerPlane` keeps planes × groups within the grid's z-limit; `multiple` keeps cuts at multiples.
   */
  slabs(
    planes: number | Planes,
    uses: readonly SlabUse[],
    options: { flops?: number; groupsPerPlane?: number; multiple?: number } = {},
  ): [from: number, to: number][] {
    const { flops = 0, groupsPerPlane = 1, multiple = 1 } = options;
    const [first, last] = typeof planes === 'number' ? [0, planes] : planes;
    const planeBytes = uses.reduce((sum, { tensor, ratio = 1 }) => sum + ratio * tensor.planeBytes, 0);
    const planeWork = workOf({ flops: flops / (last - first), bytes: planeBytes });
    const byWork = Math.floor(this.limits.maxDispatchFlops / planeWork);
    let most = Math.min(Math.floor(maxWorkgroups / groupsPerPlane), Math.max(1, byWork));
    for (const { tensor, ratio = 1, halo = 0, madeBytes } of uses) {
      const all = madeBytes === undefined ? tensor.bytes : tensor.planes * tensor.planeBytes;
      const bytes = Math.min(this.limits.maxBindingBytes, madeBytes ?? Infinity);
      if (all <= bytes) continue;
      const fit = bindablePlanes(tensor, bytes, halo);
      most = Math.min(most, Math.floor(fit / ratio));
      if (most < 1) {
        throw new OutOfMemory(
          `${tensor.name}: ${1 + 2 * halo} planes of ${formatBytes(tensor.planeBytes)} exceed the device's binding limit of ` +
            `${formatBytes(this.limits.maxBindingBytes)}: use smaller volumes or fewer features`,
          tensor.planeBytes * (1 + 2 * halo),
          this.limits.maxBindingBytes,
        );
      }
    }
    most = Math.max(multiple, Math.floor(most / multiple) * multiple);
    const ranges: [number, number][] = [];
    for (let from = first; from < last; from += most) ranges.push([from, Math.min(last, from + most)]);
    return ranges;
  }

  /** The binding of planes [from, to), clipped to the tensor, and the quads of the volume before it. */
  planes(tensor: VolumeTensor, from: number, to: number): { view: View; start: number } {
    // Bindings end where the data does: kernels read, and mask, whatever lies before that.
    const { quadBytes, dataBytes, firstPlane, planeBytes } = tensor;
    const before = (firstPlane * planeBytes) / quadBytes;
    const relative = (plane: number) => Math.max(0, plane - firstPlane) * planeBytes;
    const used = Math.min(dataBytes, relative(to)) - relative(from);
    if (tensor.bytes <= this.limits.maxBindingBytes) {
      return { view: { tensor, offset: 0, size: dataBytes, used }, start: before };
    }
    const offset = Math.floor(relative(from) / alignment) * alignment;
    const end = Math.min(dataBytes, relative(to));
    return { view: { tensor, offset, size: end - offset, used }, start: before + offset / quadBytes };
  }

  finish(): Plan {
    const { tensors, dispatches, limits, precision } = this;
    const uses = dispatches.map(({ bindings }) => Object.values(bindings).map(({ tensor }) => tensor.id));
    const assigned = assignBuffers(tensors, uses, limits.maxBufferBytes);
    const sizes = dispatches.flatMap(({ bindings }) => Object.values(bindings).map(({ size }) => size));
    const paramBytes = dispatches.filter(({ shader }) => hasParams(shader)).length * alignment;
    const sum = (all: readonly number[]): number => all.reduce((total, value) => total + value, 0);
    return {
      precision,
      passes: [...this.#passes.values()].sort((a, b) => b.flops - a.flops),
      tensors: assigned.tensors,
      dispatches,
      buffers: assigned.buffers,
      paramBytes,
      peakBytes: sum(assigned.buffers) + assigned.sharedBytes + paramBytes,
      largestBindingBytes: sizes.reduce((most, size) => Math.max(most, size), 0),
      flops: sum(dispatches.map(({ flops }) => flops)),
    };
  }
}

/** Whether a kernel has a Params struct; each dispatch of it gets `alignment` bytes of uniforms. */
export const hasParams = (shader: ShaderName): boolean => Object.keys(shaderInfo(shader).params).length > 0;
