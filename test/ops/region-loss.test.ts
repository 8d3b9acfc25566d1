/** Dice and binary cross-entropy of heads that decide on regions, against float64 loops. */
import { expect, test } from 'vitest';
import { lossFinalize, lossValues } from '../../src/ops/loss.ts';
import { regionLossBackward, regionLossForward, regionTable } from '../../src/ops/region-loss.ts';
import { regionLoss } from '../reference/region-loss.ts';
import { Bench, expectClose, expectSameBits, normals, randomDense } from '../support/run.ts';

/** Nested, overlapping, and with a label in another word of the table. */
const regions = [[1, 2, 70], [2, 70], [3]];
const values = [0, 1, 2, 3, 70, 255];
const [batch, size] = [2, [7, 6, 5] as const];
const [x, y, z] = size;
const logits = randomDense([batch, regions.length, z, y, x]);
const labels = Uint8Array.from(
  normals(batch * x * y * z),
  (draw) => values[Math.floor(Math.abs(draw * 7)) % values.length]!,
);

async function run(batchDice: boolean, maxBindingBytes?: number) {
  const options = { dice: 0.5, crossEntropy: 2, smooth: 1e-5, batchDice, negativeDice: true };
  const diceWeights = Float32Array.from([0.5, 1, 0.25]);
  using bench = new Bench(maxBindingBytes === undefined ? {} : { maxBindingBytes });
  const { recorder } = bench;
  const tensors = {
    logits: bench.volume('logits', logits),
    labels: bench.labels('labels', size, batch, labels),
    regions: bench.flat(
      'regions',
      new Float32Array(regionTable(regions.map((of) => ({ labels: of, written: 1 }))).buffer),
    ),
    partials: recorder.flat('partials', batch * z * lossValues(regions.length)),
  };
  const weights = bench.flat('classWeights', [...diceWeights, 0, 0, 0]);
  const results = bench.flat('results', new Float64Array(3 + regions.length));
  regionLossForward(recorder, 'loss', tensors);
  const coefficients = lossFinalize(
    recorder,
    'loss',
    {
      partials: tensors.partials,
      classWeights: weights,
      results,
      lossScale: bench.flat('lossScale', [1]),
    },
    { samples: batch, depth: z },
    { ...options, classes: regions.length },
  );
  regionLossBackward(recorder, 'loss backward', { ...tensors, coefficients });
  await bench.run();
  return {
    reference: regionLoss(logits, labels, regions, { ...options, diceWeights }),
    results: await bench.readFlat(results, 3 + regions.length),
    dLogits: (await bench.read(tensors.logits)).data,
  };
}

test.each([false, true])('value, scores and gradient; Dice over the batch: %s', async (batchDice) => {
  const { reference, results, dLogits } = await run(batchDice);
  const [value, dice, entropy, ...scores] = results;
  expectClose([value!], [reference.loss], 'loss');
  expectClose([dice!], [reference.dice], 'Dice part');
  expectClose([entropy!], [reference.entropy], 'cross-entropy part');
  expectClose(scores, reference.scores, 'Dice per head');
  expectClose(dLogits, reference.dLogits.data, 'gradient of the logits');
  const voxels = size[0] * size[1] * size[2];
  labels.forEach((label, i) => {
    const first = Math.floor(i / voxels) * regions.length * voxels + (i % voxels);
    if (label === 255) expect(dLogits[first]).toBe(0);
  });
});

test('the same bits however it is cut', async () => {
  const [cut, whole] = [await run(false, 2048), await run(false)];
  expectSameBits(cut.results, whole.results, 'results');
  expectSameBits(cut.dLogits, whole.dLogits, 'gradient of the logits');
});
