/**
 * A WebGPU adapter for Node, through Dawn (the optional dependency `webgpu`, imported on first use): what the
 * environment names, else the system's, else a fetched lavapipe, else SwiftShader. Never Dawn's null backend.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { UnsupportedDevice } from '../errors.ts';
import { installAdvice } from './advice.node.ts';
import { adapterClassOf } from './device.ts';
import {
  driverNamedByEnvironment,
  fetchedLavapipe,
  forgetVectors,
  hasSystemDriver,
  inCheckout,
  loadVulkan,
  setDriver,
  swiftShader,
  widenVectors,
} from './drivers.node.ts';
import { pollCalmly, pollEagerly } from './polling.node.ts';

/** Where the adapter comes from. */
export type AdapterSource = 'environment' | 'system' | 'lavapipe' | 'swiftshader';

export interface NodeAdapterOptions {
  /** Dawn toggles to enable, such as `allow_unsafe_apis`. */
  readonly dawnToggles?: readonly string[];
  /** Offer matrix units, which takes Dawn's `allow_unsafe_apis`. */
  readonly matrixUnits?: boolean;
}

export interface NodeAdapter {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  /** One line for people: vendor, architecture, device, driver, and where it comes from. */
  readonly describe: string;
  readonly source: AdapterSource;
  /** Dawn, by the version of its package. */
  readonly implementation: string;
}

/** Printed where the adapter is SwiftShader: how to get a faster one. */
export function swiftShaderTip(): string {
  const { node } = fetchedLavapipe();
  const system = '`apt install mesa-vulkan-drivers` on Ubuntu 24.04 or Debian 13';
  const how = existsSync(node)
    ? `the one that was fetched here serves programs that are started with ${node} in place of node.`
    : inCheckout()
      ? `\`npm run gpu:lavapipe\` on Debian (no root needed), or ${system}.`
      : `${system}.`;
  return `Tip: lavapipe is about ten times faster than SwiftShader: ${how}`;
}

/**
 * One instance of Dawn for each set of flags and driver: another would take a mebibyte and more. Dawn crashes once
 * the object from its `create()` is collected, so they are held.
 */
const held = new Map<string, GPU>();
/** How often an adapter was asked for. */
let asked = 0;

/** The description of every adapter that this process was given, in order. */
export const adaptersFound = new Set<string>();

/**
 * Finds an adapter.
 *
 * Order: what the environment names (`VK_DRIVER_FILES` or `VK_ICD_FILENAMES`, as Vulkan's loader defines them,
 * or `UNET3D_ADAPTER`: `system`, `lavapipe`, `swiftshader` or a part of an adapter's name), which is binding;
 * else the system's adapter; else a lavapipe fetched by `npm run gpu:lavapipe`, if the process was started through
 * it; else the SwiftShader of `@sparticuz/chromium`, if that is installed.
 *
 * @throws UnsupportedDevice without Dawn or without any adapter; the message says what to install here.
 */
