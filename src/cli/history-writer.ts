/** The history of a training on the disk while it runs. */
import type { EpochRow, TrainingEvent } from '../train/events.ts';
import type { RunFolder } from './run-folder.ts';

/** Keeps history.csv and progress.png up to date while the training runs. */
export class HistoryWriter {
  #rows: readonly EpochRow[] = [];
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(
    readonly folder: RunFolder,
    readonly labels: readonly string[],
    readonly title: string,
  ) {}

  see(event: TrainingEvent): void {
    if (event.type === 'start') this.#rows = event.history;
    if (event.type !== 'epoch') return;
    const rows = [...this.#rows, event.row];
    this.#rows = rows;
    this.#writing = this.#writing
      .then(() => this.folder.history(rows, this.labels, this.title))
      .catch((error: unknown) => {
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
