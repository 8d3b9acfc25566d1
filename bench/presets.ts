/**
 * Networks of nnU-Net's presets at full size with random weights: plan, memory and seconds of one window here, beside
 * PyTorch and onnxruntime-node on the CPU, one after the other in one run. Each runs in a process of its own, whose
 * peak memory is told.
 *   npx tsx bench/presets.ts [--preset plain|resenc] [--size 128,128,128] [--features 32,64,128,256,320,320]
 *     [--runs 3] [--precision f32|f16] [--without torch,onnx] [--python /usr/bin/python3] [--out FILE.json]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openRanges } from '../src/data/byte-ranges.ts';
import '../src/data/source.node.ts';
import { random } from '../src/data/random.ts';
import { exportOnnx } from '../src/export/onnx.ts';
import { exportPytorch } from '../src/export/pytorch.ts';
import { formatBytes } from '../src/format.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { OpenNetwork } from '../src/infer/opened.ts';
import { layoutParameters } from '../src/model/parameters.ts';
import type { Size3 } from '../src/size.ts';
import { openModel, writeModel } from '../src/weights/model-file.ts';
import { uploadWeights } from '../src/weights/upload.ts';
import { initialWeights, nnunetConfig, numbers, openGpu, peakMemory, spread, surroundings } from './lib.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    preset: { type: 'string', default: 'plain' },
    size: { type: 'string', default: '128,128,128' },
    features: { type: 'string', default: '32,64,128,256,320,320' },
    precision: { type: 'string', default: 'f32' },
    runs: { type: 'string', default: '3' },
    without: { type: 'string', default: '' },
    python: { type: 'string', default: '/usr/bin/python3' },
    out: { type: 'string' },
  },
});
const size = numbers(options.size) as unknown as Size3;
const features = numbers(options.features);
const runs = Number(options.runs);
const precision = options.precision === 'f16' ? 'f16' : 'f32';
const config = nnunetConfig(features, 25, options.preset === 'resenc' ? 'residual' : 'plain');

/** What one of the runtimes tells: seconds of each run and its process's peak. */
interface Told {
  readonly seconds: readonly number[];
  readonly peakBytes: number;
}

const tell = (told: Told): void => console.log(JSON.stringify(told));
const image = (): Float32Array<ArrayBuffer> => {
  const source = random(7, 'presets');
  return Float32Array.from({ length: size[0] * size[1] * size[2] }, () => source.normal());
};

async function timed(run: () => Promise<unknown>): Promise<number[]> {
  const seconds: number[] = [];
  for (let index = 0; index <= runs; index++) {
    const started = performance.now();
    await run();
    if (index > 0) seconds.push((performance.now() - started) / 1000);
  }
  return seconds;
}

/** Each in a process of its own. */
const tasks: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  async gpu(folder) {
    const gpu = await openGpu();
    const network = await OpenNetwork.open(config, { device: gpu.device, precision });
    const { state, inference } = network;
    await uploadWeights(
      state,
      (await openModel(await openRanges(join(folder, 'model.safetensors')))).tensors,
    );
    const voxels = image();
    const run = await inference.planesAt(size, 'logits');
    tell({ seconds: await timed(() => run(voxels, () => undefined)), peakBytes: peakMemory() });
    network.dispose();
    await releaseNodeGpu();
  },
  async onnx(folder) {
    const { InferenceSession, Tensor } = await import('onnxruntime-node');
    const session = await InferenceSession.create(readFileSync(join(folder, 'model.onnx')));
    const input = { image: new Tensor('float32', image(), [1, 1, ...size.toReversed()]) };
    tell({ seconds: await timed(() => session.run(input)), peakBytes: peakMemory() });
  },
};

const [task, given] = positionals;
if (task !== undefined) {
  await tasks[task]!(given!);
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'presets-'));
try {
  const gpu = await openGpu();
  const layout = layoutParameters(config);
  const weights = initialWeights(config);
  const network = await OpenNetwork.open(config, { device: gpu.device, precision });
  const { plan } = network.inference.plan(size, 'logits');
  const about = surroundings(gpu);
  network.dispose();
  await releaseNodeGpu();
  console.log(about.adapter);
  console.log(
    `${options.preset} in ${precision}: ${(layout.count / 1e6).toFixed(1)} M parameters, ${(plan.flops / 1e9).toFixed(0)} GFLOP a window ` +
      `of ${size.join(' x ')}; plan ${formatBytes(plan.peakBytes)}, weights ${formatBytes(4 * layout.count)}`,
  );
  const model = await writeModel({ config, labels: [], channels: [] }, weights);
  writeFileSync(join(folder, 'model.safetensors'), model);
  const without = options.without.split(',');
  const run = (name: string, command: string, args: readonly string[]): Told | undefined => {
    if (without.includes(name)) return undefined;
    const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8' });
    const last = stdout.trim().split('\n').at(-1) ?? '';
    if (status !== 0) {
      console.log(`${name}: not run (${stderr.trim().split('\n').at(-1)})`);
      return undefined;
    }
    return JSON.parse(last) as Told;
  };
  const here = fileURLToPath(import.meta.url);
  const again = (name: string) =>
    run(name, process.execPath, [...process.execArgv, here, name, folder, ...process.argv.slice(2)]);
  const found: Record<string, Told | undefined> = { gpu: again('gpu') };
  if (!without.includes('torch')) {
    writeFileSync(join(folder, 'model.pth'), await exportPytorch(model));
    const script = fileURLToPath(new URL('presets_reference.py', import.meta.url));
    found['torch'] = run('torch', options.python, [script, folder, size.join(), String(runs)]);
  }
  if (!without.includes('onnx')) {
    writeFileSync(join(folder, 'model.onnx'), await exportOnnx(model));
    found['onnx'] = again('onnx');
  }
  for (const [name, told] of Object.entries(found)) {
    if (!told) continue;
    const { median, least, most } = spread(told.seconds);
    const ratio = found['torch'] && median / spread(found['torch'].seconds).median;
    console.log(
      `${name}: ${median.toFixed(2)} s (${least.toFixed(2)}–${most.toFixed(2)}), process ${formatBytes(told.peakBytes)}` +
        (ratio === undefined ? '' : `, ${ratio.toFixed(2)} of PyTorch's time`),
    );
  }
  if (options.out)
    writeFileSync(
      options.out,
      JSON.stringify(
        {
          ...about,
          preset: options.preset,
          size,
          precision,
          features,
          parameters: layout.count,
          planBytes: plan.peakBytes,
          found,
        },
        null,
        2,
      ) + '\n',
    );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
