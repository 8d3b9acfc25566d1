/**
 * A whole-body CT in many classes through nnU-Net's rules, or with --own as a model of this package has them: what is planned beside the GPU, what the process takes, and how
 * long the network and the way from its features to labels take. The network has random weights and 1×1×1 kernels where
 * it is finest, so that the rest can be seen beside it; its features are as many as nnU-Net's.
 *   npx tsx bench/many-classes.ts [--size 512,512,600] [--mm 0.78,0.78,1] [--classes 118] [--step 0.5] [--logits-gib 1] [--features 32] [--own]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import '../src/data/source.node.ts';
import { writeNifti } from '../src/data/nifti.ts';
import { defaultPreprocessing } from '../src/data/preprocessing.ts';
import { random } from '../src/data/random.ts';
import { exportNnunet } from '../src/export/nnunet.ts';
import { formatBytes } from '../src/format.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { NnunetPredictor } from '../src/interop/nnunet/pipeline/predictor.ts';
import { planSegmentation } from '../src/interop/nnunet/pipeline/memory.ts';
import { windowResult } from '../src/interop/nnunet/pipeline/network.ts';
import { OpenNetwork } from '../src/infer/opened.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import type { Size3 } from '../src/size.ts';
import { UNet3D } from '../src/unet3d.ts';
import { writeModel } from '../src/weights/model-file.ts';
import { initialWeights, openGpu, peakMemory, surroundings } from './lib.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '512,512,600' },
    mm: { type: 'string', default: '0.78,0.78,1' },
    patch: { type: 'string', default: '128,128,128' },
    classes: { type: 'string', default: '118' },
    step: { type: 'string', default: '0.5' },
    'logits-gib': { type: 'string', default: '1' },
    features: { type: 'string', default: '32' },
    own: { type: 'boolean', default: false },
  },
});
const triple = (list: string): Size3 => list.split(',').map(Number) as unknown as Size3;
const [size, mm, patch] = [triple(options.size), triple(options.mm), triple(options.patch)];
const classes = Number(options.classes);
const features = Number(options.features);
const step = Number(options.step);
const logitBytes = Number(options['logits-gib']) * 2 ** 30;

async function modelBytes(): Promise<Uint8Array> {
  const one: Size3 = [1, 1, 1];
  const config = completeConfig({
    ...{
      inChannels: 1,
      classes,
      features: [features, features, features],
      norm: 'instance',
      activation: 'leakyRelu',
      down: 'conv',
    },
    ...{ kernels: [one, one, [3, 3, 3]], encoderBlocks: [1, 1, 1], decoderBlocks: [1, 1] },
  });
  return writeModel(
    {
      config,
      labels: Array.from({ length: classes }, (_, label) => (label === 0 ? 'background' : `part ${label}`)),
      channels: ['CT'],
      preprocessing: { ...defaultPreprocessing(1, options.own ? null : [1.5, 1.5, 1.5]), crop: 'non-zero' },
      inputSize: patch,
    },
    initialWeights(config),
  );
}

/** Of int16, written plane by plane. */
async function writeImage(path: string): Promise<void> {
  const [x, y, z] = size;
  const affine = [0, 1, 2].flatMap((row) => [0, 1, 2, 3].map((column) => (column === row ? mm[row]! : 0)));
  const plane = new Int16Array(x * y);
  const first = await writeNifti(
    { data: plane, shape: [x, y, 1], affine: [...affine, 0, 0, 0, 1] },
    { gzip: false },
  );
  const header = first.slice(0, first.length - 2 * plane.length);
  new DataView(header.buffer).setInt16(46, z, true);
  const file = openSync(path, 'w');
  writeSync(file, header);
  const source = random(1, 'image');
  const noise = Int16Array.from({ length: 2 * plane.length }, () => 40 * source.normal());
  for (let k = 0; k < z; k++) {
    const from = (k * 7919) % plane.length;
    for (let at = 0; at < plane.length; at++)
      plane[at] = noise[from + at]! + ((at + 900 * k) % 1800 < 900 ? 200 : -200);
    writeSync(file, plane);
  }
  closeSync(file);
}

