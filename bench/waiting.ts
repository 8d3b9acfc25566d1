/**
 * How long the device of a training from .nii.gz files, with augmentation, has nothing to do because no batch is there:
 *   node --import tsx scripts/run.ts --import tsx bench/waiting.ts [STEPS [EDGE [FEATURES]]]
 * By turns with batches that were made before, with cases kept in memory as trainings keep them, and with each read and
 * prepared anew for each patch of EDGE³.
 *
 * A step's batch is asked for when the step before is sent. Waited is from when the trainer takes it until it is there;
 * idle, of that, what lies behind the end of all work that the device has been given. What Node's one thread spends on
 * batches meanwhile shows only in the time of all steps beside that of batches made before. The first step is left out.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Case } from '../src/data/case.ts';
import { writeNifti } from '../src/data/nifti.ts';
import { phantom } from '../src/data/phantom.ts';
import { cacheCases } from '../src/data/prepare-cache.ts';
import type { PatchBatches } from '../src/data/patches.ts';
import { prepareCase } from '../src/data/prepare.ts';
import {
  augmentationMargin,
  nnunetAugmentation,
  releaseNodeGpu,
  trainingBatches,
  UNet3D,
} from '../src/node.ts';
import type { Size3 } from '../src/size.ts';
import type { BatchSource } from '../src/train/fit.ts';
import type { Batch } from '../src/train/session.ts';
import { StepBatches } from '../src/train/step-batches.ts';

const [steps = 24, edge = 64, finest = 16] = process.argv.slice(2).map(Number);
const features = [finest, 2 * finest, 4 * finest, 8 * finest];
const patch: Size3 = [edge, edge, edge];
const shape: Size3 = [2 * edge, 2 * edge, edge + 32];
const count = 6;

const preprocessing = {
  orientation: 'RAS',
  spacing: null,
  normalization: ['z-score'],
  padding: 'zeros at the far end',
} as const;

const folder = mkdtempSync(join(tmpdir(), 'unet3d-waiting-'));
const cases: Case[] = [];
for (let subject = 0; subject < count; subject++) {
  const { image, labels, affine } = phantom(subject, { shape });
  const [scan, label] = [`${subject}.nii.gz`, `${subject} label.nii.gz`].map((name) =>
    join(folder, name),
  ) as [string, string];
  writeFileSync(scan, await writeNifti({ data: image, shape, affine }));
  writeFileSync(label, await writeNifti({ data: labels, shape, affine }));
  cases.push({ id: `case ${subject}`, subject: `${subject}`, images: [scan], label });
}

const model = await UNet3D.create({ inChannels: 1, classes: 6, features });
const { queue } = model.gpu.device;
const augmentation = nnunetAugmentation();

/** Milliseconds of each step but the first, and when that was behind. */
let waited: number[] = [];
let idle: number[] = [];
let began = 0;
const take = Reflect.get<StepBatches, 'take'>(StepBatches.prototype, 'take');
StepBatches.prototype.take = async function (this: StepBatches, step, makeRoom) {
  if (step === 0) return take.call(this, step, makeRoom);
  const [asked, done] = [performance.now(), { at: Infinity }];
  began ||= asked;
  void queue.onSubmittedWorkDone().then(() => (done.at = performance.now()));
  const batches = await take.call(this, step, makeRoom);
  const there = performance.now();
  waited.push(there - asked);
  idle.push(Math.max(0, there - Math.max(asked, done.at)));
  return batches;
};

async function fromFiles(budget: number | undefined): Promise<PatchBatches> {
  const prepare = (index: number) => prepareCase(cases[index]!, preprocessing, { classes: 6 });
  return trainingBatches(await cacheCases(count, prepare, budget === undefined ? {} : { budget }), {
    batchSize: 2,
    patch,
    multiple: 8,
    batchesPerEpoch: steps,
    margin: (size) => augmentationMargin(augmentation, size, shape),
  });
}

/** The same batches, all there before the training begins. */
async function madeBefore(source: BatchSource): Promise<BatchSource> {
  const made: Batch[] = [];
  for (let index = 0; index < steps; index++) made.push(await source.batch(0, index));
  return { ...source, batch: (_, index) => made[index]! };
}

/** The same batches, each late by so many milliseconds: what waiting looks like here. */
const late = (source: BatchSource, ms: number): BatchSource => ({
  ...source,
  batch: async (epoch, index) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return source.batch(epoch, index);
  },
});

async function measured(name: string, source: BatchSource): Promise<void> {
  [waited, idle, began] = [[], [], 0];
  await model.fit(source, { epochs: 1, augmentation });
  const all = performance.now() - began;
  const sum = (times: readonly number[]): number => times.reduce((total, ms) => total + ms, 0);
  const share = (times: readonly number[]): string =>
    `${sum(times).toFixed(0)} ms, ${((100 * sum(times)) / all).toFixed(1)} %`;
  console.log(
    `${name}: ${waited.length} steps in ${(all / 1000).toFixed(1)} s; waited ${share(waited)}; the device idle meanwhile ${share(idle)}`,
  );
}

try {
  console.log(
    `${model.adapter.split('\n')[0]}; batches of 2 x ${edge}^3 from volumes of ${shape.join(' x ')}, features ${features.join(', ')}`,
  );
  const [kept, anew] = [await fromFiles(undefined), await fromFiles(1)];
  const before = await madeBefore(kept);
  await model.fit(before, { epochs: 1, augmentation }); // compiles
  for (let round = 0; round < 2; round++) {
    await measured('batches made before the training', before);
    await measured('cases kept in memory', kept);
    await measured('cases read anew for each patch', anew);
  }
  await measured('the first again, each batch two seconds late', late(before, 2000));
  console.log(`load ${loadavg()[0]!.toFixed(1)} on ${availableParallelism()} cores`);
} finally {
  rmSync(folder, { recursive: true });
}
model.dispose();
await releaseNodeGpu();
