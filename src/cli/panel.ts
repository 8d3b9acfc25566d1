/** The few lines that stand at the foot of a terminal while a training runs. */
import { meanDefined } from '../metrics/dice.ts';
import { className, digits, duration, formatBytes } from '../format.ts';
import { bar } from './text.ts';

/** Where a training stands. Epochs and steps are counted from 1. */
export interface Standing {
  readonly epoch: number;
  readonly epochs: number;
  readonly step: number;
  readonly totalSteps: number;
  /** Of the last step; NaN before the first. */
  readonly loss: number;
  /** Dice of the last step by label value. */
  readonly dice: readonly number[];
  /** Names by label value. */
  readonly labels: readonly string[];
  /** NaN before the first step. */
  readonly learningRate: number;
  /** Bytes of all buffers on the GPU. */
  readonly gpuBytes: number;
  readonly voxelsPerSecond: number;
  readonly etaMs: number;
  /** Cases of the validation that runs. */
  readonly validating?: { readonly loaded: number; readonly total: number } | undefined;
  /** The best epoch so far, with its mean foreground Dice in the validation. */
  readonly best?: { readonly epoch: number; readonly dice: number } | undefined;
  /** Of fine-tuning: heads that began anew, what is frozen. */
  readonly notes?: readonly string[] | undefined;
}

/** Dice by class, background left out: one text per class. */
export const diceByClass = (dice: readonly number[], labels: readonly string[]): string[] =>
  dice.map((value, label) => `${className(labels, label)} ${digits(value)}`).slice(1);

/** The panel's lines, none longer than `columns` unless a class name is. */
export function panel(standing: Standing, columns: number): string[] {
  const { epoch, epochs, step, totalSteps, dice, labels, validating, best, notes = [] } = standing;
  return [
    [
      `epoch ${epoch}/${epochs}`,
      `step ${step}/${totalSteps}`,
      bar(step / totalSteps),
      validating
        ? `validating ${validating.loaded}/${validating.total}`
        : `ETA ${duration(standing.etaMs / 1000)}`,
    ],
    [
      `loss ${digits(standing.loss)}`,
      `lr ${Number.isFinite(standing.learningRate) ? standing.learningRate.toExponential(1) : '–'}`,
      `GPU memory ${formatBytes(standing.gpuBytes)}`,
      `${count(standing.voxelsPerSecond)} voxels/s`,
    ],
    [`Dice ${digits(meanDefined(dice.slice(1)))}`, ...diceByClass(dice, labels)],
    [...(best ? [`best epoch ${best.epoch}`, `validation Dice ${digits(best.dice)}`] : []), ...notes],
  ].flatMap((items) => wrap(items, columns));
}

/** Items set side by side, in as many lines as they need; lines after the first are indented. */
function wrap(items: readonly string[], columns: number): string[] {
  const lines: string[] = [];
  for (const item of items) {
    const last = lines[lines.length - 1];
    if (last !== undefined && last.length + 2 + item.length <= columns)
      lines[lines.length - 1] = `${last}  ${item}`;
    else lines.push(last === undefined ? item : `  ${item}`);
  }
  return lines;
}

/** 950, 12.3 k, 4.56 M */
function count(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const [size, unit] = value < 1e3 ? [1, ''] : value < 1e6 ? [1e3, ' k'] : [1e6, ' M'];
  return `${(value / size).toPrecision(3)}${unit}`;
}
