/** What the benchmarks share: opening the adapter, timing with warm-up and medians, random data, results as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { Gpu, setAdapterProvider } from '../src/gpu/device.ts';
import { requestNodeAdapter } from '../src/gpu/node.ts';
import type { Recorder, Tensor } from '../src/gpu/plan.ts';
import { Program } from '../src/gpu/program.ts';

export async function openGpu(): Promise<Gpu> {
  setAdapterProvider(requestNodeAdapter);
  return Gpu.open();
}

export interface Timing {
  /** Milliseconds. */
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export async function time(work: () => Promise<void>, { warmUp = 1, runs = 7 } = {}): Promise<Timing> {
  for (let i = 0; i < warmUp; i++) await work();
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return { median: times[runs >> 1]!, least: times[0]!, most: times.at(-1) };
}

/** Uniform in ±½. */
export const noise = (length: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, () => Math.random() - 0.5);

/** Times a recorded plan on random data. */
export async function timePlan(
  gpu: Gpu,
  recorder: Recorder,
  inputs: readonly Tensor[],
  runs = 7,
): Promise<Timing & { flops: number }> {
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
  return { ...timing, flops: plan.flops };
}

export function writeResult(name: string, result: unknown): void {
  const folder = new URL('./results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(result, null, 2)}\n`);
}