export async function requestNodeAdapter(options: NodeAdapterOptions = {}): Promise<NodeAdapter> {
  const create = await loadDawn();
  asked++;
  pollCalmly();
  const wish = process.env['UNET3D_ADAPTER'] ?? '';
  let named = driverNamedByEnvironment();
  if (
    named !== undefined &&
    isSource(wish) &&
    sourceOf(named) !== wish &&
    sourceOf(named) !== 'environment'
  ) {
    setDriver(undefined); // our own choice of a driver, by a parent process, yields to what is asked for
    named = undefined;
  }
  const flags = dawnFlags(options);
  const attempt = async (
    source: AdapterSource,
    extra: readonly string[] = [],
  ): Promise<NodeAdapter | undefined> => {
    const all = [...flags, ...extra];
    const key = [driverNamedByEnvironment(), ...all].join(' ');
    const gpu = held.get(key) ?? create(all);
    // Its matrix units are for vectors of 256 bits.
    widenVectors(!options.matrixUnits);
    const adapter = await requestAdapter(gpu);
    if (!adapter) return undefined;
    const describe = describeAdapter(adapter, source);
    held.set(key, gpu);
    adaptersFound.add(describe);
    return { gpu, adapter, describe, source, implementation: `webgpu ${dawnVersion()}` };
  };

  if (named !== undefined) {
    const source = sourceOf(named);
    if (process.platform === 'linux') bringLoader();
    const found = await attempt(source, isSource(wish) || wish === '' ? [] : [`adapter=${wish}`]);
    if (found) return found;
    throw new UnsupportedDevice(
      `The environment names the Vulkan driver ${named}, but WebGPU gets no adapter from it. Correct or unset VK_DRIVER_FILES and VK_ICD_FILENAMES. ${installAdvice()}`,
    );
  }

  const byName = wish !== '' && !isSource(wish);
  if (wish === '' || wish === 'system' || byName) {
    // Asking Dawn without a Vulkan driver or loader only makes it complain; macOS and Windows need none.
    const possible = process.platform !== 'linux' || (hasSystemDriver() && bringLoader());
    const found =
      possible && (await attempt(byName ? 'environment' : 'system', byName ? [`adapter=${wish}`] : []));
    if (found) return found;
  }
  // A fetched lavapipe works only where Node was started through it, and then it is the named driver above.
  if (wish === '' || wish === 'swiftshader') {
    if (useSwiftShader()) {
      const found = await attempt('swiftshader');
      if (found) return found;
      setDriver(undefined);
    }
  }
  throw new UnsupportedDevice(noAdapter(wish));
}

/** The line that is printed for a chosen adapter, with the tip where it is SwiftShader. */
export function adapterNotice({ describe, adapter }: Pick<NodeAdapter, 'describe' | 'adapter'>): string {
  return isSwiftShader(adapter) ? `${describe}\n${swiftShaderTip()}` : describe;
}

let warned = false;

/** Warns, once per process, where the adapter is a program on the CPU: a training takes many times longer there. */
export function warnOfSoftware({ describe, adapter }: Pick<NodeAdapter, 'describe' | 'adapter'>): void {
  if (warned || adapterClassOf(adapter.info) === 'hardware') return;
  warned = true;
  const remedy = isSwiftShader(adapter) ? swiftShaderTip() : `For a GPU: ${installAdvice()}`;
  process.emitWarning(`unet3d-gpu computes on the CPU, not on a GPU: ${describe}. ${remedy}`, {
    type: 'SoftwareAdapter',
    code: 'UNET3D_SOFTWARE_ADAPTER',
  });
}

function isSwiftShader(adapter: GPUAdapter): boolean {
  return adapter.info.architecture === 'swiftshader';
}

/**
 * Lets go of Dawn, which keeps the process alive while it is held. Models that are in use go on, and keep it until they
 * are disposed; a GPU can be opened again. Resolves when what is pending has drained.
 * @example
 * ```js
 * await releaseNodeGpu(); // when all models are disposed: lets Node exit
 * ```
 */
export async function releaseNodeGpu(): Promise<void> {
  held.clear();
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 20));
  if (asked !== before) return;
  pollEagerly();
  forgetVectors();
}

async function loadDawn(): Promise<(flags: string[]) => GPU> {
  try {
    const dawn = await import('webgpu');
    for (const [name, value] of Object.entries(dawn.globals))
      if (!(name in globalThis)) Object.assign(globalThis, { [name]: value as unknown });
    return dawn.create;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    throw new UnsupportedDevice(
      missing
        ? 'WebGPU in Node needs the optional package "webgpu" (Dawn), which is not installed. Run: npm install webgpu'
        : `The package "webgpu" (Dawn) does not load on ${process.platform} ${process.arch}: ${String(cause)}. It needs Linux with glibc, macOS or Windows, on x64 or arm64.`,
      { cause },
    );
  }
}

function dawnVersion(): string {
  try {
    const { version } = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
    return version;
  } catch {
    return 'of unknown version';
  }
}

