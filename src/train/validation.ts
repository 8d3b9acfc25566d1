/** The validation after each epoch: at which windows of larger cases it looks, and the scores. */
import { copyWindow, ignored } from '../data/patches.ts';
import type { Size3 } from '../gpu/plan.ts';
import { Evaluator, type DenseCase } from '../infer/evaluator.ts';
import { windowStarts } from '../infer/window.ts';
import { dice, meanDefined } from '../metrics/dice.ts';
import type { ModelState } from '../model/state.ts';
import type { EpochRow, TrainingEvent } from './events.ts';
import type { Loss } from './losses.ts';

/** A case with its truth. */
export type ValidationCase = DenseCase & { readonly label: Uint8Array };

/**
 * Windows of a case that are looked at, unless its classes lie in more. A step does the work of about three of them for
 * each patch, so that at a split of 70/15/15 a validation does at most 0.6 of the work of an epoch's steps.
 */
const mostWindows = 8;

/** A window of a case: no axis longer than the case's. */
const windowIn = (shape: Size3, window: Size3): Size3 =>
  shape.map((n, axis) => Math.min(n, window[axis]!)) as unknown as Size3;

/**
 * Corners of the windows of a case that are looked at: all that cover it side by side where these are at most eight.
 * Else for each foreground class the window that holds most of it (or one chosen before that holds half as much), and
 * others at equal distances up to eight.
 */
export function validationWindows(
  { shape, label }: Pick<ValidationCase, 'shape' | 'label'>,
  window: Size3,
): Size3[] {
  const [xs = [], ys = [], zs = []] = shape.map((n, axis) => windowStarts(n, window[axis]!, 0));
  const tiles = zs.flatMap((z) => ys.flatMap((y) => xs.map((x): Size3 => [x, y, z])));
  if (tiles.length <= mostWindows) return tiles;
  const size = windowIn(shape, window);
  const part = new Uint8Array(size[0] * size[1] * size[2]);
  const counts = tiles.map((start) => {
    const count = new Uint32Array(256);
    for (const value of copyWindow(label, shape, 1, start, part, size)) count[value]! += 1;
    return count;
  });
  const chosen = new Set<number>();
  for (let value = 1; value < ignored; value++) {
    const held = counts.map((count) => count[value]!);
    const most = Math.max(...held);
    if (most > 0 && ![...chosen].some((tile) => held[tile]! >= most / 2)) chosen.add(held.indexOf(most));
  }
  const others = [...tiles.keys()].filter((tile) => !chosen.has(tile));
  const more = mostWindows - chosen.size;
  for (let i = 0; i < more; i++) chosen.add(others[Math.floor(((i + 0.5) * others.length) / more)]!);
  return tiles.filter((_, tile) => chosen.has(tile));
}

/** The network on validation cases, whole or through windows that stay the same from epoch to epoch. */
export class Validation {
  readonly #evaluator: Evaluator;
  /** Of each case. */
  readonly #windows: readonly { readonly size: Size3; readonly starts: readonly Size3[] }[];

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
    this.#windows = cases.map((item) => {
      const size = windowIn(item.shape, window ?? item.shape);
      return { size, starts: validationWindows(item, size) };
    });
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
    const { classes } = this.#evaluator.state.config;
    const validationDice = Array.from({ length: classes }, (_, c) =>
      meanDefined(scores.map((row) => row[c]!)),
    );
    return { validationLoss: meanDefined(losses), validationDice };
  }

  /** The mean loss of a case's windows, and the Dice of all voxels that lie in one. */
  async #score(index: number, signal: AbortSignal | undefined): Promise<{ loss: number; dice: number[] }> {
    const { shape, image, label } = this.cases[index]!;
    const { size, starts } = this.#windows[index]!;
    const channels = image.length / label.length;
    const voxels = size[0] * size[1] * size[2];
    const losses: number[] = [];
    const predicted = new Uint8Array(label.length);
    const truth = new Uint8Array(label.length).fill(ignored);
    for (const start of starts) {
      if (signal?.aborted) break;
      const part = {
        shape: size,
        image: copyWindow(image, shape, channels, start, new Float32Array(channels * voxels), size),
        label: copyWindow(label, shape, 1, start, new Uint8Array(voxels), size),
      };
      const result = await this.#evaluator.run(part);
      losses.push(result.loss);
      const back = start.map((at) => -at) as unknown as Size3;
      copyWindow(part.label, size, 1, back, truth, shape);
      copyWindow(result.predicted, size, 1, back, predicted, shape);
    }
    return { loss: meanDefined(losses), dice: dice(predicted, truth, this.#evaluator.state.config.classes) };
  }

  dispose(): void {
    this.#evaluator.dispose();
  }
}
