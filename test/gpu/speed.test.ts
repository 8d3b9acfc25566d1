/** The speed that is expected of a device: measured on a GPU, known of software adapters. */
import { afterAll, expect, test, vi } from 'vitest';
import { Gpu, setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { multiplyAddSpeed } from '../../src/gpu/speed.ts';
import { testDevice } from '../support/device.ts';

afterAll(() => setAdapterProvider(requestNodeAdapter));

/** Of a round of the probe: 2¹⁸ threads, 256 multiply-adds of three vec4. */
const flops = 2 ** 18 * 256 * 3 * 4 * 2;

/** What is found of a device that takes so long for a round of the probe, by a clock with such steps, in milliseconds. */
async function found({ roundMs, stepMs }: { readonly roundMs: number; readonly stepMs: number }) {
  const { device, pipelines } = await testDevice();
  const { queue } = device;
  let [now, rounds, longest] = [0, 0, 0];
  const spies = [
    vi.spyOn(queue, 'submit').mockImplementation(() => {
      now += roundMs * rounds;
      longest = Math.max(longest, roundMs * rounds);
    }),
    vi.spyOn(queue, 'writeBuffer').mockImplementation((_buffer, _offset, data) => {
      rounds = (data as Uint32Array)[0]!;
    }),
    vi.spyOn(queue, 'onSubmittedWorkDone').mockImplementation(() => {
      now += 0.5; // waiting
      rounds = 0;
      return Promise.resolve(undefined);
    }),
  ];
  const read = (): number => Math.floor((now += stepMs / 100) / stepMs) * stepMs;
  try {
    return { speed: await multiplyAddSpeed(device, pipelines, read), longest };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

test('multiply-adds are counted right, whatever else a machine has to do: by a clock that knows the work', async () => {
  const { speed } = await found({ roundMs: 2, stepMs: 1e-6 });
  expect(speed / (flops / 2)).toBeCloseTo(1, 3);
});

test('by a clock of long steps, roughly, and without a dispatch so long that a driver would lose the device over it', async () => {
  for (const roundMs of [0.2, 1.7, 6.2, 16, 90]) {
    const { speed, longest } = await found({ roundMs, stepMs: 100 });
    expect(longest).toBeLessThan(300);
    expect(speed / (flops / roundMs)).toBeGreaterThan(0.6);
    expect(speed / (flops / roundMs)).toBeLessThan(1.6);
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
