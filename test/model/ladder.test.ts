/** Kernels that are seen to be right before they are used: one that is wrong is dropped at each rung, and told once. */
import { expect, onTestFinished, test } from 'vitest';
import { GpuError, OutOfMemory } from '../../src/errors.ts';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { kindName, kindOf, passKey, type ConvPass, type CountedPass } from '../../src/gpu/passes.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import { proved } from '../../src/model/ladder.ts';
import { benchPass, type PassBench } from '../../src/model/pass-bench.ts';
import { reductionsOf } from '../../src/model/reduction-bench.ts';
import { tune } from '../../src/model/tune.ts';
import { setTuningStore } from '../../src/model/tuning-cache.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { alteredDevice, compiling } from '../support/altered-device.ts';
import { matrixAdapterInfo, testDevice } from '../support/device.ts';
import { kernelsOnMatrices } from '../support/matrices.ts';
import { box, memory } from '../support/training.ts';

/** A device of which the ladder needs no more than this. */
function deviceWithHalves(table: KernelChoices = kernelChoices.hardware): Gpu {
  let native = true;
  const gpu = {
    device: {},
    limits: { ...defaultLimits, kernels: table },
    abilities: {
      limits: {
        maxComputeWorkgroupStorageSize: 65536,
        maxComputeInvocationsPerWorkgroup: 1024,
        maxComputeWorkgroupSizeX: 1024,
      },
      matrixUnits: { shapes: [{ m: 16, n: 16, k: 16 }], subgroup: 32, precisions: ['f16', 'f32'] },
    },
    identity: 'made up',
    storageFormat: (precision: string) => (precision === 'f32' ? 'f32' : native ? 'f16' : 'packed16'),
    packHalves: () => void (native = false),
    isLost: () => Promise.resolve(false),
  };
  return gpu as unknown as Gpu;
}

/** Results that are the same for all kernels but the wrong ones, by `KERNEL STORAGE`; which were opened, once each. */
function benchWith(gpu: Gpu, wrong: readonly string[]) {
  const opened: string[] = [];
  const bench = (_: Gpu, { precision }: ConvPass): PassBench => ({
    compile: () => Promise.resolve(),
    open: (kernel) => {
      const name = `${kernel} ${gpu.storageFormat(precision)}`;
      if (!opened.includes(name)) opened.push(name);
      return Promise.resolve({
        output: () => Promise.resolve([Float32Array.of(1, 2, wrong.includes(name) ? 3.1 : 3)]),
        time: () => Promise.resolve(1),
        dispose: () => undefined,
      });
    },
    dispose: () => undefined,
  });
  return { bench, opened };
}

/** Sums that are right but for the wrong ones, by `REDUCTION STORAGE`. */
function sumsWith(gpu: Gpu, wrong: readonly string[] = []) {
  const summed: string[] = [];
  const reductions: typeof reductionsOf = (_, precision, { reduction }) => {
    const name = `${reduction} ${gpu.storageFormat(precision)}`;
    summed.push(name);
    return Promise.resolve([Float32Array.of(1, 2), Float32Array.of(wrong.includes(name) ? NaN : 3)]);
  };
  return { reductions, summed };
}

const [forward, weights] = ['forward 4>4 8x8x8', 'weights 4>4 8x8x8'];
const all = (precision: string): KernelChoices => ({
  conv3: 'tiled 8x8x8, 8',
  conv3Weights: 'tiled 8x16, 16x2, 4',
  reduction: 'serial',
  workgroups: 64,
  tuned: {
    [`${forward} ${precision}`]: 'tiled 16x8x4, 8',
    [`${weights} ${precision}`]: 'tiled 8x32, 16x2, 4',
  },
});

