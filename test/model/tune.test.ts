/** Kernels chosen by measuring: right ones only, by the 5 % rule, kept from run to run and with a checkpoint. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Aborted, InvalidModel, OutOfMemory } from '../../src/errors.ts';
import { choicesSchema, kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import {
  kernelsOf,
  passKey,
  runsOn,
  unavailable,
  type Abilities,
  type CountedPass,
} from '../../src/gpu/passes.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { Program } from '../../src/gpu/program.ts';
import { usualWalk } from '../../src/gpu/walk.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import { readJson } from '../../src/json.ts';
import { benchPass, ClockTooCoarse, type PassBench } from '../../src/model/pass-bench.ts';
import { planTraining } from '../../src/model/plan.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { cachedChoices, tune, type TuningOptions } from '../../src/model/tune.ts';
import { cacheName, setTuningStore } from '../../src/model/tuning-cache.ts';
import { previousName } from '../../src/files/store.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { alteredDevice } from '../support/altered-device.ts';
import { testDevice } from '../support/device.ts';
import { box, memory } from '../support/training.ts';

const pass = (more: Partial<CountedPass> = {}): CountedPass => {
  const made = {
    kind: 'forward',
    inputs: [{ channels: 2, norm: true }],
    channelsOut: 8,
    grid: [9, 8, 5],
    precision: 'f32',
    flops: 1,
    ...more,
  } as const;
  return { ...made, key: passKey(made) };
};

/** The kernel that the adapter's table names for forward passes. */
const standardOf = ({ limits }: Gpu): string => limits.kernels.conv3;

/** Real results and no times. */
const quick: TuningOptions['bench'] = (gpu, under) => {
  const real = benchPass(gpu, under);
  const open = async (kernel: string) => ({ ...(await real.open(kernel)), time: () => Promise.resolve(1) });
  return { ...real, open };
};

/** Times in place of measured ones; results are those of `outputs`, or the same for all. */
function timed(ms: Record<string, number>, outputs: Record<string, readonly number[]> = {}) {
  const opened: string[] = [];
  const bench = (): PassBench => ({
    compile: () => Promise.resolve(),
    open: (kernel) => {
      opened.push(kernel);
      const time = ms[kernel];
      if (time === undefined) return Promise.reject(new Error(`${kernel} does not compile`));
      return Promise.resolve({
        output: () => Promise.resolve([Float32Array.from(outputs[kernel] ?? [1, 2, 3])]),
        time: () => Promise.resolve(time),
        dispose: () => undefined,
      });
    },
    dispose: () => undefined,
  });
  return { options: { bench, candidates: () => Object.keys(ms) }, opened };
}

describe('the passes of a plan', () => {
  test('are named by what matters for speed', () => {
    expect(pass().key).toBe('forward 2n>8 16x8x8 f32');
    const inputs = [
      { channels: 16, norm: true },
      { channels: 16, norm: false },
    ];
    expect(pass({ inputs, channelsOut: 16, grid: [256, 200, 256], precision: 'f16' }).key).toBe(
      'forward 16n+16>16 256x256x256 f16',
    );
    expect(pass({ kind: 'weights' }).key).toBe('weights 2n>8 16x8x8 f32');
  });

  test('are part of the plan, the most work first, and choose its kernels', () => {
    const plan = (kernels = kernelChoices.hardware) => {
      const limits: PlanLimits = {
        maxBindingBytes: 2 ** 27,
        maxBufferBytes: 2 ** 28,
        maxDispatchFlops: Infinity,
        kernels,
      };
      const config = completeConfig({ inChannels: 1, classes: 2, features: [8, 16] });
      const loss = lossShape(weightedDice(), 2);
      return planTraining({ config, size: [16, 16, 8], batch: 2, limits, loss, optimizer: adam() }).plan;
    };
    const { passes } = plan();
    expect(passes[0]!.key).toBe('forward 8>8 16x16x16 f32');
    expect(passes.map(({ flops }) => flops)).toEqual(passes.map(({ flops }) => flops).sort((a, b) => b - a));
    expect(new Set(passes.map(({ key }) => key)).size).toBe(passes.length);
    expect(JSON.parse(JSON.stringify(passes))).toEqual(passes);

    const tuned = {
      'forward 8>8 16x16x16 f32': 'tiled 8x8x8, 8',
      'weights 1>8 16x16x16 f32': 'tiled 8x16, 16x2, 4',
    };
    const { dispatches } = plan({ ...kernelChoices.hardware, tuned });
    const count = (shader: string) => dispatches.filter((dispatch) => dispatch.shader === shader).length;
    expect(count('conv3/weight_gradient_tiled')).toBe(1);
    expect(count('conv3/forward_tiled')).toBeGreaterThan(1);
    expect(count('conv3/forward')).toBeGreaterThan(1);
  });
});

