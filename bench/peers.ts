/**
 * Ours beside PyTorch on the CPU and, where it finds CUDA, on the GPU (float32, TF32, mixed precision, channels last;
 * see peers/torch_peer.py), jax-js and TF.js on the same adapter, in one run and by turns: convolutions with their
 * gradients, and training steps of the same network on the same data with the same loss. Each must compute the same
 * before it is timed. On GPUs ours runs with kernels tuned in the same run, as trainings do (elsewhere with `--tune`).
 * Prints tables and writes bench/results/peers-<adapter>.json.
 *   npm install --prefix bench/peers, then: npm run bench:peers [-- rounds cases]
 * cases (default all) are some of conv16,conv32,conv64,step8x1,step8x2,step16x1,step16x2 (base features x batch) and
 * stepfull, the study's step at batch 2 beside PyTorch on CUDA alone (by default on GPUs only); the others keep their
 * place in the file. The Python named by PYTHON (default /usr/bin/python3) needs torch. Peers that are missing or fail
 * are reported and left out.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OutOfMemory } from '../src/errors.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { releaseNodeGpu } from '../src/gpu/node.ts';
import { Recorder, type PlanLimits } from '../src/gpu/plan.ts';
import type { Size3 } from '../src/size.ts';
import { Program } from '../src/gpu/program.ts';
import { toDense, toStored } from '../src/gpu/layout.ts';
import { completeConfig } from '../src/model/complete-config.ts';
import { ModelState } from '../src/model/state.ts';
import { namedTensors } from '../src/weights/named-tensors.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../src/ops/conv.ts';
import { weightedDice } from '../src/model/losses.ts';
import { distance } from '../src/model/tune.ts';
import { adam } from '../src/train/optimizers.ts';
import { writeSafetensors } from '../src/weights/safetensors.ts';
import { worstGradient } from './gradients.ts';
import {
  chooseKernels,
  describeTuning,
  elapsed,
  firstStepValues,
  noise,
  openGpu,
  openSession,
  readResult,
  spread,
  surroundings,
  timingText,
  writeResult,
  type Timing,
} from './lib.ts';
import { Peer } from './peers/peer.ts';

const [given = '7', named] = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const rounds = Number(given);
const pythonPath = process.env['PYTHON'] ?? '/usr/bin/python3';
const wanted = named?.split(',');
const isWanted = (name: string): boolean => wanted?.includes(name) ?? true;
const classes = 6;

const gpu = await openGpu();
const about = surroundings(gpu);
console.log(about.adapter);
const folder = await mkdtemp(join(tmpdir(), 'bench-peers-'));
const script = (name: string) => join(import.meta.dirname, 'peers', name);
const torch = (mode: string): Peer =>
  new Peer(mode === 'cpu' ? 'torch' : `torch-${mode}`, pythonPath, [script('torch_peer.py'), mode]);
const starts: Record<string, () => Peer> = {
  torch: () => torch('cpu'),
  'jax-js': () => new Peer('jax-js', process.execPath, ['--import', 'tsx', script('jax.mjs')]),
  'TF.js': () => new Peer('TF.js', process.execPath, ['--import', 'tsx', script('tfjs.mjs')]),
};
/** What a peer's files begin with where that is not its name. */
const files: Record<string, string> = { 'jax-js': 'jax', 'TF.js': 'tfjs' };
const versions: Record<string, string> = {};
const firstLine = (error: unknown): string => (error as Error).message.split('\n')[0]!;
const failures: string[] = [];

function note(failure: string): void {
  failures.push(failure);
  console.log(`  ${failure}`);
}

/** PyTorch on CUDA: none where it does not run at all, which is noted whenever it is asked for. */
async function findCuda(): Promise<string[]> {
  const peer = torch('cpu');
  const answer = peer.ask<{ modes: string[] }>({ do: 'version' });
  const modes = await answer.then((found) => found.modes).catch(() => []);
  peer.end();
  for (const mode of modes) starts[`torch-${mode}`] = () => torch(mode);
  return modes.map((mode) => `torch-${mode}`);
}
const cuda = await findCuda();

