/**
 * Time to the first training step in a fresh process with the driver's disk cache off, as JSON: opening the adapter,
 * and from there to the first loss (plan, allocation, compilation, step). Started by bench/run.ts.
 *   node --import tsx bench/first-step.ts FEATURES
 */
import { completeConfig } from '../src/model/complete-config.ts';
import { ModelState } from '../src/model/state.ts';
import { weightedDice } from '../src/model/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { TrainingSession } from '../src/train/session.ts';
import { firstStepValues, noise, openGpu } from './lib.ts';

const features = (process.argv[2] ?? '16,32,64,128').split(',').map(Number);
const started = performance.now();
const gpu = await openGpu();
const opened = performance.now();
const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
const [size, batchSize] = [[32, 32, 32] as const, 1];
const session = await TrainingSession.create(state, {
  size,
  batchSize,
  loss: weightedDice(),
  optimizer: adam(),
});
const batch = { image: noise(32 ** 3), label: new Uint8Array(32 ** 3).map((_, i) => (i % 32) % 6) };
await (
  await session.step([batch], firstStepValues)
).result;
const done = performance.now();
console.log(JSON.stringify({ features, openMs: opened - started, firstStepMs: done - opened }));
process.exit(0);