describe('tune', () => {
  test('measures what runs here; all kernels give the same numbers', async () => {
    const gpu = await testDevice();
    const typical = ['voxels', 'lines', 'tiled 8x8x8, 8', 'tiled 8x16, 16x2, 4']; // SwiftShader compiles slowly
    const candidates: TuningOptions['candidates'] = (one) =>
      kernelsOf(one).filter((name) => gpu.adapterClass !== 'swiftshader' || typical.includes(name));
    const passes = [
      pass({
        inputs: [
          { channels: 2, norm: true },
          { channels: 3, norm: false },
        ],
      }),
      pass({ kind: 'weights', precision: 'f16' }),
    ];
    const { measured, tuned, left } = await tune(gpu, passes, { candidates });
    expect(left).toBe(0);
    expect(measured.map(({ key }) => key)).toEqual(passes.map(({ key }) => key));
    for (const { key, kernel, standard, ms, standardMs, rejected } of measured) {
      expect(rejected).toEqual([]);
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThanOrEqual(standardMs);
      expect(tuned[key]).toBe(kernel === standard ? undefined : kernel);
    }
  });

  test('measures nothing where there is one kernel', async () => {
    const { device } = await testDevice();
    using gpu = await Gpu.open({ device, matrixUnits: false });
    const { kernel } = usualWalk;
    const strided = pass({ walk: { kernel, stride: [2, 2, 2], dilation: [1, 1, 1] } });
    const { options, opened } = timed({ plain: 100 });
    expect(await tune(gpu, [strided], options)).toEqual({ tuned: {}, measured: [], left: 0 });
    expect(opened).toEqual([]);
  });

  test('a kernel must gain five per cent, and the fastest is taken', async () => {
    const gpu = await testDevice();
    const standard = standardOf(gpu);
    const choose = async (ms: Record<string, number>) =>
      (await tune(gpu, [pass()], { ...timed({ [standard]: 100, ...ms }).options })).measured[0]!;
    expect(await choose({ 'tiled 8x8x8, 8': 96 })).toMatchObject({ kernel: standard, ms: 100 });
    expect(await choose({ 'tiled 8x8x8, 8': 95 })).toMatchObject({ kernel: 'tiled 8x8x8, 8', ms: 95 });
    const several = {
      'tiled 8x8x8, 8': 90,
      'tiled 16x8x4, 8': 50,
      'tiled 16x8x8, 8': 96,
      'tiled 32x8x4, 8': 70,
    };
    expect(await choose(several)).toMatchObject({
      kernel: 'tiled 16x8x4, 8',
      next: ['tiled 32x8x4, 8', 'tiled 8x8x8, 8'],
      standardMs: 100,
    });
  });

  test('a gain must show twice', async () => {
    const gpu = await testDevice();
    const standard = standardOf(gpu);
    const candidate = 'tiled 8x8x8, 8';
    const times: Record<string, number[]> = { [standard]: [300, 100], [candidate]: [120, 120] };
    const bench: TuningOptions['bench'] = () => ({
      ...timed({}).options.bench(),
      open: (kernel) =>
        Promise.resolve({
          output: () => Promise.resolve([Float32Array.of(1, 2)]),
          time: () => Promise.resolve(times[kernel]!.shift()!),
          dispose: () => undefined,
        }),
    });
    const { measured } = await tune(gpu, [pass()], { bench, candidates: () => [candidate] });
    expect(measured[0]).toMatchObject({ kernel: standard, ms: 100, standardMs: 100 });
  });

  test('kernels that compute something else, or do not compile, are rejected', async () => {
    const gpu = await testDevice();
    const standard = standardOf(gpu);
    const ms = { [standard]: 100, 'tiled 8x8x8, 8': 1, 'tiled 16x8x4, 8': 2, 'tiled 16x8x4, 16': 80 };
    const outputs = { 'tiled 8x8x8, 8': [1, 2, 3.001], 'tiled 16x8x4, 8': [1, NaN, 3] };
    const names = [...Object.keys(ms), 'tiled 32x8x4, 8'];
    const options = { ...timed(ms, outputs).options, candidates: () => names };
    const { measured } = await tune(gpu, [pass()], options);
    expect(measured[0]!.kernel).toBe('tiled 16x8x4, 16');
    expect(measured[0]!.rejected).toEqual(['tiled 8x8x8, 8', 'tiled 16x8x4, 8', 'tiled 32x8x4, 8']);
  });

  test('where the table has a wrong kernel, others are held against what takes its place', async () => {
    const gpu = await testDevice();
    const ms = { channels: 10, voxels: 100, 'tiled 8x8x8, 8': 50 };
    const { options } = timed(ms, { channels: [1, 2, 4] });
    const table: KernelChoices = { ...kernelChoices.lavapipe, conv3: 'voxels' };
    const { measured, tuned } = await tune(gpu, [pass()], { ...options, table });
    expect(measured[0]).toMatchObject({ standard: 'voxels', rejected: ['channels'] });
    expect(tuned).toEqual({ [pass().key]: 'tiled 8x8x8, 8' });
  });

  test('however many sizes matrix units have, kernels without them are tried, too', async () => {
    const { limits, identity } = await testDevice();
    const shapes = [8, 16].flatMap((m) => [8, 16].flatMap((n) => [8, 16].map((k) => ({ m, n, k }))));
    const most = {
      maxComputeWorkgroupStorageSize: 2 ** 20,
      maxComputeInvocationsPerWorkgroup: 2048,
      maxComputeWorkgroupSizeX: 2048,
    };
    const matrixUnits = { shapes, subgroup: 32, precisions: ['f32'] as const };
    const abilities: Abilities = { limits: most as GPUSupportedLimits, matrixUnits };
    const given = { device: {}, limits, identity, matrixUnits, abilities };
    const gpu = { ...given, storageFormat: () => 'f32' } as unknown as Gpu;
    const names = kernelsOf(pass(), matrixUnits);
    const { options, opened } = timed(Object.fromEntries(names.map((name) => [name, 100])));
    await tune(gpu, [pass()], options);
    expect(opened).toHaveLength(25); // the table's, first
    const others = kernelsOf(pass()).filter((name) => runsOn(name, abilities));
    expect(opened.filter((name) => others.includes(name)).sort()).toEqual([...others].sort());
  });

  test('a kernel on the device with one wrong number is rejected, however fast', async () => {
    const gpu = await testDevice();
    const wrong = 'tiled 8x8x8, 8';
    const standard = standardOf(gpu);
    const bench: TuningOptions['bench'] = (device, under) => {
      const real = benchPass(device, under);
      return {
        ...real,
        open: async (kernel) => {
          const trial = await real.open(kernel);
          const output = async () => {
            const parts = await trial.output();
            if (kernel === wrong) parts[0]![100] = parts[0]![100]! + 1;
            return parts;
          };
          return { ...trial, output, time: () => Promise.resolve(kernel === wrong ? 1 : 100) };
        },
      };
    };
    const options = { bench, candidates: () => [standard, wrong] };
    const { measured, tuned } = await tune(gpu, [pass()], options);
    expect(measured[0]).toMatchObject({ kernel: standard, rejected: [wrong] });
    expect(tuned).toEqual({});
  });

  test.each([16, 0] as const)('wrong in the middle of a large volume alone, in %i voxels', async (count) => {
    const gpu = await testDevice();
    const [standard, wrong] = [standardOf(gpu), 'tiled 8x8x8, 8'];
    const large = pass({ inputs: [{ channels: 1, norm: true }], channelsOut: 8, grid: [64, 64, 24] });
    const run = Program.prototype.run; // oxlint-disable-line typescript/unbound-method
    const spy = vi.spyOn(Program.prototype, 'run').mockImplementation(async function (
      this: Program,
      options = {},
    ) {
      const { dispatches } = this.plan;
      if (!dispatches.some(({ shader }) => shader === 'conv3/forward_tiled')) return run.call(this, options);
      const computed = 1 + dispatches.findLastIndex(({ shader }) => shader.startsWith('conv3/'));
      await run.call(this, { ...options, to: computed });
      const { tensor: target } = dispatches[computed - 1]!.bindings['target_']!;
      this.write(target, new Float32Array(count), Math.ceil(target.bytes / 2));
      if (computed < dispatches.length) await run.call(this, { ...options, from: computed });
    });
    onTestFinished(() => spy.mockRestore());
    const { measured } = await tune(gpu, [large], { bench: quick, candidates: () => [wrong] });
    expect(measured[0]).toMatchObject({ standard, rejected: count > 0 ? [wrong] : [] });
  });

  test('long passes are left to the table; time runs out; an abort keeps what was measured', async () => {
    const gpu = await testDevice();
    const standard = standardOf(gpu);
    const long = timed({ [standard]: 501, 'tiled 8x8x8, 8': 1 });
    const { measured } = await tune(gpu, [pass()], { ...long.options });
    expect(measured[0]!.kernel).toBe(standard);
    expect(long.opened).toEqual([standard]);

    const passes = [pass(), pass({ channelsOut: 16 })];
    const short = memory();
    const none = await tune(gpu, passes, { ...long.options, store: short, budgetMs: 0 });
    expect(none).toEqual({ tuned: {}, measured: [], left: 2 });
    // What was left stays with the table, so that the next training gives the same bits.
    const next = await tune(gpu, passes, { ...long.options, store: short });
    expect(next).toEqual({ tuned: {}, measured: [], left: 0 });

    const store = memory();
    const abort = new AbortController();
    const quick = timed({ [standard]: 100, 'tiled 8x8x8, 8': 1 });
    const bench: TuningOptions['bench'] = () => {
      if (quick.opened.length > 0) abort.abort();
      return quick.options.bench();
    };
    await expect(tune(gpu, passes, { ...quick.options, bench, store, signal: abort.signal })).rejects.toThrow(
      Aborted,
    );
    expect(await cachedChoices(gpu, store)).toEqual({ [passes[0]!.key]: 'tiled 8x8x8, 8' });
  });
});

