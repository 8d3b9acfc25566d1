/**
 * Inference with the study's network and random weights: logits of one volume whole, and a NIfTI file in windows, from its
 * bytes to labels.
 *   windows.ts [--whole 256,256,128] [--file 512,512,300] [--window 256,256,128] [--features 16,32,64,128]
 */
import { parseArgs } from 'node:util';
import '../../src/data/source.node.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import type { Size3 } from '../../src/size.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { noise, time } from '../lib.ts';
import { numbers, takenBytes, tell } from './tell.ts';

const { values: options } = parseArgs({
  options: {
    whole: { type: 'string', default: '256,256,128' },
    file: { type: 'string', default: '512,512,300' },
    window: { type: 'string', default: '256,256,128' },
    features: { type: 'string', default: '16,32,64,128' },
  },
});
const sizeOf = (list: string) => numbers(list) as unknown as Size3;
const voxels = ([x, y, z]: Size3): number => x * y * z;
const [whole, file, window] = [sizeOf(options.whole), sizeOf(options.file), sizeOf(options.window)];

setAdapterProvider(requestNodeAdapter);
const features = numbers(options.features);
const model = await UNet3D.create({ inChannels: 1, classes: 6, features, norm: 'batch', seed: 1 });
const image = noise(voxels(whole));
const logits = await time(async () => void (await model.logits({ image, shape: whole })), { runs: 5 });
tell({ whole, logits, takenBytes: takenBytes() });

const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const bytes = await writeNifti({ data: noise(voxels(file)), shape: file, affine }, { gzip: false });
const started = performance.now();
let windows = 0;
const segmentation = await model.predict(bytes, {
  window,
  onProgress: ({ total }) => {
    windows = total;
  },
});
const seconds = (performance.now() - started) / 1000;
tell({
  file,
  window,
  windows,
  seconds,
  voxels: segmentation.labels.data.length,
  takenBytes: takenBytes(),
  line:
    `logits of ${whole.join('×')} ${logits.median.toFixed(1)} ms; ${file.join('×')} in ${windows} windows of ` +
    `${window.join('×')} ${seconds.toFixed(1)} s`,
});
process.exit(0);
