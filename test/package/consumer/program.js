/**
 * A user's program: it trains, saves, loads and segments, and writes NIfTI, on whatever runtime it is started with.
 * Given `--no-gpu`, it does what needs none.
 */
import process from 'node:process';
import * as api from 'unet3d-gpu';
import { evaluateCase } from 'unet3d-gpu/report';
import { UNet3D as WorkerUNet3D } from 'unet3d-gpu/worker';

const { UNet3D, fromArrays, phantom, readNifti, writeNifti, dice } = api;
const { versions } = process;
const runtime = versions.bun
  ? `Bun ${versions.bun}`
  : versions.deno
    ? `Deno ${versions.deno}`
    : `Node ${versions.node}`;
const { image, labels, shape, affine } = phantom(1, { shape: [8, 8, 8] });
const grid = { dims: [...shape], affine };

const volume = await readNifti(await writeNifti({ data: image, shape, affine }));
if (!volume.data.every((value, i) => value === image[i])) throw new Error('NIfTI came back differently');
if (!dice(labels, labels, 6).every((value) => value === 1 || Number.isNaN(value))) throw new Error('dice');
evaluateCase({ data: labels, shape }, { data: labels, shape }, { classes: 6 });
if (typeof WorkerUNet3D.create !== 'function') throw new Error('no worker');

const network = { inChannels: 1, classes: 6, features: [4, 8] };
if (process.argv.includes('--no-gpu')) console.log(`${runtime}: fine, without a GPU`);
else {
  const item = fromArrays('one', { data: image, ...grid }, { data: labels, ...grid });
  const model = await UNet3D.create(network);
  const { steps } = await model.fit([item], { epochs: 2 });
  const again = await UNet3D.load(await model.save());
  const file = await writeNifti({ data: image, shape, affine });
  const [first, second] = [await model.predict(file), await again.predict(file)];
  if (!first.labels.data.every((label, i) => label === second.labels.data[i]))
    throw new Error('loaded differently');
  console.log(`${runtime}: fine, ${steps} steps on ${model.adapter}`);
  again.dispose();
  model.dispose();
  await api.releaseNodeGpu();
}
