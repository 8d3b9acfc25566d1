/**
 * Training steps of this source tree beside those of another one, such as the commit before a change of the graph or of
 * a kernel: two processes on one adapter, in turns, so that both meet the same machine. Both trees need their shaders
 * built (`npm run build:shaders`).
 *   node --import tsx scripts/run.ts --import tsx bench/steps.ts OTHER_TREE [ROUNDS]
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as Completion from '../src/model/complete-config.ts';
import type * as Losses from '../src/model/losses.ts';
import type * as State from '../src/model/state.ts';
import type { Size3 } from '../src/size.ts';
import type * as Optimizers from '../src/train/optimizers.ts';
import type * as Lib from './lib.ts';
import { spread, timingText } from './lib.ts';

interface Case {
  readonly features: readonly number[];
  readonly size: Size3;
  readonly batchSize: number;
}

const cases: readonly Case[] = [
  { features: [16, 32, 64, 128], size: [32, 32, 32], batchSize: 2 },
  { features: [8, 16, 32, 64], size: [64, 64, 32], batchSize: 1 },
];

/** Takes a case's step each time that a message names one, and answers with its milliseconds. */
async function serve(tree: string): Promise<void> {
  /** Older trees have some of these elsewhere. */
  const load = <T>(path: string, older = path): Promise<T> => {
    const at = (path: string) => import(pathToFileURL(resolve(tree, path)).href) as Promise<T>;
    return at(path).catch(() => at(older));
  };
  const lib = await load<typeof Lib>('bench/lib.ts');
  const { completeConfig } = await load<typeof Completion>(
    'src/model/complete-config.ts',
    'src/model/config.ts',
  );
  const { weightedDice } = await load<typeof Losses>('src/model/losses.ts', 'src/train/losses.ts');
  const { ModelState } = await load<typeof State>('src/model/state.ts');
  const { adam } = await load<typeof Optimizers>('src/train/optimizers.ts');
  const gpu = await lib.openGpu();
  const steps: (() => Promise<void>)[] = [];
  for (const { features, size, batchSize } of cases) {
    const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 6, features }), 0);
    const shape = { size, batchSize, loss: weightedDice(), optimizer: adam() };
    const { session } = await lib.openSession(state, shape);
    const image = lib.noise(batchSize * size[0] * size[1] * size[2]);
    const label = Uint8Array.from(image, () => Math.floor(Math.random() * 6));
    steps.push(async () => void (await (await session.step([{ image, label }], lib.firstStepValues)).result));
  }
  process.on('message', (index: number) => {
    const started = performance.now();
    void steps[index]!().then(() => process.send!(performance.now() - started));
  });
  process.send!(gpu.describe);
}

async function compare(other: string, rounds: number): Promise<void> {
  const script = fileURLToPath(import.meta.url);
  const trees: ChildProcess[] = [];
  for (const tree of [other, '.']) {
    const child = fork(script, ['--serve', tree]);
    // One that cannot go on has said why, and would be waited for.
    child.on('exit', (code) => code !== null && process.exit(code));
    const [adapter] = (await once(child, 'message')) as [string];
    if (tree === '.') console.log(`${adapter}; ${rounds} rounds in turns, ms: median (least–most)\n`);
    trees.push(child);
  }
  console.log(
    '| step | there | here | here / there, of medians | of the least |\n| --- | --- | --- | --- | --- |',
  );
  for (const [index, { features, size, batchSize }] of cases.entries()) {
    const times: [there: number[], here: number[]] = [[], []];
    for (let round = -1; round < rounds; round++)
      for (const [which, child] of trees.entries()) {
        child.send(index);
        const [milliseconds] = (await once(child, 'message')) as [number];
        if (round >= 0) times[which]!.push(milliseconds); // kernels are compiled in the first
      }
    const [there, here] = times.map(spread) as [Lib.Timing, Lib.Timing];
    const name = `[${features.join(', ')}], ${batchSize} × ${size.join('×')}`;
    const ratio = (key: 'median' | 'least') => `${(here[key] / there[key]).toFixed(3)}×`;
    console.log(
      `| ${name} | ${timingText(there, 0)} | ${timingText(here, 0)} | ${ratio('median')} | ${ratio('least')} |`,
    );
  }
  for (const child of trees) child.kill();
}

const [first, second] = process.argv.slice(2);
if (first === '--serve') await serve(second!);
else await compare(first ?? '.', Number(second ?? 20));