if (positionals[0] !== undefined) {
  await (options.own ? segmentOwn : segment)(positionals[0]);
  process.exit(0);
}

/** In a process of its own, whose peak is told. */
async function segment(folder: string): Promise<void> {
  const { files } = await exportNnunet(readFileSync(join(folder, 'model.safetensors')));
  const gpu = await openGpu();
  const predictor = await NnunetPredictor.load(files, { device: gpu.device });
  const { model } = predictor;
  const result = windowResult(model.config, 1);
  const plan = planSegmentation(model, { size, spacing: mm }, result, { step, logitBytes });
  const network = await OpenNetwork.open(model.config, { device: gpu.device });
  const { peakBytes: onGpu } = network.inference.plan(patch, result.kind).plan;
  network.dispose();
  console.log(surroundings(gpu).adapter);
  console.log(
    `${size.join(' x ')} voxels of ${mm.join(' x ')} mm, ${classes} classes: ${plan.size.join(' x ')} for the network, ` +
      `${plan.windows} windows of ${patch.join(' x ')}; all logits would take ${formatBytes(4 * classes * size[0] * size[1] * size[2])}`,
  );
  console.log(
    `planned: ${formatBytes(plan.peakBytes)} beside the GPU (image ${formatBytes(plan.imageBytes)}, then input ${formatBytes(plan.inputBytes)}, ` +
      `logits ${formatBytes(plan.logitBytes)}, reading ${formatBytes(plan.readBytes)}, labels ${formatBytes(plan.labelBytes)}), ${formatBytes(onGpu)} on it`,
  );
  const before = peakMemory();
  const started = performance.now();
  let [begun, last] = [0, started];
  const { labels } = await predictor.predict(join(folder, 'image.nii'), {
    ...{ step, mirror: false, logitBytes },
    onProgress({ loaded, total }) {
      const now = performance.now();
      if (loaded === 1) begun = now;
      else if (loaded % 20 === 0)
        console.error(`window ${loaded}/${total}, ${((now - started) / 1000).toFixed(0)} s`);
      last = now;
    },
  });
  const seconds = (to: number, from: number): string => ((to - from) / 1000).toFixed(0);
  const end = performance.now();
  console.log(
    `${seconds(end, started)} s in all: ${seconds(begun, started)} until the first window was done, ${seconds(end, last)} after the last`,
  );
  console.log(
    `process: ${formatBytes(peakMemory())} at most, ${formatBytes(before)} before the image (on a software adapter with what is on the GPU)`,
  );
  console.log(`${new Set(labels.data).size} labels found`);
  predictor.dispose();
  await releaseNodeGpu();
}

/** The same with the model as it is: at the image's own spacing. */
async function segmentOwn(folder: string): Promise<void> {
  const gpu = await openGpu();
  const model = await UNet3D.load(readFileSync(join(folder, 'model.safetensors')), { device: gpu.device });
  console.log(surroundings(gpu).adapter);
  console.log(
    `${size.join(' x ')} voxels, ${classes} classes: all logits would take ${formatBytes(4 * classes * size[0] * size[1] * size[2])}`,
  );
  const before = peakMemory();
  const started = performance.now();
  const { labels } = await model.predict(join(folder, 'image.nii'), {
    ...{ window: patch, overlap: 1 - step },
    onProgress: ({ loaded, total }) => console.error(`window ${loaded}/${total}`),
  });
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `process: ${formatBytes(peakMemory())} at most, ${formatBytes(before)} before the image; ${seconds.toFixed(0)} s`,
  );
  console.log(
    `${new Set(labels.data).size} labels found, ${createHash('sha256').update(labels.data).digest('hex').slice(0, 16)}`,
  );
  model.dispose();
  await releaseNodeGpu();
}

const folder = mkdtempSync(join(tmpdir(), 'many-classes-'));
try {
  writeFileSync(join(folder, 'model.safetensors'), await modelBytes());
  await writeImage(join(folder, 'image.nii'));
  const here = fileURLToPath(import.meta.url);
  const { status } = spawnSync(
    process.execPath,
    [...process.execArgv, here, folder, ...process.argv.slice(2)],
    { stdio: 'inherit' },
  );
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