describe('a pass by itself', () => {
  /** A device that notes what is written, by the name of the buffer, and fails to make that of one name. */
  async function watchedDevice(limits: Partial<PlanLimits> = {}, missing?: string) {
    const { device } = await testDevice();
    const names = new Map<GPUBuffer, string>();
    const written = new Map<string, Uint8Array>();
    const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
      const { label = '' } = descriptor;
      const buffer = device.createBuffer({ ...descriptor, ...(label === missing && { usage: 0 }) });
      names.set(buffer, label);
      return buffer;
    };
    const queue = new Proxy(device.queue, {
      get(real, property) {
        if (property === 'writeBuffer')
          return (...[buffer, at, data, from, size]: Parameters<GPUQueue['writeBuffer']>) => {
            const bytes = new Uint8Array(data as ArrayBuffer, from, size);
            if (names.has(buffer)) written.set(names.get(buffer)!, bytes.slice());
            real.writeBuffer(buffer, at, data, from, size);
          };
        const value: unknown = Reflect.get(real, property, real);
        return typeof value === 'function' ? (value.bind(real) as unknown) : value;
      },
    });
    return {
      gpu: await Gpu.open({ device: alteredDevice(device, { createBuffer, queue }), limits }),
      written,
    };
  }

  test('has other numbers in each of its volumes', async () => {
    const { gpu, written } = await watchedDevice();
    const { kernels } = gpu.limits;
    const under = benchPass(gpu, pass({ kind: 'weights', channelsOut: 2 }));
    (await under.open(kernels.conv3Weights)).dispose();
    const [input, gradient] = [written.get('input 0')!, written.get('gradient')!];
    expect(gradient).toHaveLength(input.length);
    expect(gradient).not.toEqual(input);
    under.dispose();
    gpu.dispose();
  });

  test('fits the largest buffer of the device', async () => {
    const { gpu, written } = await watchedDevice({ maxBufferBytes: 2 ** 18 });
    const under = benchPass(gpu, pass({ grid: [64, 32, 32] }));
    (await under.open(standardOf(gpu))).dispose();
    expect(written.get('input 0')!.length).toBeGreaterThan(2 ** 14);
    for (const { length } of written.values()) expect(length).toBeLessThanOrEqual(2 ** 18);
    under.dispose();
    gpu.dispose();
  });

  test('and all kernels that are measured keep to the memory that they may take', async () => {
    const memoryBudget = 2 ** 19;
    const under = pass({ grid: [64, 32, 32] }); // whole, its volumes take 4 MiB
    for (const budget of [undefined, memoryBudget]) {
      const { gpu, written } = await watchedDevice();
      let most = 0;
      const bench: TuningOptions['bench'] = (...given) => {
        const real = benchPass(...given);
        return {
          ...real,
          open: async (kernel) => {
            const trial = await real.open(kernel);
            most = Math.max(most, gpu.allocatedBytes);
            return { ...trial, time: () => Promise.resolve(1) };
          },
        };
      };
      await tune(gpu, [under], { memoryBudget: budget, bench, candidates: () => [] });
      expect(written.get('input 0')!.length).toBeGreaterThan(2 ** 14);
      // Weights and statistics besides.
      if (budget) expect(most).toBeLessThanOrEqual(budget + 2 ** 17);
      else expect(most).toBeGreaterThan(2 ** 21);
      gpu.dispose();
    }
  });

  test('whose inputs cannot be made leaves nothing behind', async () => {
    const { gpu } = await watchedDevice({}, 'input 0');
    const under = benchPass(gpu, pass());
    await under.compile([standardOf(gpu)]);
    await expect(under.open(standardOf(gpu))).rejects.toThrow(/^inputs of a pass: /);
    expect(gpu.allocatedBytes).toBe(0);
    gpu.assertAlive(); // nobody else hears of it
    under.dispose();
    gpu.dispose();
  });
});

