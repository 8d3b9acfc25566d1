/**
 * What the benchmarks share: opening the adapter, kernels as trainings choose them, timing with warm-up and medians,
 * random data, results as JSON.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { OutOfMemory } from '../src/errors.ts';
import type { KernelChoices } from '../src/gpu/choices.ts';
import { Gpu, setAdapterProvider } from '../src/gpu/device.ts';
import { requestNodeAdapter } from '../src/gpu/node.ts';
import { setPolling } from '../src/gpu/polling.node.ts';
import type { Plan, Tensor } from '../src/gpu/plan.ts';
import type { Precision } from '../src/gpu/precision.ts';
import { Program } from '../src/gpu/program.ts';
import { defaultBudget } from '../src/model/budget.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import type { UNet3DConfig } from '../src/model/config.ts';
import { initialValues, layoutParameters } from '../src/model/parameters.ts';
import type { ModelState, Weights } from '../src/model/state.ts';
import { formatBytes } from '../src/format.ts';
import { tune, type Measurement } from '../src/model/tune.ts';
import type { StepValues } from '../src/ops/optimizer.ts';
import { planSession, TrainingSession, type SessionOptions } from '../src/train/session.ts';
import { version } from '../src/version.ts';

/** Of an option such as 16,32,64. */
export const numbers = (list: string): number[] => list.split(',').map(Number);

/** Milliseconds that `work` takes. */
export async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Of ResEnc M to XL; from the seventh on as the sixth. */
const residualBlocks = [1, 3, 4, 6, 6, 6, 6];

/** A network of nnU-Net's presets for one channel: PlainConvUNet or, with residual blocks, ResEnc M. */
export const nnunetConfig = (
  features: readonly number[],
  classes: number,
  block: 'plain' | 'residual' = 'plain',
): UNet3DConfig =>
  completeConfig({
    ...{ inChannels: 1, classes, features, norm: 'instance', activation: 'leakyRelu', down: 'conv' },
    ...(block === 'residual' && {
      block,
      encoderBlocks: residualBlocks.slice(0, features.length),
      decoderBlocks: features.slice(1).map(() => 1),
    }),
  });

/** As training begins with, the same each time; of a network without running statistics. */
export function initialWeights(config: UNet3DConfig): Weights {
  const { parameters, parameterWords } = layoutParameters(config);
  return { parameters: initialValues(parameters, parameterWords, 1), statistics: new Float32Array() };
}

/**
 * Bytes that this process had in memory at most. Linux's own count of a program begins anew where it is started; that of
 * `resourceUsage` goes on from the process that started it.
 */
export function peakMemory(): number {
  const found = existsSync('/proc/self/status')
    ? /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
    : null;
  return 1024 * (found ? Number(found[1]) : process.resourceUsage().maxRSS);
}

/** @param options.matrixUnits ask for matrix units; throws where there are none */
export async function openGpu({ matrixUnits = false } = {}): Promise<Gpu> {
  setAdapterProvider(requestNodeAdapter);
  const gpu = await Gpu.open(matrixUnits ? { matrixUnits } : {});
  if (gpu.adapterClass === 'hardware') setPolling('eager'); // the host's clock then sees the end of work at once
  return gpu;
}

/** Where and with what a result was measured. */
export function surroundings(gpu?: Gpu) {
  const dawn = createRequire(import.meta.url).resolve('webgpu');
  const { version: webgpu } = JSON.parse(readFileSync(new URL('package.json', `file://${dawn}`), 'utf8')) as {
    version: string;
  };
  const adapter = gpu?.describe.split('\n')[0];
  return {
    date: new Date().toISOString(),
    version,
    node: process.version,
    cpu: `${cpus().length} x ${cpus()[0]?.model}`,
    ...(adapter === undefined ? {} : { adapter, dawn: `webgpu ${webgpu}` }),
  };
}

/** Milliseconds of several runs. */
export interface Timing {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function spread(times: readonly number[]): Timing {
  const sorted = times.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, least: sorted[0]!, most: sorted[sorted.length - 1]! };
}

/** Median (least–most), as tables give it. */
export const timingText = ({ median, least, most }: Timing, digits: number): string =>
  `${median.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`;

export async function time(work: () => Promise<void>, { warmUp = 1, runs = 7 } = {}): Promise<Timing> {
  for (let i = 0; i < warmUp; i++) await work();
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  return spread(times);
}

/** Uniform in ±½; long arrays repeat a pattern. */
export const noise = (length: number): Float32Array<ArrayBuffer> =>
  repeated(new Float32Array(length), () => Math.random() - 0.5);

