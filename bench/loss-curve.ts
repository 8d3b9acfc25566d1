/**
 * Whole trainings beside PyTorch: the same cases, initial weights, order of batches, loss, Adam and OneCycle, then the
 * same test windows; three seeds. PyTorch (bench/loss_curve_reference.py) takes the weights and batches that this side
 * has used and computes losses, schedule and Dice with its own functions. Prints tables and draws
 * bench/results/loss-curve.png.
 *   npx tsx bench/loss-curve.ts FOLDER [--data ../shared/data/hippocampus] [--epochs 2] [--seeds 3]
 * FOLDER keeps what was exchanged and seed-N.json; seeds found there are not run again. The Python named by PYTHON
 * (default /usr/bin/python3) needs torch and numpy.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openDatasetFolder } from '../src/data/dataset.node.ts';
import { copyWindow } from '../src/data/boxes.ts';
import { casesInMemory, trainingBatches } from '../src/data/patches.ts';
import { prepareCase, type PreparedCase } from '../src/data/prepare.ts';
import { defaultPreprocessing } from '../src/data/preprocessing.ts';
import type { Size3 } from '../src/size.ts';
import '../src/data/source.node.ts';
import { splitCases } from '../src/data/split.ts';
import { setAdapterProvider } from '../src/gpu/device.ts';
import { releaseNodeGpu, requestNodeAdapter } from '../src/gpu/node.ts';
import { meanDefined } from '../src/metrics/dice.ts';
import { lineChart } from '../src/report/curves.ts';
import { drawText } from '../src/report/font.ts';
import { encodePng } from '../src/report/png.ts';
import { createPicture, type Color } from '../src/report/raster.ts';
import type { Series } from '../src/report/series.ts';
import { diceCrossEntropy } from '../src/model/losses.ts';
import { adam } from '../src/train/optimizers.ts';
import { oneCycle, scheduleAt } from '../src/train/schedules.ts';
import { UNet3D } from '../src/unet3d.ts';

/** One side's training. */
interface Side {
  readonly losses: number[];
  /** Of every step. */
  readonly learningRates: number[];
  readonly beta1: number[];
  /** Per test case, in the same order on both sides: Dice per class, null where neither has the class. */
  readonly dice: (number | null)[][];
  readonly seconds: number;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: 'string', default: '../shared/data/hippocampus' },
    epochs: { type: 'string', default: '2' },
    seeds: { type: 'string', default: '3' },
  },
});
const [folder] = positionals;
if (!folder)
  throw new Error('usage: npx tsx bench/loss-curve.ts FOLDER [--data folder] [--epochs 2] [--seeds 3]');
const epochs = Number(options.epochs);
const batchSize = 2;
const maxLearningRate = 0.01;
const features = [4, 8, 16];
const size: Size3 = [32, 40, 32];
const schedule = oneCycle({ maxLearningRate });
mkdirSync(folder, { recursive: true });

const dataset = await openDatasetFolder(options.data);
const split = splitCases(dataset.cases, { seed: 0 });
const prepared = new Map<string, PreparedCase>();
for (const item of dataset.cases) prepared.set(item.id, await prepareCase(item, defaultPreprocessing()));
const part = (ids: readonly string[]) => ids.map((id) => prepared.get(id)!);
const training = part(split.train.cases);
const test = part(split.test.cases).map(middle);
const classes = dataset.labels.length;
console.log(`${training.length} cases to train on, ${test.length} to test; windows of ${size.join(' x ')}`);

/** The middle of a case, no larger than `size`. */
function middle(item: PreparedCase): PreparedCase {
  const shape = item.shape.map((n, axis) => Math.min(n, size[axis]!)) as unknown as Size3;
  const start = item.shape.map((n, axis) => (n - shape[axis]!) >> 1) as unknown as Size3;
  const voxels = shape[0] * shape[1] * shape[2];
  const image = new Float32Array(item.channels * voxels);
  const window = { start, size: shape };
  copyWindow({ data: item.image, shape: item.shape, channels: item.channels }, window, image);
  const label = copyWindow({ data: item.label!, shape: item.shape }, window, new Uint8Array(voxels));
  return { ...item, shape, image, label };
}

/** Trains and tests our side, leaving in `exchange` what PyTorch needs. */
async function ours(seed: number, exchange: string): Promise<Side> {
  const model = await UNet3D.create({ inChannels: 1, classes, features, norm: 'instance', seed });
  console.log(`seed ${seed} on ${model.adapter}`);
  writeFileSync(join(exchange, 'weights.safetensors'), await model.save());
  const source = trainingBatches(casesInMemory(training), { batchSize, patch: size, seed });
  const steps = epochs * source.batchesPerEpoch;
  const losses: number[] = [];
  const started = performance.now();
  await model.fit(
    {
      ...source,
      async batch(epoch, index) {
        const batch = await source.batch(epoch, index);
        appendFileSync(join(exchange, 'images.f32'), new Uint8Array(batch.image.buffer));
        appendFileSync(join(exchange, 'labels.u8'), batch.label);
        return batch;
      },
    },
    {
      epochs,
      loss: diceCrossEntropy(),
      optimizer: adam(),
      schedule,
      onEvent: (event) => {
        if (event.type !== 'step') return;
        losses.push(event.loss);
        if (event.step % 24 === 0) console.log(`  step ${event.step} of ${steps}: ${event.loss.toFixed(4)}`);
      },
    },
  );
  const seconds = (performance.now() - started) / 1000;
  const scores = await model.evaluate(test);
  const padded = trainingBatches(casesInMemory(test), { batchSize: 1, patch: size });
  const dice: number[][] = [];
  for (let index = 0; index < test.length; index++) {
    const { image, label, cases } = await padded.batch(0, index);
    appendFileSync(join(exchange, 'test-images.f32'), new Uint8Array(image.buffer));
    appendFileSync(join(exchange, 'test-labels.u8'), label);
    dice.push([...scores[cases[0]!]!.dice]);
  }
  model.dispose();
  const values = losses.map((_, step) => scheduleAt(schedule, step, steps));
  const about = { size, classes, steps, batchSize, maxLearningRate };
  writeFileSync(join(exchange, 'about.json'), JSON.stringify(about));
  return {
    losses,
    learningRates: values.map(({ learningRate }) => learningRate),
    beta1: values.map(({ momentum }) => momentum!),
    dice,
    seconds,
  };
}