describe('the cache', () => {
  test.each([
    ['memory', new OutOfMemory('the GPU is full', 1, 1), 1],
    ['a fine clock', new ClockTooCoarse({ ms: 100, error: 100 }), 2],
  ])('does not hold passes that were not measured for want of %s', async (_, error, failing) => {
    const gpu = await testDevice();
    const store = memory();
    const passes = [pass(), pass({ channelsOut: 16 })];
    const ms = { [standardOf(gpu)]: 100, 'tiled 8x8x8, 8': 50 };
    const { options } = timed(ms);
    const bench: TuningOptions['bench'] = (_, { channelsOut }) => {
      if (channelsOut === 8) throw error;
      return options.bench();
    };
    const first = await tune(gpu, passes, { ...options, store, bench });
    expect(first.left).toBe(failing);
    const second = await tune(gpu, passes, { ...options, store });
    expect(second.measured).toHaveLength(failing);
    expect(second.tuned).toEqual(Object.fromEntries(passes.map(({ key }) => [key, 'tiled 8x8x8, 8'])));
  });

  test('is asked before anything is measured', async () => {
    const gpu = await testDevice();
    const store = memory();
    const ms = { [standardOf(gpu)]: 100, 'tiled 16x8x4, 8': 60, 'tiled 8x8x8, 8': 50 };
    const first = await tune(gpu, [pass()], { store, ...timed(ms).options });
    const second = timed({});
    const started: number[] = [];
    const onPass = (_done: number, count: number) => started.push(count);
    const again = await tune(gpu, [pass()], { store, ...second.options, onPass });
    expect(again).toEqual({ tuned: first.tuned, measured: [], left: 0 });
    expect(first.tuned).toEqual({ [pass().key]: 'tiled 8x8x8, 8' });
    expect(second.opened).toEqual([]);
    expect(started).toEqual([]);
    const text = new TextDecoder().decode(store.files.get(cacheName));
    const device = Object.keys((JSON.parse(text) as { devices: object }).devices)[0]!;
    expect(JSON.parse(text)).toEqual({
      'unet3d-gpu kernels': 1,
      devices: { [device]: first.tuned },
      next: { [device]: { [pass().key]: ['tiled 16x8x4, 8'] } },
      trying: { [device]: {} },
    });
  });

  test.each([
    ['half a file', '{"unet3d-gpu kernels": 1, "devi'],
    ['another layout', '{"unet3d-gpu kernels": 2, "devices": {}}'],
    ['no table', '{"unet3d-gpu kernels": 1, "devices": {"a": {"forward": 3}}}'],
    ['no lists', '{"unet3d-gpu kernels": 1, "devices": {}, "next": {"a": {"forward": "voxels"}}}'],
    ['a list', '[]'],
    ['nothing', 'null'],
  ])('%s is left aside with a warning and written anew', async (_, text) => {
    const gpu = await testDevice();
    const store = memory();
    await store.save(cacheName, new TextEncoder().encode(text));
    const warnings: string[] = [];
    const only = timed({ [standardOf(gpu)]: 100 });
    await tune(gpu, [pass()], { store, ...only.options, warn: (message) => warnings.push(message) });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('the cache of kernel choices (kernels.json) is left aside');
    expect(await cachedChoices(gpu, store)).toEqual({ [pass().key]: standardOf(gpu) });
  });

  test('holds names of other versions, which are not used, but measured anew, once', async () => {
    const gpu = await testDevice();
    const store = memory();
    const ms = { [standardOf(gpu)]: 100, 'tiled 16x8x4, 8': 60, 'tiled 8x8x8, 8': 50 };
    const measure = () => tune(gpu, [pass()], { store, ...timed(ms).options });
    await measure();
    const text = new TextDecoder().decode(store.files.get(cacheName));
    const changed = text.replace(': "tiled 8x8x8, 8"', ': "spheres"').replace('"tiled 16x8x4, 8"', '"cubes"');
    expect(changed).toContain('spheres');
    expect(changed).toContain('cubes');
    await store.save(cacheName, new TextEncoder().encode(changed));
    expect(await cachedChoices(gpu, store)).toEqual({});
    expect((await measure()).measured).toHaveLength(1);
    const repaired = new TextDecoder().decode(store.files.get(cacheName));
    expect(JSON.parse(repaired)).toEqual(JSON.parse(text));
    expect((await measure()).measured).toEqual([]);
  });
});

