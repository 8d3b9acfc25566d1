/** The folder of a training: proved writable before anything else is done, there from its first file on, each written whole. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { UNet3DError } from '../errors.ts';
import { curves } from '../report/curves.ts';
import { encodePng } from '../report/png.ts';
import type { Picture } from '../report/raster.ts';
import { writeFileAtomically } from '../train/checkpoint.node.ts';
import type { EpochRow } from '../train/events.ts';
import { fileMessage } from './failure.ts';
import { toJson } from './text.ts';

/**
 * Makes a folder with its parents; those that were not there, innermost first, are added to `made`. (Node's own
 * recursive mkdir never returns for a place under /proc.)
 */
async function makeFolder(path: string, made: string[]): Promise<void> {
  const parent = dirname(path);
  if (existsSync(path)) return;
  if (parent !== path) await makeFolder(parent, made);
  await mkdir(path).then(
    () => made.unshift(path),
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
}

export class RunFolder {
  private constructor(readonly path: string) {}

  /**
   * Makes the folder and writes a file into it, so that a training never ends with nowhere to go; and takes both away
   * again, so that nothing is left where the training does not come to its first file.
   * @throws UNet3DError if that fails
   */
  static async open(path: string): Promise<RunFolder> {
    const probe = join(path, `.writable-${process.pid}`);
    const made: string[] = [];
    try {
      await makeFolder(resolve(path), made);
      await writeFile(probe, '');
      await rm(probe);
      // What a killed process was writing.
      for (const name of await readdir(path))
        if (/\.\d+\.tmp$/.test(name)) await rm(join(path, name), { force: true });
    } catch (error) {
      const reason = fileMessage(error as NodeJS.ErrnoException);
      throw new UNet3DError(
        `cannot write into the output folder ${path} (${reason}): give another one with --out`,
        { cause: error },
      );
    } finally {
      // Another process may have put something there meanwhile.
      for (const folder of made) await rmdir(folder).catch(() => undefined);
    }
    return new RunFolder(path);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  has(name: string): boolean {
    return existsSync(this.file(name));
  }

  async write(name: string, content: Uint8Array | string): Promise<void> {
    await writeFileAtomically(this.file(name), content);
  }

  async json(name: string, value: unknown): Promise<void> {
    await this.write(name, `${toJson(value, 2)}\n`);
  }

  async picture(name: string, picture: Picture): Promise<void> {
    await this.write(name, await encodePng(picture));
  }

  /** history.csv and progress.png. */
  async history(history: readonly EpochRow[], labels: readonly string[], title: string): Promise<void> {
    if (history.length === 0) return;
    await this.write('history.csv', historyCsv(history, labels));
    const rows = history.map((row) => ({
      epoch: row.epoch + 1,
      trainLoss: row.loss,
      validationLoss: row.validationLoss,
      dice: row.validationDice,
      learningRate: row.learningRate,
    }));
    await this.picture('progress.png', curves(rows, { labels, title }));
  }
}

/** One line per epoch, counted from 1; Dice per class in columns named dice_CLASS; empty where not measured. */
export function historyCsv(history: readonly EpochRow[], labels: readonly string[]): string {
  const classes = Math.max(...history.map(({ validationDice }) => validationDice.length));
  const cell = (value: number | undefined): string => (Number.isFinite(value) ? String(value) : '');
  const name = (label: number): string => (labels[label] ?? String(label)).replace(/[^\w-]+/g, '_');
  const head = [
    'epoch',
    'loss',
    'validation_loss',
    ...Array.from({ length: classes }, (_, label) => `dice_${name(label)}`),
    'smoothed_dice',
    'learning_rate',
    'seconds',
  ];
  const rows = history.map((row) => [
    row.epoch + 1,
    cell(row.loss),
    cell(row.validationLoss),
    ...Array.from({ length: classes }, (_, label) => cell(row.validationDice[label])),
    cell(row.smoothedDice),
    cell(row.learningRate),
    row.seconds.toFixed(3),
  ]);
  return [head, ...rows].map((row) => `${row.join(',')}\n`).join('');
}
