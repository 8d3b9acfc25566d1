/** The self-test on the device at hand: what is right passes, what is wrong is named; the command's exit code and report. */
import { expect, test, vi } from 'vitest';
import { Unsatisfactory } from '../../src/cli/failure.ts';
import { createProgram } from '../../src/cli/program.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { readJson } from '../../src/json.ts';
import { trialsOf, tryKernels, type KernelRow } from '../../src/self-test/kernels.ts';
import { OpBench, type OpCase } from '../../src/self-test/bench.ts';
import { reportSchema, type SelfTestReport } from '../../src/self-test/report.ts';
import { alteredDevice, towardZero } from '../support/altered-device.ts';
import { testDevice } from '../support/device.ts';
import { kernelsOnMatrices } from '../support/matrices.ts';

/** Kernels of ops that compile fast; test/ops tries all. */
const light = ['sum', 'padding', 'sgd', 'pooling'];

test('ops are right in float32 and float16', async () => {
  const gpu = await testDevice();
  const trials = trialsOf(gpu).filter(({ op }) => light.includes(op.name));
  expect(trials.map(({ precision }) => precision)).toContain('f16');
  for (const trial of trials) {
    const row = await tryKernels(gpu, trial);
    expect(row).toMatchObject({ op: trial.op.name, right: true });
    expect(row.problem).toBeUndefined();
  }
});

test('augmentation is right in float16 on a device that cuts off digits, eight times in a row', async () => {
  const { device } = await testDevice();
  using gpu = await Gpu.open({ device: alteredDevice(device, towardZero(device)) });
  const [trial] = trialsOf(gpu).filter(
    ({ op, precision }) => op.name === 'augmentation' && precision === 'f16',
  );
  expect(await tryKernels(gpu, trial!)).toMatchObject({ right: true });
});

const noMatrices = 'the adapter offers no matrix units; they are tried on lavapipe 26';
const [pack, forward, weights] = ['pack', 'forward', 'weight_gradient'];
/** What is tried on matrix units, which kernels it is to run there, and how the kernel is called. */
const onMatrices = [
  ['conv3', [forward, pack], ''],
  ['conv3', [weights], 'weights '],
  ['conv, strided', [forward, pack, weights], ''],
  ['transposed convolution', [forward, pack, weights], ''],
  ['up-convolution', [forward, pack, weights], ''],
] as const;

/** In float16: lavapipe compiles each for seconds, and those of float32 are the same code but for loads. */
async function trialsOnMatrices() {
  const [first] = await kernelsOnMatrices();
  if (!first) return undefined;
  const { gpu, wide } = first;
  const trials = trialsOf(gpu).filter(
    ({ kernels, precision }) => precision === 'f16' && kernels.endsWith(wide),
  );
  return { gpu, wide, trials };
}

test.for(onMatrices)('%s is right on matrix units: %j', async ([op, kernels, of], { skip }) => {
  const on = await trialsOnMatrices();
  if (!on) return skip(noMatrices);
  const trial = on.trials.find((one) => one.op.name === op && one.kernels === of + on.wide)!;
  const limits = { ...on.gpu.limits, kernels: trial.choices };
  const { dispatches } = new OpBench(trial.op, limits, trial.precision).recorder;
  const shaders = new Set(dispatches.map(({ shader }) => shader));
  const found = [...shaders].filter((name) => name.startsWith('conv_matrix/'));
  expect(found.sort()).toEqual(kernels.map((name) => `conv_matrix/${name}`));
  expect(await tryKernels(on.gpu, trial)).toMatchObject({ op, right: true });
});

test('nothing else is tried on matrix units', async ({ skip }) => {
  const on = await trialsOnMatrices();
  if (!on) return skip(noMatrices);
  const tried = on.trials.map(({ op, kernels }) => `${op.name}: ${kernels}`);
  expect(tried.sort()).toEqual(onMatrices.map(([op, , of]) => `${op}: ${of}${on.wide}`).sort());
});

test('an op that computes something else is wrong by name', async () => {
  const gpu = await testDevice();
  const [trial] = trialsOf(gpu).filter(({ op }) => op.name === 'padding');
  const result = async (record: OpCase['record']): Promise<KernelRow> =>
    tryKernels(gpu, { ...trial!, op: { name: 'padding', record } });
  const nothing = await result((bench) => {
    bench.target('output', 4, [8, 7, 6]);
    bench.target('dInput', 4);
  });
  expect(nothing.right).toBe(false);
  expect(nothing.problem).toMatch(/^output is off by .*, dInput is off by /);
  const refused = await result(() => {
    throw new Error('does not compile here');
  });
  expect(refused).toMatchObject({ right: false, error: null, problem: 'does not compile here' });
});

const report: SelfTestReport = {
  'unet3d-gpu self-test': 1,
  version: '1',
  adapter: 'a',
  adapterClass: 'hardware',
  features: [],
  limits: { maxBufferSize: 1 },
  right: true,
  kernels: [{ op: 'sum', kernels: 'table', storage: 'f32', error: 0, right: true }],
  left: [],
  training: { losses: [1], expected: [1], right: true, sameBits: true },
  timings: [],
  seconds: 1,
};
const wrong: SelfTestReport = {
  ...report,
  right: false,
  kernels: [
    {
      op: 'sum',
      kernels: 'table',
      storage: 'f32',
      error: null,
      right: false,
      problem: 'output is off by NaN',
    },
  ],
  training: { ...report.training, losses: [NaN], right: false, sameBits: false },
};
const found = vi.hoisted((): { report?: unknown } => ({}));
vi.mock('../../src/self-test/run.ts', () => ({ runSelfTest: () => Promise.resolve(found.report) }));

test.each([
  [report, ['self-test: all is right after 1 s']],
  [
    wrong,
    [
      'sum (table, f32): output is off by NaN',
      'training: losses NaN; 1 expected',
      'training: a second one from the same weights ended with other bits',
      'self-test: WRONG after 1 s',
    ],
  ],
])('the command prints the report, and fails where something is wrong', async (given, told) => {
  found.report = given;
  const [out, err]: string[][] = [[], []];
  const io = {
    out: (...lines: string[]) => void out!.push(...lines),
    err: (...lines: string[]) => void err!.push(...lines),
    status: () => undefined,
    isTerminal: false,
    columns: 80,
    signal: new AbortController().signal,
    written: () => Promise.resolve(undefined),
  };
  const running = createProgram(io).parseAsync(['node', 'unet3d-gpu', 'info', '--self-test']);
  if (given.right) await running;
  else await expect(running).rejects.toThrow(Unsatisfactory);
  expect(err!.slice(-told.length)).toEqual(told);
  const printed = readJson(out!.join('\n'), reportSchema, (problem) => new Error(problem));
  expect(printed.kernels).toEqual(given.kernels);
  expect(printed.versions).toHaveProperty('node');
});
