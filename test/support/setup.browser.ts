/**
 * Runs around every test file in a browser, and on Deno, whose WebGPU is found where a page's is: notes the adapters that
 * were used for the summary, shares the device, and draws the same random numbers whatever file came before.
 */
import { afterAll } from 'vitest';
import { noteAdapters } from './adapters.ts';
import { restartNormals } from './normals.ts';
import { shareDevices } from './one-device.ts';

shareDevices();
restartNormals();

const runtime = 'Deno' in globalThis ? navigator.userAgent : 'Chromium';
const adapters = new Set<string>();
const gpu = (navigator as Partial<Navigator>).gpu;
if (gpu) {
  const request = gpu.requestAdapter.bind(gpu);
  gpu.requestAdapter = async (options) => {
    const adapter = await request(options);
    if (adapter) {
      const { vendor, architecture, device, description } = adapter.info;
      adapters.add([vendor, architecture, device, description].filter((word) => word !== '').join(' '));
    }
    return adapter;
  };
}

afterAll(({}, file) =>
  noteAdapters(
    file,
    [...adapters].map((adapter) => `${runtime}: ${adapter}`),
  ),
);
