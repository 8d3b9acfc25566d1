/**
 * What training with several ranks costs.
 *   npx tsx bench/scaling.ts --plans             bytes and work of three networks, from their plans, without a GPU
 *   npx tsx bench/scaling.ts [--size 32,32,32] [--features 16,32,64,128] [--steps 6] [--out FILE.json]
 * measures, with Open MPI, two ranks that are pinned to a core each beside one rank on one core, in turns, three times
 * each: the same work for each rank, and a sum of gradients on top. It also times sums by themselves.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { joinRanks } from '../src/distributed/mpi.node.ts';
import { gradientPieces, updateBegins } from '../src/distributed/pieces.ts';
import { defaultLimits } from '../src/gpu/plan.ts';
import { lavapipeNode } from '../src/gpu/lavapipe.node.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { diceCrossEntropy, lossShape } from '../src/model/losses.ts';
import { network } from '../src/model/network.ts';
import { layoutParameters } from '../src/model/parameters.ts';
import { planTraining } from '../src/model/plan.ts';
import type { Size3 } from '../src/size.ts';
import { UNet3D } from '../src/unet3d.ts';
import { noise, numbers, openGpu, spread, surroundings } from './lib.ts';

const { values: options } = parseArgs({
  options: {
    plans: { type: 'boolean', default: false },
    worker: { type: 'boolean', default: false },
    sums: { type: 'boolean', default: false },
    size: { type: 'string', default: '32,32,32' },
    features: { type: 'string', default: '16,32,64,128' },
    steps: { type: 'string', default: '6' },
    out: { type: 'string' },
  },
});
const size = numbers(options.size) as unknown as Size3;
const features = numbers(options.features);
const steps = Number(options.steps);

if (options.plans) plans();
else if (options.worker) await worker();
else if (options.sums) await sums();
else await measure();

/** Bytes and work of a step, and what of the gradients can be added up behind the backward pass. */
function plans(): void {
  const nnunet = { norm: 'instance', activation: 'leakyRelu', down: 'conv' } as const;
  const networks = {
    'plain U-Net': { features: [16, 32, 64, 128] },
    PlainConvUNet: { features: [32, 64, 128, 256, 320, 320], ...nnunet },
    'ResEnc M': {
      features: [32, 64, 128, 256, 320, 320],
      ...nnunet,
      block: 'residual',
      encoderBlocks: [1, 3, 4, 6, 6, 6],
      decoderBlocks: [1, 1, 1, 1, 1],
    },
  } as const;
  for (const [name, given] of Object.entries(networks)) {
    const config = completeConfig({ inChannels: 1, classes: 4, ...given });
    const patch: Size3 = [128, 128, 128];
    const layout = layoutParameters(config);
    const loss = lossShape(diceCrossEntropy(), config.classes);
    const limits = { ...defaultLimits, maxBindingBytes: 2 ** 32 - 4, maxBufferBytes: 2 ** 32 };
    const { plan } = planTraining({
      config,
      size: patch,
      batch: 1,
      loss,
      limits,
      optimizer: { kind: 'sgd' },
    });
    const update = updateBegins(plan);
    const work = (from: number, to: number): number =>
      plan.dispatches.slice(from, to).reduce((sum, { flops }) => sum + flops, 0);
    const pieces = gradientPieces(plan, layout).map(({ from, to, after }) => ({
      megabytes: ((to - from) * 4) / 1e6,
      workBehind: work(after, update) / work(0, update),
    }));
    // A cut along z: each convolution reads planes of its input beyond it, and its backward pass those of the gradient.
    let halo = 0;
    for (const { layer, inputs, shape } of network(config, { batch: 1, size: patch }).graph.nodes) {
      const { operation } = layer!;
      if (operation.kind !== 'conv') continue;
      const planes = Math.floor(operation.kernel[2] / 2);
      for (const { channels, size: at } of [...inputs.map((input) => input.shape), shape])
        halo += planes * channels * at[0] * at[1] * 4;
    }
    const efficiency = Object.fromEntries(
      [15, 60].flatMap((teraflops) =>
        [2, 8].map((gigabytes) => {
          const step = work(0, update) / (teraflops * 1e9);
          return [`at ${teraflops} TFLOP/s and ${gigabytes} GB/s`, step / whenAdded(pieces, step, gigabytes)];
        }),
      ),
    );
    console.log(
      JSON.stringify({
        name,
        efficiency,
        parameters: layout.count,
        gradientMegabytes: (layout.trainedWords * 4) / 1e6,
        gflop: plan.flops / 1e9,
        pieces,
        haloMegabytesPerCutAndDirection: halo / 1e6,
      }),
    );
  }
}

