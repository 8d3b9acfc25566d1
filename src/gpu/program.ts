/**
 * A plan on a device: buffers allocated once, pipelines compiled in parallel, bind groups cached.
 * A run only encodes and submits; nothing is allocated after `create` and `revive`.
 */
import { Aborted, GpuError, OutOfMemory } from '../errors.ts';
import type { Gpu } from './device.ts';
import { toDense } from './layout.ts';
import {
  alignment,
  alignUp,
  hasParams,
  workOf,
  type Dispatch,
  type Plan,
  type Tensor,
  type VolumeTensor,
} from './plan.ts';
import { shaderInfo } from './shader.ts';

interface Bound {
  readonly dispatch: Dispatch;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** What one submit of a long plan should take, in milliseconds. Default 250. */
  readonly submitMs?: number;
  /** Dispatches to run: from this one on, up to the other. Default: all. */
  readonly from?: number;
  readonly to?: number;
}

/** What a program has on the GPU. */
interface Allocated {
  readonly buffers: readonly GPUBuffer[];
  readonly params: GPUBuffer | undefined;
  readonly bound: readonly Bound[];
}

const nothing: Allocated = { buffers: [], params: undefined, bound: [] };

/** A NaN that no arithmetic gives, as one float32 and as two float16. */
const unwritten = 0x7fe5a5a5;

/** Stands where a result is to come, to tell whether it came. */
export const awaited = new Float32Array(Uint32Array.of(unwritten).buffer);

/** @throws GpuError where a result is still awaited, as where a driver dropped the work without a word */
export function assertCame(label: string, bytes: ArrayBuffer, byteOffset = 0): void {
  if (new DataView(bytes).getUint32(byteOffset, true) !== unwritten) return;
  throw new GpuError(
    `${label}: the GPU has not done what was sent to it, and reported no error: try again, with smaller volumes or fewer ` +
      'features where it stays so; or update its driver',
  );
}

/** What one submit should take, in milliseconds. */
const usualSubmitMs = 250;

/** Runs of one submit that are looked at together. */
const runsTogether = 3;

const usage = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

export class Program {
  readonly #gpu: Gpu;
  readonly #shared: ReadonlyMap<string, GPUBuffer>;
  #allocated: Allocated;
  /** Work per millisecond, as last measured: for dispatches that have not been. */
  #speed: number;
  /** Milliseconds of each dispatch that was measured: its share of what its submit took. */
  readonly #took: number[] = [];
  /** Of runs that were one submit each, by where they began: what the last ones took. */
  readonly #runs = new Map<number, readonly number[]>();
  /** When a submit was last seen to be done. */
  #done = 0;

  private constructor(
    gpu: Gpu,
    readonly plan: Plan,
    shared: ReadonlyMap<string, GPUBuffer>,
    allocated: Allocated,
  ) {
    this.#gpu = gpu;
    this.#speed = gpu.speed;
    this.#shared = shared;
    this.#allocated = allocated;
  }

  /**
   * Allocates and compiles. `shared` holds the buffers of the plan's shared tensors by name.
   * Throws `OutOfMemory` with the planned bytes when the device cannot hold the plan; nothing stays allocated.
   */
  static async create(
    gpu: Gpu,
    plan: Plan,
    shared: ReadonlyMap<string, GPUBuffer> = new Map(),
  ): Promise<Program> {
    return new Program(gpu, plan, shared, await allocate(gpu, plan, shared));
  }

