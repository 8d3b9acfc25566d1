/**
 * `node --import tsx scripts/run.ts --import tsx bench/augmentation.ts [EDGE] [--whole]`: what augmentation adds to a
 * training step on this machine's adapter: nothing drawn, each operation drawn for both samples, everything drawn, and
 * nnU-Net's mean. Patches of EDGE³ (64) are cut from larger volumes, with the margin around them; --whole: they are whole
 * volumes. The least of several runs counts.
 */
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { Recorder } from '../src/gpu/plan.ts';
import { Program } from '../src/gpu/program.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { ModelState } from '../src/model/state.ts';
import { augment, drawTensors, encodeDraws, type ChannelDraw, type SampleDraw } from '../src/ops/augment.ts';
import { augmentationMargin, drawSample, nnunetAugmentation } from '../src/train/augmentation.ts';
import { weightedDice } from '../src/model/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { TrainingSession } from '../src/train/session.ts';
import { noise, openGpu } from './lib.ts';

const words = process.argv.slice(2);
const edge = Number(words.find((word) => /^\d+$/.test(word)) ?? 64);
const size = [edge, edge, edge] as const;
const largest = words.includes('--whole') ? size : ([1000, 1000, 1000] as const);
const margin = augmentationMargin(nnunetAugmentation(), size, largest);
const sourceSize = [edge + 2 * margin[0], edge + 2 * margin[1], edge + 2 * margin[2]] as const;
const batchSize = 2;
const gpu = await openGpu();
console.log(`GPU: ${gpu.describe}`);
const config = completeConfig({ inChannels: 1, classes: 3, features: [16, 32, 64, 128] });
const state = new ModelState(gpu, config, 0);
const session = await TrainingSession.create(state, {
  size,
  batchSize,
  loss: weightedDice(),
  optimizer: adam(),
  augment: true,
  margin,
});
const voxels = batchSize * sourceSize[0] * sourceSize[1] * sourceSize[2];
const batch = {
  image: noise(voxels),
  label: Uint8Array.from({ length: voxels }, () => Math.floor(Math.random() * 3)),
};
const values = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxNorm: Infinity,
  applied: 0,
};

const sum = (times: readonly number[]) => times.reduce((total, ms) => total + ms, 0);
const { result } = await session.step([batch], values);
await result;
let step = Infinity;
for (let run = 0; run < 4; run++) step = Math.min(step, sum(await session.program.profile()));
session.dispose();
state.dispose();

const recorder = new Recorder(gpu.limits);
const volumes = {
  source: recorder.volume('source', batchSize, 1, sourceSize, 'resident'),
  sourceLabels: recorder.labels('sourceLabels', batchSize, sourceSize, 'resident'),
  image: recorder.volume('image', batchSize, 1, size),
  labels: recorder.labels('labels', batchSize, size),
};
const draws = drawTensors(recorder, batchSize, 1);
augment(recorder, 'augment', volumes, draws);
const program = await Program.create(gpu, recorder.finish());
program.write(volumes.source, batch.image);

/** Milliseconds of augmentation with this draw for both samples: the least of nine runs. */
async function measure(draw: SampleDraw): Promise<number> {
  const drawn = encodeDraws([draw, draw], size);
  program.write(draws.samples, drawn.samples);
  program.write(draws.channels, drawn.channels);
  const times: number[] = [];
  for (let run = 0; run < 9; run++) times.push(sum(await program.profile()));
  return Math.min(...times);
}

const channel = (draw: ChannelDraw): SampleDraw => ({ channels: [draw] });
const shape = { size, channels: 1, seed: 0 };
const turning = nnunetAugmentation({
  rotation: { probability: 1, degrees: [20, 30], flatDegrees: [0, 0] },
});
const turned = drawSample(turning, { ...shape, position: 0 });
const half = size.map((n) => Math.round(0.7 * n)) as [number, number, number];
const key = [1, 2] as const;
const strongest: ChannelDraw = {
  blur: [1, 1, 1],
  brightness: 1.2,
  contrast: 1.2,
  lowResolution: half,
  invertedGamma: 1.3,
  gamma: 1.3,
};
const rows: [name: string, probability: number, draw: SampleDraw][] = [
  ['mirror', 0.875 * 0.64, { mirror: [true, true, true], channels: [{}] }],
  ['rotation or scaling', 0.36, { matrix: turned.matrix, channels: [{}] }],
  ['noise', 0.1, { noise: { deviation: 0.1, key }, channels: [{}] }],
  ['blur', 0.1, channel({ blur: [1, 1, 1] })],
  ['brightness', 0.15, channel({ brightness: 1.2 })],
  ['contrast', 0.15, channel({ contrast: 1.2 })],
  ['low resolution', 0.125, channel({ lowResolution: half })],
  ['inverted gamma', 0.1, channel({ invertedGamma: 1.3 })],
  ['gamma', 0.3, channel({ gamma: 1.3 })],
];

const show = (name: string, ms: number) =>
  console.log(
    `${name.padEnd(24)}${ms.toFixed(2).padStart(9)} ms${((100 * ms) / step).toFixed(2).padStart(9)} % of the step`,
  );
console.log(
  `training step, batch ${batchSize} of ${edge}³ from sources of ${sourceSize.join(' × ')}, features 16, 32, 64, 128: ${step.toFixed(0)} ms`,
);
const nothing = await measure(channel({}));
show('nothing drawn', nothing);
let mean = nothing;
for (const [name, probability, draw] of rows) {
  const ms = await measure(draw);
  mean += probability * (ms - nothing);
  show(name, ms);
}
show(
  'everything',
  await measure({ matrix: turned.matrix, noise: { deviation: 0.1, key }, channels: [strongest] }),
);
show("nnU-Net's mean", mean);
program.dispose();
gpu.dispose();
await releaseNodeGpu();
process.exit(0);