/** Float16 between ¼ and ½ with either sign; long arrays repeat a pattern. */
export const halfNoise = (length: number): Uint16Array<ArrayBuffer> =>
  repeated(new Uint16Array(length), () => {
    const bits = Math.floor(Math.random() * 0x800);
    return 0x3400 | ((bits & 0x400) << 5) | (bits & 0x3ff);
  });

function repeated<T extends Float32Array | Uint16Array>(values: T, draw: () => number): T {
  const { length } = values;
  const pattern = Math.min(length, 1_048_573);
  for (let i = 0; i < pattern; i++) values[i] = draw();
  for (let filled = pattern; filled < length; filled += pattern) values.copyWithin(filled, 0, pattern);
  return values;
}

/** Adam's values at the first step. */
export const firstStepValues: StepValues = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxNorm: Infinity,
  applied: 0,
};

/** How kernels were chosen. */
export interface Tuning {
  readonly seconds: number;
  readonly measured: readonly Measurement[];
  /** Passes that kept the table's kernel unmeasured. */
  readonly left: number;
}

/**
 * Kernels for the passes of a plan: measured afresh on GPUs, as trainings do once for a GPU, and elsewhere with
 * `--tune`; else the adapter's table.
 */
export async function chooseKernels(
  gpu: Gpu,
  { passes }: Plan,
): Promise<{ kernels: KernelChoices; tuning?: Tuning }> {
  const { kernels } = gpu.limits;
  if (gpu.adapterClass !== 'hardware' && !process.argv.includes('--tune')) return { kernels };
  const started = performance.now();
  const { tuned, measured, left } = await tune(gpu, passes, { warn: console.warn });
  const seconds = (performance.now() - started) / 1000;
  return { kernels: { ...kernels, tuned }, tuning: { seconds, measured, left } };
}

export function describeTuning({ seconds, measured, left }: Tuning): string {
  const counts = new Map<string, number>();
  for (const { kernel } of measured) counts.set(kernel, (counts.get(kernel) ?? 0) + 1);
  const chosen = [...counts].map(([kernel, count]) => `${count} × ${kernel}`);
  return `  tuned in ${seconds.toFixed(1)} s: ${chosen.join('; ')}${left > 0 ? `; ${left} left` : ''}`;
}

/**
 * A session with the kernels that are chosen for it. @throws OutOfMemory if it takes more than the device has; most do
 * not tell how much that is, and are tried
 */
export async function openSession(
  state: ModelState,
  options: SessionOptions,
): Promise<{ session: TrainingSession; tuning?: Tuning }> {
  const { gpu } = state;
  const { plan } = planSession(state, options);
  const budget = defaultBudget(gpu);
  if (gpu.memoryBytes !== undefined && plan.peakBytes > budget) {
    const [needed, usable] = [plan.peakBytes, budget].map(formatBytes);
    throw new OutOfMemory(
      `it takes ${needed}; of this GPU's memory ${usable} may be used`,
      plan.peakBytes,
      budget,
    );
  }
  const { kernels, ...tuning } = await chooseKernels(gpu, plan);
  state.kernels = kernels;
  return { session: await TrainingSession.create(state, options), ...tuning };
}

/** Times a plan on random data. @param precision of the inputs that are volumes */
export async function timePlan(
  gpu: Gpu,
  plan: Plan,
  inputs: readonly Tensor[],
  { runs = 7, precision = 'f32' }: { readonly runs?: number; readonly precision?: Precision } = {},
): Promise<Timing> {
  using program = await Program.create(gpu, plan);
  for (const tensor of inputs) {
    const isHalf = precision === 'f16' && 'planes' in tensor;
    program.write(tensor, isHalf ? halfNoise(tensor.bytes / 2) : noise(tensor.bytes / 4));
  }
  const work = async () => {
    await program.run();
    await gpu.device.queue.onSubmittedWorkDone();
  };
  return await time(work, { runs }); // the program lives until then
}

const resultPath = (name: string): URL => new URL(`./results/${name}.json`, import.meta.url);

export function writeResult(name: string, result: unknown): void {
  mkdirSync(new URL('.', resultPath(name)), { recursive: true });
  writeFileSync(resultPath(name), `${JSON.stringify(result, null, 2)}\n`);
}

/** What an earlier run has written. */
export function readResult<T>(name: string): T | undefined {
  return existsSync(resultPath(name)) ? (JSON.parse(readFileSync(resultPath(name), 'utf8')) as T) : undefined;
}