  /** What `dispose` has freed is there again, with nothing in it. @throws as `create` */
  async revive(): Promise<void> {
    if (this.#allocated === nothing) this.#allocated = await allocate(this.#gpu, this.plan, this.#shared);
  }

  /**
   * Submits the dispatches in order. Resolves when encoded, not when finished, unless the plan is cut into
   * several submits: then at most two are on their way, each of so many dispatches as took `submitMs` in the run
   * before or are expected to, and the signal is looked at between them. Cutting never changes results.
   */
  async run(options: RunOptions = {}): Promise<void> {
    this.#gpu.assertAlive();
    const { bound } = this.#allocated;
    if (this.#allocated === nothing) throw new GpuError('a program that was disposed of is run: revive it');
    const { signal, submitMs = usualSubmitMs, from = 0, to = bound.length } = options;
    const { device } = this.#gpu;
    const inFlight: Promise<void>[] = [];
    let next = from;
    while (next < to) {
      if (signal?.aborted) {
        await Promise.all(inFlight);
        throw new Aborted('the computation was stopped before it was complete, as asked');
      }
      this.#gpu.assertAlive();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      const begin = next;
      const { end, expected } = this.#fitting(begin, to, submitMs);
      for (; next < end; next++) encode(pass, bound[next]!);
      pass.end();
      const submitted = performance.now();
      device.queue.submit([encoder.finish()]);
      const isWhole = begin === from && end === to;
      const working = device.queue.onSubmittedWorkDone().then(() => {
        const now = performance.now();
        // It begins when the one before it is done. That of two may be seen late, which is no reason to hurry.
        const ms = Math.max(now - Math.max(submitted, this.#done), expected / 2);
        this.#done = now;
        const certain = isWhole ? this.#leastOfRuns(begin, ms) : ms;
        if (certain !== undefined) this.#learn(begin, end, certain);
      });
      working.catch(() => undefined); // thrown when its turn comes
      if (isWhole) return;
      inFlight.push(working);
      await (inFlight.length > 1 ? inFlight.shift() : undefined); // the signal, too, gets its turn
    }
    await Promise.all(inFlight);
    this.#gpu.assertAlive();
  }

  /** How many dispatches from `begin` on one submit should have, and what they are expected to take. */
  #fitting(begin: number, to: number, submitMs: number): { end: number; expected: number } {
    let [end, expected] = [begin, 0];
    do {
      expected += this.#took[end] ?? workOf(this.plan.dispatches[end]!) / this.#speed;
      end++;
    } while (end < to && expected < submitMs);
    return { end, expected };
  }

  /** Nobody waits for a run of one submit: that it is done may be seen late, but hardly several times in a row. */
  #leastOfRuns(begin: number, ms: number): number | undefined {
    const last = [...(this.#runs.get(begin) ?? []), ms].slice(-runsTogether);
    this.#runs.set(begin, last);
    return last.length === runsTogether ? Math.min(...last) : undefined;
  }

  /** Shares out what a submit of the dispatches from `begin` up to `end` took. */
  #learn(begin: number, end: number, ms: number): void {
    const work = this.plan.dispatches.slice(begin, end).map(workOf);
    this.#speed = work.reduce((sum, own) => sum + own, 0) / ms;
    work.forEach((own, i) => (this.#took[begin + i] = own / this.#speed));
  }

  /**
   * Runs the plan, or the dispatches up to one, with a timestamp at each dispatch's pass boundary, in submits as `run`
   * makes them; times in milliseconds, in plan order.
   */
  async profile(to = this.#allocated.bound.length): Promise<number[]> {
    if (!this.#gpu.device.features.has('timestamp-query'))
      throw new GpuError('profiling needs the feature timestamp-query, which this device lacks');
    const most = 1024; // as many as a query set has room for
    const stamps: bigint[] = [];
    for (let from = 0; from < to;) {
      const { end } = this.#fitting(from, Math.min(to, from + most), usualSubmitMs);
      const begin = from;
      stamps.push(...(await this.#gpu.checked('profiling', () => this.#stamps(begin, end))));
      from = end;
    }
    return this.#allocated.bound
      .slice(0, to)
      .map((_, index) => Number(stamps[index * 2 + 1]! - stamps[index * 2]!) / 1e6);
  }

  /** Runs the dispatches from `from` up to `end` in one submit; two times for each, in nanoseconds. */
  async #stamps(from: number, end: number): Promise<BigInt64Array> {
    const { device } = this.#gpu;
    const here = 2 * (end - from);
    const queries = device.createQuerySet({ type: 'timestamp', count: here });
    const resolved = device.createBuffer({
      size: here * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const readable = device.createBuffer({
      size: here * 8,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    try {
      const encoder = device.createCommandEncoder();
      for (let index = 0; index < here / 2; index++) {
        const pass = encoder.beginComputePass({
          timestampWrites: {
            querySet: queries,
            beginningOfPassWriteIndex: index * 2,
            endOfPassWriteIndex: index * 2 + 1,
          },
        });
        encode(pass, this.#allocated.bound[from + index]!);
        pass.end();
      }
      encoder.resolveQuerySet(queries, 0, here, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, readable, 0, here * 8);
      device.queue.submit([encoder.finish()]);
      await readable.mapAsync(GPUMapMode.READ);
      return new BigInt64Array(readable.getMappedRange().slice(0));
    } finally {
      for (const made of [queries, resolved, readable]) made.destroy();
    }
  }

  /** The buffer behind a tensor of the plan. */
  buffer(tensor: Tensor): GPUBuffer {
    return bufferFinder(this.plan, this.#allocated.buffers, this.#shared)(tensor);
  }

  write(tensor: Tensor, data: ArrayBufferView<ArrayBuffer>, byteOffset = 0): void {
    this.#gpu.assertAlive();
    this.#gpu.device.queue.writeBuffer(
      this.buffer(tensor),
      byteOffset,
      data.buffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /** Copies bytes of a tensor back; waits for everything submitted before. */
  async read(tensor: Tensor, byteOffset = 0, bytes = tensor.bytes - byteOffset): Promise<ArrayBuffer> {
    return readBuffer(this.#gpu, this.buffer(tensor), byteOffset, bytes);
  }

  /**
   * The planes that a tensor holds of a volume of one sample: dense numbers [channel][z][y][x].
   * @throws GpuError where they are still awaited
   */
  async readPlanes(tensor: VolumeTensor): Promise<Float32Array<ArrayBuffer>> {
    const { dataBytes, planeBytes, size } = tensor;
    const planes = { ...tensor, size: [size[0], size[1], dataBytes / planeBytes] as const };
    return mapBuffer(this.#gpu, this.buffer(tensor), [0, dataBytes], (bytes) => {
      assertCame(tensor.name, bytes);
      return toDense(planes, bytes);
    });
  }

  /** Frees its memory; see `revive`. */
  dispose(): void {
    const { buffers, params } = this.#allocated;
    for (const buffer of params ? [...buffers, params] : buffers) this.#gpu.destroyBuffer(buffer);
    this.#allocated = nothing;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

async function allocate(gpu: Gpu, plan: Plan, shared: ReadonlyMap<string, GPUBuffer>): Promise<Allocated> {
  const buffers: GPUBuffer[] = [];
  let params: GPUBuffer | undefined;
  const label = 'preparing the plan';
  try {
    const slots = layoutParams(plan);
    const pipelines = await gpu.checked(label, () => {
      plan.buffers.forEach((bytes, index) => buffers.push(gpu.createBuffer(`plan ${index}`, bytes, usage())));
      if (slots.bytes.byteLength > 0) {
        params = gpu.createBuffer(
          'params',
          slots.bytes.byteLength,
          GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
        );
        gpu.device.queue.writeBuffer(params, 0, slots.bytes);
      }
      const format = gpu.storageFormat(plan.precision);
      return Promise.all(
        plan.dispatches.map(({ shader, constants }) => gpu.pipelines.get(shader, constants, format)),
      );
    });
    return await gpu.checked(label, () => {
      const find = bufferFinder(plan, buffers, shared);
      const bound = plan.dispatches.map((dispatch, index): Bound => {
        const pipeline = pipelines[index]!;
        return {
          dispatch,
          pipeline,
          group: bind(gpu.device, dispatch, pipeline, {
            find,
            params,
            paramsOffset: slots.offsets[index]!,
          }),
        };
      });
      return { buffers, params, bound };
    });
  } catch (error) {
    for (const buffer of buffers) gpu.destroyBuffer(buffer);
    if (params) gpu.destroyBuffer(params);
    if (error instanceof OutOfMemory) throw new OutOfMemory(error.message, plan.peakBytes, error.limit);
    throw error;
  }
}

function encode(pass: GPUComputePassEncoder, { pipeline, group, dispatch }: Bound): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...dispatch.workgroups);
}

export const readBuffer = (
  gpu: Gpu,
  source: GPUBuffer,
  byteOffset: number,
  bytes: number,
): Promise<ArrayBuffer> => mapBuffer(gpu, source, [byteOffset, bytes], (mapped) => mapped.slice(0, bytes));

/** @param take what to make of the bytes, and up to three after them, which are gone once it returns */
async function mapBuffer<T>(
  gpu: Gpu,
  source: GPUBuffer,
  [byteOffset, bytes]: readonly [number, number],
  take: (mapped: ArrayBuffer) => T,
): Promise<T> {
  return gpu.checked('reading back', async () => {
    const { device } = gpu;
    const size = alignUp(bytes, 4);
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, byteOffset, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      return take(staging.getMappedRange());
    } finally {
      staging.destroy();
    }
  });
}

function bufferFinder(plan: Plan, buffers: readonly GPUBuffer[], shared: ReadonlyMap<string, GPUBuffer>) {
  return (tensor: Tensor): GPUBuffer => {
    const buffer =
      tensor.storage === 'shared' ? shared.get(tensor.name) : buffers[plan.tensors[tensor.id]!.buffer];
    if (!buffer) throw new GpuError(`tensor ${tensor.name} (${tensor.storage}) has no buffer in this plan`);
    return buffer;
  };
}

/** All Params structs in one uniform buffer, each at an aligned offset. */
function layoutParams({ dispatches, paramBytes }: Plan): { bytes: ArrayBuffer; offsets: number[] } {
  const offsets: number[] = [];
  let end = 0;
  for (const { shader } of dispatches) {
    offsets.push(end);
    if (hasParams(shader)) end += alignment;
  }
  const bytes = new ArrayBuffer(paramBytes);
  const view = new DataView(bytes);
  dispatches.forEach(({ shader, params, label }, index) => {
    for (const [name, { offset, type }] of Object.entries(shaderInfo(shader).params)) {
      const value = params[name];
      if (value === undefined || Number.isNaN(value))
        throw new GpuError(`${label}: parameter ${name} of ${shader} is ${value}`);
      const at = offsets[index]! + offset;
      if (type === 'f32') view.setFloat32(at, value, true);
      else if (type === 'i32') view.setInt32(at, value, true);
      else view.setUint32(at, value, true);
    }
  });
  return { bytes, offsets };
}

interface Buffers {
  readonly find: (tensor: Tensor) => GPUBuffer;
  /** Of all dispatches; undefined where none has any. */
  readonly params: GPUBuffer | undefined;
  /** Where those of this dispatch begin. */
  readonly paramsOffset: number;
}

function bind(
  device: GPUDevice,
  dispatch: Dispatch,
  pipeline: GPUComputePipeline,
  { find, params, paramsOffset }: Buffers,
): GPUBindGroup {
  const entries = shaderInfo(dispatch.shader).bindings.map(({ name, binding, type }): GPUBindGroupEntry => {
    if (type === 'uniform')
      return { binding, resource: { buffer: params!, offset: paramsOffset, size: alignment } };
    const view = dispatch.bindings[name];
    if (!view) throw new GpuError(`${dispatch.label}: nothing bound to ${name} of ${dispatch.shader}`);
    return { binding, resource: { buffer: find(view.tensor), offset: view.offset, size: view.size } };
  });
  return device.createBindGroup({ label: dispatch.label, layout: pipeline.getBindGroupLayout(0), entries });
}
