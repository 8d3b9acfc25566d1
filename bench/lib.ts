/** What the benchmarks share: opening the adapter, timing with warm-up and medians, random data, results as JSON. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { Gpu, setAdapterProvider } from '../src/gpu/device.ts';
import { requestNodeAdapter } from '../src/gpu/node.ts';
import type { Plan, Recorder, Tensor } from '../src/gpu/plan.ts';
import { Program } from '../src/gpu/program.ts';
import type { StepValues } from '../src/ops/optimizer.ts';
import { version } from '../src/version.ts';

export async function openGpu(): Promise<Gpu> {
  setAdapterProvider(requestNodeAdapter);
  return Gpu.open();
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
    ...(adapter === undefined ? {} : { adapter, dawn: `webgpu ${webgpu}`, toggles: [] }),
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

/** Uniform in ±½. */
export const noise = (length: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, () => Math.random() - 0.5);

/** Adam's values at the first step. */
export const firstStepValues: StepValues = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  correction1: 0.1,
  correction2: Math.sqrt(0.001),
  maxNorm: Infinity,
};

/** Times a recorded plan on random data. */
export async function timePlan(
  gpu: Gpu,
  recorder: Recorder,
  inputs: readonly Tensor[],
  runs = 7,
): Promise<{ timing: Timing; plan: Plan }> {
  const plan = recorder.finish();
  using program = await Program.create(gpu, plan);
  for (const tensor of inputs) program.write(tensor, noise(tensor.bytes / 4));
  const timing = await time(
    async () => {
      await program.run();
      await gpu.device.queue.onSubmittedWorkDone();
    },
    { runs },
  );
  return { timing, plan };
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
