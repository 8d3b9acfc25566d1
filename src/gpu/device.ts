/**
 * A GPU as the rest of the package sees it: a device with its limits, typed errors, counted buffers
 * and cached pipelines. Where adapters come from is decided by a provider: the browser's `navigator.gpu`
 * here, Dawn in `node.ts`.
 */
import * as v from 'valibot';
import { DeviceLost, GpuError, OutOfMemory, UNet3DError, UnsupportedDevice } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { hexadecimal, sha256 } from '../hash.ts';
import { assertOptions, assertValue } from '../options.ts';
import { flag, withParts } from '../schema.ts';
import { choicesOn, hasWideVectors, type AdapterClass } from './choices.ts';
import { matrixFeatures, matrixUnitsOf, subgroupSizeControl, type MatrixUnits } from './matrix-units.ts';
import type { Abilities } from './passes.ts';
import { PipelineCache } from './pipelines.ts';
import { limitsSchema, type PlanLimits } from './plan.ts';
import type { Precision } from './precision.ts';
import type { StorageFormat } from './shader.ts';
import { multiplyAddSpeed } from './speed.ts';

/** An adapter, and what users read about it. */
export interface FoundAdapter {
  /** As WebGPU gives it. */
  readonly adapter: GPUAdapter;
  /** One line for people: what runs, and how to get something faster if it is a software device. */
  readonly describe: string;
  /** The WebGPU implementation and its version. Default: what the platform's user agent says. */
  readonly implementation?: string | undefined;
  /** What the adapter's devices need: held until they are gone. */
  readonly instance?: unknown;
}

/** What an adapter is wanted for beyond what WebGPU grants to everybody. */
export interface AdapterWishes {
  /** Matrix units, which in Node are among the features that Dawn only offers to those who ask for unsafe ones. */
  readonly matrixUnits?: boolean;
}

/** Finds an adapter. Throws `UnsupportedDevice` where there is none. */
export type AdapterProvider = (wishes: AdapterWishes) => Promise<FoundAdapter>;

let provider: AdapterProvider = browserAdapter;

/** Devices that this package opened and that are not gone yet, each with its adapter's instance. */
const opened = new Map<GPUDevice, unknown>();

/** Replaces `navigator.gpu` as the source of adapters (Node's entry point does, with Dawn). */
export function setAdapterProvider(replacement: AdapterProvider): void {
  assertOptions('setAdapterProvider', { replacement: v.function('a function') }, { replacement });
  provider = replacement;
}

/** The adapter of `navigator.gpu`: a browser's, or Deno's. @throws UnsupportedDevice */
export async function browserAdapter(): Promise<FoundAdapter> {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu) {
    throw new UnsupportedDevice(
      'this browser offers no WebGPU (navigator.gpu is missing): use a current Chrome, Edge, Safari or Firefox over ' +
        'HTTPS or localhost, and switch hardware acceleration on',
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new UnsupportedDevice(
      'WebGPU found no adapter: switch hardware acceleration on, update the graphics driver, or look for the reason ' +
        'at chrome://gpu',
    );
  }
  return { adapter, describe: describeAdapter(adapter.info) };
}

export function describeAdapter(info: GPUAdapterInfo): string {
  const parts = [info.vendor, info.architecture, info.device, info.description].filter((part) => part !== '');
  return parts.length ? parts.join(' · ') : 'unnamed adapter';
}

const infoSchema = withParts('a GPUAdapterInfo');

/**
 * Bytes of the device's own memory: its largest device-local heap, where the adapter tells (Chrome does with its
 * developer features on).
 * @example
 * ```js
 * const gpu = await Gpu.open();
 * console.log(memoryOf(gpu.device.adapterInfo)); // undefined where the adapter does not tell
 * gpu.dispose();
 * ```
 */
