/**
 * Trainings in float16 with all convolutions but the head on matrix units, beside the same with the adapter's own kernels:
 * hippocampus cases, split by subject as the seed draws it, and Dice on the test part. For adapters that offer matrix
 * units; lavapipe computes them number by number.
 *   node --import tsx scripts/run.ts --import tsx bench/matrix-training.ts ../shared/data/hippocampus
 *     [--seeds 0,1,2] [--cases 80] [--epochs 8] [--features 4,8,16] [--patch 32,40,32] [--kernels matrix,own]
 */
import { parseArgs } from 'node:util';
import type { KernelChoices } from '../src/gpu/choices.ts';
import { kernelsOf, withKernel } from '../src/gpu/passes.ts';
import { isMatrixKernel } from '../src/gpu/matrix-units.ts';
import {
  defaultPreprocessing,
  diceCrossEntropy,
  meanDefined,
  oneCycle,
  openDatasetFolder,
  prepareCase,
  releaseNodeGpu,
  splitCases,
  UNet3D,
  type Case,
  type LabelledCase,
} from '../src/node.ts';
import { planTraining } from '../src/model/plan.ts';
import { lossShape } from '../src/model/losses.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import type { Size3 } from '../src/size.ts';
import { adam } from '../src/train/optimizers.ts';
import { numbers, openGpu } from './lib.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '0,1,2' },
    cases: { type: 'string', default: '80' },
    epochs: { type: 'string', default: '8' },
    features: { type: 'string', default: '4,8,16' },
    patch: { type: 'string', default: '32,40,32' },
    kernels: { type: 'string', default: 'matrix,own' },
  },
});
const epochs = Number(values.epochs);
const patch = numbers(values.patch) as unknown as Size3;
const batchSize = 2;
const precision = 'f16';

const dataset = await openDatasetFolder(positionals[0] ?? '../shared/data/hippocampus');
const preprocessing = defaultPreprocessing(1);
const cases: (Case & LabelledCase)[] = [];
for (const item of dataset.cases.slice(0, Number(values.cases)))
  cases.push({ ...item, ...((await prepareCase(item, preprocessing)) as LabelledCase) });

const gpu = await openGpu({ matrixUnits: true });
const network = { inChannels: 1, classes: dataset.labels.length, features: numbers(values.features) };
const config = completeConfig({ ...network, norm: 'instance' });

/** The adapter's own, but on matrix units wherever they serve. */
function onMatrices(): KernelChoices {
  const { limits } = gpu;
  const optimizer = adam();
  const loss = lossShape(diceCrossEntropy(), network.classes);
  const { plan } = planTraining({
    config,
    size: patch,
    batch: batchSize,
    limits,
    precision,
    loss,
    optimizer,
  });
  let kernels = limits.kernels;
  let flops = 0;
  for (const pass of plan.passes) {
    const kernel = kernelsOf(pass, gpu.matrixUnits).find((name) => isMatrixKernel(name));
    if (kernel === undefined) continue;
    kernels = withKernel(kernels, pass, kernel);
    flops += pass.flops;
  }
  console.log(`${((100 * flops) / plan.flops).toFixed(1)} % of a step's operations on matrix units`);
  return kernels;
}

const kernels: Readonly<Record<string, KernelChoices>> = {
  matrix: onMatrices(),
  own: gpu.limits.kernels,
};

for (const seed of numbers(values.seeds)) {
  const { train, test } = splitCases(dataset.cases, { seed });
  const pick = ({ cases: ids }: { readonly cases: readonly string[] }) =>
    cases.filter(({ id }) => ids.includes(id));
  for (const name of values.kernels.split(',')) {
    using model = await UNet3D.create({
      ...network,
      norm: 'instance',
      labels: dataset.labels,
      preprocessing,
      precision,
      seed,
      matrixUnits: true,
      limits: { kernels: kernels[name]! },
    });
    const warnings: string[] = [];
    const started = performance.now();
    const { history } = await model.fit(pick(train), {
      epochs,
      batchSize,
      patch,
      seed,
      loss: diceCrossEntropy(),
      schedule: oneCycle({ maxLearningRate: 0.01 }),
      tune: false,
      onEvent: (event) => event.type === 'warning' && warnings.push(event.message),
    });
    const seconds = (performance.now() - started) / 1000;
    const scores = await model.evaluate(pick(test));
    const dice = dataset.labels.slice(1).map((_, c) => meanDefined(scores.map(({ dice }) => dice[c + 1]!)));
    console.log(
      `seed ${seed}, ${name}: ${pick(train).length} cases, loss ${history.at(-1)!.loss.toFixed(4)}, test Dice ` +
        `${dice.map((value) => value.toFixed(3)).join(' / ')}, mean ${meanDefined(dice).toFixed(3)} of ${scores.length} ` +
        `cases; ${seconds.toFixed(0)} s`,
    );
    for (const warning of warnings) console.log(`  ${warning}`);
  }
}
await releaseNodeGpu();
process.exit(0);
