/**
 * `npm run bench`: convolution kernels, training steps and inference on this machine's adapter, held against ceilings
 * that are measured in the same run. Prints tables and writes bench/results/bench-<adapter>.json.
 * `npm run bench -- kernels steps inference first` runs the sections that are named (all by default; the others keep
 * their place in the file). On GPUs kernels are tuned afresh for each plan, as trainings do, and the steps include
 * the study's full one where it fits; on software adapters `--tune` and `--full` ask for that. `--profile` prints the
 * times of a step's dispatches, too.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OutOfMemory } from '../src/errors.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { profileRows, profileTable } from '../src/gpu/profiler.ts';
import type { Size3 } from '../src/size.ts';
import { Inference } from '../src/infer/inference.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { planInference } from '../src/model/plan.ts';
import { ModelState } from '../src/model/state.ts';
import { weightedDice } from '../src/model/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { ceilings } from './ceiling.ts';
import { kinds, recordConv, type ConvCase } from './convs.ts';
import {
  chooseKernels,
  describeTuning,
  firstStepValues,
  noise,
  openGpu,
  openSession,
  readResult,
  surroundings,
  time,
  timePlan,
  timingText,
  writeResult,
  type Timing,
} from './lib.ts';

const sectionNames = ['kernels', 'steps', 'inference', 'first'] as const;
const named = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const unknown = named.filter((name) => !sectionNames.some((section) => section === name));
if (unknown.length > 0)
  throw new Error(`no such section: ${unknown.join(', ')}; there are ${sectionNames.join(', ')}`);

const gpu = await openGpu();
const about = surroundings(gpu);
const software = gpu.adapterClass !== 'hardware';
console.log(`GPU: ${gpu.describe}\n${about.dawn}; Node ${process.versions.node}; ${about.cpu}`);
const ceiling = await ceilings(gpu);
console.log(
  `ceilings: ${ceiling.gflops.toFixed(1)} GFLOP/s of multiply-adds, ${ceiling.gigabytes.toFixed(1)} GB/s of a copy; ` +
    `${ceiling.dispatchMicroseconds.toFixed(1)} µs per dispatch\n`,
);

const digits = software ? 1 : 2;
const milliseconds = (timing: Timing): string => timingText(timing, digits);
const shares = (gflops: number, gigabytes: number) => ({
  gflops,
  gigabytes,
  shareOfGflops: gflops / ceiling.gflops,
  shareOfGigabytes: gigabytes / ceiling.gigabytes,
});
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`.padStart(7);

const resultName = `bench-${gpu.adapterClass}`;
const earlier = readResult<{ sections: Record<string, unknown> }>(resultName);
const sections: Record<string, unknown> = earlier?.sections ?? {};
/** Runs a section if it is wanted; its rows go to the file with the ceilings that they were held against. */
async function section(
  name: (typeof sectionNames)[number],
  work: (rows: Record<string, unknown>[]) => Promise<void>,
): Promise<void> {
  if (named.length > 0 && !named.includes(name)) return;
  const rows: Record<string, unknown>[] = [];
  await work(rows);
  sections[name] = { ...about, ceiling, rows };
  writeResult(resultName, { ...about, sections });
}

/** Tensors take turns until they exceed every cache. */
const beyondCache = (software ? 64 : 512) * 2 ** 20;
const full = software ? 8 : 128;

await section('kernels', async (kernels) => {
  console.log(
    'conv3, median (least–most) of 5                     ms   GFLOP/s  of ceiling    GB/s  of ceiling',
  );
  for (const conv of [
    { from: [16], to: 16, size: [64, 64, 32] },
    { from: [32], to: 32, size: [32, 32, 16] },
    { from: [64], to: 64, size: [16, 16, 8] },
    { from: [16], to: 16, size: [256, 256, full], batch: 1 },
    { from: [16, 16], to: 16, size: [256, 256, full], batch: 1 },
  ] as ConvCase[]) {
    const { from, to, size, batch = 2 } = conv;
    for (const kind of kinds) {
      if (kind !== 'forward' && from.length > 1) continue; // their gradients are those of one input
      const chosen = await chooseKernels(gpu, recordConv(kind, conv, gpu.limits, beyondCache).plan);
      const limits = { ...gpu.limits, kernels: chosen.kernels };
      const { plan, inputs, sets } = recordConv(kind, conv, limits, beyondCache);
      const timing = await timePlan(gpu, plan, inputs, { runs: 5 });
      const bytes = plan.dispatches.reduce((sum, dispatch) => sum + dispatch.bytes, 0);
      const reached = shares(plan.flops / timing.median / 1e6, bytes / timing.median / 1e6);
      const each = {
        median: timing.median / sets,
        least: timing.least / sets,
        most: timing.most / sets,
      };
      const tuned = chosen.tuning?.measured[0]?.kernel;
      kernels.push({ kernel: `conv3 ${kind}`, from, to, size, batch, sets, tuned, ...each, ...reached });
      const name = `${kind} ${from.join('+')} → ${to} ch @${[...size].reverse().join('×')}`;
      console.log(
        `${name.padEnd(38)}${milliseconds(each).padStart(24)}${reached.gflops.toFixed(1).padStart(10)}` +
          `${percent(reached.shareOfGflops)}${reached.gigabytes.toFixed(1).padStart(10)}` +
          `${percent(reached.shareOfGigabytes)}${tuned === undefined ? '' : `  ${tuned}`}`,
      );
    }
  }
});

