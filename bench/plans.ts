/**
 * Plans of a training step for 40 configurations, without a GPU: of this source tree beside those of another one,
 * such as the commit before a change of the graph or of the planner; work as a multiple of the other tree's. Both
 * trees need their shaders built (`npm run build:shaders`).
 *   npx tsx bench/plans.ts OTHER_TREE
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as Planning from '../src/model/plan.ts';

interface Tree {
  readonly completeConfig: (config: object) => never;
  readonly planTraining: (shape: object) => ReturnType<typeof Planning.planTraining>;
}

async function treeAt(folder: string): Promise<Tree> {
  const load = (path: string): Promise<unknown> =>
    import(pathToFileURL(resolve(folder, 'src/model', path)).href);
  // A tree before networks by stages completes its configuration elsewhere.
  const completion = await load('complete-config.ts').catch(() => load('config.ts'));
  return { ...(completion as Tree), ...((await load('plan.ts')) as Tree) };
}

const features = [[16, 32, 64, 128], [8, 16, 32], [32, 64, 128, 256, 320], [4, 12], [24]];
const norms = [
  { norm: 'batch', activation: 'relu' },
  { norm: 'instance', activation: 'leakyRelu' },
];
const ways = [
  {},
  { precision: 'f16' },
  { accumulate: 2, augment: true, margin: [4, 3, 2] },
  { averaging: true, deepSupervision: true },
];

const here = await treeAt('.');
const there = await treeAt(process.argv[2] ?? '.');
const loss = { classes: 6, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
const rows = features.flatMap((levels) =>
  norms.flatMap((norm) =>
    ways.map(({ deepSupervision, ...way }) => ({
      levels,
      // Coarser heads take four levels or more.
      network: deepSupervision && levels.length > 3 ? { ...norm, deepSupervision } : norm,
      way,
    })),
  ),
);
let more = 0;
console.log('| configuration | before | keep all | default | least |\n| --- | --- | --- | --- | --- |');
for (const { levels, network, way } of rows) {
  const planned = ({ completeConfig, planTraining }: Tree, policy: object = {}) => {
    const config = completeConfig({ inChannels: 1, classes: 6, features: levels, ...network });
    const shape = { config, size: [64, 48, 32], batch: 2, loss, optimizer: { kind: 'adam' } };
    return planTraining({ ...shape, ...way, ...policy }).plan;
  };
  const before = planned(there);
  const usual = planned(here);
  if (usual.peakBytes > before.peakBytes) more++;
  const plans = [before, planned(here, { keepAll: true }), usual, planned(here, { checkpointing: true })];
  const cells = plans.map(
    ({ peakBytes, flops, dispatches }) =>
      `${mebibytes(peakBytes)} MiB, ${dispatches.length} dispatches, ${(flops / before.flops).toFixed(3)}×`,
  );
  const options = Object.entries({ ...network, ...way });
  console.log(
    `| [${levels.join(', ')}] ${options.map(([key, value]) => `${key} ${String(value)}`).join(', ')} | ${cells.join(' | ')} |`,
  );
}
console.log(`\nBy default ${more} of ${rows.length} take more memory than before.`);