test('choices as JSON', async () => {
  const { device } = await testDevice();
  const choices = { ...kernelChoices.hardware, tuned: { [pass().key]: 'tiled 8x8x8, 8' } };
  const read = (text: string) => readJson(text, choicesSchema, (problem) => new InvalidModel(problem));
  const text = JSON.stringify(choices);
  expect(read(text)).toEqual(choices);
  expect(() => read('null')).toThrow(/it is null; expected an object/);
  expect(() => read('{}')).toThrow(/conv3 is missing; expected a text/);
  expect(() => read('{"conv3": 1}')).toThrow(/conv3 is 1; expected a text/);
  expect(() => read(text.replace('"tiled 8x8x8, 8"', '3'))).toThrow(/tuned\..* is 3; expected a text/);
  expect(unavailable(choices, device)).toEqual([]);
  const small = { limits: { ...limitsOf(device), maxComputeWorkgroupStorageSize: 16384 } };
  expect(runsOn('tiled 16x16, 16x2, 8', small)).toBe(false);
  expect(runsOn('tiled 32x8x4, 8', small)).toBe(true);
  expect(unavailable({ ...choices, tuned: { a: 'spheres' } }, device)).toEqual(['spheres']);
});

const limitsOf = ({ limits }: GPUDevice): GPUSupportedLimits => {
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = limits;
  return { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } as GPUSupportedLimits;
};