test.each([
  ['nothing', 'f32', [], {}],
  [
    'what was tuned',
    'f32',
    ['tiled 16x8x4, 8 f32'],
    { tuned: { [`${weights} f32`]: 'tiled 8x32, 16x2, 4' } },
  ],
  ['the table, forward', 'f32', ['tiled 8x8x8, 8 f32'], { conv3: 'voxels' }],
  ['the table, weights', 'f32', ['tiled 8x16, 16x2, 4 f32'], { conv3Weights: 'lines' }],
  [
    'tiles of float16',
    'f16',
    ['tiled 8x8x8, 8 f16', 'tiled 16x8x4, 8 f16', 'tiled 8x32, 16x2, 4 f16'],
    { conv3: 'voxels', tuned: {} },
  ],
  [
    'all in workgroup memory',
    'f32',
    ['tiled 8x8x8, 8', 'tiled 8x16, 16x2, 4', 'tiled 16x8x4, 8', 'tiled 8x32, 16x2, 4'].map(
      (n) => `${n} f32`,
    ),
    { conv3: 'voxels', conv3Weights: 'lines', tuned: {} },
  ],
] as const)('wrong is %s, in %s', async (_, precision, wrong, replaced) => {
  const gpu = deviceWithHalves();
  const store = memory();
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const { bench, opened } = benchWith(gpu, wrong);
  const { reductions } = sumsWith(gpu);
  const prove = () => proved(gpu, all(precision), precision, { store, warn, bench, reductions });
  const expected = { ...all(precision), ...replaced };
  expect(await prove()).toEqual(expected);
  expect(warnings).toHaveLength(wrong.length);
  for (const name of wrong) expect(warnings.some((text) => text.includes(`${name}' wrongly`))).toBe(true);
  // Trying once is enough; another device of the same identity finds it in the store.
  const count = opened.length;
  expect(await prove()).toEqual(expected);
  const other = deviceWithHalves();
  const again = { store, warn: () => undefined, bench, reductions };
  expect(await proved(other, all(precision), precision, again)).toEqual(expected);
  expect(opened).toHaveLength(count);
});

test.each(['f32', 'f16'] as const)(
  'in %s the next fastest that is right serves, then the table, then the plain kernel',
  async (precision) => {
    const table: KernelChoices = { ...kernelChoices.hardware, conv3: 'tiled 8x8x8, 8', reduction: 'serial' };
    const byTime = ['matrix 16x16x16, 32', 'matrix 16x16x16, 16', 'tiled 16x8x4, 8', 'tiled 32x8x4, 8'];
    const made = { kind: 'forward', channelsOut: 4, grid: [8, 8, 8], precision } as const;
    const pass: ConvPass = { ...made, inputs: [{ channels: 4, norm: false }] };
    const key = passKey(pass);
    const counted: CountedPass = { ...pass, key, flops: 1 };
    const times = ['tiled 8x8x8, 8', ...byTime.toReversed(), 'tiled 32x8x8, 8'];
    const measuring = (gpu: Gpu) => (): PassBench => {
      const { bench } = benchWith(gpu, []);
      const real = bench(gpu, pass);
      const open = async (kernel: string) => {
        const time = () => Promise.resolve(kernel === times.at(-1) ? 99 : 100 - times.indexOf(kernel) * 10);
        return { ...(await real.open(kernel)), time };
      };
      return { ...real, open };
    };
    for (let wrong = 0; wrong <= byTime.length + 1; wrong++) {
      const gpu = deviceWithHalves(table);
      const store = memory();
      const candidates = () => times;
      const { tuned } = await tune(gpu, [counted], { store, candidates, bench: measuring(gpu) });
      expect(tuned).toEqual({ [key]: byTime[0] });
      const dropped = [...byTime, table.conv3].slice(0, wrong).map((name) => `${name} ${precision}`);
      const { bench, opened } = benchWith(gpu, dropped);
      const warnings: string[] = [];
      const warn = (message: string): void => void warnings.push(message);
      const given = { store, warn, bench, ...sumsWith(gpu) };
      const found = await proved(gpu, { ...table, tuned }, precision, given);
      expect(found.tuned).toEqual(wrong < byTime.length ? { [key]: byTime[wrong] } : {});
      expect(found.conv3).toBe(wrong > byTime.length ? 'voxels' : table.conv3);
      expect(warnings).toEqual(
        dropped.map((name) => expect.stringContaining(`the kernel 'forward ${name}`) as string),
      );
      // One that gained less than the one that serves, or nothing, is not tried.
      const tried = opened.filter((name) => byTime.some((tile) => name.startsWith(`${tile} `)));
      expect(tried).toHaveLength(Math.min(wrong + 1, byTime.length));
      expect(opened.some((name) => name.startsWith('tiled 32x8x8'))).toBe(false);
      // Units that this device is not to use are not among the next.
      const without = { ...deviceWithHalves(table), abilities: { limits: gpu.abilities.limits } } as Gpu;
      const last = await proved(without, { ...table, tuned: { [key]: byTime[0]! } }, precision, given);
      const allowed = byTime.filter((name, i) => i === 0 || !name.startsWith('matrix'));
      const serves = allowed.find((name) => !dropped.includes(`${name} ${precision}`));
      expect(last.tuned).toEqual(serves === undefined ? {} : { [key]: serves });
    }
  },
);

