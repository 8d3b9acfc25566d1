/**
 * The GPU that tests run on, Dawn's adapter in Node, the page's in a browser and Deno's own: opened once for all test
 * files that share a process or a page, and with it its compiled kernels.
 */
import { UnsupportedDevice } from '../../src/errors.ts';
import { Gpu, setAdapterProvider, type AdapterWishes } from '../../src/gpu/device.ts';

let opened: Promise<Gpu> | undefined;
let withMatrices: Promise<Gpu | undefined> | undefined;

export function testDevice(): Promise<Gpu> {
  opened ??= open();
  return opened;
}

/** A device of the same adapter with the same limits and no features: without float16, for instance. */
export async function featurelessDevice(): Promise<Gpu> {
  const { limits } = await testDevice();
  const adapter = await testAdapter({});
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  return Gpu.open({ device, limits });
}

/** A device with matrix units, for convolutions in float32, too; undefined where the adapter offers none. */
export function matrixDevice(): Promise<Gpu | undefined> {
  withMatrices ??= openWithMatrices();
  return withMatrices;
}

async function openWithMatrices(): Promise<Gpu | undefined> {
  await testDevice();
  try {
    return await Gpu.open({ matrixUnits: true });
  } catch (error) {
    if (error instanceof UnsupportedDevice) return undefined;
    throw error;
  }
}

async function open(): Promise<Gpu> {
  const node = await nodeAdapters();
  if (node) setAdapterProvider(node);
  return Gpu.open();
}

async function testAdapter(wishes: AdapterWishes): Promise<GPUAdapter> {
  const node = await nodeAdapters();
  return node ? (await node(wishes)).adapter : (await navigator.gpu.requestAdapter())!;
}

/** What the adapter says of itself and its matrix units, which Dawn leaves out of what a device says. */
export const matrixAdapterInfo = async (): Promise<GPUAdapterInfo> =>
  (await testAdapter({ matrixUnits: true })).info;

async function nodeAdapters() {
  if ('Deno' in globalThis || typeof process === 'undefined' || !process.versions?.node) return undefined;
  const nodeOnly = '../../src/gpu/node.ts';
  const { requestNodeAdapter } = (await import(
    /* @vite-ignore */ nodeOnly
  )) as typeof import('../../src/gpu/node.ts');
  return requestNodeAdapter;
}
