/** A training with all that belongs to it: the page may be set to other data and settings meanwhile. */
import type { LabelledCase, UNet3D } from 'unet3d-gpu/worker';
import type { DataRecord, RunRecord } from './kept/database.ts';
import { RunFiles } from './kept/run-files.ts';
import { updateRun } from './kept/runs.ts';
import { changed, type PageCase } from './state.ts';

export interface Preview {
  readonly epoch: number;
  readonly predicted: Uint8Array;
  readonly dice: readonly number[];
}

export type Phase = 'preparing' | 'running' | 'pausing' | 'paused' | 'done';

/** What the view shows of a running training. */
export interface RunProgress {
  step: number;
  totalSteps: number;
  epoch: number;
  etaMs: number;
  loss: number;
  gpuBytes: number;
  /** Kernels are being measured, so many of so many convolution shapes by now. */
  tuning: { done: number; passes: number } | undefined;
  preview: Preview | undefined;
  problem: string;
  readonly log: string[];
}

export class Run {
  readonly id: string;
  /** What it trains and is validated on; none where its files are no longer kept. */
  readonly cases: readonly PageCase[];
  readonly files: RunFiles;
  readonly progress: RunProgress;
  phase: Phase = 'preparing';
  /** Whether the browser has it, so that another visit can go on with it. */
  kept = false;
  /** The prepared validation cases, once there are any. */
  validation: readonly LabelledCase[] = [];
  /** In training, or paused. */
  network: UNet3D | undefined;
  #record: RunRecord;
  #release: () => void = () => undefined;
  #lastUpdate: Promise<void> = Promise.resolve();

  constructor(record: RunRecord, data: DataRecord | undefined) {
    this.#record = record;
    this.id = record.id;
    const known = new Map(data?.cases.map((item) => [item.id, item]));
    this.cases = record.cases.flatMap(({ id, part }) => {
      const item = known.get(id);
      return item ? [{ ...item, part } as PageCase] : [];
    });
    this.progress = {
      step: 0,
      totalSteps: 0,
      epoch: 0,
      etaMs: NaN,
      loss: NaN,
      gpuBytes: NaN,
      tuning: undefined,
      preview: undefined,
      problem: '',
      log: [],
    };
    this.files = new RunFiles(record.id, (problem) =>
      this.log(`Not saved: ${problem}. Closing this tab will lose this training.`),
    );
  }

  get record(): RunRecord {
    return this.#record;
  }

  get classes(): number {
    return this.#record.labels.length;
  }

  idsOf(part: 'train' | 'validation'): string[] {
    return this.cases.filter((item) => item.part === part).map(({ id }) => id);
  }

  /** Changes what is told of the training, here and where it is kept. */
  update(more: Partial<Omit<RunRecord, 'id'>>): Promise<void> {
    this.#record = { ...this.#record, ...more };
    // What is not kept has been told of when it began.
    this.#lastUpdate = this.#lastUpdate.then(() => updateRun(this.id, more)).catch(() => undefined);
    return this.#lastUpdate;
  }

  log(line: string): void {
    this.progress.log.push(`${new Date().toLocaleTimeString()}  ${line}`);
    changed();
  }

  /** @param release lets other tabs have it */
  hold(release: () => void): void {
    this.#release();
    this.#release = release;
  }

  /** Frees the GPU and lets other tabs have it; what is kept stays. */
  close(): void {
    this.network?.dispose();
    this.network = undefined;
    this.#release();
  }
}