test('float16 that is wrong natively is packed, and so are the tiles tried then', async () => {
  const gpu = deviceWithHalves();
  const warnings: string[] = [];
  const { bench, opened } = benchWith(gpu, ['lines f16', 'tiled 8x8x8, 8 packed16']);
  const warn = (message: string): void => void warnings.push(message);
  const found = await proved(gpu, all('f16'), 'f16', { warn, bench, ...sumsWith(gpu) });
  expect(gpu.storageFormat('f16')).toBe('packed16');
  expect(found).toEqual({ ...all('f16'), conv3: 'voxels' });
  expect(warnings).toHaveLength(2);
  expect(opened.filter((name) => name.endsWith(' f16'))).toEqual(['voxels f16', 'lines f16']);
});

/** The same, but that opening a kernel fails in these ways, one after the other. */
function benchFailing(gpu: Gpu, failures: Error[], isOne: (name: string) => boolean) {
  const { bench: right } = benchWith(gpu, []);
  return (_: Gpu, pass: ConvPass): PassBench => ({
    ...right(gpu, pass),
    open: (kernel) => {
      const failure = isOne(`${kernel} ${gpu.storageFormat(pass.precision)}`) ? failures.shift() : undefined;
      return failure ? Promise.reject(failure) : right(gpu, pass).open(kernel);
    },
  });
}

test.each([
  ['once', [new GpuError('a hiccup')], 'tiled 8x8x8, 8', undefined],
  [
    'twice',
    [new GpuError('compiling: no'), new GpuError('compiling: still not')],
    'voxels',
    "the kernel 'forward tiled 8x8x8, 8 f32' does not run on this adapter and driver (compiling: still not)",
  ],
  [
    'for want of memory',
    [new OutOfMemory('the GPU is full', 1, 1)],
    'voxels',
    "the kernel 'forward tiled 8x8x8, 8 f32' could not be tried (the GPU is full)",
  ],
] as const)(
  'a kernel that fails %s is no wrong one, and is tried another time',
  async (_, errors, serves, told) => {
    const gpu = deviceWithHalves();
    const store = memory();
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const bench = benchFailing(gpu, [...errors], (name) => name === 'tiled 8x8x8, 8 f32');
    const prove = () => proved(gpu, all('f32'), 'f32', { store, warn, bench, ...sumsWith(gpu) });
    expect((await prove()).conv3).toBe(serves);
    expect(warnings).toEqual(told === undefined ? [] : [expect.stringContaining(told) as string]);
    expect((await prove()).conv3).toBe('tiled 8x8x8, 8');
  },
);

