/** What the curves of a training show: the series of its epochs, for pictures and reports alike. */
import { className } from '../format.ts';
import { meanDefined } from '../metrics/dice.ts';
import { classColor } from './colors.ts';
import type { Color } from './raster.ts';

/** One epoch; what was not measured is left out or NaN. */
export interface HistoryRow {
  /** Number of the epoch as the axis shows it. */
  readonly epoch: number;
  /** Mean over the epoch's batches. */
  readonly trainLoss?: number;
  /** Mean over the validation cases. */
  readonly validationLoss?: number;
  /** Validation Dice of each class, background included, in the order of the labels. */
  readonly dice?: readonly number[];
  /** Of the epoch's last step. */
  readonly learningRate?: number;
}

/** A named line; x and y of equal length, NaN leaves a gap. */
export interface Series {
  readonly name: string;
  readonly color: Color;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Default 2. */
  readonly width?: number;
}

const ink: Color = [30, 30, 30];
const blue: Color = [0, 114, 178];
const vermilion: Color = [213, 94, 0];

/** Names of what is scored, and the label values whose colours they have; default: 0, 1, 2 … */
export interface Legend {
  readonly labels: readonly string[];
  readonly labelValues?: readonly number[] | undefined;
}

/** Loss, Dice and learning rate as lines over the epochs. */
export function historySeries(
  history: readonly HistoryRow[],
  { labels, labelValues }: Legend,
): { loss: Series[]; dice: Series[]; learningRate: Series[] } {
  const x = history.map(({ epoch }) => epoch);
  const line = (
    name: string,
    color: Color,
    value: (row: HistoryRow) => number | undefined,
    width = 2,
  ): Series[] => {
    const y = history.map((row) => value(row) ?? Number.NaN);
    return y.some(Number.isFinite) ? [{ name, color, x, y, width }] : [];
  };
  const classes = Math.max(0, ...history.map(({ dice }) => dice?.length ?? 0));
  return {
    loss: [
      ...line('training', blue, (row) => row.trainLoss),
      ...line('validation', vermilion, (row) => row.validationLoss),
    ],
    dice: [
      ...line('mean', ink, ({ dice = [] }) => meanDefined(dice.slice(1)), 3),
      ...Array.from({ length: Math.max(0, classes - 1) }, (_, index) => index + 1).flatMap((label) =>
        line(className(labels, label), classColor(labelValues?.[label] ?? label), (row) => row.dice?.[label]),
      ),
    ],
    learningRate: line('learning rate', blue, (row) => row.learningRate),
  };
}

/** Round values that cover [low, high] in about `count` steps of 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}
