/** The validation after each epoch: at which windows of larger cases it looks, and the scores. */
import { copyWindow } from '../data/boxes.ts';
import { ignored, isKnownIn } from '../data/patches.ts';
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { Trained } from '../infer/choose-window.ts';
import type { Size3 } from '../size.ts';
import { gather, ownShare, type Ranks } from '../distributed/ranks.ts';
import { Evaluator, type LabelledVolume, type Windows } from '../infer/evaluator.ts';
import { tiles } from '../infer/window.ts';
import { meanDefined } from '../metrics/dice.ts';
import { needText } from '../model/budget.ts';
import type { ModelState } from '../model/state.ts';
import type { EpochRow, TrainingEvent } from './events.ts';
import type { Loss } from '../model/losses.ts';

/** A case with its truth. */
export type ValidationCase = LabelledVolume;

/**
 * Windows of a case that are looked at, unless its classes lie in more. A step does the work of about three of them for
 * each patch, so that at a split of 70/15/15 a validation does at most 0.6 of the work of an epoch's steps.
 */
const mostWindows = 8;

/**
 * The windows of a case that are looked at: all side by side that hold known voxels, where these are at most eight.
 * Else for each foreground class the window that holds most of it (or one chosen before that holds half as much), and
 * others at equal distances up to eight.
 */
export function validationWindows(
  { shape, label }: Pick<ValidationCase, 'shape' | 'label'>,
  window: Size3,
): Windows {
  const { size, starts: all } = tiles(shape, window);
  const starts = all.filter((start) => isKnownIn(label, shape, { start, size }));
  if (starts.length <= mostWindows) return { size, starts };
  const part = new Uint8Array(size[0] * size[1] * size[2]);
  const counts = starts.map((start) => {
    const count = new Uint32Array(256);
    for (const value of copyWindow({ data: label, shape }, { start, size }, part)) count[value]! += 1;
    return count;
  });
  const chosen = new Set<number>();
  for (let value = 1; value < ignored; value++) {
    const held = counts.map((count) => count[value]!);
    const most = Math.max(...held);
    if (most > 0 && ![...chosen].some((tile) => held[tile]! >= most / 2)) chosen.add(held.indexOf(most));
  }
  const others = [...starts.keys()].filter((tile) => !chosen.has(tile));
  const more = mostWindows - chosen.size;
  for (let i = 0; i < more; i++) chosen.add(others[Math.floor(((i + 0.5) * others.length) / more)]!);
  return { size, starts: starts.filter((_, tile) => chosen.has(tile)) };
}

/**
 * @param window through which larger cases are to be looked at
 * @throws OutOfMemory where one of the cases cannot be looked at within the memory budget
 */
export function assertValidationFits(
  evaluator: Evaluator,
  cases: readonly ValidationCase[],
  window: Size3 | undefined,
): void {
  const { budget } = evaluator.state;
  for (const shape of new Map(cases.map(({ shape }) => [shape.join(), shape])).values()) {
    if (!window) {
      evaluator.windowFor(shape, budget);
      continue;
    }
    const { size } = tiles(shape, window);
    const bytes = evaluator.bytesFor(size);
    if (bytes > budget)
      throw new OutOfMemory(
        `validation through windows of [${size.join(', ')}] (x, y, z) needs ${needText(bytes)}; the memory budget is ` +
          `${formatBytes(budget)}: give a smaller validationWindow, or none to have it fitted, or raise memoryBudget`,
        bytes,
        budget,
      );
  }
}

/**
 * The network on validation cases, through windows that stay the same from epoch to epoch: those given; else whole, or
 * where that exceeds the memory budget, through such as fit it.
 */
export class Validation {
  readonly #evaluator: Evaluator;
  /** Of each case. */
  readonly #windows: readonly Windows[];
  readonly #ranks: Ranks | undefined;

  /**
   * @param options.trained the size of the training; see `wholeSize`
   * @param options.ranks those that share out the cases
   */
  constructor(
    state: ModelState,
    readonly cases: readonly ValidationCase[],
    loss: Loss,
    {
      window,
      ranks,
      ...options
    }: {
      readonly window?: Size3 | undefined;
      readonly ranks?: Ranks | undefined;
      readonly trained: Trained;
      readonly averaged: boolean;
    },
  ) {
    this.#ranks = ranks;
    this.#evaluator = new Evaluator(state, loss, options);
    const fitting = new Map<string, Size3>();
    const windowOf = (shape: Size3): Size3 => {
      const known = fitting.get(shape.join());
      const found = known ?? this.#evaluator.windowFor(shape, state.budget) ?? shape;
      fitting.set(shape.join(), found);
      return found;
    };
    this.#windows = cases.map((item) => validationWindows(item, window ?? windowOf(item.shape)));
  }

  /** Means over the cases; over those that were done if the signal fires. Nothing stays on the device. */
  async run(
    epoch: number,
    emit: (event: TrainingEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<Pick<EpochRow, 'validationLoss' | 'validationDice'>> {
    const total = this.cases.length;
    const found = new Map<number, readonly number[]>();
    try {
      for (const index of ownShare(this.#ranks ?? { rank: 0, size: 1 }, total)) {
        // Ranks stop between cases, so that each comes to where they agree on it.
        const { loss, dice } = await this.#score(index, this.#ranks ? undefined : signal);
        if (signal?.aborted) break;
        found.set(index, [loss, ...dice]);
        emit({ type: 'validation', epoch, loaded: index + 1, total });
      }
    } finally {
      this.#evaluator.dispose();
    }
    const rows = this.#ranks ? await this.#gathered(this.#ranks, found) : [...found.values()];
    const [, ...classes] = rows[0] ?? [];
    return {
      validationLoss: meanDefined(rows.map(([loss]) => loss!)),
      validationDice: classes.map((_, c) => meanDefined(rows.map((row) => row[c + 1]!))),
    };
  }

  /** Loss and Dice of the cases that were looked at on any rank, in the order of the cases. */
  async #gathered(ranks: Ranks, found: ReadonlyMap<number, readonly number[]>): Promise<readonly number[][]> {
    const [row = []] = found.values();
    const width = Math.max(...(await gather(ranks, [row.length])).map(([length]) => length!));
    const placeOf = (index: number): number => index * (width + 1);
    const table = new Float64Array(placeOf(this.cases.length));
    for (const [index, scores] of found) table.set([1, ...scores], placeOf(index));
    await ranks.sum(table);
    return [...this.cases.keys()]
      .filter((index) => table[placeOf(index)] === 1)
      .map((index) => [...table.subarray(placeOf(index) + 1, placeOf(index + 1))]);
  }

  /** The mean loss of a case's windows, and the Dice of all voxels that lie in one. */
  async #score(index: number, signal: AbortSignal | undefined): Promise<{ loss: number; dice: number[] }> {
    const { loss, predicted, truth } = await this.#evaluator.runThrough(
      this.cases[index]!,
      this.#windows[index]!,
      { signal },
    );
    return { loss, dice: this.#evaluator.dice(predicted, truth) };
  }
}