test.each([
  ['any kernel', () => true],
  ['the plain ones in float32', (name: string) => name.endsWith(' f32')],
])('no memory for %s is no reason to pack float16', async (_, isOne) => {
  const gpu = deviceWithHalves();
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const full = Array.from({ length: 99 }, () => new OutOfMemory('the GPU is full', 1, 1));
  const bench = benchFailing(gpu, full, isOne);
  const found = await proved(gpu, all('f16'), 'f16', { warn, bench, ...sumsWith(gpu) });
  expect(gpu.storageFormat('f16')).toBe('f16');
  expect(found).toMatchObject({ conv3: 'voxels', conv3Weights: 'lines', tuned: {} });
  expect(warnings.filter((text) => !text.includes('could not be tried (the GPU is full)'))).toEqual([]);
});

test('float16 that does not run natively is packed', async () => {
  const gpu = deviceWithHalves();
  const failing = Array.from({ length: 2 }, () => new GpuError('no float16'));
  const bench = benchFailing(gpu, failing, (name) => name === 'voxels f16');
  const given = { warn: () => undefined, bench, ...sumsWith(gpu) };
  expect(await proved(gpu, all('f16'), 'f16', given)).toEqual(all('f16'));
  expect(gpu.storageFormat('f16')).toBe('packed16');
});

test.each([
  ['f32', ['parallel f32'], 'serial', 'f16'],
  ['f16', ['parallel f16'], 'serial', 'f16'],
  ['f16', ['serial f16'], 'parallel', 'packed16'],
  ['f16', ['serial f16', 'parallel packed16'], 'serial', 'packed16'],
] as const)(
  'sums in %s, wrong are those %s: %s ones serve, %s',
  async (precision, wrong, reduction, halves) => {
    const gpu = deviceWithHalves();
    const store = memory();
    const warnings: string[] = [];
    const { reductions, summed } = sumsWith(gpu, wrong);
    const warn = (message: string): void => void warnings.push(message);
    const given = { store, warn, bench: benchWith(gpu, []).bench, reductions };
    const choices = { ...all(precision), reduction: 'parallel' } as const;
    expect(await proved(gpu, choices, precision, given)).toEqual({ ...choices, reduction });
    expect(gpu.storageFormat('f16')).toBe(halves);
    expect(warnings).toEqual(
      wrong.map((name) => expect.stringContaining(`'sums ${name}, statistics apart' wrongly`) as string),
    );
    const count = summed.length;
    expect(count).toBeGreaterThan(1);
    expect(await proved(deviceWithHalves(), choices, precision, given)).toMatchObject({ reduction });
    expect(summed).toHaveLength(count);
  },
);

test.each(['f32', 'f16'] as const)(
  'on the device: sums by workgroups in %s are seen right or wrong',
  async (precision) => {
    const gpu = await testDevice();
    const prove = async (change: (results: Float32Array[]) => void): Promise<KernelChoices> => {
      const reductions: typeof reductionsOf = async (gpu, precision, kernels) => {
        const results = await reductionsOf(gpu, precision, kernels);
        if (kernels.reduction === 'parallel') change(results);
        return results;
      };
      // Convolutions are those of the tests above.
      const { bench } = benchWith(gpu, []);
      return proved(gpu, kernelChoices.hardware, precision, { warn: () => undefined, bench, reductions });
    };
    expect(await prove(() => undefined)).toEqual(kernelChoices.hardware);
    const wrong = await prove((results) => void (results.at(-1)![7]! += 1));
    expect(wrong).toEqual({ ...kernelChoices.hardware, reduction: 'serial' });
  },
);

test('kernels for another precision are left for when it is used; plain ones in float32 need no proof', async () => {
  const gpu = deviceWithHalves();
  const { bench, opened } = benchWith(gpu, []);
  const choices = { ...kernelChoices.hardware, tuned: all('f16').tuned };
  const warn = (message: string): void => expect.fail(message);
  expect(await proved(gpu, choices, 'f32', { warn, bench, ...sumsWith(gpu) })).toEqual(choices);
  expect(opened).toEqual([]);
});

