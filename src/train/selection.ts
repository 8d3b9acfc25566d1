/**
 * Which epoch is the best, and when there is no better one to wait for. Both look at the smoothed validation Dice, as
 * nnU-Net does: a single lucky epoch does not decide.
 */
import { InvalidOption } from '../errors.ts';
import type { EpochRow } from './events.ts';

/** Share of the former value in the running average of the Dice. */
const smoothing = 0.9;

/** The running average with one more epoch's mean foreground Dice; an epoch without one leaves it. */
export function smoothedDice(before: number, dice: number): number {
  if (!Number.isFinite(dice)) return before;
  return Number.isFinite(before) ? smoothing * before + (1 - smoothing) * dice : dice;
}

/** When training stops before its last epoch. */
export interface EarlyStopping {
  /** Epochs without a better smoothed Dice after which training stops. */
  readonly patience: number;
  /** How much better it must be to count. Default 0. */
  readonly minDelta?: number;
}

export function assertEarlyStopping({ patience, minDelta = 0 }: EarlyStopping, validated: boolean): void {
  if (!Number.isInteger(patience) || patience < 1 || !(minDelta >= 0))
    throw new InvalidOption(
      `early stopping has patience ${patience} and minDelta ${minDelta}; give epochs from 1 and a number from 0`,
    );
  if (!validated)
    throw new InvalidOption('early stopping watches the validation, and there is no case to validate on');
}

/** Whether the last `patience` epochs have brought nothing. */
export function hasStalled(history: readonly EpochRow[], { patience, minDelta = 0 }: EarlyStopping): boolean {
  let best = -Infinity;
  let since = 0;
  for (const row of history) {
    since++;
    if (!(row.smoothedDice > best + minDelta)) continue;
    best = row.smoothedDice;
    since = 0;
  }
  return since >= patience;
}
