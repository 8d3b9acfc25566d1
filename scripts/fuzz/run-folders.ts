/** What a training and its kernels leave on the disk and another command reads without a GPU. history.csv is only written. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { trainCommand } from '../../src/cli/commands/train.ts';
import { readKeptConfig } from '../../src/cli/kept-config.ts';
import { networkOf, type NetworkOptions } from '../../src/cli/network-options.ts';
import { augmentationOf, lossOf, scheduleOf } from '../../src/cli/recipe.ts';
import type { TrainOptions } from '../../src/cli/train-options.ts';
import type { Random } from '../../src/data/random.ts';
import { parseSplit } from '../../src/data/split.ts';
import { assertUnlocked, FolderLock } from '../../src/files/lock.node.ts';
import { formatProcess, thisProcess } from '../../src/files/process.node.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { cacheName, readCache, writeCache } from '../../src/model/tuning-cache.ts';
import { folderCache } from '../../src/model/tuning-cache.node.ts';
import { version } from '../../src/version.ts';
import { inFolder, type Kind } from './harness.ts';
import { chance, mutatedBytes, mutatedJson, mutatedText, pick } from './mutations.ts';

/** JSON with something else in it, or damaged as a text or by its bytes. */
function changed(value: unknown, source: Random): string {
  const text = JSON.stringify(mutatedJson(value, source));
  if (chance(source, 4)) return mutatedText(text, source);
  return chance(source, 4)
    ? new TextDecoder().decode(mutatedBytes(new TextEncoder().encode(text), source))
    : text;
}

const part = (id: string): object => ({ subjects: [id], cases: [id] });
const split = {
  seed: 0,
  fractions: [0.7, 0.15, 0.15],
  train: part('a'),
  validation: part('b'),
  test: part('c'),
};
const cases = ['a', 'b', 'c'].map((id) => ({ id, subject: id }));

function readSplit(source: Random): number {
  const text = changed(split, source);
  parseSplit(text, cases);
  return 2 * text.length;
}

const command = trainCommand({} as never);
const options = {
  split: '70,15,15',
  fold: { fold: 0, folds: 5 },
  subjectPattern: 'Case_(\\d+)',
  features: [4, 8],
  norm: 'instance',
  activation: 'relu',
  strides: [[2, 2, 1]],
  kernels: [
    [3, 3, 1],
    [3, 3, 3],
  ],
  bias: true,
  epochs: 3,
  batchSize: 2,
  oversample: 1 / 3,
  preprocessing: 'plain',
  spacing: 'median',
  augment: 'nnunet',
  mirror: ['x', 'y'],
  loss: 'dice-ce',
  classWeights: [1 / 3, 2 / 3],
  optimizer: 'adam',
  schedule: 'onecycle',
  learningRate: 0.01,
  pctStart: 0.3,
  seed: 0,
  precision: 'f32',
  concede: ['checkpointing', 'patches'],
  cache: 2 ** 31,
};
const config = {
  version,
  training: { batchSize: 2, accumulate: 1, precision: 'f32', checkpointing: false, patch: [8, 8, 8] },
  decisions: ['a'],
  arguments: { dataset: '/data', options },
};

/** As far as the options are used without data and device. */
function readConfig(source: Random): number {
  const text = changed(config, source);
  const found = readKeptConfig(text, 'config.json', command.options);
  const given = { ...options, ...found.arguments.options } as unknown as TrainOptions & NetworkOptions;
  completeConfig({ ...networkOf(given), inChannels: 1, classes: 2 });
  lossOf(given.loss, { classes: 2, weights: given.classWeights });
  scheduleOf(given.schedule, given.learningRate, given.epochs!, given);
  augmentationOf(given.augment, given.mirror === 'none' ? [] : (given.mirror ?? ['x', 'y', 'z']));
  return 2 * text.length;
}

const owners = (): readonly string[] => [
  formatProcess(thisProcess()),
  formatProcess({ ...thisProcess(), started: '1' }),
  formatProcess({ ...thisProcess(), pid: 4_194_305 }),
  'elsewhere-12-345',
];
const lockNames = [
  '.lock-1',
  '.lock-2',
  '.lock-',
  '.lock-x',
  '.lock-007',
  `.lock-${'9'.repeat(30)}`,
  '.lock',
];

async function takeLock(source: Random): Promise<number> {
  return inFolder(async (folder) => {
    for (let count = source.int(4); count > 0; count--) {
      const path = join(folder, pick(source, lockNames));
      const owner = pick(source, owners());
      const content = chance(source, 3) ? mutatedText(owner, source) : owner;
      const kind = source.int(20);
      const make =
        kind === 0
          ? mkdir(path)
          : kind === 1
            ? symlink(pick(source, ['nowhere', '.', path]), path)
            : writeFile(path, content);
      await make.catch(() => undefined); // there is one
    }
    if (chance(source, 4)) assertUnlocked(folder);
    FolderLock.take(folder)[Symbol.dispose]();
    assertUnlocked(folder);
    return 0;
  });
}

const gpu = { identity: 'a' } as Gpu;
const kernels = {
  'unet3d-gpu kernels': 1,
  devices: { [`a | unet3d-gpu ${version}`]: { 'conv3 16 16': 'tiled 8x8' }, b: {} },
};

/** A cache is never refused: what is damaged is told, counts as empty and is written anew. */
async function useCache(source: Random): Promise<number> {
  return inFolder(async (folder) => {
    const path = join(folder, cacheName);
    const text = changed(kernels, source);
    if (chance(source, 10)) await mkdir(path);
    else await writeFile(path, text);
    const store = folderCache(folder);
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const { choices } = await readCache(store, gpu, warn);
    for (const [key, kernel] of Object.entries(choices))
      if (typeof kernel !== 'string') throw new TypeError(`the kernel of ${key} is no text`);
    await writeCache(store, gpu, { choices: { new: 'x' } }, warn);
    const kept = await readCache(store, gpu, warn);
    if (kept.choices['new'] === undefined && warnings.length === 0) throw new Error('a choice was lost');
    return 4 * text.length;
  });
}

export const runFolders: Kind = {
  name: 'run folders',
  async read(source) {
    switch (source.int(8)) {
      case 0:
      case 1:
        return readSplit(source);
      case 2:
      case 3:
      case 4:
        return readConfig(source);
      case 5:
        return useCache(source);
      default:
        return takeLock(source);
    }
  },
};