/** Largest relative differences from ours. Of TF32 and half precision gradients are only reported. */
const tolerances = ({ name }: Peer) =>
  /-(tf32|amp)$/.test(name)
    ? { loss: 1e-2, conv: 1e-2, gradient: undefined }
    : { loss: 1e-4, conv: 1e-4, gradient: 5e-2 };

/** Starts peers anew, so that one that failed elsewhere has another chance. */
async function gather(names: readonly string[]): Promise<Peer[]> {
  const alive: Peer[] = [];
  for (const name of names) {
    const peer = starts[name]!();
    await attempt(peer, 'start', async () => {
      versions[name] = (await peer.ask<{ version: string }>({ do: 'version' })).version;
      alive.push(peer);
    });
  }
  return alive;
}

/** Whether the peer has done it; if not, that is noted and the peer ended. */
async function attempt(peer: Peer, what: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    note(`${peer.name}, ${what}: ${firstLine(error)}`);
    peer.end();
    return false;
  }
}

/** What a peer has written. */
const floats = async ({ name }: Peer, part = ''): Promise<Float32Array> => {
  const bytes = await readFile(join(folder, `${files[name] ?? name}${part}.f32`));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

/**
 * Times all by turns, each once to warm up; those that then take more than two seconds only once more. Adds to `times`.
 * Peers that fail are noted and left out.
 */
async function byTurns(
  runs: ReadonlyMap<string, () => Promise<number>>,
  times = new Map<string, number[]>(),
): Promise<ReadonlyMap<string, number[]>> {
  const all = [...runs].map(([name, run]) => ({ name, run, most: rounds }));
  for (let round = 0; round <= rounds; round++)
    for (const one of all) {
      if (round > one.most) continue;
      try {
        const ms = await one.run();
        if (round > 0) times.set(one.name, [...(times.get(one.name) ?? []), ms]);
        else if (ms > 2000) one.most = 1;
      } catch (error) {
        if (one.name === 'ours') throw error;
        note(`${one.name}, while it was timed: ${firstLine(error)}`);
        times.delete(one.name);
        one.most = -1;
      }
    }
  return times;
}

const spreads = (times: ReadonlyMap<string, number[]>): Record<string, Timing> =>
  Object.fromEntries([...times].map(([name, each]) => [name, spread(each)]));

const digits = gpu.adapterClass === 'hardware' ? 2 : 0;
function print(title: string, timings: Record<string, Timing>, note = ''): void {
  const ours = timings['ours']!.median;
  const parts = Object.entries(timings).map(
    ([name, timing]) =>
      `${name} ${timingText(timing, digits)}` +
      (name === 'ours' ? '' : ` = ${(timing.median / ours).toFixed(2)}x ours`),
  );
  console.log(`${title}, ms: ${parts.join('; ')}${note}`);
}

const kinds = ['forward', 'data gradient', 'weight gradient'] as const;

/** Our convolution and its gradients as plans that are run and read. */
async function ourConvs(device: Gpu, channels: number, size: Size3, batch: number) {
  const words = channels * channels * 27;
  const arrays = { x: noise(batch * channels * size[0] * size[1] * size[2]), w: noise(words) };
  const dy = noise(arrays.x.length);
  for (const [name, data] of Object.entries({ ...arrays, dy }))
    await writeFile(join(folder, `${name}.f32`), data);
  const runs = new Map<string, () => Promise<number>>();
  const results = new Map<string, Float32Array>();
  const programs: Program[] = [];
  const tuned: Record<string, string | undefined> = {};
  const record = (kind: (typeof kinds)[number], limits: PlanLimits) => {
    const recorder = new Recorder(limits);
    const x = recorder.volume('x', batch, channels, size, 'resident');
    const y = recorder.volume('y', batch, channels, size, 'resident');
    const [w, dw] = [recorder.flat('w', words, 'resident'), recorder.flat('dw', words, 'resident')];
    const weights = { tensor: w, offset: 0, size: words * 4 };
    if (kind === 'forward') convForward(recorder, kind, { inputs: [{ tensor: x }], weights, target: y });
    if (kind === 'data gradient') convBackwardInput(recorder, kind, { dOutput: y, weights, dInput: x });
    if (kind === 'weight gradient')
      convBackwardWeight(recorder, kind, {
        input: { tensor: x },
        dOutput: y,
        dWeights: { tensor: dw, offset: 0, size: words * 4 },
      });
    return { plan: recorder.finish(), x, y, w, dw };
  };
  for (const kind of kinds) {
    const { kernels, tuning } = await chooseKernels(device, record(kind, device.limits).plan);
    tuned[kind] = tuning?.measured[0]?.kernel;
    const { plan, x, y, w, dw } = record(kind, { ...device.limits, kernels });
    const program = await Program.create(device, plan);
    programs.push(program);
    program.write(x, toStored(x, arrays.x));
    program.write(y, toStored(y, dy));
    program.write(w, arrays.w);
    const run = () =>
      elapsed(async () => {
        await program.run();
        await device.device.queue.onSubmittedWorkDone();
      });
    await run();
    const output = { forward: y, 'data gradient': x, 'weight gradient': dw }[kind];
    const stored = await program.read(output);
    results.set(kind, output === dw ? new Float32Array(stored, 0, words) : toDense(x, stored));
    if (kind === 'forward') program.write(y, toStored(y, dy));
    runs.set(kind, run);
  }
  const dispose = () => programs.forEach((program) => program.dispose());
  return { runs, results, tuned, dispose };
}

const resultName = `peers-${gpu.adapterClass}`;
/** Every case under its name, with those of earlier runs. */
const cases: Record<string, unknown> =
  readResult<{ cases: Record<string, unknown> }>(resultName)?.cases ?? {};
const record = (name: string, result: Record<string, unknown>): void => {
  cases[name] = {
    date: new Date().toISOString(),
    rounds,
    peers: { ...versions },
    ...result,
    failures: failures.splice(0),
  };
  writeResult(resultName, { ...about, cases });
};

interface StepCase {
  readonly name: string;
  readonly base: number;
  readonly batch: number;
  readonly size: Size3;
  /** Peers that are alive, and take turns with ours, at the same time. */
  readonly groups: readonly (readonly string[])[];
}

async function compareSteps({ name, base, batch, size, groups }: StepCase): Promise<void> {
  const voxels = size[0] * size[1] * size[2];
  const features = [1, 2, 4, 8].map((factor) => factor * base);
  const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes, features }), 1);
  try {
    const { parameters } = state.layout;
    const weights = namedTensors(parameters, (await state.readWeights()).parameters);
    const image = noise(batch * voxels);
    const label = Uint8Array.from(
      image,
      (value, i) => Math.floor(((i % size[0]) + value) / (size[0] / classes) + classes) % classes,
    );
    await writeFile(
      join(folder, 'weights.safetensors'),
      writeSafetensors({ tensors: weights, metadata: {} }),
    );
    await writeFile(join(folder, 'case.json'), JSON.stringify({ batch, size, classes }));
    await writeFile(join(folder, 'image.f32'), image);
    await writeFile(join(folder, 'label.u8'), label);

    const started = performance.now();
    const loss = weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21));
    const { session, tuning } = await openSession(state, { size, batchSize: batch, loss, optimizer: adam() });
    const step = async () => (await (await session.step([{ image, label }], firstStepValues)).result).loss;
    const found = await step();
    const firstMs: Record<string, number> = { ours: performance.now() - started };
    const gradients = namedTensors(parameters, await state.read('gradients'));
    const title = `training step, features ${features.join(', ')}, batch ${batch} of ${size.toReversed().join('×')}`;
    const agreement: Record<string, number> = {};
    const times = new Map<string, number[]>();
    for (const group of groups.length > 0 ? groups : [[]]) {
      const runs = new Map([['ours', () => elapsed(step)]]);
      const alive = await gather(group);
      for (const peer of alive)
        await attempt(peer, title, async () => {
          const first = await peer.ask<{ loss: number; firstMs: number }>({ do: 'prepare', folder });
          const most = tolerances(peer);
          if (!(Math.abs(first.loss / found - 1) < most.loss))
            throw new Error(`its loss is ${first.loss}, ours ${found}`);
          const theirs = await floats(peer);
          const { worst } = worstGradient(theirs, gradients);
          if (most.gradient !== undefined && !(worst < most.gradient))
            throw new Error(`a gradient differs from ours by ${worst.toExponential(1)}`);
          agreement[peer.name] = worst;
          firstMs[peer.name] = first.firstMs;
          runs.set(peer.name, async () => (await peer.ask<{ ms: number }>({ do: 'step' })).ms);
        });
      await byTurns(runs, times);
      alive.forEach((peer) => peer.end());
    }
    const timings = spreads(times);
    record(name, {
      features,
      batch,
      size,
      firstMs,
      largestGradientDifference: agreement,
      tuning,
      timings,
    });
    const firsts = Object.entries(firstMs).map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)} s`);
    print(title, timings, `; first step ${firsts.join(', ')}`);
    if (tuning) console.log(describeTuning(tuning));
    session.dispose();
  } finally {
    state.dispose();
  }
}

try {
  for (const [channels, size] of [
    [16, [64, 64, 32]],
    [32, [32, 32, 16]],
    [64, [16, 16, 8]],
  ] as const satisfies readonly (readonly [number, Size3])[]) {
    if (!isWanted(`conv${channels}`)) continue;
    const batch = 2;
    const peers = await gather(['torch', ...cuda, 'jax-js', 'TF.js']);
    const ours = await ourConvs(gpu, channels, size, batch);
    /** The kinds that each peer computes rightly. */
    const right = new Map<Peer, Set<string>>();
    for (const peer of peers)
      await attempt(peer, `conv3 of ${channels} channels`, async () => {
        await peer.ask({ do: 'prepareConv', folder, channels, size, batch });
        right.set(peer, new Set());
        for (const kind of kinds) {
          const off = distance(await floats(peer, `-${kind}`), ours.results.get(kind)!);
          if (off < tolerances(peer).conv) right.get(peer)!.add(kind);
          else
            note(
              `${peer.name}, conv3 ${kind} of ${channels} channels: differs from ours by ${off.toExponential(1)}`,
            );
        }
      });
    const gflop = (2 * 27 * channels ** 2 * batch * size[0] * size[1] * size[2]) / 1e9;
    const byKind: Record<string, unknown> = {};
    for (const kind of kinds) {
      const runs = new Map([['ours', ours.runs.get(kind)!]]);
      for (const [peer, computed] of right)
        if (computed.has(kind))
          runs.set(peer.name, async () => (await peer.ask<{ ms: number }>({ do: 'conv', kind })).ms);
      const timings = spreads(await byTurns(runs));
      const title = `conv3 ${kind} ${channels} ch @${[...size].reverse().join('×')}, batch ${batch}`;
      byKind[kind] = timings;
      const kernel = ours.tuned[kind] === undefined ? '' : `, ${ours.tuned[kind]}`;
      print(
        title,
        timings,
        `; ours ${((gflop / timings['ours']!.median) * 1000).toFixed(1)} GFLOP/s${kernel}`,
      );
    }
    record(`conv${channels}`, { channels, size, batch, gflop, tuned: ours.tuned, byKind });
    ours.dispose();
    peers.forEach((peer) => peer.end());
  }

  const small: Size3 = [32, 32, 32];
  const steps: StepCase[] = [
    { name: 'step8x1', base: 8, batch: 1, size: small },
    { name: 'step8x2', base: 8, batch: 2, size: small },
    { name: 'step16x1', base: 16, batch: 1, size: small },
    { name: 'step16x2', base: 16, batch: 2, size: small },
  ].map((each) => ({ ...each, groups: [['torch', ...cuda, 'jax-js']] }));
  if (gpu.adapterClass === 'hardware' || wanted?.includes('stepfull')) {
    const groups = cuda.map((name) => [name]); // one after the other, as each may need most of the memory
    steps.push({ name: 'stepfull', base: 16, batch: 2, size: [256, 256, 128], groups });
  }
  for (const each of steps) {
    if (!isWanted(each.name)) continue;
    try {
      await compareSteps(each);
    } catch (error) {
      if (!(error instanceof OutOfMemory)) throw error;
      note(`${each.name}: left out, ${error.message}`);
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
gpu.dispose();
await releaseNodeGpu();
process.exit(0);
