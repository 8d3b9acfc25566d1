/** Runs around every test file in a browser: notes the adapters that were used for the summary. */
import { afterAll } from 'vitest';
import { noteAdapters } from './adapters.ts';

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
    [...adapters].map((adapter) => `Chromium: ${adapter}`),
  ),
);
