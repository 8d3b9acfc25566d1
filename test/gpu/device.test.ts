/** Typed errors of a device: validation, loss, who owns it; never zeros in place of a result. */
import { describe, expect, test, vi } from 'vitest';
import { DeviceLost, GpuError, OutOfMemory, UnsupportedDevice } from '../../src/errors.ts';
import { adapterClassOf, Gpu, setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import { Program } from '../../src/gpu/program.ts';
import { reducePartials } from '../../src/ops/common.ts';
import { alteredDevice, compiling } from '../support/altered-device.ts';
import { view } from '../support/run.ts';
import { testDevice } from '../support/device.ts';

async function freshDevice(): Promise<GPUDevice> {
  const { adapter } = await requestNodeAdapter();
  return adapter.requestDevice();
}

/** A plan of `length` dispatches, each of which copies the source to the result. */
async function copyProgram(gpu: Gpu, length = 1) {
  const recorder = new Recorder();
  const source = recorder.flat('source', 64, 'resident');
  const result = recorder.flat('result', 64, 'resident');
  for (let i = 0; i < length; i++)
    reducePartials(recorder, 'copy', source, view(result, 64), { chunks: 1, length: 64 });
  const program = await Program.create(gpu, recorder.finish());
  program.write(source, new Float32Array(64).fill(3));
  return { program, result };
}

describe('errors of the GPU', () => {
  test('validation: GpuError with the label; the device goes on', async () => {
    const gpu = await testDevice();
    const bad = () => {
      gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    };
    await expect(gpu.checked('making a buffer', bad)).rejects.toThrow(GpuError);
    await expect(gpu.checked('making a buffer', bad)).rejects.toThrow(/^making a buffer: /);
    await expect(gpu.checked('nothing', () => 7)).resolves.toBe(7);
  });

  test('a shader that does not compile: GpuError', async () => {
    const gpu = await testDevice();
    const compile = () => {
      gpu.device.createShaderModule({ code: 'fn main() { nonsense }' });
    };
    await expect(gpu.checked('compiling', compile)).rejects.toThrow(GpuError);
  });

  test('what the work itself throws comes through', async () => {
    const gpu = await testDevice();
    const work = () => {
      throw new RangeError('of its own');
    };
    await expect(gpu.checked('work', work)).rejects.toThrow(RangeError);
    await expect(gpu.checked('nothing', () => 7)).resolves.toBe(7);
  });

  test('of sections that overlap or hold each other, each gets its own', async () => {
    const gpu = await testDevice();
    const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    const bad = () => {
      gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
      return pause(0);
    };
    const first = gpu.checked('first', bad).catch((error: Error) => error.message);
    await expect(gpu.checked('second', () => pause(20))).resolves.toBeUndefined();
    expect(await first).toMatch(/^first: /);
    await expect(gpu.checked('outer', () => gpu.checked('inner', bad))).rejects.toThrow(/^inner: /);
  });

  /** Submits what nobody watches and the GPU refuses. */
  function submitWrongly({ device }: Gpu): void {
    const size = 16;
    const source = device.createBuffer({ size, usage: GPUBufferUsage.COPY_SRC });
    const target = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, size);
    const commands = encoder.finish();
    source.destroy();
    device.queue.submit([commands]);
  }

  test('of work that nobody watches: thrown once, by what is read next, and the device goes on', async () => {
    using gpu = await Gpu.open();
    const { program, result } = await copyProgram(gpu);
    await program.run();
    submitWrongly(gpu);
    submitWrongly(gpu);
    await gpu.device.queue.onSubmittedWorkDone();
    const reading = program.read(result);
    await expect(reading).rejects.toThrow(GpuError);
    await expect(reading).rejects.toThrow(/^work sent to the GPU before was not done: .*destroyed/);
    expect(new Float32Array(await program.read(result))).toEqual(new Float32Array(64).fill(3));
  });

  test('while a result is read: thrown in place of the result', async () => {
    using gpu = await Gpu.open();
    const { program, result } = await copyProgram(gpu);
    await program.run();
    const reading = program.read(result);
    await Promise.resolve(); // its scopes are closed
    submitWrongly(gpu);
    await expect(reading).rejects.toThrow(/^work sent to the GPU before was not done: /);
  });

  test('out of memory at a submit: OutOfMemory; on a device of the caller, it may be the caller', async () => {
    const real = await freshDevice();
    const heard = new Set<(event: { error: GPUError }) => void>();
    const device = alteredDevice(real, {
      addEventListener: (_: string, hear: (event: { error: GPUError }) => void) => heard.add(hear),
      removeEventListener: (_: string, hear: (event: { error: GPUError }) => void) => heard.delete(hear),
    });
    const gpu = await Gpu.open({ device });
    for (const hear of heard) hear({ error: new GPUOutOfMemoryError('no more') });
    expect(() => gpu.assertAlive()).toThrow(OutOfMemory);
    for (const hear of heard) hear({ error: new GPUOutOfMemoryError('no more') });
    expect(() => gpu.assertAlive()).toThrow(
      /^work sent to the GPU before, here or by whoever else uses this device, was not done: the GPU is out of memory \(no/,
    );
    gpu.assertAlive();
    gpu.dispose();
    expect(heard.size).toBe(0);
    real.destroy();
  });

  test('a kernel that does not compile is its own error, and nobody else hears of it', async () => {
    const real = await freshDevice();
    const device = alteredDevice(
      real,
      compiling(real, () => 'nonsense'),
    );
    const unwatched = vi.fn();
    real.addEventListener('uncapturederror', unwatched);
    const gpu = await Gpu.open({ device });
    await expect(gpu.pipelines.get('reduce/partials', {})).rejects.toThrow(/^reduce\/partials.*nonsense/s);
    const unknown = { NONE: 1 };
    await expect(gpu.pipelines.get('reduce/partials', unknown)).rejects.toThrow('no constant NONE');
    gpu.assertAlive();
    expect(unwatched).not.toHaveBeenCalled();
    await expect(real.popErrorScope()).rejects.toThrow(); // none is left open
    real.destroy();
  });

  test('an adapter that is not there: UnsupportedDevice', async () => {
    setAdapterProvider(() => Promise.reject(new UnsupportedDevice('none here')));
    await expect(Gpu.open()).rejects.toThrow(UnsupportedDevice);
    setAdapterProvider(requestNodeAdapter);
    using gpu = await Gpu.open();
    expect(gpu.describe).not.toBe('');
  });
});

describe('a lost device', () => {
  test('destroyed before a run: DeviceLost, not zeros', async () => {
    const device = await freshDevice();
    const gpu = await Gpu.open({ device });
    const { program, result } = await copyProgram(gpu);
    device.destroy();
    const outcome = program.run().then(() => program.read(result));
    await expect(outcome).rejects.toThrow(DeviceLost);
    await expect(gpu.checked('more', () => 1)).rejects.toThrow(
      /the GPU device is lost \(.*\): open a new one and resume from the last checkpoint/,
    );
    expect(() => gpu.createBuffer('more', 16, GPUBufferUsage.STORAGE)).toThrow(DeviceLost);
  });

  test('of which a busy GPU process tells late, though before it answers anything else, is known to be lost', async () => {
    const device = await freshDevice();
    let lose: (info: { reason: string; message: string }) => void;
    const lost = new Promise((resolve) => (lose = resolve));
    const onSubmittedWorkDone = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      lose({ reason: 'unknown', message: 'told late' });
    };
    const busy = new Proxy(device, {
      get(target, key) {
        if (key === 'lost') return lost;
        if (key === 'queue') return { onSubmittedWorkDone };
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const gpu = await Gpu.open({ device: busy });
    expect(await gpu.isLost()).toBe(true);
    expect(gpu.lossError().message).toContain('told late');
    device.destroy();
  });

  test('destroyed while a result is awaited: DeviceLost, not zeros', async () => {
    const device = await freshDevice();
    const gpu = await Gpu.open({ device });
    const { program, result } = await copyProgram(gpu);
    await program.run();
    const reading = program.read(result);
    device.destroy();
    await expect(reading).rejects.toThrow(DeviceLost);
  });

  test.each(['a result is read', 'a plan is profiled'])(
    'that is told after a mapping has failed of it, as %s: DeviceLost, not that it was aborted',
    async (which) => {
      const { adapter } = await requestNodeAdapter();
      const requiredFeatures = (['timestamp-query'] as const).filter((name) => adapter.features.has(name));
      const device = await adapter.requestDevice({ requiredFeatures });
      let lose: (info: { reason: string; message: string }) => void;
      const lost = new Promise((resolve) => (lose = resolve));
      const mapAsync = (): Promise<void> => {
        setTimeout(() => lose({ reason: 'unknown', message: 'reset by the driver' }), 20);
        return Promise.reject(new DOMException('the device is lost', 'AbortError'));
      };
      const createBuffer = (descriptor: GPUBufferDescriptor) =>
        Object.defineProperty(device.createBuffer(descriptor), 'mapAsync', { value: mapAsync });
      const gpu = await Gpu.open({ device: alteredDevice(device, { createBuffer, lost }) });
      const { program, result } = await copyProgram(gpu);
      const isRead = which === 'a result is read' || requiredFeatures.length === 0;
      const asked = isRead ? program.read(result) : program.profile();
      await expect(asked).rejects.toThrow(DeviceLost);
      await expect(asked).rejects.toThrow('reset by the driver');
      device.destroy();
    },
  );

  test('destroyed between the submits of a run: DeviceLost, and nothing left unhandled', async () => {
    const device = await freshDevice();
    const gpu = await Gpu.open({ device });
    const { program } = await copyProgram(gpu, 6);
    const running = program.run({ submitMs: 0 });
    device.destroy();
    await expect(running).rejects.toThrow(DeviceLost);
  });

  test('destroyed while a plan is prepared: DeviceLost', async () => {
    const device = await freshDevice();
    const gpu = await Gpu.open({ device });
    const creating = copyProgram(gpu);
    device.destroy();
    await expect(creating).rejects.toThrow(DeviceLost);
    expect(gpu.allocatedBytes).toBe(0);
  });
});

describe('who owns the device', () => {
  test('a supplied one is never destroyed, and works on', async () => {
    const device = await freshDevice();
    let lost = false;
    void device.lost.then(() => {
      lost = true;
    });
    const gpu = await Gpu.open({ device });
    const { program } = await copyProgram(gpu);
    program.dispose();
    gpu.dispose();
    const again = await Gpu.open({ device });
    const { program: other, result } = await copyProgram(again);
    await other.run();
    expect(new Float32Array(await other.read(result))).toEqual(new Float32Array(64).fill(3));
    expect(lost).toBe(false);
    device.destroy();
    expect((await device.lost).reason).toBe('destroyed');
  });

  test('one that was opened here is, once', async () => {
    const gpu = await Gpu.open();
    gpu.dispose();
    gpu.dispose();
    expect((await gpu.device.lost).reason).toBe('destroyed');
    expect(() => gpu.assertAlive()).toThrow(DeviceLost);
  });

  test('plans respect lowered limits', async () => {
    using gpu = await Gpu.open({ limits: { maxBindingBytes: 4096 } });
    expect(gpu.limits.maxBindingBytes).toBe(4096);
    expect(gpu.limits.maxBufferBytes).toBe(gpu.device.limits.maxBufferSize);
  });

  test("limits that are left undefined are the device's, and none is raised above it", async () => {
    const { device } = await testDevice();
    const own = await Gpu.open({ device });
    const none = {
      maxBindingBytes: undefined,
      maxBufferBytes: undefined,
      maxDispatchFlops: undefined,
      kernels: undefined,
    };
    const beyond = { maxBindingBytes: 2 ** 50, maxBufferBytes: Infinity };
    for (const limits of [none, beyond]) {
      const gpu = await Gpu.open({ device, limits: limits as unknown as Partial<PlanLimits> });
      expect(gpu.limits).toEqual(own.limits);
    }
  });

  test('bindings stay within 32 bits, whatever a device says', async () => {
    const device = await freshDevice();
    const told = new Proxy(device.limits, {
      get: (limits, name) =>
        name === 'maxStorageBufferBindingSize' ? 2 ** 33 : (Reflect.get(limits, name, limits) as unknown),
    });
    using gpu = await Gpu.open({ device: alteredDevice(device, { limits: told }) });
    expect(gpu.limits.maxBindingBytes).toBe(2 ** 32 - 4);
    device.destroy();
  });
});

describe('what an adapter is', () => {
  const unnamed = { vendor: '', architecture: '', device: '', description: '' } as GPUAdapterInfo;

  test.each([
    [{ vendor: 'nvidia', architecture: 'ada' }, 'hardware'],
    [{ isFallbackAdapter: false }, 'hardware'],
    [{ isFallbackAdapter: true }, 'software'],
    [{ vendor: 'google', architecture: 'swiftshader', isFallbackAdapter: true }, 'swiftshader'],
    [{ description: 'llvmpipe: Mesa 26', isFallbackAdapter: true }, 'lavapipe'],
    [{ vendor: 'microsoft', description: 'Microsoft Basic Render Driver' }, 'software'],
    // Chrome, without what only developers are told.
    [{ vendor: 'google', architecture: 'swiftshader' }, 'swiftshader'],
    [{ vendor: 'mesa', architecture: 'software' }, 'lavapipe'],
    [{ vendor: 'microsoft', architecture: 'warp' }, 'software'],
    [{ vendor: 'intel', architecture: 'xe-2lpg' }, 'hardware'],
    [{ vendor: 'apple', architecture: 'metal-3' }, 'hardware'],
    [{ vendor: 'qualcomm', architecture: 'adreno-7xx' }, 'hardware'],
    [{ vendor: 'arm', architecture: 'valhall' }, 'hardware'],
    [{ vendor: 'mesa', architecture: '', device: '', description: 'AMD Radeon (RADV)' }, 'hardware'],
  ] as const)('%j: %s', (info, kind) => {
    expect(adapterClassOf({ ...unnamed, ...info })).toBe(kind);
  });

  /** An opened adapter that tells no name, with some features and limits of its own. */
  async function unnamedAdapter(features: string[], limits: Record<string, number>): Promise<Gpu> {
    const found = await requestNodeAdapter();
    const told: Record<string, unknown> = {
      info: { ...unnamed, isFallbackAdapter: true },
      features: new Set([...found.adapter.features, ...features]),
      limits: new Proxy(found.adapter.limits, {
        get: (target, name) => limits[name as string] ?? (Reflect.get(target, name, target) as unknown),
      }),
    };
    const adapter = new Proxy(found.adapter, {
      get: (target, name) => {
        const value: unknown = told[name as string] ?? Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    setAdapterProvider(() => Promise.resolve({ ...found, adapter, implementation: 'Firefox/150' }));
    try {
      return await Gpu.open();
    } finally {
      setAdapterProvider(requestNodeAdapter);
    }
  }

  test('without names, adapters are told apart by features and limits; the same one is the same again', async () => {
    using first = await unnamedAdapter([], {});
    using again = await unnamedAdapter([], {});
    using featured = await unnamedAdapter(['made-up-feature'], {});
    using limited = await unnamedAdapter([], { maxTextureDimension2D: 12_345 });
    expect(again.identity).toBe(first.identity);
    expect(new Set([first, featured, limited].map(({ identity }) => identity)).size).toBe(3);
    expect(first.identity).toContain('Firefox/150');
    expect(first.adapterClass).toBe('software');
  });
});