export function memoryOf(info: GPUAdapterInfo): number | undefined {
  assertValue('memoryOf', infoSchema, info);
  const deviceLocal = 1; // GPUHeapProperty.DEVICE_LOCAL
  const { memoryHeaps = [] } = info as { memoryHeaps?: readonly { size: number; properties: number }[] };
  const own = memoryHeaps.filter(({ properties }) => (properties & deviceLocal) !== 0);
  return own.length > 0 ? Math.max(...own.map(({ size }) => size)) : undefined;
}

/**
 * What computes: a GPU or a program on the CPU. Firefox names no adapter, but tells those that are no GPU; Chrome names
 * vendor and architecture alone.
 * @example
 * ```js
 * const gpu = await Gpu.open();
 * console.log(adapterClassOf(gpu.device.adapterInfo)); // such as software
 * gpu.dispose();
 * ```
 */
export function adapterClassOf(info: GPUAdapterInfo): AdapterClass {
  assertValue('adapterClassOf', infoSchema, info);
  const { vendor, architecture, device, description, isFallbackAdapter } = info as Partial<GPUAdapterInfo>;
  const text = `${vendor} ${architecture} ${device} ${description}`.toLowerCase();
  if (text.includes('swiftshader')) return 'swiftshader';
  if (/llvmpipe|lavapipe|^mesa software/.test(text)) return 'lavapipe';
  return isFallbackAdapter || /basic render|\bwarp\b/.test(text) ? 'software' : 'hardware';
}

/** What tells adapters apart that have the same name, or as in Firefox none: a hash of their features and limits. */
async function abilitiesOf({ features, limits }: Pick<GPUAdapter, 'features' | 'limits'>): Promise<string> {
  const text = [...[...features].sort(), ...limitsOf(limits)].join(' ');
  return hexadecimal(await sha256(new TextEncoder().encode(text))).slice(0, 16);
}

/** `name=value`, by name; limits are accessors of their prototype. */
function limitsOf(limits: GPUSupportedLimits): string[] {
  const names: string[] = [];
  for (const name in limits) names.push(name);
  return names.sort().map((name) => `${name}=${String(limits[name as keyof GPUSupportedLimits])}`);
}

/** Floating-point operations per millisecond that kernels may reach: on two CPU cores, or a quarter of a GPU's best. */
async function expectedSpeed(
  kind: AdapterClass,
  device: GPUDevice,
  pipelines: PipelineCache,
): Promise<number> {
  if (kind !== 'hardware') return { lavapipe: 2e7, software: 2e7, swiftshader: 2e6 }[kind];
  try {
    return (await multiplyAddSpeed(device, pipelines)) / 4;
  } catch {
    return 4e8; // an integrated GPU; what is wrong with the device shows, and is reported, where it is used
  }
}

const wantedFeatures: GPUFeatureName[] = ['timestamp-query', 'shader-f16', 'subgroups'];
const wantedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** With all that this package makes use of. */
async function requestDevice(adapter: GPUAdapter, matrixUnits: boolean): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of wantedLimits) requiredLimits[name] = adapter.limits[name];
  const wanted = matrixUnits ? [...wantedFeatures, ...matrixFeatures, subgroupSizeControl] : wantedFeatures;
  return adapter.requestDevice({
    requiredFeatures: [...new Set(wanted)].filter((feature) => adapter.features.has(feature)),
    requiredLimits,
  });
}

/** How a device is opened. */
export interface OpenOptions {
  /** A device of the caller's; it is used as it is and never destroyed. */
  readonly device?: GPUDevice | undefined;
  /** Lower the limits that plans respect, for tests and for shared machines. */
  readonly limits?: Partial<PlanLimits> | undefined;
  /** Whether convolutions may run on matrix units: see `DeviceOptions`. */
  readonly matrixUnits?: boolean | undefined;
  /** Divides the speed that is expected, so that work is cut finer: for after a loss. Default 1. */
  readonly caution?: number | undefined;
}

