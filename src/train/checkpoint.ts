/**
 * Checkpoints: everything that training needs to go on exactly where it was, in one safetensors file.
 * Where the bytes go is a store's business: a folder in Node, the origin's private files in a browser.
 */
import { InvalidModel } from '../errors.ts';
import { previousName, type FileStore } from '../files/store.ts';
import { choicesSchema, type KernelChoices } from '../gpu/choices.ts';
import { hexadecimal } from '../hash.ts';
import type { Precision } from '../gpu/precision.ts';
import { readJson } from '../json.ts';
import type { ModelState, Weights } from '../model/state.ts';
import { initialLossScale } from '../ops/optimizer.ts';
import type { TakenVoxel } from '../ops/pool.ts';
import { oneOf } from '../schema.ts';
import { requireWhole, writeHashed } from '../weights/content-hash.ts';
import { flatFrom, namedTensors } from '../weights/named-tensors.ts';
import { readSafetensors, type NamedTensor } from '../weights/safetensors.ts';
import type { BestWeights } from './events.ts';
import { parseProgress, type Progress, type StoredProgress } from './progress.ts';

/**
 * Keeps checkpoints. A store may keep the file before under `previousName(name)`: it is asked for where the newest turns
 * out to be damaged.
 */
export type CheckpointStore = FileStore;

export interface Checkpoint {
  readonly progress: Progress;
  /** What must not change between runs: configuration, loss, optimiser, schedule, seed, shapes, cases. */
  readonly identity: string;
  /** Of the run that wrote it; absent in files of older versions. */
  readonly run?: string | undefined;
  /** How many ranks computed it; 1 in files that do not say. */
  readonly ranks: number;
  /** Of deep supervision; `first` in files up to version 4. */
  readonly coarserTruth: TakenVoxel;
  /** Which kernels computed it, so that going on repeats the bits; absent in files of version 2. */
  readonly kernels?: KernelChoices | undefined;
  readonly weights: Weights;
  /** Running average of the weights, where training keeps one. */
  readonly average?: Weights | undefined;
  readonly first: Float32Array<ArrayBuffer>;
  readonly second: Float32Array<ArrayBuffer>;
  /** Loss scale and good steps since it last changed. */
  readonly lossScale: Float32Array<ArrayBuffer>;
  readonly best?: BestWeights | undefined;
}

const version = 5;
/** Versions that are read: 2 said nothing of kernels, 3 had no hash of the content, 4 knew one truth for coarser heads. */
const readable = [2, 3, 4, version];

const takenVoxel = oneOf('nearest', 'first');

/** The name under which training saves its checkpoint in a store. */
export const checkpointName = 'checkpoint.safetensors';

/** A name that no other run has. */
export const newRunId = (): string => hexadecimal(crypto.getRandomValues(new Uint8Array(16)));

