/** The speed that is expected of a device: measured on a GPU, known of software adapters. */
import { afterAll, expect, test } from 'vitest';
import { Gpu, setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { multiplyAddSpeed } from '../../src/gpu/speed.ts';
import { testDevice } from '../support/device.ts';

afterAll(() => setAdapterProvider(requestNodeAdapter));

test('multiply-adds are measured: the same speed twice, within what machines vary', async () => {
  const { device, pipelines } = await testDevice();
  const [first, second] = [
    await multiplyAddSpeed(device, pipelines),
    await multiplyAddSpeed(device, pipelines),
  ];
  expect(first).toBeGreaterThan(1e5); // 0.1 GFLOP/s
  expect(second / first).toBeGreaterThan(0.1);
  expect(second / first).toBeLessThan(10);
});

test('a GPU is measured when it is opened, and dispatches are as long as it can take', async () => {
  const found = await requestNodeAdapter();
  const info = { vendor: 'acme', architecture: '', device: '', description: '' } as GPUAdapterInfo;
  const adapter = new Proxy(found.adapter, {
    get: (target, name) => {
      if (name === 'info') return info;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  setAdapterProvider(() => Promise.resolve({ ...found, adapter }));
  using gpu = await Gpu.open();
  expect(gpu.adapterClass).toBe('hardware');
  const known = await testDevice();
  const measured = await multiplyAddSpeed(known.device, known.pipelines);
  expect(gpu.speed / measured).toBeGreaterThan(0.25 / 10);
  expect(gpu.speed / measured).toBeLessThan(0.25 * 10);
  expect(gpu.limits.maxDispatchFlops).toBe(Math.max(1e9, 100 * gpu.speed));
  expect(known.limits.maxDispatchFlops).toBe(2e10);
});
