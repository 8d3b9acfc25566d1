/** Where a training stands, apart from its tensors: the JSON under `progress` in a checkpoint's metadata. */
import * as v from 'valibot';
import { readJson } from '../json.ts';
import { measured, numberFrom, object, wholeNumber, type Schema } from '../schema.ts';
import type { EpochRow } from './events.ts';

/** How far a training has come. */
export interface Progress {
  /** Next optimiser step, counted from 0. */
  readonly step: number;
  /** One row for each finished epoch. */
  readonly history: readonly EpochRow[];
  /** Losses of the current epoch's finished steps. */
  readonly epochLosses: readonly number[];
  /** Seconds spent in the current epoch and in all before the resume. */
  readonly seconds: number;
  /** The epoch whose weights are the best so far, and its smoothed Dice. */
  readonly best?: { readonly epoch: number; readonly dice: number } | undefined;
  /** Steps that were applied: those that Adam's bias correction counts. */
  readonly applied: number;
  /** Steps in a row that were left out as not finite. */
  readonly skipped: number;
}

/** As files have it: older ones do not count the steps that were applied. */
export type StoredProgress = Omit<Progress, 'applied'> & { readonly applied?: number | undefined };

const rowSchema = object({
  epoch: wholeNumber(),
  loss: measured,
  validationLoss: measured,
  validationDice: v.array(measured, 'a list of numbers'),
  smoothedDice: measured,
  learningRate: measured,
  seconds: numberFrom(0),
}) satisfies Schema<EpochRow>;

export const progressSchema = object({
  step: wholeNumber(),
  history: v.array(rowSchema, 'a list of epochs'),
  epochLosses: v.array(measured, 'a list of numbers'),
  seconds: numberFrom(0),
  best: v.optional(object({ epoch: wholeNumber(), dice: measured })),
  applied: v.optional(wholeNumber()),
  skipped: wholeNumber(),
}) satisfies Schema<StoredProgress>;

/** @param fail makes the error of the problem */
export function parseProgress(json: string, fail: (problem: string) => Error): StoredProgress {
  const progress = readJson(json, progressSchema, fail);
  const { history, best } = progress;
  const wrong = history.findIndex(({ epoch }, index) => epoch !== index);
  if (wrong >= 0) throw fail(`history[${wrong}].epoch is ${history[wrong]!.epoch}; expected ${wrong}`);
  if (best && best.epoch >= history.length)
    throw fail(`best.epoch is ${best.epoch}; expected one of the ${history.length} in history`);
  return progress;
}
