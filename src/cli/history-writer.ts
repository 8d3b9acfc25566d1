/** The history of a training on the disk while it runs. */
import type { Legend } from '../report/series.ts';
import type { EpochRow, TrainingEvent } from '../train/events.ts';
import { fileMessage } from './failure.ts';
import type { Io } from './io.ts';
import type { RunFolder } from './run-folder.ts';

/**
 * Keeps history.csv and progress.png up to date while the training runs; one file is written after another. What cannot
 * be written is said at once and written again later: these two, as a whole, after the next epoch.
 */
export class HistoryWriter {
  #rows: readonly EpochRow[] = [];
  #writing: Promise<void> = Promise.resolve();
  /** Whether the history could not be written the last time. */
  #isBehind = false;
  /** What else could not be. */
  readonly #left: (() => Promise<void>)[] = [];

  constructor(
    readonly folder: RunFolder,
    readonly legend: Legend,
    readonly title: string,
    private readonly io: Pick<Io, 'err'>,
  ) {}

  see(event: TrainingEvent): void {
    if (event.type === 'start') this.#rows = event.history;
    if (event.type !== 'epoch') return;
    const rows = [...this.#rows, event.row];
    this.#rows = rows;
    this.#after(
      async () => {
        await this.folder.history(rows, this.legend, this.title);
        this.#isBehind = false;
      },
      (reason) => {
        if (!this.#isBehind) this.#warn('history.csv and progress.png', reason, 'after the next epoch');
        this.#isBehind = true;
      },
    );
  }

  /** Writes something else when all that was to be written before is. */
  next(write: () => Promise<void>): void {
    this.#after(write, (reason) => {
      this.#warn('config.json and split.json', reason, 'when the training has ended');
      this.#left.push(write);
    });
  }

  /** Waits for what is being written, and writes what could not be but the history. @throws where it still cannot */
  async done(): Promise<void> {
    await this.settled();
    for (const write of this.#left.splice(0)) await write();
  }

  /** Waits for what is being written, or fails to be. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  #after(write: () => Promise<void>, onFailure: (reason: string) => void): void {
    this.#writing = this.#writing
      .then(write)
      .catch((error: unknown) => onFailure(fileMessage(error as NodeJS.ErrnoException)));
  }

  #warn(what: string, reason: string, when: string): void {
    this.io.err(`warning: cannot write ${what} (${reason}); this is tried again ${when}`);
  }
}
