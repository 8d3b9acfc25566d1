/**
 * Batches of one's own: here phantoms that are generated while training runs, so that no volume is ever seen
 * twice, with the reports of each step and a last look at volumes never trained on.
 *   node examples/node/custom-loop.mjs
 * In a checkout run `npm run build` first.
 */
import {
  UNet3D,
  adamW,
  cosine,
  fromArrays,
  phantom,
  phantomLabels,
  releaseNodeGpu,
  weightedDice,
} from 'unet3d-gpu';

const shape = [24, 24, 16];
const batchSize = 2;

/** The same epoch and index must always give the same batch: then a run repeats, and can be resumed. */
const source = {
  size: shape,
  batchSize,
  batchesPerEpoch: 40,
  identity: 'endless phantoms',
  batch(epoch, index) {
    const first = (epoch * source.batchesPerEpoch + index) * batchSize;
    const samples = Array.from({ length: batchSize }, (_, sample) => prepared(first + sample));
    return {
      image: joined(
        Float32Array,
        samples.map(({ image }) => image),
      ), // [sample][channel][z][y][x]
      label: joined(
        Uint8Array,
        samples.map(({ label }) => label),
      ), // [sample][z][y][x]
    };
  },
};

const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [8, 16, 32], norm: 'instance' });
const run = model.fit(source, {
  epochs: 4,
  loss: weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21)),
  optimizer: adamW({ weightDecay: 0.01 }),
  schedule: cosine({ learningRate: 0.01, warmup: 0.1 }),
  maxGradientNorm: 12,
});
for await (const event of run) {
  if (event.type === 'step' && event.step % 10 === 9)
    console.log(
      `step ${event.step + 1} of ${event.totalSteps}: loss ${event.loss.toFixed(3)}, gradient ` +
        `${event.gradientNorm.toFixed(3)}, learning rate ${event.learningRate.toExponential(1)}`,
    );
}

const scores = await model.evaluate([100000, 100001].map(prepared));
for (const { id, dice } of scores)
  console.log(id, dice.map((value, label) => `${phantomLabels[label]} ${value.toFixed(3)}`).join(', '));
model.dispose();
await releaseNodeGpu();

function prepared(subject) {
  const { image, labels, affine } = phantom(subject, { shape });
  const at = { dims: shape, affine };
  return fromArrays(`phantom ${subject}`, { data: image, ...at }, { data: labels, ...at });
}

function joined(Type, arrays) {
  const result = new Type(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    result.set(array, at);
    at += array.length;
  }
  return result;
}
