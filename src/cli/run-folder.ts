/** The folder of a training: proved writable and locked before anything else is done; each file is written whole. */
import { existsSync, readdirSync } from 'node:fs';
import { readdir, readFile, realpath, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { splitSchema, testedPart } from '../data/split.ts';
import { InvalidDataset, InvalidOption, UNet3DError } from '../errors.ts';
import { assertUnlocked, FolderLock } from '../files/lock.node.ts';
import { removeLeftovers, writeFileAtomically } from '../files/write.node.ts';
import { readJson } from '../json.ts';
import { curves } from '../report/curves.ts';
import { encodePng } from '../report/png.ts';
import type { Picture } from '../report/raster.ts';
import type { Legend } from '../report/series.ts';
import { checkpointFiles, folderFiles, hasCheckpoint } from '../train/checkpoint.node.ts';
import type { CheckpointStore } from '../train/checkpoint.ts';
import type { EpochRow } from '../train/events.ts';
import { historyCsv } from '../train/history.ts';
import { fileMessage } from './failure.ts';
import type { Io } from './io.ts';
import { checkOutputs } from './outputs.ts';
import { toJson } from './text.ts';

/** Which cases each fold trains on and validates, within the folder of several. */
export const foldsName = 'splits_final.json';

/** A fold's own folder, within the folder of several. */
export const foldName = (fold: number | string): string => `fold_${fold}`;
export const foldPattern = /^fold_\d+$/;

/** What the folds of a cross-validation come to, within the folder of several. */
export const crossValidationFiles = [
  'cross-validation.csv',
  'cross-validation.json',
  'ensemble.json',
  'report.html',
] as const;

/** Where the segmentations of the tested cases go, within the folder of a training. */
export const predictionsName = 'predictions';

/**
 * Everything that a training may write besides its predictions, in the order in which it is taken away: what says that
 * it is done before what it is done with, and last what it can be gone on with.
 */
const [resultFiles, beginnings] = [
  [
    'report.html',
    'model.safetensors',
    'metrics.json',
    'slices.png',
    'history.csv',
    'progress.png',
    'batch.png',
    'augmentation.png',
    ...checkpointFiles,
  ],
  ['config.json', 'split.json'],
];

export class RunFolder implements Disposable {
  private constructor(
    readonly path: string,
    private readonly io: Io,
    /** Undefined where it is only looked at. */
    private readonly lock: FolderLock | undefined,
  ) {}

  /**
   * Makes the folder and locks it, so that a training never ends with nowhere to go and never meets another there.
   * Disposing of it takes away the lock, and the folder too where the training has not come to its first file.
   * @param patienceMs for which it waits for another process that has the folder and gives no sign of life
   * @throws UNet3DError if that fails, or another process trains into it
   */
  static async open(path: string, io: Io, patienceMs = 0): Promise<RunFolder> {
    let lock: FolderLock | undefined;
    try {
      lock = await FolderLock.wait(path, patienceMs, {
        signal: io.signal,
        tell: (held) => io.err(`Waiting: ${held}.`),
        sinceSign: true,
      });
      for (const pid of lock.left)
        io.err(`warning: process ${pid}, which no longer runs, had left ${path} locked; its place is taken.`);
      for (const folder of [path, join(path, predictionsName)]) await removeLeftovers(folder);
      return new RunFolder(path, io, lock);
    } catch (error) {
      lock?.[Symbol.dispose]();
      if (error instanceof UNet3DError) throw error;
      const reason = fileMessage(error as NodeJS.ErrnoException);
      throw new UNet3DError(
        `cannot write into the output folder ${path} (${reason}): give another one with --out`,
        { cause: error },
      );
    }
  }

  /** The folder of a training whose files another process writes: nothing is made, locked, written or taken away. */
  static lookAt(path: string, io: Io): RunFolder {
    return new RunFolder(path, io, undefined);
  }

  [Symbol.dispose](): void {
    this.lock?.[Symbol.dispose]();
  }

  /**
   * @param inputs files that the training reads
   * @param cases names of those that will be tested
   * @throws InvalidOption if what it writes would replace one of them
   */
  async check(inputs: readonly string[], cases: readonly string[]): Promise<void> {
    if (!this.lock) return;
    const names = [...resultFiles, ...beginnings, ...cases.map(predictionName)];
    await checkOutputs([{ option: '--out', paths: names.map((name) => this.file(name)) }], inputs);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  has(name: string): boolean {
    return existsSync(this.file(name));
  }

  /** Whether a training, or those of folds, were begun here that can be gone on from, or have ended. */
  get holdsTraining(): boolean {
    return hasCheckpoint(this.path) || this.has('model.safetensors') || this.holdsFolds;
  }

  /** Whether a training has come to its end here: its report is written last. */
  get isDone(): boolean {
    return this.has('report.html') && this.has('model.safetensors');
  }

  /** Whether the training of one of the folds here has. */
  isFoldDone(fold: number | string): boolean {
    return RunFolder.lookAt(this.file(foldName(fold)), this.io).isDone;
  }

  /** Whether it is the folder of several folds; data sets of nnU-Net have splits_final.json, too. */
  get isOfFolds(): boolean {
    return this.has(foldsName) && this.has('config.json') && !this.has('split.json');
  }

  /** Whether a fold was begun here that can be gone on from, has ended, or is at work. */
  get holdsFolds(): boolean {
    if (!this.isOfFolds) return false;
    const folds = readdirSync(this.path).filter((entry) => foldPattern.test(entry));
    return folds.some(
      (name) => RunFolder.lookAt(this.file(name), this.io).holdsTraining || this.#isAtWork(name),
    );
  }

  #isAtWork(fold: string): boolean {
    try {
      assertUnlocked(this.file(fold));
      return false;
    } catch {
      return true;
    }
  }

  /** Of a fold, the folder of all; else itself. */
  get outermost(): string {
    const around = RunFolder.lookAt(dirname(resolve(this.path)), this.io);
    return foldPattern.test(basename(resolve(this.path))) && around.isOfFolds ? around.path : this.path;
  }

  /** The names that lead from here to a path, through whatever links; undefined for one that lies elsewhere. */
  async pathWithin(path: string): Promise<readonly string[] | undefined> {
    const real = await realpath(path).catch(() => undefined);
    if (real === undefined) return undefined;
    const within = relative(await realpath(this.path), real);
    return isAbsolute(within) || within.split(sep)[0] === '..' ? undefined : within.split(sep);
  }

  /**
   * Takes away what an earlier training left, so that nothing of it stands beside what a new one that is stopped has
   * written: every file of its own, and the predictions of the cases that its split.json says were tested; of folds,
   * what lies in their folders, and what they came to.
   */
  async clear(): Promise<void> {
    if (!this.lock) return;
    const split = await readFile(this.file('split.json'), 'utf8').catch(() => '');
    const remove = async (names: readonly string[]): Promise<void> => {
      for (const name of names) await rm(this.file(name), { force: true });
    };
    const { isOfFolds } = this;
    if (isOfFolds) {
      await remove(crossValidationFiles);
      const folds = (await readdir(this.path)).filter((entry) => foldPattern.test(entry));
      for (const name of folds) assertUnlocked(this.file(name)); // before anything is taken away
      for (const name of folds) {
        using fold = await RunFolder.open(this.file(name), this.io);
        await fold.clear();
      }
    }
    await remove([...resultFiles, ...testedCases(split).map(predictionName), ...beginnings]);
    // By these two, of which config.json has gone, folds are known: what is stopped before is cleared the next time.
    if (isOfFolds) await remove([foldsName]);
  }

  /** @throws UNet3DError where the folder is no longer this training's: somebody deleted it, or moved it away */
  async write(name: string, content: Uint8Array | string): Promise<void> {
    this.lock?.assertHeld();
    if (this.lock) await writeFileAtomically(this.file(name), content);
  }

  /** Where checkpoints are kept; saving one throws as `write`. */
  get checkpoints(): CheckpointStore {
    return folderFiles(this.path, this.lock);
  }

  async json(name: string, value: unknown): Promise<void> {
    await this.write(name, `${toJson(value, 2)}\n`);
  }

  async picture(name: string, picture: Picture): Promise<void> {
    if (this.lock) await this.write(name, await encodePng(picture));
  }

  /** history.csv and progress.png. */
  async history(history: readonly EpochRow[], legend: Legend, title: string): Promise<void> {
    if (history.length === 0 || !this.lock) return;
    await this.write('history.csv', historyCsv(history, legend.labels));
    const rows = history.map((row) => ({
      epoch: row.epoch + 1,
      trainLoss: row.loss,
      validationLoss: row.validationLoss,
      dice: row.validationDice,
      learningRate: row.learningRate,
    }));
    await this.picture('progress.png', curves(rows, { ...legend, title }));
  }
}

/** @throws InvalidOption if the model that a training begins with lies where `--overwrite` takes away */
export async function assertInitStays(folder: RunFolder, init: string | undefined): Promise<void> {
  if (init !== undefined && (await folder.pathWithin(init))) throw clearedBy(folder, `--init ${init}`);
}

export const clearedBy = (folder: RunFolder, what: string): InvalidOption =>
  new InvalidOption(`${what} lies in ${folder.path}, which --overwrite clears: give another --out`);

/** Of a split that is whole, whose names are none of paths; else none. */
function testedCases(split: string): readonly string[] {
  const found = splitIn(split);
  return found ? found[testedPart(found)].cases.filter((id) => !/[\\/]/.test(id)) : [];
}

/** What a split.json says, if it is whole. */
export function splitIn(text: string) {
  try {
    return readJson(text, splitSchema, (problem) => new InvalidDataset(problem));
  } catch (error) {
    if (error instanceof InvalidDataset) return undefined;
    throw error;
  }
}

/** The segmentation of a tested case, within the folder of a training. */
export const predictionName = (id: string): string => `${predictionsName}/${id}.nii.gz`;
