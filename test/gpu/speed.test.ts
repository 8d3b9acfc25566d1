/** The speed that is expected of a device: measured on a GPU, known of software adapters. */
import { afterAll, expect, test, vi } from 'vitest';
import { Gpu, setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { multiplyAddSpeed } from '../../src/gpu/speed.ts';
import { testDevice } from '../support/device.ts';

afterAll(() => setAdapterProvider(requestNodeAdapter));

test('multiply-adds are counted right, whatever else a machine has to do: by a clock that knows the work', async () => {
  const { device, pipelines } = await testDevice();
  const { queue } = device;
  /** Of a round of the probe: 2¹⁸ threads, 256 multiply-adds of three vec4. */
  const flops = 2 ** 18 * 256 * 3 * 4 * 2;
  let [now, rounds] = [0, 0];
  const submit = vi.spyOn(queue, 'submit').mockImplementation(() => {
    now += 0.5 + 2 * rounds; // milliseconds: waiting, and the work
    rounds = 0;
  });
  const write = vi.spyOn(queue, 'writeBuffer').mockImplementation((_buffer, _offset, data) => {
    rounds = (data as Uint32Array)[0]!;
  });
  const read = (): number => (now += 1e-6);
  try {
    expect((await multiplyAddSpeed(device, pipelines, read)) / (flops / 2)).toBeCloseTo(1, 3);
  } finally {
    submit.mockRestore();
    write.mockRestore();
  }
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
  expect(gpu.speed).toBeGreaterThan(0);
  expect([Infinity, known.speed]).not.toContain(gpu.speed);
  expect(gpu.limits.maxDispatchFlops).toBe(Math.max(1e9, 100 * gpu.speed));
  expect(known.limits.maxDispatchFlops).toBe(2e10);
});