/** Milliseconds after which the gradients of a step are added up, each piece on its way when it and those before are. */
function whenAdded(
  pieces: readonly { readonly megabytes: number; readonly workBehind: number }[],
  stepMs: number,
  gigabytesPerSecond: number,
): number {
  const end = pieces.reduce(
    (free, { megabytes, workBehind }) =>
      Math.max(free, stepMs * (1 - workBehind)) + megabytes / gigabytesPerSecond,
    0,
  );
  return Math.max(end, stepMs);
}

/** One rank, or the only process: the median step of a training on noise. */
async function worker(): Promise<void> {
  const ranks = await joinRanks();
  const gpu = await openGpu();
  const model = await UNet3D.create({ inChannels: 1, classes: 3, features, device: gpu.device });
  const voxels = size[0] * size[1] * size[2];
  const image = noise(voxels);
  const label = Uint8Array.from({ length: voxels }, (_, i) => i % 3);
  const count = ranks?.size ?? 1;
  // Results of steps come back several at a time, but all of them at the end of an epoch.
  const ends: number[] = [];
  let share = NaN;
  const source = {
    ...{ size, batchSize: 1, batchesPerEpoch: count * steps, identity: 'noise' },
    batch: () => ({ image, label }),
  };
  await model.fit(source, {
    ...{ epochs: 3, accumulate: count, ranks, tune: false },
    onEvent(event) {
      if (event.type === 'epoch') ends.push(performance.now());
      if (event.type === 'exchange') share = event.hidden / event.milliseconds;
    },
  });
  const ms = (ends.at(-1)! - ends[0]!) / ((ends.length - 1) * steps);
  if ((ranks?.rank ?? 0) === 0) console.log(`RESULT ${JSON.stringify({ ms, hidden: share })}`);
  model.dispose();
  await ranks?.finish();
  await releaseNodeGpu();
  process.exit(0);
}

/** Sums of several lengths between ranks that do nothing else. */
async function sums(): Promise<void> {
  const ranks = (await joinRanks())!;
  const found: Record<string, number> = {};
  for (const bytes of [2 ** 10, 2 ** 16, 2 ** 20, 2 ** 24, 2 ** 27]) {
    const values = new Float32Array(bytes / 4);
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      const started = performance.now();
      await ranks.sum(values);
      times.push(performance.now() - started);
    }
    found[bytes] = spread(times.slice(2)).median;
  }
  if (ranks.rank === 0) console.log(`RESULT ${JSON.stringify(found)}`);
  await ranks.finish();
  process.exit(0);
}

async function measure(): Promise<void> {
  const node = (await lavapipeNode()) ?? process.execPath;
  const script = fileURLToPath(import.meta.url);
  const own = (mode: string) => [node, '--import', 'tsx', script, mode, ...process.argv.slice(2)];
  const pinned = (core: number, mode: string) => ['taskset', '-c', String(core), ...own(mode)];
  const mpirun = ['mpirun.openmpi', '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none'];
  const two = (mode: string) => [
    ...mpirun,
    '-np',
    '1',
    ...pinned(0, mode),
    ':',
    '-np',
    '1',
    ...pinned(1, mode),
  ];
  const alone: number[] = [];
  const together: number[] = [];
  const hidden: number[] = [];
  for (let round = 0; round < 3; round++) {
    alone.push(run<{ ms: number }>(pinned(0, '--worker')).ms);
    const ran = run<{ ms: number; hidden: number }>(two('--worker'));
    together.push(ran.ms);
    hidden.push(ran.hidden);
  }
  const result = {
    ...surroundings(),
    ...{ size, features, steps },
    oneRankMs: spread(alone),
    twoRanksMs: spread(together),
    efficiency: spread(alone).median / spread(together).median,
    hidden: spread(hidden).median,
    sumMsByBytes: run<Record<string, number>>(two('--sums')),
  };
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (options.out) writeFileSync(options.out, text);
  else console.log(text);
}

function run<T>([program, ...args]: readonly string[]): T {
  const { stdout, status } = spawnSync(program!, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = stdout.split('\n').find((each) => each.startsWith('RESULT '));
  if (status !== 0 || line === undefined)
    throw new Error(`${program} ${args.join(' ')} ended with ${status}`);
  return JSON.parse(line.slice('RESULT '.length)) as T;
}