describe('fit', () => {
  const cases = [1, 2, 3, 4].map(box);
  const options: TrainingOptions = { epochs: 2, batchSize: 2, seed: 5 };
  const tiled = {
    ...kernelChoices.hardware,
    conv3: 'tiled 8x8x8, 8',
    conv3Weights: 'tiled 8x16, 16x2, 4',
  } as const;

  async function create(kernels?: PlanLimits['kernels']): Promise<UNet3D> {
    const { device } = await testDevice();
    const limits = kernels ? { limits: { kernels } } : {};
    return UNet3D.create({ inChannels: 1, classes: 2, features: [4], seed: 3, device, ...limits });
  }

  /** A checkpoint of a training that was stopped after its first step. */
  async function stopped(kernels: PlanLimits['kernels']) {
    using model = await create(kernels);
    const checkpoint = memory();
    const abort = new AbortController();
    const onEvent = (event: TrainingEvent) => event.type === 'step' && event.step === 0 && abort.abort();
    const run = model.fit(cases, { ...options, checkpoint, signal: abort.signal, onEvent });
    await expect(run).rejects.toThrow(Aborted);
    return checkpoint;
  }

  async function trained(kernels?: PlanLimits['kernels'], more: TrainingOptions = {}) {
    using model = await create(kernels);
    const events: TrainingEvent[] = [];
    await model.fit(cases, { ...options, ...more, onEvent: (event) => events.push(event) });
    return { weights: await model.save(), events };
  }

  test('a resumed training keeps its kernels, to the bit, whatever the table says', async () => {
    const { weights: expected } = await trained(tiled);
    const { weights: plain } = await trained(kernelChoices.hardware);
    expect(plain).not.toEqual(expected);
    const checkpoint = await stopped(tiled);
    const resumed = await trained(kernelChoices.hardware, { checkpoint, resume: true });
    expect(resumed.weights).toEqual(expected);
    expect(resumed.events.some(({ type }) => type === 'warning')).toBe(false);
  });

  test('a checkpoint that names no kernels, or unknown ones, goes on with the table', async () => {
    const { weights: expected } = await trained(kernelChoices.hardware);
    const edited = async (version: string, kernels: string | undefined) => {
      const checkpoint = await stopped(kernelChoices.hardware);
      const { tensors, metadata } = readSafetensors(checkpoint.files.get(checkpointName)!, 'checkpoint');
      const changed = new Map(Object.entries({ ...metadata, 'unet3d-gpu checkpoint': version }));
      changed.delete('sha256');
      if (kernels === undefined) changed.delete('kernels');
      else changed.set('kernels', kernels);
      const file = { tensors, metadata: Object.fromEntries(changed) };
      await checkpoint.save(checkpointName, writeSafetensors(file));
      checkpoint.files.delete(previousName(checkpointName));
      return trained(kernelChoices.hardware, { checkpoint, resume: true });
    };
    const old = await edited('2', undefined);
    expect(old.weights).toEqual(expected);
    const unknown = await edited('3', JSON.stringify({ ...tiled, conv3: 'spheres' }));
    expect(unknown.weights).toEqual(expected);
    expect(unknown.events).toContainEqual({
      type: 'warning',
      message:
        'the checkpoint was computed with kernels that this device or version does not run (spheres); ' +
        "the adapter's own take their place, and results may differ in the last digits",
    });
    await expect(edited('3', '{"conv3": 4}')).rejects.toThrow(/kernels/);
  });

  test('software adapters are not tuned unless asked; choices are told, used and kept', async () => {
    const gpu = await testDevice();
    const store = memory();
    setTuningStore(() => Promise.resolve(store));
    onTestFinished(() => setTuningStore(() => Promise.resolve(undefined)));
    const silent = await trained(kernelChoices.hardware);
    if (gpu.adapterClass !== 'hardware') {
      expect(silent.events.some(({ type }) => type === 'tuned' || type === 'tuning')).toBe(false);
      const kept = new TextDecoder().decode(store.files.get(cacheName));
      expect(JSON.parse(kept)).toMatchObject({ devices: {} }); // no choices, but proofs
      expect(kept).not.toContain('forward');
    }
    // Everything is known already.
    using model = await create(kernelChoices.hardware);
    const plan = model.plan({ size: [11, 9, 8] });
    const kernelFor = (kind: string) => (kind === 'forward' ? tiled.conv3 : tiled.conv3Weights);
    await tune(model.gpu, plan.passes, {
      store,
      bench: (_, { kind }) =>
        timed({ voxels: 9, channels: 9, lines: 9, [kernelFor(kind)]: 1 }).options.bench(),
    });
    const { weights, events } = await trained(kernelChoices.hardware, { tune: true });
    const choices = Object.fromEntries(plan.passes.map(({ key, kind }) => [key, kernelFor(kind)]));
    expect(events.filter(({ type }) => type === 'tuned' || type === 'tuning')).toEqual([
      {
        type: 'tuned',
        choices,
        passes: plan.passes.length,
        measured: 0,
        left: 0,
        seconds: expect.any(Number) as number,
      },
    ]);
    expect(weights).toEqual((await trained(tiled)).weights);
    expect(weights).not.toEqual(silent.weights);
  });
});
