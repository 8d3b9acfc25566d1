/** Plans on a device: what is allocated, what is left behind by failures, replay, abort, profile. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Aborted, GpuError, OutOfMemory } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { Recorder, type Tensor } from '../../src/gpu/plan.ts';
import { Program } from '../../src/gpu/program.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { planInference, planSlabs, planTraining } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import { reducePartials } from '../../src/ops/common.ts';
import { alteredDevice } from '../support/altered-device.ts';
import { view } from '../support/run.ts';
import { testDevice } from '../support/device.ts';

const words = 100;

/** result[i] = Σ over chunks of source[chunk][i]. */
function sumOf(recorder: Recorder, source: Tensor, result: Tensor, chunks = 2): void {
  reducePartials(recorder, `${source.name} to ${result.name}`, source, view(result, words), {
    chunks,
    length: words,
  });
}

function doubling() {
  const recorder = new Recorder();
  const source = recorder.flat('source', 2 * words, 'resident');
  const between = recorder.flat('between', words);
  const result = recorder.flat('result', words, 'resident');
  sumOf(recorder, source, between);
  sumOf(recorder, between, result, 1);
  return { plan: recorder.finish(), source, result };
}

describe('memory', () => {
  test('what is allocated is what the plan says, byte for byte, and all of it is freed', async () => {
    const gpu = await testDevice();
    const before = gpu.allocatedBytes;
    const { plan } = doubling();
    const program = await Program.create(gpu, plan);
    expect(gpu.allocatedBytes - before).toBe(plan.peakBytes);
    program.dispose();
    expect(gpu.allocatedBytes).toBe(before);
    program.dispose();
    expect(gpu.allocatedBytes).toBe(before);
  });

  test.each<[string, Partial<UNet3DConfig>]>([
    ['plain', {}],
    [
      'with kernels and strides per axis',
      {
        strides: [[2, 2, 1]],
        kernels: [
          [3, 3, 1],
          [3, 3, 3],
        ],
        down: 'conv',
      },
    ],
    ['residual', { block: 'residual', encoderBlocks: [1, 2], decoderBlocks: [3], down: 'conv' }],
    [
      'residual with pooling, without scale and shift',
      { block: 'residual', norm: 'instance', scaleAndShift: false },
    ],
  ])(
    "a model's training step and inference: buffers, parameters and shared tensors; %s",
    async (_, network) => {
      const gpu = await testDevice();
      const before = gpu.allocatedBytes;
      const config = completeConfig({ inChannels: 1, classes: 2, features: [2, 4], ...network });
      const shape = { config, size: [8, 4, 4], batch: 1, limits: gpu.limits } as const;
      const loss = { classes: 2, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
      const plans = [
        planInference(shape).plan,
        planSlabs(shape).plan,
        planTraining({ ...shape, loss, optimizer: { kind: 'adam' } }).plan,
      ];
      for (const plan of plans) {
        const state = new ModelState(gpu, config, 1);
        const names = plan.tensors.filter(({ storage }) => storage === 'shared').map(({ name }) => name);
        const program = await Program.create(gpu, plan, await state.shared(names));
        expect(gpu.allocatedBytes - before).toBe(plan.peakBytes);
        program.dispose();
        state.dispose();
        expect(gpu.allocatedBytes).toBe(before);
      }
    },
  );

  test('out of memory while allocating: OutOfMemory with the planned bytes, nothing left', async () => {
    const gpu = await testDevice();
    const { device, destroyed } = exhausted(gpu.device);
    const small = await Gpu.open({ device });
    const { plan } = doubling();
    const creation = Program.create(small, plan);
    await expect(creation).rejects.toThrow(OutOfMemory);
    await expect(creation).rejects.toMatchObject({ planned: plan.peakBytes });
    await expect(creation).rejects.toThrow(/out of memory \(no more\).*use smaller volumes/);
    expect(small.allocatedBytes).toBe(0);
    expect(destroyed()).toBe(plan.buffers.length + 1);
  });

  test('a shared buffer that is too small: GpuError, nothing left', async () => {
    const gpu = await testDevice();
    const recorder = new Recorder();
    const source = recorder.flat('source', 2 * words, 'shared');
    sumOf(recorder, source, recorder.flat('result', words, 'resident'));
    const tiny = gpu.createBuffer('tiny', 256, GPUBufferUsage.STORAGE);
    const before = gpu.allocatedBytes;
    const plan = recorder.finish();
    await expect(Program.create(gpu, plan, new Map([['source', tiny]]))).rejects.toThrow(GpuError);
    await expect(Program.create(gpu, plan)).rejects.toThrow(
      'tensor source (shared) has no buffer in this plan',
    );
    expect(gpu.allocatedBytes).toBe(before);
    gpu.destroyBuffer(tiny);
  });
});

/** The device, on which every allocation is reported as out of memory. */
function exhausted(real: GPUDevice): { device: GPUDevice; destroyed: () => number } {
  let count = 0;
  const scopes: GPUErrorFilter[] = [];
  const overrides: Partial<GPUDevice> = {
    createBuffer(descriptor) {
      const buffer = real.createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        count++;
        return destroy();
      };
      return buffer;
    },
    pushErrorScope(filter) {
      scopes.push(filter);
      return real.pushErrorScope(filter);
    },
    async popErrorScope() {
      const filter = scopes.pop();
      const error = await real.popErrorScope();
      return filter === 'out-of-memory' ? { message: 'no more' } : error;
    },
  };
  const device = new Proxy(real, {
    get(target, name) {
      if (name in overrides) return overrides[name as keyof GPUDevice];
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { device, destroyed: () => count };
}

describe('running', () => {
  const values = Float32Array.from({ length: 2 * words }, (_, i) => i);
  const expected = Float32Array.from({ length: words }, (_, i) => 2 * i + words);

  test('the same plan again and again, with what was written before each run', async () => {
    const { plan, source, result } = doubling();
    using program = await Program.create(await testDevice(), plan);
    for (const factor of [1, -3]) {
      program.write(
        source,
        values.map((value) => factor * value),
      );
      await program.run();
      expect(new Float32Array(await program.read(result, 0, words * 4))).toEqual(
        expected.map((value) => factor * value),
      );
    }
  });

  test('in several submits: the same result; an abort between them', async () => {
    const { plan, source, result } = doubling();
    using program = await Program.create(await testDevice(), plan);
    program.write(source, values);
    await program.run({ submitMs: 0 });
    expect(new Float32Array(await program.read(result, 0, words * 4))).toEqual(expected);

    const abort = new AbortController();
    const zeros = new Float32Array(words);
    program.write(result, zeros);
    const running = program.run({ submitMs: 0, signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toThrow(Aborted);
    expect(new Float32Array(await program.read(result, 0, words * 4))).toEqual(zeros);
    await expect(program.run({ signal: abort.signal })).rejects.toThrow(
      'the computation was stopped before it was complete',
    );
  });

  test('profile gives a time for each dispatch, and the result', async (context) => {
    const gpu = await testDevice();
    if (!gpu.device.features.has('timestamp-query'))
      return context.skip('the adapter has no timestamp-query');
    const { plan, source, result } = doubling();
    using program = await Program.create(gpu, plan);
    program.write(source, values);
    const times = await program.profile();
    expect(times).toHaveLength(plan.dispatches.length);
    for (const time of times) {
      expect(time).toBeGreaterThanOrEqual(0);
      expect(time).toBeLessThan(Infinity);
    }
    expect(new Float32Array(await program.read(result, 0, words * 4))).toEqual(expected);
  });
});

test('profile cuts what is expected to take long into submits, as after a loss', async (context) => {
  const { device } = await testDevice();
  if (!device.features.has('timestamp-query')) return context.skip('the adapter has no timestamp-query');
  const counts: number[] = [];
  const createQuerySet = (descriptor: GPUQuerySetDescriptor) => {
    counts.push(descriptor.count);
    return device.createQuerySet(descriptor);
  };
  for (const caution of [1, 1e12]) {
    const gpu = await Gpu.open({ device: alteredDevice(device, { createQuerySet }), caution });
    using program = await Program.create(gpu, doubling().plan);
    expect(await program.profile()).toHaveLength(2);
    gpu.dispose();
  }
  expect(counts).toEqual([4, 2, 2]);
});

describe('submits', () => {
  /** Of equal dispatches the last half takes fifty times as long: what one submit took after the other, in milliseconds. */
  async function timed({ fails = false, speed = 300 } = {}) {
    await testDevice(); // WebGPU's constants
    let late = 0;
    let [now, busyUntil, recorded, ran] = [0, 0, 0, 0];
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
    onTestFinished(() => clock.mockRestore());
    const submits: number[] = [];
    const count = 20;
    const pass = { setPipeline() {}, setBindGroup() {}, end() {}, dispatchWorkgroups: () => void recorded++ };
    const queue = {
      writeBuffer() {},
      submit() {
        let ms = 0;
        for (; ran < recorded; ran++) ms += ran % count < count / 2 ? 1 : 50;
        submits.push(ms);
        busyUntil = Math.max(busyUntil, now) + ms;
      },
      async onSubmittedWorkDone() {
        const done = busyUntil;
        await Promise.resolve();
        if (fails) throw new Error('the device is lost');
        now = Math.max(now, done) + late;
      },
    };
    const gpu = {
      speed, // at 300 some 20 ms for each dispatch, as it has 200 operations and 1.5 KiB
      device: {
        queue,
        createCommandEncoder: () => ({ beginComputePass: () => pass, finish() {} }),
        createBindGroup() {},
      },
      assertAlive() {},
      storageFormat: () => 'f32',
      pipelines: { get: () => Promise.resolve({ getBindGroupLayout() {} }) },
      checked: (_: string, work: () => unknown) => Promise.resolve(work()),
      createBuffer: () => ({}),
      destroyBuffer() {},
    } as unknown as Gpu;
    const recorder = new Recorder();
    const [source, result] = [recorder.flat('source', 2 * words), recorder.flat('result', words)];
    for (let i = 0; i < count; i++) sumOf(recorder, source, result);
    const program = await Program.create(gpu, recorder.finish());
    return async (submitMs = 100, seenLate = 0) => {
      submits.length = 0;
      late = seenLate;
      await program.run({ submitMs });
      await new Promise((resolve) => setTimeout(resolve)); // until one that nobody waits for is seen to be done
      return submits;
    };
  }

  test('last as long as asked for, also where later dispatches are slower than the first', async () => {
    const run = await timed();
    await run(); // to be measured
    for (let again = 0; again < 5; again++) {
      const submits = await run();
      expect(submits.reduce((sum, ms) => sum + ms, 0)).toBe(10 * 1 + 10 * 50);
      // One more than fills it, and one that was measured among fast ones.
      expect(Math.max(...submits)).toBeLessThanOrEqual(100 + 2 * 50);
      expect(submits.length).toBeLessThan(10);
    }
  });

  test('that fail reject the run, and nothing else', async () => {
    const run = await timed({ fails: true });
    await expect(run()).rejects.toThrow('the device is lost');
  });

  test('a single one that takes too long, time after time, is cut', async () => {
    const run = await timed({ speed: 1e9 });
    for (let again = 0; again < 3; again++) expect(await run()).toEqual([510]);
    await run(); // to be measured in parts
    const submits = await run();
    expect(submits.length).toBeGreaterThan(3);
    expect(Math.max(...submits)).toBeLessThanOrEqual(100 + 2 * 50);
  });

  test('a single one that is seen late now and then stays whole', async () => {
    const run = await timed({ speed: 1e9 });
    for (const late of [0, 5000, 5000, 0, 5000, 0]) expect(await run(1000, late)).toEqual([510]);
  });
});

describe('a broken plan is a GpuError that names it', () => {
  async function failing(change: (recorder: Recorder, source: Tensor, result: Tensor) => void) {
    const gpu = await testDevice();
    const recorder = new Recorder();
    const [source, result] = [recorder.flat('source', 64), recorder.flat('result', 64)];
    change(recorder, source, result);
    const before = gpu.allocatedBytes;
    const creation = Program.create(gpu, recorder.finish());
    await expect(creation).rejects.toThrow(GpuError);
    expect(gpu.allocatedBytes).toBe(before);
    return creation.then(String, String);
  }

  const params = { chunks: 1, length: 64, part: 64, stride: 64, offset: 0 };
  const workgroups = [1, 1, 1] as const;

  test('an unknown constant', async () => {
    const message = await failing((recorder, source, result) => {
      const constants = { TILE: 4 } as Record<never, number>;
      const bindings = { partials: source, result };
      recorder.dispatch('reduce/partials', { label: 'op', bindings, params, constants, workgroups });
    });
    expect(message).toContain('shader reduce/partials has no constant TILE; it has none');
  });

  test('a parameter that is not a number', async () => {
    const message = await failing((recorder, source, result) => {
      const bindings = { partials: source, result };
      const bad = { ...params, stride: NaN };
      recorder.dispatch('reduce/partials', { label: 'op', bindings, params: bad, workgroups });
    });
    expect(message).toContain('op: parameter stride of reduce/partials is NaN');
  });

  test('a binding that is missing', async () => {
    const message = await failing((recorder, source) => {
      const bindings = { partials: source } as unknown as { partials: Tensor; result: Tensor };
      recorder.dispatch('reduce/partials', { label: 'op', bindings, params, workgroups });
    });
    expect(message).toContain('op: nothing bound to result of reduce/partials');
  });

  test('one tensor read and written by the same dispatch', async () => {
    const gpu = await testDevice();
    const recorder = new Recorder();
    const both = recorder.flat('both', 64);
    const bindings = { partials: both, result: both };
    recorder.dispatch('reduce/partials', { label: 'op', bindings, params, workgroups });
    using program = await Program.create(gpu, recorder.finish());
    await expect(gpu.checked('run', () => program.run())).rejects.toThrow(GpuError);
  });
});