const small: Size3 = [32, 32, 32];
const study: Size3 = [256, 256, 128];
await section('steps', async (steps) => {
  console.log('\ntraining step, six classes                         ms (least–most)   GFLOP/s  of ceiling');
  const cases: [base: number, batchSize: number, size: Size3][] = [
    [8, 1, small],
    [8, 2, small],
    [16, 1, small],
    [16, 2, small],
  ];
  if (!software || process.argv.includes('--full')) cases.push([16, 1, study], [16, 2, study]);
  for (const [base, batchSize, size] of cases) {
    const features = [1, 2, 4, 8].map((factor) => factor * base);
    const name = `${features.join(', ')} ch, ${batchSize} of ${size.join('×')}`;
    const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
    try {
      const options = { size, batchSize, loss: weightedDice(), optimizer: adam() };
      const { session, tuning } = await openSession(state, options);
      const image = noise(batchSize * size[0] * size[1] * size[2]);
      const batch = { image, label: Uint8Array.from(image, () => Math.floor(Math.random() * 6)) };
      const step = async () => void (await (await session.step([batch], firstStepValues)).result);
      const timing = await time(step, { runs: software && size === study ? 1 : 7 });
      const gflops = session.plan.flops / timing.median / 1e6;
      const rows = gpu.device.features.has('timestamp-query')
        ? profileRows(session.plan, await session.program.profile(), 'shader')
        : [];
      const shareOfGflops = gflops / ceiling.gflops;
      const plannedBytes = session.plan.peakBytes;
      steps.push({
        features,
        batch: batchSize,
        size,
        plannedBytes,
        ...timing,
        gflops,
        shareOfGflops,
        tuning,
        byKernel: rows,
      });
      console.log(
        `${name.padEnd(38)}${milliseconds(timing).padStart(24)}${gflops.toFixed(1).padStart(10)}${percent(shareOfGflops)}`,
      );
      if (tuning) console.log(describeTuning(tuning));
      if (process.argv.includes('--profile')) console.log(`\n${profileTable(rows)}\n`);
      session.dispose();
    } catch (error) {
      if (!(error instanceof OutOfMemory)) throw error;
      console.log(`${name}: left out, ${error.message}`);
    } finally {
      state.dispose();
    }
  }
});

await section('inference', async (inference) => {
  console.log('\nlogits of one volume, features 16, 32, 64, 128      ms (least–most)   GFLOP/s');
  for (const size of [small, [64, 64, 64], software ? [96, 96, 64] : study] as Size3[]) {
    const features = [16, 32, 64, 128];
    const config = completeConfig({ inChannels: 1, classes: 6, features });
    const state = new ModelState(gpu, config, 0);
    const { limits, precision } = state;
    const { plan } = planInference({ config, size, batch: 1, limits, precision });
    const { kernels, tuning } = await chooseKernels(gpu, plan);
    state.kernels = kernels;
    const runner = new Inference(state, Infinity);
    const image = noise(size[0] * size[1] * size[2]);
    const timing = await time(async () => void (await runner.logits({ image, shape: size }, {})), {
      runs: 5,
    });
    const gflops = plan.flops / timing.median / 1e6;
    inference.push({ features, size, ...timing, gflops, tuning });
    console.log(
      `${size.join(' × ').padEnd(38)}${milliseconds(timing).padStart(24)}${gflops.toFixed(1).padStart(10)}`,
    );
    if (tuning) console.log(describeTuning(tuning));
    runner.release();
    state.dispose();
  }
});

/** In processes of their own, as what is compiled once stays in a process, and without the driver's disk cache. */
await section('first', async (rows) => {
  console.log('\nfirst step in a fresh process, batch 1 of 32³, compilation included');
  for (const features of ['8,16,32,64', '16,32,64,128']) {
    const script = join(import.meta.dirname, 'first-step.ts');
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, features], {
      env: { ...process.env, MESA_SHADER_CACHE_DISABLE: 'true' },
    });
    const lines = stdout.trim().split('\n');
    const row = JSON.parse(lines[lines.length - 1]!) as { openMs: number; firstStepMs: number };
    rows.push({ ...row });
    console.log(
      `features ${features}: ${(row.firstStepMs / 1000).toFixed(1)} s after the adapter was open (${row.openMs.toFixed(0)} ms)`,
    );
  }
});

gpu.dispose();
await releaseNodeGpu();
process.exit(0);