test('on the device: a right kernel passes, one with a wrong number or an error does not', async () => {
  const gpu = await testDevice();
  const choices: KernelChoices = { ...kernelChoices.hardware, conv3: 'tiled 8x8x8, 8' };
  const prove = (change: (output: Float32Array, statistics: Float32Array, kernel: string) => void) => {
    const bench = (device: Gpu, pass: ConvPass): PassBench => {
      const real = benchPass(device, pass);
      return {
        ...real,
        open: async (kernel) => {
          const trial = await real.open(kernel);
          const output = async () => {
            const parts = await trial.output();
            change(parts[0]!, parts[1]!, kernel);
            return parts;
          };
          return { ...trial, output };
        },
      };
    };
    return proved(gpu, choices, 'f32', { warn: () => undefined, bench, ...sumsWith(gpu) });
  };
  expect(await prove(() => undefined)).toEqual(choices);
  const off = await prove((output, _, kernel) => void (kernel === 'voxels' || output.fill(1, 40, 41)));
  expect(off.conv3).toBe('voxels');
  // Of the wider of the two, the last of its 35 channels.
  const last = await prove((output, statistics, kernel) => {
    if (kernel !== 'voxels' && statistics.length === 2 * 35) output[output.length - 4]! += 1;
  });
  expect(last.conv3).toBe('voxels');
  // Too little to be seen beside the output.
  const spread = await prove((_, statistics, kernel) => {
    if (kernel !== 'voxels') statistics[statistics.length - 1]! += 1e-3;
  });
  expect(spread.conv3).toBe('voxels');
  const failing = await prove((_, __, kernel) => {
    if (kernel !== 'voxels') throw new Error('the shader does not compile');
  });
  expect(failing.conv3).toBe('voxels');
});

/** One line of the code of some kernels, and what the driver makes of it. */
interface Mistake {
  readonly kernels: RegExp;
  readonly line: string;
  readonly made: string;
}

/** What is proved on a driver that makes a mistake, and of which kernels it is told. */
async function provedDespite(
  { device, matrixUnits }: Gpu,
  { kernels, line, made }: Mistake,
  choices: KernelChoices,
  precision: 'f32' | 'f16',
) {
  const mistaken: string[] = [];
  const change = (code: string, label: string): string => {
    if (!kernels.test(label)) return code;
    expect(code).toContain(line);
    mistaken.push(label);
    return code.replace(line, made);
  };
  const claims = {
    ...compiling(device, change),
    ...(matrixUnits && { adapterInfo: await matrixAdapterInfo() }),
  };
  using gpu = await Gpu.open({
    device: alteredDevice(device, claims),
    matrixUnits: matrixUnits !== undefined,
  });
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const found = await proved(gpu, choices, precision, { warn, ...sumsWith(gpu) });
  expect(mistaken.length).toBeGreaterThan(0);
  const dropped = warnings.map((message) => /the kernel '(.*)' wrongly/.exec(message)![1]);
  return { found, dropped, format: gpu.storageFormat(precision) };
}

const apart = { ...kernelChoices.hardware, statistics: 'apart' } as const;

test.for([
  [
    'a tile that loses a number',
    /forward_tiled.*f16/,
    { dropped: ['forward tiled 8x8x8, 8 f16'], format: 'f16', conv3: 'voxels' },
  ],
  ['all of float16', /f16/, { dropped: ['forward voxels f16'], format: 'packed16', conv3: 'tiled 8x8x8, 8' }],
] as const)('on a driver that mistakes %s', async ([, kernels, { conv3, ...expected }], { skip }) => {
  const gpu = await testDevice();
  if (gpu.storageFormat('f16') !== 'f16') return skip('the adapter has no float16; tried on lavapipe');
  const line = 'return vec4<f16>(overflowing(value));';
  const mistake = { kernels, line, made: 'return vec4<f16>(value.xyzz);' };
  const choices: KernelChoices = { ...apart, conv3: 'tiled 8x8x8, 8' };
  const { found, ...told } = await provedDespite(gpu, mistake, choices, 'f16');
  expect(told).toEqual(expected);
  expect(found).toEqual({ ...apart, conv3 });
});

