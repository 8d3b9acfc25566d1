/** The GPU that tests run on: Dawn's adapter in Node, the page's in a browser; opened once per test file. */
import { afterAll } from 'vitest';
import { Gpu, setAdapterProvider } from '../../src/gpu/device.ts';

let opened: Promise<Gpu> | undefined;

export function testDevice(): Promise<Gpu> {
  opened ??= open();
  return opened;
}

async function open(): Promise<Gpu> {
  if (typeof process !== 'undefined' && process.versions?.node) {
    const nodeOnly = '../../src/gpu/node.ts';
    const { requestNodeAdapter } = (await import(
      /* @vite-ignore */ nodeOnly
    )) as typeof import('../../src/gpu/node.ts');
    setAdapterProvider(requestNodeAdapter);
  }
  return Gpu.open();
}

afterAll(async () => {
  (await opened)?.dispose();
  opened = undefined;
});