export const deviceSchema = withParts('a GPUDevice', 'queue', 'limits');

const openEntries = {
  device: v.optional(deviceSchema),
  limits: v.optional(v.partial(limitsSchema)),
  matrixUnits: v.optional(flag),
  caution: v.optional(v.number('a number')),
} satisfies Record<keyof OpenOptions, unknown>;

/** A device and what was found out about it. */
interface Opened {
  readonly info: GPUAdapterInfo;
  readonly identity: string;
  readonly adapterClass: AdapterClass;
  readonly describe: string;
  readonly owned: boolean;
  readonly speed: number;
  readonly limits: Partial<PlanLimits>;
  readonly matrixUnits: MatrixUnits | undefined;
  readonly matrixWish: boolean | undefined;
}

/** Threads of each subgroup, where that is one number and they may hand each other numbers. */
const sharedSubgroup = (
  { subgroupMinSize, subgroupMaxSize }: Partial<GPUAdapterInfo>,
  features: GPUSupportedFeatures,
): number | undefined =>
  features.has('subgroups') && subgroupMinSize === subgroupMaxSize ? subgroupMaxSize : undefined;

const userAgent = (): string => (globalThis.navigator as Navigator | undefined)?.userAgent ?? 'unknown';

/**
 * A WebGPU device with the limits that plans keep to, its pipelines, and a count of the bytes that were allocated on it.
 * @example
 * ```js
 * const gpu = await Gpu.open();
 * console.log(gpu.describe, formatBytes(gpu.allocatedBytes));
 * gpu.dispose();
 * ```
 */
export class Gpu {
  /** What plans for this device keep to. */
  readonly limits: PlanLimits;
  /** Adapter and driver in one line. */
  readonly describe: string;
  /** Adapter, driver, implementation with their versions, features and limits: for what holds on this device alone. */
  readonly identity: string;
  /** Decides which kernels are the default. */
  readonly adapterClass: AdapterClass;
  /** Floating-point operations per millisecond to be expected of the kernels until they have been measured. */
  readonly speed: number;
  /** Bytes of the device's own memory, where the adapter tells. */
  readonly memoryBytes: number | undefined;
  /** Whether this object opened the device, and destroys it. */
  readonly owned: boolean;
  /** The matrix units that convolutions may run on. */
  readonly matrixUnits: MatrixUnits | undefined;
  /** What was asked of them when this was opened. */
  readonly matrixWish: boolean | undefined;
  #allocated = 0;
  #lost: GPUDeviceLostInfo | undefined;
  /** The first error of work that nobody watched, since one was thrown. */
  #unwatched: GPUError | undefined;
  #disposed = false;
  #packed = false;
  readonly #subgroup: number | undefined;