test('on a driver that has no infinity in float16, which would hide that gradients overflow', async ({
  skip,
}) => {
  const { device } = await testDevice();
  const bounded = 'vec4<f16>(clamp(overflowing(value), vec4<f32>(-65504.0), vec4<f32>(65504.0)))';
  const change = (code: string): string => code.replace('vec4<f16>(overflowing(value))', bounded);
  using gpu = await Gpu.open({ device: alteredDevice(device, compiling(device, change)) });
  if (gpu.storageFormat('f16') !== 'f16') return skip('the adapter has no float16; tried on lavapipe');
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const { bench } = benchWith(gpu, []);
  expect(await proved(gpu, apart, 'f16', { warn, bench })).toEqual(apart);
  expect(gpu.storageFormat('f16')).toBe('packed16');
  expect(warnings).toEqual([
    expect.stringContaining("'sums serial f16, statistics apart' wrongly") as string,
  ]);
});

test('on a driver that loads matrices row by row in place of column by column', async ({ skip }) => {
  const [first] = await kernelsOnMatrices();
  if (!first) return skip('the adapter offers no matrix units; they are tried on lavapipe 26');
  const { gpu, name } = first;
  const line = 'subgroupMatrixLoad<Right, col_major>';
  const mistake = {
    kernels: /^conv_matrix\/(forward|weight)/,
    line,
    made: 'subgroupMatrixLoad<Right, row_major>',
  };
  // The kernel for weights has no such matrices.
  const right = { 'weights 1x1x1 4>4 8x8x8 f32': name };
  const choices = { ...apart, tuned: { 'forward 1x1x1 4>4 8x8x8 f32': name, ...right } };
  const { found, dropped } = await provedDespite(gpu, mistake, choices, 'f32');
  expect(dropped).toEqual([`forward 1x1x1 ${name} f32`]);
  expect(found.tuned).toEqual(right);
});

/** Passes of every other walk, by their keys. */
const walked = [
  'forward 1x1x1',
  'weights 1x1x1',
  'forward 3x3x3/2x2x2',
  'weights 3x3x3/2x2x2',
  'forward 3x3x3*2x2x2',
  'forward 2x2x2*2x2x2',
  'forward 2x2x2/2x2x2',
  'weights 2x2x2/2x2x2',
].map((name) => `${name} 4>4 8x8x8 f32`);

test('of other walks each is seen to be right by itself; the wrong one leaves its place to the plain one', async () => {
  const gpu = deviceWithHalves();
  const warnings: string[] = [];
  const opened: string[] = [];
  const bench = (_: Gpu, pass: ConvPass): PassBench => ({
    ...benchWith(gpu, []).bench(gpu, pass),
    open: (kernel) => {
      const name = `${kindName(pass)}: ${kernel}`;
      if (!opened.includes(name)) opened.push(name);
      const isWrong = name === 'forward 2x2x2*2x2x2: matrix 8x8x8, 8';
      return Promise.resolve({
        output: () => Promise.resolve([Float32Array.of(1, 2, isWrong ? 3.1 : 3)]),
        time: () => Promise.resolve(1),
        dispose: () => undefined,
      });
    },
  });
  const tuned = Object.fromEntries(walked.map((key) => [key, 'matrix 8x8x8, 8']));
  const choices = { ...kernelChoices.hardware, tuned };
  const warn = (message: string): void => void warnings.push(message);
  const found = await proved(gpu, choices, 'f32', { warn, bench, ...sumsWith(gpu) });
  const { 'forward 2x2x2*2x2x2 4>4 8x8x8 f32': wrong, ...right } = tuned;
  expect(wrong).toBeDefined();
  expect(found).toEqual({ ...choices, tuned: right });
  expect(warnings).toEqual([
    expect.stringContaining("'forward 2x2x2*2x2x2 matrix 8x8x8, 8 f32' wrongly") as string,
  ]);
  for (const key of walked) {
    const kind = kindName(kindOf(key));
    expect(opened.filter((name) => name.startsWith(`${kind}: `))).toEqual([
      `${kind}: plain`,
      `${kind}: matrix 8x8x8, 8`,
    ]);
  }
});

