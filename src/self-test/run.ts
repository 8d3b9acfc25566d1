/** The self-test from beginning to end. Loaded when it is called for. */
import type { Gpu } from '../gpu/device.ts';
import { forwardKernel, passKey, weightKernel, type ConvPass } from '../gpu/passes.ts';
import { benchPass } from '../model/pass-bench.ts';
import type { Size3 } from '../size.ts';
import { version } from '../version.ts';
import { trialsOf, tryKernels, type KernelRow, type Trial } from './kernels.ts';
import type { SelfTestReport, TimingRow } from './report.ts';
import { tryTraining } from './training.ts';

/** Kernels are tried until so long after the test's beginning; training and times take some seconds more. */
const timeForKernels = ({ adapterClass }: Gpu): number => (adapterClass === 'hardware' ? 7000 : 44_000);

interface Surroundings {
  /** Called before each part, with those that are done and those that there are. */
  readonly onProgress: ((part: string, done: number, parts: number) => void) | undefined;
  /** Throws where the test should end. */
  readonly stopIfAsked: () => void;
  /** Milliseconds for kernels. Default: what suffices for the adapter. */
  readonly kernelsMs?: number;
}

export async function runSelfTest(
  gpu: Gpu,
  { onProgress = () => undefined, stopIfAsked, kernelsMs = timeForKernels(gpu) }: Surroundings,
): Promise<SelfTestReport> {
  const started = performance.now();
  const trials = trialsOf(gpu);
  const kernels: KernelRow[] = [];
  const left: string[] = [];
  const parts = trials.length + 2;
  let done = 0;
  const next = (part: string): void => {
    stopIfAsked();
    onProgress(part, done++, parts);
  };
  const compute = async (some: readonly Trial[]): Promise<void> => {
    for (const trial of some) {
      const name = nameOf(trial);
      if (performance.now() - started > kernelsMs) {
        left.push(name);
        continue;
      }
      next(name);
      kernels.push(await tryKernels(gpu, trial));
    }
  };
  await compute(trials.filter(isFirstChoice));
  next('training');
  const training = await tryTraining(gpu);
  next('times');
  const timings = await timingsOf(gpu, stopIfAsked);
  await compute(trials.filter((trial) => !isFirstChoice(trial)));
  return {
    'unet3d-gpu self-test': 1,
    version,
    adapter: gpu.identity,
    adapterClass: gpu.adapterClass,
    features: [...gpu.device.features].sort(),
    limits: limitsOf(gpu.device.limits),
    right: kernels.every(({ right }) => right) && training.right && training.sameBits,
    kernels,
    left,
    training,
    timings,
    seconds: Math.round(performance.now() - started) / 1000,
  };
}

const isFirstChoice = ({ kernels, precision }: Trial): boolean => kernels === 'table' && precision === 'f32';

const nameOf = ({ op, kernels, precision }: Trial): string => `${op.name}, ${kernels}, ${precision}`;

/** Limits are accessors of their prototype. */
function limitsOf(limits: GPUSupportedLimits): Record<string, number> {
  const found: Record<string, number> = {};
  for (const name in limits) {
    const value: unknown = limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') found[name] = value;
  }
  return found;
}

/** Convolutions of a network's finest level; on software adapters smaller ones. Those that do not run, or that the clock is too coarse for, have no row. */
async function timingsOf(gpu: Gpu, stopIfAsked: () => void): Promise<TimingRow[]> {
  const grid: Size3 = gpu.adapterClass === 'hardware' ? [64, 64, 64] : [16, 16, 16];
  const rows: TimingRow[] = [];
  for (const kind of ['forward', 'weights'] as const) {
    stopIfAsked();
    const inputs = [{ channels: 16, norm: false }];
    const pass: ConvPass = { kind, inputs, channelsOut: 16, grid, precision: 'f32' };
    const kernel = (kind === 'forward' ? forwardKernel : weightKernel)(gpu.limits.kernels, pass);
    const bench = benchPass(gpu, pass);
    try {
      const trial = await bench.open(kernel);
      try {
        const ms = await trial.time(Infinity);
        const flops = 2 * 27 * 16 * 16 * grid[0] * grid[1] * grid[2];
        rows.push({ pass: passKey(pass), kernel, ms: rounded(ms), gflops: rounded(flops / ms / 1e6) });
      } finally {
        trial.dispose();
      }
    } catch {
      if (await gpu.isLost()) throw gpu.lossError();
    } finally {
      bench.dispose();
    }
  }
  return rows;
}

const rounded = (value: number): number => Number(value.toPrecision(3));