  private constructor(
    /** The device itself. */
    readonly device: GPUDevice,
    /** Its compiled kernels. */
    readonly pipelines: PipelineCache,
    { info, identity, adapterClass, describe, owned, speed, limits, matrixUnits, matrixWish }: Opened,
  ) {
    this.#subgroup = sharedSubgroup(info, device.features);
    this.matrixUnits = matrixUnits;
    this.matrixWish = matrixWish;
    this.describe = describe;
    this.identity = identity;
    this.memoryBytes = memoryOf(info);
    this.adapterClass = adapterClass;
    this.owned = owned;
    this.speed = speed;
    const { maxStorageBufferBindingSize: binding, maxBufferSize: buffer } = device.limits;
    this.limits = {
      // About a tenth of a second, so that no watchdog bites and others get their turn, yet all of a GPU is busy. A
      // program on the CPU has no watchdog.
      maxDispatchFlops:
        limits.maxDispatchFlops ?? Math.max(adapterClass === 'hardware' ? 1e9 : 2e10, 100 * speed),
      kernels: limits.kernels ?? choicesOn(adapterClass, info.subgroupMaxSize, this.#subgroup),
      // wgpu on Metal names more, and reads give 0 where offsets do not fit 32 bits.
      maxBindingBytes: Math.min(binding, 2 ** 32 - 4, limits.maxBindingBytes ?? Infinity),
      maxBufferBytes: Math.min(buffer, limits.maxBufferBytes ?? Infinity),
    };
    void device.lost.then((lost) => {
      this.#lost = lost;
    });
    device.addEventListener('uncapturederror', this.#hear);
  }

  /** Opens an adapter of this platform with all it can give, or wraps the caller's device. */
  static async open(options: OpenOptions = {}): Promise<Gpu> {
    assertOptions('Gpu.open', openEntries, options);
    const { device: given, limits = {}, matrixUnits: wish, caution = 1 } = options;
    const found = given ? undefined : await provider({ matrixUnits: wish === true });
    const device = given ?? (await requestDevice(found!.adapter, wish !== false));
    if (found?.instance) {
      opened.set(device, found.instance);
      void device.lost.then(() => opened.delete(device));
    }
    const info = found?.adapter.info ?? device.adapterInfo;
    const precisions = wish ? (['f16', 'f32'] as const) : (['f16'] as const);
    const adapterClass = adapterClassOf(info);
    // With wider vectors lavapipe offers matrix units too, and ends the process where one is compiled.
    const isWide = hasWideVectors(adapterClass, info.subgroupMaxSize);
    const matrixUnits =
      wish === false || isWide ? undefined : matrixUnitsOf(info, device.features, precisions);
    if (wish && !matrixUnits) {
      if (!given) device.destroy();
      const remedy = isWide
        ? 'set LP_NATIVE_VECTOR_WIDTH=256, with which lavapipe has them'
        : given
          ? 'leave the device out, to have one opened that does'
          : 'in Chrome start with --enable-unsafe-webgpu';
      throw new UnsupportedDevice(
        `matrixUnits: ${describeAdapter(info)} offers no matrix units for products of float16 into float32: leave the ` +
          `option out, or ${remedy}`,
      );
    }
    const pipelines = PipelineCache.of(device);
    return new Gpu(device, pipelines, {
      info,
      adapterClass,
      describe: found?.describe ?? describeAdapter(info),
      identity: [
        describeAdapter(info),
        found?.implementation ?? userAgent(),
        await abilitiesOf(found?.adapter ?? device),
        ...(wish === undefined ? [] : [`matrix units ${wish ? 'in float32 too' : 'off'}`]),
      ].join(' | '),
      matrixUnits,
      matrixWish: wish,
      owned: !given,
      speed: (await expectedSpeed(adapterClass, device, pipelines)) / caution,
      limits,
    });
  }

  /** Bytes of all live buffers made through this object. */
  get allocatedBytes(): number {
    return this.#allocated;
  }

  /** What decides which kernels it runs. */
  get abilities(): Abilities {
    return { limits: this.device.limits, subgroup: this.#subgroup, matrixUnits: this.matrixUnits };
  }

  /** How this device keeps volumes of a precision: float16 natively where it can, packed where not. */
  storageFormat(precision: Precision): StorageFormat {
    if (precision === 'f32') return 'f32';
    return this.device.features.has('shader-f16') && !this.#packed ? 'f16' : 'packed16';
  }

  /** From here on float16 is packed: what this device computes with it natively is wrong. */
  packHalves(): void {
    this.#packed = true;
  }

  readonly #hear = ({ error }: GPUUncapturedErrorEvent): void => {
    this.#unwatched ??= error;
  };

  /**
   * Throws `DeviceLost` if the device is gone; else, once, what it reported of work that nobody watched, as submits and
   * writes are: nothing of it was done. The device may be used on.
   */
  assertAlive(): void {
    if (this.#lost || this.#disposed) throw this.lossError();
    const error = this.#unwatched;
    this.#unwatched = undefined;
    if (!error) return;
    const whose = this.owned ? '' : ', here or by whoever else uses this device,';
    const label = `work sent to the GPU before${whose} was not done`;
    throw error instanceof GPUOutOfMemoryError
      ? this.#outOfMemory(label, error)
      : new GpuError(`${label}: ${error.message}`);
  }

  #outOfMemory(label: string, { message }: GPUError): OutOfMemory {
    return new OutOfMemory(
      `${label}: the GPU is out of memory (${message}) with ${formatBytes(this.#allocated)} allocated: use smaller ` +
        `volumes, a smaller batch or fewer features`,
      this.#allocated,
      this.limits.maxBufferBytes,
    );
  }

  /** Whether somebody has destroyed it on purpose. */
  get isDestroyed(): boolean {
    return this.#disposed || this.#lost?.reason === 'destroyed';
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** What `assertAlive` throws. */
  lossError(): DeviceLost {
    if (this.#disposed)
      return new DeviceLost(
        'the model or its GPU was disposed (dispose(), or the end of a `using` block): create or load a new one, and ' +
          'dispose of it after its last use',
      );
    const reason = this.#lost ? `${this.#lost.reason || 'unknown'}: ${this.#lost.message}` : 'unknown';
    return new DeviceLost(
      `the GPU device is lost (${reason}): open a new one and resume from the last checkpoint`,
    );
  }

  /**
   * Whether the device is gone. What a loss breaks may fail before the loss itself is reported, so this waits a moment, and
   * up to two seconds for a busy GPU process to answer: by then it has told.
   */
  async isLost(): Promise<boolean> {
    let limit: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (limit = setTimeout(resolve, 2000)));
    const soon = new Promise<void>((resolve) => setTimeout(resolve, 100));
    const answered = this.device.queue.onSubmittedWorkDone().catch(() => undefined);
    await Promise.race([this.device.lost, Promise.all([soon, answered]), late]);
    clearTimeout(limit); // it would keep Node from ending
    return this.#lost !== undefined;
  }

  /**
   * Turns what the GPU reports of `work` into typed errors. Watched is what `work` does before it first waits: error
   * scopes are one stack per device, and one left open over a wait would catch what others do meanwhile.
   */
  async checked<T>(label: string, work: () => T | Promise<T>): Promise<T> {
    this.assertAlive();
    const { device } = this;
    for (const filter of ['internal', 'out-of-memory', 'validation'] as const) device.pushErrorScope(filter);
    // An async function, so that a throw is a rejection as well.
    const working = (async () => work())();
    const reports = Promise.all([device.popErrorScope(), device.popErrorScope(), device.popErrorScope()]);
    const [[outcome], [validation, memory, internal]] = await Promise.all([
      Promise.allSettled([working]),
      reports.catch((): (GPUError | null)[] => []),
    ]);
    this.assertAlive();
    if (memory) throw this.#outOfMemory(label, memory);
    const problem = validation ?? internal;
    if (problem) throw new GpuError(`${label}: ${problem.message}`);
    if (outcome.status === 'fulfilled') return outcome.value;
    // A mapping fails before the loss that it fails of is told.
    if (!(outcome.reason instanceof UNet3DError) && (await this.isLost())) throw this.lossError();
    throw outcome.reason;
  }

  /** A buffer of so many bytes, which count as allocated. @throws DeviceLost if the device is gone */
  createBuffer(label: string, bytes: number, usage: number): GPUBuffer {
    this.assertAlive();
    const buffer = this.device.createBuffer({ label, size: bytes, usage });
    this.#allocated += bytes;
    return buffer;
  }

  /** Frees a buffer that `createBuffer` made. */
  destroyBuffer(buffer: GPUBuffer): void {
    this.#allocated -= buffer.size;
    buffer.destroy();
  }

  /** Destroys the device if this object opened it. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.device.removeEventListener('uncapturederror', this.#hear);
    if (this.owned) this.device.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