/** Dawn gives the GPU's clock in steps of 65 µs, as a web page may have it; here it may tell kernels apart. */
const fineClock = 'disable-dawn-features=timestamp_quantization';

function dawnFlags({ dawnToggles = [], matrixUnits = false }: NodeAdapterOptions): string[] {
  // Dawn hides float16 on NVIDIA's Vulkan drivers without the second.
  const all = matrixUnits
    ? [...new Set([...dawnToggles, 'allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia'])]
    : dawnToggles;
  return [fineClock, ...(all.length > 0 ? [`enable-dawn-features=${all.join(',')}`] : [])];
}

async function requestAdapter(gpu: GPU): Promise<GPUAdapter | undefined> {
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (error) {
    const available = /^Available adapters:.*/ms.exec(String(error))?.[0];
    throw new UnsupportedDevice(
      available === undefined
        ? `Dawn finds no adapter: ${String(error)}. ${installAdvice()}`
        : `UNET3D_ADAPTER is '${process.env['UNET3D_ADAPTER']}', which names no adapter here; ${ADAPTER_WORDS}. ${available.trim()}`,
      { cause: error },
    );
  }
  // The null backend accepts every command and computes nothing.
  return adapter && adapter.info.device !== 'null-backend' ? adapter : undefined;
}

function isSource(wish: string): boolean {
  return wish === 'system' || wish === 'lavapipe' || wish === 'swiftshader';
}

/** A parent process may have chosen for us: its own drivers are distinguished from what the user has named. */
function sourceOf(driver: string): AdapterSource {
  if (resolve(driver) === fetchedLavapipe().icd) return 'lavapipe';
  return driver.endsWith('vk_swiftshader_icd.json') && driver === swiftShader()?.icd
    ? 'swiftshader'
    : 'environment';
}

/** Loads the system's Vulkan loader, or the one beside SwiftShader. */
function bringLoader(): boolean {
  if (loadVulkan()) return true;
  const driver = swiftShader();
  return driver !== undefined && loadVulkan(driver.loader);
}

/** Points Vulkan's loader at SwiftShader. */
function useSwiftShader(): boolean {
  const driver = swiftShader();
  if (!driver || !bringLoader()) return false;
  setDriver(driver.icd);
  return true;
}

function describeAdapter({ info }: GPUAdapter, source: AdapterSource): string {
  const origin = {
    environment: 'named by the environment',
    system: "the system's",
    lavapipe: 'fetched lavapipe',
    swiftshader: 'SwiftShader of @sparticuz/chromium',
  }[source];
  const words = [info.vendor, info.architecture, info.device].filter((word) => word !== '');
  return `${words.join(' ')} | ${info.description} | ${origin}`;
}

const ADAPTER_WORDS =
  "give 'system', 'lavapipe', 'swiftshader', a part of an adapter's name, or leave it out";

function noAdapter(wish: string): string {
  if (wish === '') return `No WebGPU adapter was found. ${installAdvice()}`;
  const { node } = fetchedLavapipe();
  const fetched = existsSync(node);
  if (wish === 'lavapipe' && (fetched || inCheckout()))
    return `UNET3D_ADAPTER asks for the fetched lavapipe, but this process was not started through it. ${fetched ? 'Start' : 'Run `npm run gpu:lavapipe` once, then start'} with ${node} in place of node.`;
  if (wish === 'lavapipe')
    return `UNET3D_ADAPTER asks for a fetched lavapipe, which only a checkout of unet3d-gpu has. Leave the variable out to use what the system has. ${installAdvice()}`;
  const here = [
    ...(fetched ? [`lavapipe (start with ${node} in place of node)`] : []),
    ...(swiftShader() ? ['swiftshader'] : []),
  ];
  return `UNET3D_ADAPTER is '${wish}', but the system has no such adapter; ${ADAPTER_WORDS}. Besides the system's, there is ${here.join(' and ') || 'none'}. ${installAdvice()}`;
}
