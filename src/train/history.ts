/** The epochs of a training as a table. */
import * as v from 'valibot';
import { assertOptions } from '../options.ts';
import { list, text } from '../schema.ts';
import { csv } from '../csv.ts';
import type { EpochRow } from './events.ts';

const historyEntries = {
  history: list('a list of epochs'),
  labels: v.array(text, 'a list of names of classes'),
};

/**
 * The content of history.csv: one line per epoch, counted from 1; Dice per class in columns named dice_CLASS; empty where
 * not measured.
 * @param labels names by label value, background first
 * @example
 * ```js
 * const { history } = await model.fit(cases, { epochs: 1 });
 * const table = historyCsv(history, model.description.labels);
 * ```
 */
export function historyCsv(history: readonly EpochRow[], labels: readonly string[]): string {
  assertOptions('historyCsv', historyEntries, { history, labels });
  const classes = Math.max(0, ...history.map(({ validationDice }) => validationDice.length));
  const cell = (value = NaN): number | string => (Number.isFinite(value) ? value : '');
  const names = columnNames(Array.from({ length: classes }, (_, label) => labels[label] ?? String(label)));
  const head = [
    'epoch',
    'loss',
    'validation_loss',
    ...names.map((name) => `dice_${name}`),
    'smoothed_dice',
    'learning_rate',
    'seconds',
  ];
  const rows = history.map((row) => [
    row.epoch + 1,
    cell(row.loss),
    cell(row.validationLoss),
    ...Array.from({ length: classes }, (_, label) => cell(row.validationDice[label])),
    cell(row.smoothedDice),
    cell(row.learningRate),
    row.seconds.toFixed(3),
  ]);
  return csv([head, ...rows]);
}

/** Letters of any script, digits, `_` and `-`; those that come out alike with the label's value. */
function columnNames(labels: readonly string[]): string[] {
  const names = labels.map((label) => label.replace(/[^\p{L}\p{M}\p{N}_-]+/gu, '_'));
  return names.map((name, value) =>
    names.indexOf(name) === names.lastIndexOf(name) ? name : `${name}_${value}`,
  );
}
