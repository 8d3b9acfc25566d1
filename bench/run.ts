/**
 * `npm run bench`: convolution kernels and whole training steps on this machine's adapter, with a
 * loop of multiply-adds measured in the same run to hold them against. Prints tables and writes bench/results/<adapter>.json.
 * `npm run bench -- --profile` adds the times of a step's dispatches.
 */
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { profileRows, profileTable } from '../src/gpu/profiler.ts';
import { Recorder, type Size3 } from '../src/gpu/plan.ts';
import { completeConfig } from '../src/model/config.ts';
import { ModelState } from '../src/model/state.ts';
import { conv3BackwardInput, conv3BackwardWeight, conv3Forward } from '../src/ops/conv3.ts';
import { weightedDice } from '../src/train/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { TrainingSession } from '../src/train/session.ts';
import { version } from '../src/version.ts';
import { multiplyAddCeiling } from './ceiling.ts';
import { noise, openGpu, time, timePlan, writeResult } from './lib.ts';

const gpu = await openGpu();
console.log(`GPU: ${gpu.describe}`);
const ceiling = await multiplyAddCeiling(gpu);
console.log(`a loop of multiply-adds: ${ceiling.toFixed(1)} GFLOP/s\n`);

const kernels: Record<string, unknown>[] = [];
console.log('conv3, batch 2 (median of 7)          ms   GFLOP/s     of loop');
for (const [channels, size] of [
  [16, [64, 64, 32]],
  [32, [32, 32, 16]],
  [64, [16, 16, 8]],
] as const satisfies readonly (readonly [number, Size3])[]) {
  for (const kind of ['forward', 'data gradient', 'weight gradient'] as const) {
    const recorder = new Recorder(gpu.limits);
    const x = recorder.volume('x', 2, channels, size, 'resident');
    const y = recorder.volume('y', 2, channels, size, 'resident');
    const words = channels * channels * 27;
    const [w, dw] = [recorder.flat('w', words, 'resident'), recorder.flat('dw', words, 'resident')];
    const weights = { tensor: w, offset: 0, size: words * 4 };
    if (kind === 'forward') conv3Forward(recorder, kind, [{ tensor: x }], weights, undefined, y);
    if (kind === 'data gradient') conv3BackwardInput(recorder, kind, y, weights, x);
    if (kind === 'weight gradient') {
      conv3BackwardWeight(recorder, kind, { tensor: x }, y, { tensor: dw, offset: 0, size: words * 4 });
    }
    const { median, flops } = await timePlan(gpu, recorder, [x, y, w]);
    const gflops = flops / median / 1e6;
    kernels.push({ kernel: `conv3 ${kind}`, channels, size, batch: 2, ms: median, gflops });
    const name = `${kind} ${channels} ch @${[...size].reverse().join('×')}`;
    const share = `${((100 * gflops) / ceiling).toFixed(0)} %`;
    console.log(
      `${name.padEnd(34)}${median.toFixed(2).padStart(8)}${gflops.toFixed(1).padStart(9)}${share.padStart(12)}`,
    );
  }
}

const steps: Record<string, unknown>[] = [];
console.log('\ntraining step, 32³, six classes       first (ms)   then (ms)   GFLOP/s');
for (const [base, batchSize] of [
  [8, 1],
  [8, 2],
  [16, 1],
  [16, 2],
] as const) {
  const size: Size3 = [32, 32, 32];
  const features = [1, 2, 4, 8].map((factor) => factor * base);
  const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
  const started = performance.now();
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
  const values = {
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    correction1: 0.1,
    correction2: 0.03,
    maxNorm: Infinity,
  };
  const step = async () => {
    const { result } = await session.step([batch], values);
    await result;
  };
  await step();
  const first = performance.now() - started;
  const { median } = await time(step);
  const gflops = session.plan.flops / median / 1e6;
  steps.push({ features, batch: batchSize, size, firstMs: first, ms: median, gflops });
  const name = `features ${features.join(', ')}, batch ${batchSize}`;
  console.log(
    `${name.padEnd(38)}${first.toFixed(0).padStart(10)}${median.toFixed(0).padStart(12)}${gflops.toFixed(1).padStart(10)}`,
  );
  if (process.argv.includes('--profile')) {
    console.log(`\n${profileTable(profileRows(session.plan, await session.program.profile()))}\n`);
  }
  session.dispose();
  state.dispose();
}

const adapter = gpu.describe.split('\n')[0];
const made = {
  date: new Date().toISOString(),
  version,
  node: process.version,
  adapter,
  ceilingGflops: ceiling,
  kernels,
  steps,
};
writeResult(`bench-${gpu.adapterClass}`, made);
gpu.dispose();
await releaseNodeGpu();
process.exit(0);
