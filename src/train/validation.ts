/** The validation after each epoch: at which windows of larger cases it looks, and the scores. */
import { copyWindow, ignored, isKnownIn } from '../data/patches.ts';
import type { Size3 } from '../size.ts';
import { Evaluator, type LabelledVolume, type Windows } from '../infer/evaluator.ts';
import { tiles } from '../infer/window.ts';
import { meanDefined } from '../metrics/dice.ts';
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

/** The network on validation cases, whole or through windows that stay the same from epoch to epoch. */
export class Validation {
  readonly #evaluator: Evaluator;
  /** Of each case. */
  readonly #windows: readonly Windows[];

  /** @param options.trained the size of the training; see `wholeSize` */
  constructor(
    state: ModelState,
    readonly cases: readonly ValidationCase[],
    loss: Loss,
    {
      window,
      ...options
    }: { readonly window?: Size3 | undefined; readonly trained: Size3; readonly averaged: boolean },
  ) {
    this.#evaluator = new Evaluator(state, loss, options);
    this.#windows = cases.map((item) => validationWindows(item, window ?? item.shape));
  }

  /** Means over the cases; over those that were done if the signal fires. */
  async run(
    epoch: number,
    emit: (event: TrainingEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<Pick<EpochRow, 'validationLoss' | 'validationDice'>> {
    const losses: number[] = [];
    const scores: number[][] = [];
    for (const index of this.cases.keys()) {
      const score = await this.#score(index, signal);
      if (signal?.aborted) break;
      losses.push(score.loss);
      scores.push(score.dice);
      emit({ type: 'validation', epoch, loaded: index + 1, total: this.cases.length });
    }
    const validationDice = (scores[0] ?? []).map((_, c) => meanDefined(scores.map((row) => row[c]!)));
    return { validationLoss: meanDefined(losses), validationDice };
  }

  /** The mean loss of a case's windows, and the Dice of all voxels that lie in one. */
  async #score(index: number, signal: AbortSignal | undefined): Promise<{ loss: number; dice: number[] }> {
    const { loss, predicted, truth } = await this.#evaluator.runThrough(
      this.cases[index]!,
      this.#windows[index]!,
      signal,
    );
    return { loss, dice: this.#evaluator.dice(predicted, truth) };
  }

  dispose(): void {
    this.#evaluator.dispose();
  }
}
