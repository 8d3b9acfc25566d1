/**
 * Our training step of a case: losses of the first steps, its gradients for torch.ts to compare with, milliseconds, bytes,
 * and the time of each kernel; then, with --tune, the same once more with the kernels that measuring chose.
 *   step.ts --folder FOLDER [--size 256,256,128] [--batch 2] [--features 16,32,64,128] [--precision f16] [--matrix]
 *     [--steps 8] [--for 4] [--tune SECONDS]
 * So many steps are timed, fewer (but two) where they take more than --for seconds together.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { KernelChoices } from '../../src/gpu/choices.ts';
import { profileRows } from '../../src/gpu/profiler.ts';
import type { Program } from '../../src/gpu/program.ts';
import { ModelState } from '../../src/model/state.ts';
import { tune } from '../../src/model/tune.ts';
import { adam } from '../../src/train/optimizers.ts';
import { planSession, TrainingSession, type SessionOptions } from '../../src/train/session.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import type { NamedTensor } from '../../src/weights/safetensors.ts';
import { ceilings } from '../ceiling.ts';
import { worstGradient } from '../gradients.ts';
import { firstStepValues, openGpu, spread } from '../lib.ts';
import { nestedBoxes } from '../nested-boxes.ts';
import { caseOf, caseOptions, classes, configOf, loss, seed } from './case.ts';
import { bytesText, takenBytes, tell } from './tell.ts';

const { values: options } = parseArgs({
  options: {
    ...caseOptions,
    precision: { type: 'string', default: 'f32' },
    matrix: { type: 'boolean', default: false },
    steps: { type: 'string', default: '8' },
    for: { type: 'string', default: '4' },
    tune: { type: 'string' },
  },
});
const given = caseOf(options);
const { size, batch: batchSize } = given;
const precision = options.precision === 'f16' ? 'f16' : 'f32';
const steps = Number(options.steps);
const name = `${precision}${options.matrix ? '-matrix' : ''}`;
const session: SessionOptions = { size, batchSize, loss, optimizer: adam() };
mkdirSync(options.folder, { recursive: true });

const gpu = await openGpu({ matrixUnits: options.matrix });
const ceiling = await ceilings(gpu);
const { matrixUnits } = gpu;
const batch = nestedBoxes(size, batchSize, classes);
tell({ case: given, name, storage: gpu.storageFormat(precision), matrixUnits, ceiling });

function stateWith(kernels: KernelChoices): ModelState {
  const state = new ModelState(gpu, configOf(given), seed);
  state.precision = precision;
  state.kernels = kernels;
  return state;
}

/** Means of several profiles. */
async function profile(program: Program): Promise<number[]> {
  const profiles: number[][] = [];
  const most = performance.now() + Number(options.for) * 1000;
  while (profiles.length === 0 || (profiles.length < 8 && performance.now() < most))
    profiles.push(await program.profile());
  return profiles[0]!.map((_, at) => profiles.reduce((sum, times) => sum + times[at]!, 0) / profiles.length);
}

/** All gradients, one after another. */
function joined(gradients: ReadonlyMap<string, NamedTensor>): Float32Array {
  const parts = [...gradients.values()].map(({ data }) => data);
  const flat = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (flat.set(part, at), at + part.length), 0);
  return flat;
}

/** From fresh weights. @returns the first step's gradients */
async function measure(
  key: 'table' | 'tuned',
  kernels: KernelChoices,
): Promise<ReadonlyMap<string, NamedTensor>> {
  const state = stateWith(kernels);
  const started = performance.now();
  const running = await TrainingSession.create(state, session);
  const createMs = performance.now() - started;
  const { plan } = running;
  const losses: number[] = [];
  const step = async (): Promise<void> => {
    const { result } = await running.step([batch], { ...firstStepValues, applied: losses.length });
    losses.push((await result).loss);
  };
  const { result } = await running.step([batch], firstStepValues);
  const first = await result;
  losses.push(first.loss);
  const firstMs = performance.now() - started - createMs;
  const flat = (await state.read('gradients')).map((gradient) => gradient / first.lossScale);
  const gradients = namedTensors(state.layout.parameters, flat);
  writeFileSync(join(options.folder, `ours-${name}-${key}.f32`), joined(gradients));
  const planned = { createMs, firstMs, gflop: plan.flops / 1e9, plannedBytes: plan.peakBytes };
  tell({ [key]: { ...planned, dispatches: plan.dispatches.length, losses } });

  const times: number[] = [];
  const most = performance.now() + Number(options.for) * 1000;
  while (losses.length < steps && (times.length < 2 || performance.now() < most)) {
    const before = performance.now();
    await step();
    times.push(performance.now() - before);
  }
  const taken = takenBytes();
  const timing = spread(times);
  // As trainings do: the next step is submitted while the last one runs.
  const together = performance.now();
  const results: Promise<unknown>[] = [];
  for (let i = 0; i < times.length; i++)
    results.push((await running.step([batch], { ...firstStepValues, applied: losses.length + i })).result);
  await Promise.all(results);
  const inFlightMs = (performance.now() - together) / times.length;
  const found = { ...planned, dispatches: plan.dispatches.length, losses, ...timing, inFlightMs };
  tell({
    [key]: { ...found, allocatedBytes: gpu.allocatedBytes, takenBytes: taken },
    line:
      `${name}, ${key}: ${timing.median.toFixed(1)} ms (${timing.least.toFixed(1)}–${timing.most.toFixed(1)}), in flight ` +
      `${inFlightMs.toFixed(1)} ms, ${bytesText(plan.peakBytes)} planned, ${bytesText(taken)} taken; ready in ` +
      `${(createMs / 1000).toFixed(1)} s; loss ${losses[0]!.toFixed(5)} to ${losses.at(-1)!.toFixed(5)}`,
  });
  if (gpu.device.features.has('timestamp-query')) {
    const times = await profile(running.program);
    const gpuMs = times.reduce((sum, ms) => sum + ms, 0);
    const byKernel = profileRows(plan, times, 'shader');
    tell({ [`${key} kernels`]: { gpuMs, byKernel, byPass: profileRows(plan, times).slice(0, 80) } });
  }
  running.dispose();
  state.dispose();
  return gradients;
}

const { kernels } = gpu.limits;
const gradients = await measure('table', kernels);
if (options.tune !== undefined) {
  const started = performance.now();
  const warnings: string[] = [];
  const { plan } = planSession(stateWith(kernels), session);
  const { tuned, measured, left } = await tune(gpu, plan.passes, {
    warn: (message) => warnings.push(message),
    budgetMs: Number(options.tune) * 1000,
    onPass: (done, passes) => console.error(`tuning: ${done} of ${passes}`),
  });
  tell({ tuning: { seconds: (performance.now() - started) / 1000, measured, left, warnings } });
  const again = await measure('tuned', { ...kernels, tuned });
  tell({ tunedApart: worstGradient(joined(again), gradients) });
}
process.exit(0);
