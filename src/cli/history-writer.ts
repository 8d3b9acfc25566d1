/** The history of a training on the disk while it runs. */
import type { Legend } from '../report/series.ts';
import type { EpochRow, TrainingEvent } from '../train/events.ts';
import type { RunFolder } from './run-folder.ts';

/** Keeps history.csv and progress.png up to date while the training runs; one file is written after another. */
export class HistoryWriter {
  #rows: readonly EpochRow[] = [];
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(
    readonly folder: RunFolder,
    readonly legend: Legend,
    readonly title: string,
  ) {}

  see(event: TrainingEvent): void {
    if (event.type === 'start') this.#rows = event.history;
    if (event.type !== 'epoch') return;
    const rows = [...this.#rows, event.row];
    this.#rows = rows;
    this.next(() => this.folder.history(rows, this.legend, this.title));
  }

  /** Writes something else when all that was to be written before is. */
  next(write: () => Promise<void>): void {
    this.#writing = this.#writing.then(write).catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  /** Waits for what is being written. @throws what writing has thrown */
  async done(): Promise<void> {
    await this.#writing;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure as Error;
  }
}
