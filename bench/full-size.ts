/**
 * One training step of the study's size on this machine's adapter: planned and allocated bytes, the
 * process's peak memory, time and loss; inputs and all gradients go to a folder, where
 * bench/full_size_reference.py computes the same step with PyTorch and compares.
 *   npx tsx bench/full-size.ts FOLDER [--batch 1] [--size 256,256,128] [--features 16,32,64,128]
 *     [--precision f16] [--checkpointing]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import type { Size3 } from '../src/size.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { ModelState } from '../src/model/state.ts';
import { namedTensors } from '../src/weights/named-tensors.ts';
import { formatBytes } from '../src/format.ts';
import { weightedDice } from '../src/model/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { TrainingSession } from '../src/train/session.ts';
import { writeSafetensors } from '../src/weights/safetensors.ts';
import { openGpu, peakMemory } from './lib.ts';
import { nestedBoxes } from './nested-boxes.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    batch: { type: 'string', default: '1' },
    size: { type: 'string', default: '256,256,128' },
    features: { type: 'string', default: '16,32,64,128' },
    precision: { type: 'string', default: 'f32' },
    checkpointing: { type: 'boolean', default: false },
  },
});
const [folder] = positionals;
if (!folder) throw new Error('usage: npx tsx bench/full-size.ts FOLDER [--batch n] [--precision f16] …');
const batchSize = Number(options.batch);
const size = options.size.split(',').map(Number) as unknown as Size3;
const features = options.features.split(',').map(Number);
const precision = options.precision === 'f16' ? 'f16' : 'f32';
const { checkpointing } = options;
const classes = 6;

const gpu = await openGpu();
console.log(`GPU: ${gpu.describe}; bindings of at most ${formatBytes(gpu.limits.maxBindingBytes)}`);
const config = completeConfig({ inChannels: 1, classes, features });
const state = new ModelState(gpu, config, 1);
state.precision = precision;
const weights = await state.readWeights();

const { image, label } = nestedBoxes(size, batchSize, classes);

const residentBefore = process.memoryUsage.rss();
const started = performance.now();
const loss = weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21));
const session = await TrainingSession.create(state, {
  size,
  batchSize,
  loss,
  optimizer: adam(),
  checkpointing,
});
const prepared = performance.now();
const values = {
  learningRate: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxNorm: Infinity,
  applied: 0,
};
const { result } = await session.step([{ image, label }], values);
const { loss: value, lossScale } = await result;
const done = performance.now();
const gradients = (await state.read('gradients')).map((gradient) => gradient / lossScale);

mkdirSync(folder, { recursive: true });
const { parameters } = state.layout;
const save = (name: string, tensors: ReturnType<typeof namedTensors>) =>
  writeFileSync(join(folder, name), writeSafetensors({ tensors, metadata: {} }));
save('weights.safetensors', namedTensors(parameters, weights.parameters));
save('gradients.safetensors', namedTensors(parameters, gradients));
writeFileSync(join(folder, 'image.f32'), image);
writeFileSync(join(folder, 'label.u8'), label);
const { plan } = session;
const summary = {
  batch: batchSize,
  size,
  features,
  precision,
  checkpointing,
  loss: value,
  plannedBytes: plan.peakBytes,
  allocatedBytes: gpu.allocatedBytes,
  peakResidentBytes: peakMemory(),
  residentBytesBefore: residentBefore,
  largestBindingBytes: plan.largestBindingBytes,
  dispatches: plan.dispatches.length,
  gflop: plan.flops / 1e9,
  prepareSeconds: (prepared - started) / 1000,
  stepSeconds: (done - prepared) / 1000,
};
writeFileSync(join(folder, 'step.json'), JSON.stringify(summary, null, 2));
console.log(summary);
session.dispose();
state.dispose();
gpu.dispose();
await releaseNodeGpu();
process.exit(0);