setAdapterProvider(requestNodeAdapter);
const results: { ours: Side; torch: Side }[] = [];
for (let seed = 1; seed <= Number(options.seeds); seed++) {
  const kept = join(folder, `seed-${seed}.json`);
  if (!existsSync(kept)) {
    const exchange = join(folder, `seed-${seed}`);
    rmSync(exchange, { recursive: true, force: true });
    mkdirSync(exchange);
    const side = await ours(seed, exchange);
    const script = join(import.meta.dirname, 'loss_curve_reference.py');
    execFileSync(process.env['PYTHON'] ?? '/usr/bin/python3', [script, exchange], { stdio: 'inherit' });
    const torch = JSON.parse(readFileSync(join(exchange, 'torch.json'), 'utf8')) as Side;
    writeFileSync(kept, JSON.stringify({ ours: side, torch }));
  }
  results.push(JSON.parse(readFileSync(kept, 'utf8')) as { ours: Side; torch: Side });
}

const apart = (a: readonly number[], b: readonly number[]) => a.map((value, i) => Math.abs(value - b[i]!));
const diceOf = ({ dice }: Side, label: number) => meanDefined(dice.map((row) => row[label] ?? NaN));
const row = (cells: readonly (string | number)[]) => console.log(`| ${cells.join(' | ')} |`);
row([
  'seed',
  'loss apart, steps 1–10',
  'all steps',
  'last 10 losses, ours',
  'PyTorch',
  'seconds, ours',
  'PyTorch',
]);
row(['---', ...new Array<string>(6).fill('---:')]);
for (const [index, { ours: a, torch: b }] of results.entries()) {
  const off = apart(a.losses, b.losses);
  const last = [a, b].map(({ losses }) => meanDefined(losses.slice(-10)).toFixed(4));
  const seconds = [a, b].map((side) => side.seconds.toFixed(0));
  const [early, all] = [meanDefined(off.slice(0, 10)), meanDefined(off)];
  row([index + 1, early.toExponential(1), all.toExponential(1), ...last, ...seconds]);
}
const names = dataset.labels.slice(1);
console.log();
row(['test Dice', ...names.flatMap((name) => [`${name}, ours`, 'PyTorch', 'difference'])]);
row(['---', ...names.flatMap(() => ['---:', '---:', '---:'])]);
const table = results.map(({ ours: a, torch: b }) =>
  names.map((_, index) => [diceOf(a, index + 1), diceOf(b, index + 1)] as const),
);
const means = names.map((_, name) =>
  [0, 1].map((side) => meanDefined(table.map((seed) => seed[name]![side]!))),
);
for (const [index, cells] of [...table, means].entries())
  row([
    index < table.length ? `seed ${index + 1}` : 'mean',
    ...cells.flatMap(([a, b]) => [a.toFixed(4), b.toFixed(4), (a - b).toFixed(4)]),
  ]);
const largest = (key: 'learningRates' | 'beta1') =>
  Math.max(...results.flatMap(({ ours: a, torch: b }) => apart(a[key], b[key]))).toExponential(1);
console.log(
  `\nSchedules apart by at most ${largest('learningRates')} (learning rate) and ${largest('beta1')} (β1).`,
);

const [blue, vermilion, green]: [Color, Color, Color] = [
  [0, 114, 178],
  [213, 94, 0],
  [0, 158, 115],
];
const steps = results[0]!.ours.losses.map((_, step) => step + 1);
const panels: { title: string; series: Series[] }[] = results.map(({ ours: a, torch: b }, index) => ({
  title: `Training loss, seed ${index + 1}`,
  series: [
    { name: 'PyTorch', color: vermilion, x: steps, y: b.losses, width: 4 },
    { name: 'unet3d-gpu', color: blue, x: steps, y: a.losses, width: 1.5 },
  ],
}));
panels.push({
  title: 'log10 of the difference of the losses',
  series: results.map(({ ours: a, torch: b }, index) => ({
    name: `seed ${index + 1}`,
    color: [blue, vermilion, green][index % 3]!,
    x: steps,
    y: apart(a.losses, b.losses).map((value) => Math.log10(Math.max(value, 1e-8))),
    width: 1.5,
  })),
});
const [width, height] = [800, 190];
const picture = createPicture(width, 42 + panels.length * height);
const title = `Same weights, batches and recipe: ${steps.length} steps of batch ${batchSize}, ${dataset.name}`;
drawText(picture, title, 20, 24, { size: 13, weight: 1.8 });
for (const [index, panel] of panels.entries()) {
  const box = { left: 20, top: 42 + index * height, width: width - 40, height: height - 10 };
  lineChart(picture, box, panel.title, panel.series, { xLabel: 'step' });
}
writeFileSync(new URL('./results/loss-curve.png', import.meta.url), await encodePng(picture));
await releaseNodeGpu();
process.exit(0);
