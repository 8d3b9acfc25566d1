/**
 * Checkpoints: everything that training needs to go on exactly where it was, in one safetensors file.
 * Where the bytes go is a store's business: a folder in Node, the origin's private files in a browser.
 */
import { InvalidModel } from '../errors.ts';
import { formatChoices, parseChoices, type KernelChoices } from '../gpu/choices.ts';
import type { Precision } from '../gpu/plan.ts';
import { flatFrom, namedTensors, type ModelState, type Weights } from '../model/state.ts';
import { initialLossScale } from '../ops/optimizer.ts';
import { readSafetensors, writeSafetensors, type NamedTensor } from '../weights/safetensors.ts';
import type { BestWeights, EpochRow } from './events.ts';

/**
 * Keeps named files; `save` must leave either the old or the new file, never half of one. A store may keep the file
 * before under `previousName(name)`: it is asked for where the newest turns out to be damaged.
 */
export interface CheckpointStore {
  save(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** `undefined` where there is none. */
  load(name: string): Promise<Uint8Array | undefined>;
}

/** Where training stands, apart from its tensors. */
export interface Progress {
  /** Next optimiser step, counted from 0. */
  readonly step: number;
  readonly history: readonly EpochRow[];
  /** Losses of the current epoch's finished steps. */
  readonly epochLosses: readonly number[];
  /** Seconds spent in the current epoch and in all before the resume. */
  readonly seconds: number;
  readonly best?: { readonly epoch: number; readonly dice: number } | undefined;
  /** Steps that were applied: those that Adam's bias correction counts. */
  readonly applied: number;
  /** Steps in a row that were left out as not finite. */
  readonly skipped: number;
}

export interface Checkpoint {
  readonly progress: Progress;
  /** What must not change between runs: configuration, loss, optimiser, schedule, seed, shapes, cases. */
  readonly identity: string;
  /** Of the run that wrote it; absent in files of older versions. */
  readonly run?: string | undefined;
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

const version = 3;
/** Versions that are read: 2 said nothing of kernels. */
const readable = [2, version];

export const checkpointName = 'checkpoint.safetensors';
export const previousName = (name: string): string => `${name}.previous`;

/** A name that no other run has. */
export const newRunId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(
    '',
  );

/** Reads the device's state and writes the file. */
export async function writeCheckpoint(
  state: ModelState,
  {
    identity,
    run,
    progress,
    best,
    averaged,
  }: Pick<Checkpoint, 'identity' | 'progress' | 'best'> & {
    readonly run: string;
    readonly averaged: boolean;
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
    progress: JSON.stringify(progress),
    kernels: formatChoices(state.kernels),
  };
  return writeSafetensors({ tensors, metadata });
}

/**
 * The store's last checkpoint, or the one before it where the last is damaged, which `warn` is told.
 * @returns undefined if there is none
 * @throws InvalidModel if no whole one is left, or it belongs to another training
 */
export async function loadCheckpoint(
  store: CheckpointStore,
  state: ModelState,
  identity: string,
  warn: (message: string) => void,
): Promise<Checkpoint | undefined> {
  const bytes = await store.load(checkpointName);
  if (!bytes) return undefined;
  try {
    readSafetensors(bytes, 'the checkpoint');
  } catch (error) {
    const before = await store.load(previousName(checkpointName));
    if (!before) throw error;
    const checkpoint = readCheckpoint(state, before, identity);
    warn(`${(error as Error).message}; the one before it is used, of step ${checkpoint.progress.step}`);
    return checkpoint;
  }
  return readCheckpoint(state, bytes, identity);
}

/** Throws `InvalidModel` for a file that is damaged, newer, or of another training. */
export function readCheckpoint(state: ModelState, bytes: Uint8Array, identity: string): Checkpoint {
  const { tensors, metadata } = readSafetensors(bytes, 'the checkpoint');
  const found = Number(metadata['unet3d-gpu checkpoint']);
  if (!readable.includes(found)) {
    throw new InvalidModel(
      `the checkpoint has version ${found || 'none'}; this package reads ${version}: update the package or start anew`,
    );
  }
  if (metadata['identity'] !== identity) {
    throw new InvalidModel(
      `the checkpoint is of another training: ${firstDifference(metadata['identity'] ?? '', identity)}; resume with the same options and data, or start in another folder`,
    );
  }
  const stored = JSON.parse(metadata['progress'] ?? 'null') as Omit<Progress, 'applied'> & Partial<Progress>;
  const lossScale = Float32Array.from(tensors.get('lossScale')?.data ?? [1, 0]);
  const applied = stored.applied ?? appliedBefore(stored.step, lossScale[0]!, state.precision);
  const progress: Progress = { ...stored, applied, history: stored.history.map(withNaN) };
  const { parameters, statistics, parameterWords, statisticsWords } = state.layout;
  const weights = (prefix: string): Weights => ({
    parameters: flatFrom(parameters, parameterWords, tensors, prefix),
    statistics: flatFrom(statistics, statisticsWords, tensors, prefix),
  });
  return {
    progress,
    identity,
    run: metadata['run'],
    kernels: kernelsOf(metadata['kernels']),
    weights: weights(''),
    average: tensors.has(`average.${[...parameters.keys()][0]!}`) ? weights('average.') : undefined,
    first: flatFrom(parameters, parameterWords, tensors, 'optimizer.first.'),
    second: flatFrom(parameters, parameterWords, tensors, 'optimizer.second.'),
    lossScale,
    best: progress.best ? { ...progress.best, weights: weights('best.') } : undefined,
  };
}

/** For files that do not count the applied steps: all but those that have halved the loss scale. */
function appliedBefore(step: number, lossScale: number, precision: Precision): number {
  const halvings = Math.log2(initialLossScale[precision] / lossScale);
  return step - Math.min(step, Math.max(0, halvings));
}

function kernelsOf(text: string | undefined): KernelChoices | undefined {
  if (text === undefined) return undefined;
  const choices = parseChoices(text);
  if (choices) return choices;
  throw new InvalidModel(
    `the checkpoint names its kernels as ${short(text)}, which is no choice of kernels: it is damaged, start anew`,
  );
}

/** JSON writes NaN, which stands for what could not be measured, as null. */
function withNaN(row: EpochRow): EpochRow {
  const number = (value: number | null): number => value ?? NaN;
  return {
    ...row,
    loss: number(row.loss),
    validationLoss: number(row.validationLoss),
    validationDice: row.validationDice.map(number),
    smoothedDice: number(row.smoothedDice),
  };
}

/** Both identities are JSON objects; names the first key that differs, with both values. */
function firstDifference(before: string, now: string): string {
  try {
    const [a, b] = [JSON.parse(before), JSON.parse(now)] as [
      Record<string, unknown>,
      Record<string, unknown>,
    ];
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const [was, is] = [JSON.stringify(a[key]), JSON.stringify(b[key])];
      if (was !== is) return `${key} was ${short(was)} and is ${short(is)}`;
    }
  } catch {
    return 'its description cannot be read';
  }
  return 'its description differs';
}

const short = (text: string | undefined): string =>
  text === undefined ? 'absent' : text.length > 80 ? `${text.slice(0, 77)}...` : text;
