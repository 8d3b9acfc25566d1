/**
 * `npm run bench`: convolution kernels, training steps and inference on this machine's adapter, held against ceilings
 * that are measured in the same run. Prints tables and writes bench/results/bench-<adapter>.json.
 * `npm run bench -- kernels steps inference first` runs the sections that are named (all by default; the others keep
 * their place in the file); `--profile` prints the times of a step's dispatches, too.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { profileRows, profileTable } from '../src/gpu/profiler.ts';
import { Recorder, type Size3, type VolumeTensor } from '../src/gpu/plan.ts';
import { LogitsRunner } from '../src/infer/evaluator.ts';
import { completeConfig } from '../src/model/config.ts';
import { ModelState } from '../src/model/state.ts';
import { conv3BackwardInput, conv3BackwardWeight, conv3Forward } from '../src/ops/conv3.ts';
import { weightedDice } from '../src/train/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { TrainingSession } from '../src/train/session.ts';
import { ceilings } from './ceiling.ts';
import {
  firstStepValues,
  noise,
  openGpu,
  readResult,
  surroundings,
  time,
  timePlan,
  writeResult,
  type Timing,
} from './lib.ts';

const gpu = await openGpu();
const about = surroundings(gpu);
const software = gpu.adapterClass !== 'hardware';
console.log(
  `GPU: ${gpu.describe}\n${about.dawn}, toggles: none; Node ${process.versions.node}; ${about.cpu}`,
);
const ceiling = await ceilings(gpu);
console.log(
  `ceilings: ${ceiling.gflops.toFixed(1)} GFLOP/s of multiply-adds, ${ceiling.gigabytes.toFixed(1)} GB/s of a copy; ` +
    `${ceiling.dispatchMicroseconds.toFixed(1)} µs per dispatch\n`,
);

const milliseconds = ({ median, least, most }: Timing): string =>
  `${median.toFixed(1)} (${least.toFixed(1)}–${most.toFixed(1)})`;
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
const named = process.argv.slice(2).filter((word) => !word.startsWith('-'));
/** Runs a section if it is wanted; its rows go to the file with the ceilings that they were held against. */
async function section(
  name: string,
  work: (rows: Record<string, unknown>[]) => Promise<void>,
): Promise<void> {
  if (named.length > 0 && !named.includes(name)) return;
  const rows: Record<string, unknown>[] = [];
  await work(rows);
  sections[name] = { ...about, ceiling, rows };
}

/** Tensors take turns until they exceed every cache. */
const beyondCache = (software ? 64 : 512) * 2 ** 20;
const kinds = ['forward', 'data gradient', 'weight gradient'] as const;
const full = software ? 8 : 128;
await section('kernels', async (kernels) => {
  console.log(
    'conv3, median (least–most) of 5                     ms   GFLOP/s  of ceiling    GB/s  of ceiling',
  );
  for (const { from, to, size, batch = 2 } of [
    { from: [16], to: 16, size: [64, 64, 32] },
    { from: [32], to: 32, size: [32, 32, 16] },
    { from: [64], to: 64, size: [16, 16, 8] },
    { from: [16], to: 16, size: [256, 256, full], batch: 1 },
    { from: [16, 16], to: 16, size: [256, 256, full], batch: 1 },
  ] as { from: number[]; to: number; size: Size3; batch?: number }[]) {
    for (const kind of kinds) {
      if (kind !== 'forward' && from.length > 1) continue; // their gradients are those of one input
      const recorder = new Recorder(gpu.limits);
      const channels = from.reduce((a, b) => a + b);
      const words = channels * to * 27;
      const [w, dw] = [recorder.flat('w', words, 'resident'), recorder.flat('dw', words, 'resident')];
      const weights = { tensor: w, offset: 0, size: words * 4 };
      const inputs: VolumeTensor[] = [];
      let sets = 0;
      for (let bytes = 0; bytes < beyondCache && sets < 64; sets++) {
        const sources = from.map((count) => recorder.volume('x', batch, count, size, 'resident'));
        const x = sources[0]!;
        const second = sources[1] && { tensor: sources[1] };
        const y = recorder.volume('y', batch, to, size, 'resident');
        inputs.push(...sources, y);
        bytes += y.bytes + sources.reduce((sum, source) => sum + source.bytes, 0);
        if (kind === 'forward') {
          const both = second ? ([{ tensor: x }, second] as const) : ([{ tensor: x }] as const);
          conv3Forward(recorder, kind, both, weights, undefined, y);
        }
        if (kind === 'data gradient') conv3BackwardInput(recorder, kind, y, weights, x);
        if (kind === 'weight gradient')
          conv3BackwardWeight(recorder, kind, { tensor: x }, y, { tensor: dw, offset: 0, size: words * 4 });
      }
      const { plan, timing } = await timePlan(gpu, recorder, [...inputs, w], 5);
      const bytes = plan.dispatches.reduce((sum, dispatch) => sum + dispatch.bytes, 0);
      const reached = shares(plan.flops / timing.median / 1e6, bytes / timing.median / 1e6);
      const each = {
        median: timing.median / sets,
        least: timing.least / sets,
        most: timing.most / sets,
      };
      kernels.push({ kernel: `conv3 ${kind}`, from, to, size, batch, sets, ...each, ...reached });
      const name = `${kind} ${from.join('+')} → ${to} ch @${[...size].reverse().join('×')}`;
      console.log(
        `${name.padEnd(38)}${milliseconds(each).padStart(24)}${reached.gflops.toFixed(1).padStart(10)}` +
          `${percent(reached.shareOfGflops)}${reached.gigabytes.toFixed(1).padStart(10)}${percent(reached.shareOfGigabytes)}`,
      );
    }
  }
});

