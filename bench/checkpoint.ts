/**
 * A checkpoint of nnU-Net's ResEnc M with its optimizer's momentum, of which only the weights are wanted: peak memory of
 * a process of its own that reads them, and of one that opens the model on the GPU, beside the size of the weights.
 *   npx tsx bench/checkpoint.ts [--features 32,64,128,256,320,320] [--python /usr/bin/python3]
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { filesIn } from '../src/data/dataset.node.ts';
import { defaultPreprocessing } from '../src/data/preprocessing.ts';
import '../src/data/source.node.ts';
import { exportNnunet } from '../src/export/nnunet.ts';
import { formatBytes } from '../src/format.ts';
import { weightsOf } from '../src/interop/mapping.ts';
import { openNnunet } from '../src/interop/nnunet/folder.ts';
import { layoutParameters } from '../src/model/parameters.ts';
import { OpenNetwork } from '../src/infer/opened.ts';
import { uploadWeights } from '../src/weights/upload.ts';
import { writeModel } from '../src/weights/model-file.ts';
import { initialWeights, nnunetConfig, numbers, openGpu, peakMemory, surroundings } from './lib.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    features: { type: 'string', default: '32,64,128,256,320,320' },
    python: { type: 'string', default: '/usr/bin/python3' },
  },
});

/** Each in a process of its own, on a model folder. */
const tasks: Readonly<Record<string, (folder: string) => Promise<unknown>>> = {
  async reads(folder) {
    const { config, folds } = await openNnunet((await filesIn(folder)).files);
    return weightsOf(config, folds[0]!.weights);
  },
  async 'to the GPU'(folder) {
    const { config, folds } = await openNnunet((await filesIn(folder)).files);
    const gpu = await openGpu();
    const network = await OpenNetwork.open(config, { device: gpu.device });
    await uploadWeights(network.state, folds[0]!.weights);
    await gpu.device.queue.onSubmittedWorkDone();
    return network;
  },
};

const [task, given] = positionals;
if (task !== undefined) {
  if (task === 'to the GPU') await openGpu();
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const kept = await tasks[task]!(given!);
  const seconds = (performance.now() - started) / 1000;
  const peak = peakMemory();
  console.log(JSON.stringify({ before, peak, seconds, kept: kept !== undefined }));
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'checkpoint-'));
try {
  const config = nnunetConfig(numbers(options.features), 25, 'residual');
  const labels = Array.from({ length: 25 }, (_, label) => (label === 0 ? 'background' : `part ${label}`));
  const preprocessing = defaultPreprocessing(1, [1.5, 1.5, 1.5]);
  const { files } = await exportNnunet(
    await writeModel(
      { config, labels, channels: ['CT'], preprocessing, inputSize: [128, 128, 128] },
      initialWeights(config),
    ),
  );
  for (const { path, source } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), source);
  }
  const checkpoint = join(folder, files.find(({ path }) => path.endsWith('.pth'))!.path);
  const script = fileURLToPath(new URL('checkpoint_with_momentum.py', import.meta.url));
  const { status, stderr } = spawnSync(options.python, [script, checkpoint], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const weights = 4 * layoutParameters(config).count;
  console.log(surroundings(await openGpu()).adapter);
  console.log(
    `checkpoint of ${formatBytes(statSync(checkpoint).size)}, of which ${formatBytes(weights)} are weights`,
  );
  for (const name of Object.keys(tasks)) {
    const told = spawnSync(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), name, folder, ...process.argv.slice(2)],
      { encoding: 'utf8' },
    );
    if (told.status !== 0) throw new Error(told.stderr);
    const { before, peak, seconds } = JSON.parse(told.stdout.trim().split('\n').at(-1)!) as Record<
      'before' | 'peak' | 'seconds',
      number
    >;
    console.log(
      `${name}: ${formatBytes(peak - before)} at most beyond the ${formatBytes(before)} before, ` +
        `${((peak - before) / weights).toFixed(2)} of the weights; ${seconds.toFixed(1)} s`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
