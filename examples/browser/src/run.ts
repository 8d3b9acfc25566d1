/** A training with all that belongs to it: the page may be set to other data and settings meanwhile. */
import type { LabelledCase, UNet3D } from 'unet3d-gpu/worker';
import type { DataResults } from './data.worker.ts';
import type { DataRecord, RunRecord } from './kept/database.ts';
import { RunFiles } from './kept/run-files.ts';
import { claim, keepRun, updateRun } from './kept/runs.ts';
import { changed, type PageCase } from './state.ts';

export interface Preview {
  readonly epoch: number;
  readonly predicted: Uint8Array;
  readonly dice: readonly number[];
}

/** A validation case that is shown while it is learnt, with what its pictures should show. */
export interface Example {
  readonly item: LabelledCase;
  readonly survey: DataResults['survey'];
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

/** Names of what is scored: classes by label value; of regions, what is outside of all of them, then each. */
export const scoredNames = ({ labels, regions }: Pick<RunRecord, 'labels' | 'regions'>): string[] =>
  regions ? ['background', ...regions.map(({ name }) => name)] : [...labels];

/** The label values that stand for these in pictures: that of a region is the one that is written for it. */
export const scoredValues = ({ labels, regions }: Pick<RunRecord, 'labels' | 'regions'>): number[] =>
  regions ? [0, ...regions.map(({ written }) => written)] : [...labels.keys()];

/** Names by label value of what pictures show: of regions where they are written, else of classes. */
export function drawnNames({ labels, regions = [] }: Pick<RunRecord, 'labels' | 'regions'>): string[] {
  const names = new Map([
    ...labels.entries(),
    ...regions.map(({ written, name }) => [written, name] as const),
  ]);
  return Array.from(
    { length: Math.max(...names.keys()) + 1 },
    (_, value) => names.get(value) ?? `class ${value}`,
  );
}

export class Run {
  readonly id: string;
  /** What it trains and is validated on; none where its files are no longer kept. */
  readonly cases: readonly PageCase[];
  readonly files: RunFiles;
  readonly progress: Readonly<RunProgress>;
  /** Once its cases have been prepared, where one of them is for validation. */
  example: Example | undefined;
  /** In training, or paused. */
  network: UNet3D | undefined;
  /** Whether its network is more than a new one: the checkpoint has been loaded, or a step been done. */
  hasLearnt = false;
  /** Ends what it is at: its preparing, or its training. */
  interruption = new AbortController();
  /** What follows an interruption. */
  afterwards: 'rest' | 'stop' | 'train untuned' = 'rest';
  #phase: Phase = 'preparing';
  #isKept: boolean;
  #record: RunRecord;
  #release: () => void = () => undefined;
  #lastUpdate: Promise<unknown> = Promise.resolve();

  /** @param isKept whether it comes from where it is kept */
  constructor(record: RunRecord, data: DataRecord | undefined, isKept = false) {
    this.#record = record;
    this.#isKept = isKept;
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

  get phase(): Phase {
    return this.#phase;
  }

  /** Whether the browser has it, so that another visit can go on with it. */
  get isKept(): boolean {
    return this.#isKept;
  }

  /** Names by label value. */
  get labels(): readonly string[] {
    return this.#record.labels;
  }

  /** Of the network: classes, or regions where these overlap. */
  get heads(): number {
    return this.#record.regions?.length ?? this.labels.length;
  }

  idsOf(part: 'train' | 'validation'): string[] {
    return this.cases.filter((item) => item.part === part).map(({ id }) => id);
  }

  /** Keeps it, with its data. @throws QuotaExceeded where these do not fit */
  async keep(data: DataRecord): Promise<void> {
    await keepRun(this.#record, data);
    this.#isKept = true;
  }

  /** Changes what is told of the training, here and where it is kept; whether the browser took it. */
  update(more: Partial<Omit<RunRecord, 'id'>>): Promise<boolean> {
    this.#record = { ...this.#record, ...more };
    changed();
    // What is not kept has been told of when it began.
    const kept = this.#lastUpdate
      .then(() => updateRun(this.id, more))
      .then(
        () => true,
        () => false,
      );
    this.#lastUpdate = kept;
    return kept;
  }

  /** Records that its model is on the disk, and only then lets go of what led there: a reload in between loses nothing. */
  async conclude(): Promise<void> {
    if (await this.update({ finished: new Date() })) await this.files.removeSteps();
  }

  log(line: string): void {
    this.progress.log.push(`${new Date().toLocaleTimeString()}  ${line}`);
    changed();
  }

  /** Changes what the view shows of it. */
  tell(more: Partial<RunProgress>): void {
    Object.assign(this.progress, more);
    changed();
  }

  /** Trains from now on, until that ends or is interrupted. */
  begin(): AbortSignal {
    this.afterwards = 'rest';
    this.interruption = new AbortController();
    this.enter('running', '');
    return this.interruption.signal;
  }

  /** @param problem why, in place of the one that was told before */
  enter(phase: Phase, problem = this.progress.problem): void {
    this.#phase = phase;
    this.tell({ problem });
  }

  /** Ends what it is at; what was asked for last follows. */
  interrupt(afterwards: Run['afterwards']): void {
    this.afterwards = afterwards;
    if (this.phase === 'running' && afterwards !== 'train untuned') this.#phase = 'pausing';
    this.interruption.abort();
    changed();
  }

  /** @param release lets other tabs have it */
  hold(release: () => void): void {
    this.#release();
    this.#release = release;
  }

  /** What is finished other tabs may use, but not delete. */
  async share(): Promise<void> {
    this.hold(() => undefined);
    this.hold(await claim(this.id, 'shared').catch(() => () => undefined));
  }

  /** Frees the GPU and lets other tabs have it; what is kept stays. */
  close(): void {
    this.network?.dispose();
    this.network = undefined;
    this.#release();
  }
}