/** Reads the device's state and writes the file. */
export async function writeCheckpoint(
  state: ModelState,
  {
    identity,
    run,
    ranks = 1,
    coarserTruth,
    progress,
    best,
    averaged,
    patches,
  }: Pick<Checkpoint, 'identity' | 'coarserTruth' | 'progress' | 'best'> & {
    readonly ranks?: number;
    readonly run: string;
    readonly averaged: boolean;
    /** Whether the size is that of patches, for `bestModel` and `lastModel`. */
    readonly patches: boolean;
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const { parameters, statistics } = state.layout;
  const named = (weights: Weights, prefix = '') => [
    ...namedTensors(parameters, weights.parameters, prefix),
    ...namedTensors(statistics, weights.statistics, prefix),
  ];
  const tensors = new Map<string, NamedTensor>([
    ...named(await state.readWeights()),
    ...(averaged ? named(await state.readWeights({ averaged }), 'average.') : []),
    ...namedTensors(parameters, await state.read('optimizer.first'), 'optimizer.first.'),
    ...namedTensors(parameters, await state.read('optimizer.second'), 'optimizer.second.'),
    ['lossScale', { shape: [2], data: await state.read('lossScale') }],
    ...(best ? named(best.weights, 'best.') : []),
  ]);
  const metadata = {
    'unet3d-gpu checkpoint': String(version),
    identity,
    run,
    coarserTruth: JSON.stringify(coarserTruth),
    progress: JSON.stringify(progress),
    kernels: JSON.stringify(state.kernels),
    patches: String(patches),
    ...(ranks > 1 && { ranks: String(ranks) }),
  };
  return writeHashed({ tensors, metadata });
}

/** A whole checkpoint that is not for this training, or not for this version. */
class Foreign extends InvalidModel {}

/**
 * The store's last checkpoint, or the one before it where the last is damaged, which is reported to `warn`.
 * @returns undefined if there is none
 * @throws InvalidModel if no whole one is left, or it belongs to another training
 */
export async function loadCheckpoint(
  store: CheckpointStore,
  state: Pick<ModelState, 'layout' | 'precision'>,
  identity: string,
  warn: (message: string) => void,
): Promise<Checkpoint | undefined> {
  let damage: string | undefined;
  for (const name of [checkpointName, previousName(checkpointName)]) {
    const bytes = await store.load(name);
    if (!bytes) continue;
    try {
      const checkpoint = await readCheckpoint(state, bytes, identity, name);
      if (damage !== undefined)
        warn(`${damage}; the one before it is used, of step ${checkpoint.progress.step}`);
      return checkpoint;
    } catch (error) {
      if (!(error instanceof InvalidModel)) throw error;
      if (damage !== undefined)
        throw new InvalidModel(`${damage}; and of the one before it: ${error.message}`, { cause: error });
      if (error instanceof Foreign) throw error;
      damage = error.message;
    }
  }
  if (damage === undefined) return undefined;
  throw new InvalidModel(`${damage}; there is none before it: start anew, or from another copy`);
}

/** @throws InvalidModel for a file that is damaged, newer, or of another training */
async function readCheckpoint(
  state: Pick<ModelState, 'layout' | 'precision'>,
  bytes: Uint8Array,
  identity: string,
  name: string,
): Promise<Checkpoint> {
  const file = readSafetensors(bytes, name);
  await requireWhole(bytes, file, name);
  const { tensors, metadata } = file;
  const found = Number(metadata['unet3d-gpu checkpoint']);
  if (!readable.includes(found)) {
    throw new Foreign(
      `the checkpoint has version ${found || 'none'}; this package reads ${version}: update the package or start anew`,
    );
  }
  const part = (key: string): string => {
    const value = metadata[key];
    if (value === undefined) throw new InvalidModel(`${name} is damaged: its metadata lack ${key}`);
    return value;
  };
  if (found >= 4) part('sha256');
  if (part('identity') !== identity) {
    throw new Foreign(
      `the checkpoint is of another training: ${firstDifference(part('identity'), identity)}; resume with the same options and data, or start in another folder`,
    );
  }
  const damaged = (key: string) => (problem: string) =>
    new InvalidModel(`${name} is damaged: in its ${key}, ${problem}`);
  const stored = parseProgress(part('progress'), damaged('progress'));
  const kernels = found > 2 ? readJson(part('kernels'), choicesSchema, damaged('kernels')) : undefined;
  const coarserTruth =
    found > 4 ? readJson(part('coarserTruth'), takenVoxel, damaged('coarserTruth')) : 'first';
  const { parameters, statistics, parameterWords, statisticsWords } = state.layout;
  const weights = (prefix: string): Weights => ({
    parameters: flatFrom(parameters, parameterWords, tensors, prefix),
    statistics: flatFrom(statistics, statisticsWords, tensors, prefix),
  });
  const lossScale = Float32Array.from(tensors.get('lossScale')?.data ?? [1, 0]);
  const applied = stored.applied ?? appliedBefore(stored.step, lossScale[0]!, state.precision);
  return {
    progress: { ...stored, applied },
    identity,
    run: metadata['run'],
    ranks: Number(metadata['ranks'] ?? 1),
    coarserTruth,
    kernels,
    weights: weights(''),
    average: tensors.has(`average.${[...parameters.keys()][0]!}`) ? weights('average.') : undefined,
    first: flatFrom(parameters, parameterWords, tensors, 'optimizer.first.'),
    second: flatFrom(parameters, parameterWords, tensors, 'optimizer.second.'),
    lossScale,
    best: stored.best ? { ...stored.best, weights: weights('best.') } : undefined,
  };
}

/** For files that do not count the applied steps: all but those that have halved the loss scale. */
function appliedBefore(step: number, lossScale: number, precision: Precision): number {
  const halvings = Math.log2(initialLossScale[precision] / lossScale);
  return step - Math.min(step, Math.max(0, halvings));
}

/** What a stored checkpoint says of its training: the epochs behind it and the best of them. @throws InvalidModel */
export function progressOf(checkpoint: Uint8Array): StoredProgress {
  const { progress } = readSafetensors(checkpoint, 'the checkpoint').metadata;
  const fail = (problem: string) => new InvalidModel(`in the progress of the checkpoint, ${problem}`);
  if (progress === undefined) throw fail('nothing is said');
  return parseProgress(progress, fail);
}

/** Both identities are JSON; names the first place where they differ, with both values. */
export function firstDifference(before: string, now: string, words: Words = ['was', 'and is']): string {
  try {
    return differenceOf(JSON.parse(before), JSON.parse(now), words);
  } catch {
    return 'its description cannot be read';
  }
}

/** What is said in front of each of two values. */
type Words = readonly [before: string, now: string];

function differenceOf(before: unknown, now: unknown, words: Words, path = ''): string {
  if (isObject(before) && isObject(now))
    for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const [was, is] = [before[key], now[key]];
      if (JSON.stringify(was) !== JSON.stringify(is))
        return differenceOf(was, is, words, path === '' ? key : `${path}.${key}`);
    }
  const [first, second] = words;
  return `${path || 'its description'} ${first} ${short(JSON.stringify(before))} ${second} ${short(JSON.stringify(now))}`;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const short = (text: string | undefined): string =>
  text === undefined ? 'absent' : text.length > 80 ? `${text.slice(0, 77)}...` : text;