await section('steps', async (steps) => {
  console.log('\ntraining step, 32³, six classes              ms (least–most)   GFLOP/s  of ceiling');
  for (const [base, batchSize] of [
    [8, 1],
    [8, 2],
    [16, 1],
    [16, 2],
  ] as const) {
    const size: Size3 = [32, 32, 32];
    const features = [1, 2, 4, 8].map((factor) => factor * base);
    const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
    const session = await TrainingSession.create(state, {
      size,
      batchSize,
      loss: weightedDice(),
      optimizer: adam(),
    });
    const batch = {
      image: noise(batchSize * 32 ** 3),
      label: Uint8Array.from({ length: batchSize * 32 ** 3 }, () => Math.floor(Math.random() * 6)),
    };
    const timing = await time(async () => {
      await (
        await session.step([batch], firstStepValues)
      ).result;
    });
    const gflops = session.plan.flops / timing.median / 1e6;
    const rows = gpu.device.features.has('timestamp-query')
      ? profileRows(session.plan, await session.program.profile(), 'shader')
      : [];
    const shareOfGflops = gflops / ceiling.gflops;
    steps.push({ features, batch: batchSize, size, ...timing, gflops, shareOfGflops, byKernel: rows });
    const name = `features ${features.join(', ')}, batch ${batchSize}`;
    console.log(
      `${name.padEnd(38)}${milliseconds(timing).padStart(24)}${gflops.toFixed(1).padStart(10)}${percent(shareOfGflops)}`,
    );
    if (process.argv.includes('--profile')) console.log(`\n${profileTable(rows)}\n`);
    session.dispose();
    state.dispose();
  }
});

await section('inference', async (inference) => {
  console.log('\nlogits of one volume, features 16, 32, 64, 128      ms (least–most)   GFLOP/s');
  for (const size of [[32, 32, 32], [64, 64, 64], software ? [96, 96, 64] : [256, 256, 128]] as Size3[]) {
    const features = [16, 32, 64, 128];
    const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
    const runner = await LogitsRunner.create(state, size);
    const image = noise(size[0] * size[1] * size[2]);
    const timing = await time(async () => void (await runner.run(image)), { runs: 5 });
    const gflops = runner.planned.plan.flops / timing.median / 1e6;
    inference.push({ features, size, ...timing, gflops });
    console.log(
      `${size.join(' × ').padEnd(38)}${milliseconds(timing).padStart(24)}${gflops.toFixed(1).padStart(10)}`,
    );
    runner.dispose();
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

writeResult(resultName, { ...about, sections });
gpu.dispose();
await releaseNodeGpu();
process.exit(0);
