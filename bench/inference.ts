/**
 * Logits of one volume here, in onnxruntime-web on WebGPU (the same adapter) and in onnxruntime-node on the CPU, by turns
 * in one run; both must give our logits before they are timed.
 *   node --import tsx scripts/run.ts --import tsx bench/inference.ts [--size 128,128,128] [--features 16,32,64,128]
 *     [--rounds 3]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { exportOnnx } from '../src/export/onnx.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { OpenNetwork } from '../src/infer/opened.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { distance } from '../src/model/tune.ts';
import type { Size3 } from '../src/size.ts';
import { openModel, writeModel } from '../src/weights/model-file.ts';
import { uploadWeights } from '../src/weights/upload.ts';
import { elapsed, initialWeights, noise, numbers, openGpu, spread, surroundings, timingText } from './lib.ts';
import { Peer } from './peers/peer.ts';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: '128,128,128' },
    features: { type: 'string', default: '16,32,64,128' },
    rounds: { type: 'string', default: '3' },
  },
});
const size = numbers(options.size) as unknown as Size3;
const config = completeConfig({
  inChannels: 1,
  classes: 6,
  features: numbers(options.features),
  norm: 'instance',
});
const model = await writeModel({ config, labels: [], channels: [] }, initialWeights(config));
const image = noise(size[0] * size[1] * size[2]);
const shape = [1, 1, ...size.toReversed()];

const gpu = await openGpu();
const network = await OpenNetwork.open(config, { device: gpu.device });
await uploadWeights(network.state, (await openModel(model)).tensors);
const ours = await network.inference.at(size);

const session = await InferenceSession.create(await exportOnnx(model));
const native = async () =>
  (await session.run({ image: new Tensor('float32', image, shape) }))['logits']!.data as Float32Array;

const folder = mkdtempSync(join(tmpdir(), 'bench-inference-'));
const web = new Peer('onnxruntime-web', process.execPath, [
  '--import',
  'tsx',
  join(import.meta.dirname, 'peers', 'onnx.mjs'),
]);
try {
  const { version } = await web.ask<{ version: string }>({ do: 'version' });
  const about = surroundings(gpu);
  console.log(
    `${about.adapter}; ${version}; ${about.cpu}; ${options.size} voxels, features ${options.features}`,
  );
  const expected = await ours(image);
  writeFileSync(join(folder, 'model.onnx'), await exportOnnx(model, { upsampling: 'shuffled' }));
  writeFileSync(join(folder, 'image.f32'), image);
  await web.ask({ do: 'prepare', folder, shape });
  const written = readFileSync(join(folder, 'onnx.f32'));
  const theirs = new Float32Array(
    written.buffer.slice(written.byteOffset, written.byteOffset + written.length),
  );
  for (const [name, logits] of [
    ['onnxruntime-web', theirs],
    ['onnxruntime-node', await native()],
  ] as const) {
    const apart = distance(logits, expected);
    if (!(apart < 1e-4)) throw new Error(`${name} computes something else: ${apart.toExponential(1)}`);
  }

  const runs = {
    ours: () => elapsed(() => ours(image)),
    'onnxruntime-web, WebGPU': async () => (await web.ask<{ ms: number }>({ do: 'run' })).ms,
    'onnxruntime-node, CPU': () => elapsed(native),
  };
  const times = new Map(Object.keys(runs).map((name) => [name, [] as number[]]));
  for (let round = 0; round < Number(options.rounds); round++)
    for (const [name, run] of Object.entries(runs)) times.get(name)!.push(await run());
  const { median } = spread(times.get('ours')!);
  for (const [name, each] of times)
    console.log(
      `${name}: ${timingText(spread(each), 0)} ms = ${(spread(each).median / median).toFixed(2)} of ours`,
    );
} finally {
  web.end();
  network.dispose();
  rmSync(folder, { recursive: true, force: true });
}
await releaseNodeGpu();
process.exit(0);
