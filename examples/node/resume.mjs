/**
 * Stops a training in the middle and goes on from its checkpoint: the weights end up the same, bit by bit.
 *   node examples/node/resume.mjs
 * In a checkout run `npm run build` first.
 */
import { rm } from 'node:fs/promises';
import { Aborted, UNet3D, folderStore, fromArrays, phantoms, releaseNodeGpu, weightedDice } from 'unet3d-gpu';

const cases = phantoms(6, { shape: [16, 16, 8] }).map(({ image, labels, shape, affine }, subject) =>
  fromArrays(
    `phantom ${subject}`,
    { data: image, dims: shape, affine },
    { data: labels, dims: shape, affine },
  ),
);
const folder = 'runs/example-resume';
await rm(folder, { recursive: true, force: true });

const undisturbed = await train({});
const stop = new AbortController();
await train({
  signal: stop.signal,
  checkpoint: folderStore(folder),
  onEvent: (event) => {
    if (event.type === 'step' && event.step === 4) stop.abort();
  },
}).catch((error) => {
  if (!(error instanceof Aborted)) throw error;
  console.log(error.message);
});
const resumed = await train({
  checkpoint: folderStore(folder),
  resume: true,
  onEvent: (event) => {
    if (event.type === 'start') console.log(`going on from step ${event.step}`);
  },
});
const same = Buffer.compare(undisturbed, resumed) === 0;
console.log(same ? 'The weights are the same, bit by bit.' : 'The weights differ.');
await releaseNodeGpu();
process.exitCode = same ? 0 : 1;

/** Trains a new model and gives the bytes of its file. */
async function train(options) {
  const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], seed: 7 });
  try {
    await model.fit(cases, { epochs: 4, batchSize: 2, loss: weightedDice(), ...options });
    return await model.save();
  } finally {
    model.dispose();
  }
}