test.each(walked)('%s: what is tried runs the kernel that is named', async (key) => {
  const names: string[] = [];
  const gpu = {
    limits: defaultLimits,
    adapterClass: 'lavapipe',
    speed: 1e6,
    device: { queue: { writeBuffer: () => undefined } },
    createBuffer: () => ({}),
    storageFormat: () => 'f32',
    pipelines: { get: (shader: string) => Promise.resolve(names.push(shader)) },
    checked: (_: string, run: () => unknown) => Promise.resolve(run()),
  } as unknown as Gpu;
  const pass: ConvPass = {
    ...kindOf(key),
    inputs: [{ channels: 3, norm: true }],
    channelsOut: 5,
    grid: [37, 7, 5],
    precision: 'f32',
  };
  const bench = benchPass(gpu, pass);
  await bench.compile(['plain']);
  expect(names.length).toBeGreaterThan(0);
  expect(names.filter((name) => name.startsWith('conv_matrix/'))).toEqual([]);
  names.length = 0;
  await bench.compile(['matrix 16x8x16, 16']);
  const expected = pass.kind === 'forward' ? ['pack', 'forward'] : ['weight_gradient'];
  expect(names.filter((name) => !name.startsWith('reduce/'))).toEqual(
    expected.map((name) => `conv_matrix/${name}`),
  );
});

test('on matrix units: kernels of all walks are right', async ({ skip }) => {
  const [first] = await kernelsOnMatrices();
  if (!first) return skip('the adapter offers none; they are tried on lavapipe 26');
  const warn = (message: string): void => expect.fail(message);
  const isRight = async (statistics: KernelChoices['statistics'], keys: readonly string[]) => {
    const tuned = Object.fromEntries(keys.map((key) => [key, first.name]));
    const choices = { ...kernelChoices.hardware, statistics, tuned };
    expect(await proved(first.gpu, choices, 'f32', { warn, ...sumsWith(first.gpu) })).toEqual(choices);
  };
  await isRight('apart', walked);
  await isRight('joined', ['forward 3x3x3*2x2x2 4>4 8x8x8 f32']); // with what a norm behind it makes of its statistics
});

test('a training does without a kernel that was seen to be wrong, and says so', async () => {
  const { device } = await testDevice();
  const gpu = await Gpu.open({ device }); // as models open it
  const store = memory();
  setTuningStore(() => Promise.resolve(store));
  onTestFinished(() => setTuningStore(() => Promise.resolve(undefined)));
  const kernels: KernelChoices = { ...kernelChoices.hardware, conv3: 'tiled 8x8x8, 8' };
  const { bench } = benchWith(gpu, ['tiled 8x8x8, 8 f32']);
  await proved(gpu, kernels, 'f32', { store, warn: () => undefined, bench });

  async function trained(given: KernelChoices) {
    const limits = { kernels: given };
    using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [4], seed: 3, device, limits });
    const events: TrainingEvent[] = [];
    const onEvent = (event: TrainingEvent) => events.push(event);
    await model.fit([box(1), box(2)], { epochs: 1, seed: 5, onEvent });
    const warnings = events.filter(({ type }) => type === 'warning');
    return { weights: await model.save(), warnings };
  }
  const plain = await trained(kernelChoices.hardware);
  const ladder = await trained(kernels);
  expect(ladder.weights).toEqual(plain.weights);
  expect(plain.warnings).toEqual([]);
  expect(ladder.warnings).toEqual([
    {
      type: 'warning',
      message: expect.stringContaining("'forward tiled 8x8x8, 8 f32 with statistics' wrongly") as string,
    },
  ]);
});
