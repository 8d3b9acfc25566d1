/** A training seen from the command line: a live panel on a terminal, plain lines otherwise, JSON on request. */
import { meanDefined } from '../metrics/dice.ts';
import type { EpochRow, TrainingEvent } from '../train/events.ts';
import type { Io } from './io.ts';
import { diceByClass, panel, type Standing } from './panel.ts';
import { digits, duration, formatBytes } from '../format.ts';
import { toJson } from './text.ts';

/** Milliseconds between plain lines within an epoch. */
const plainInterval = 30_000;

/** Milliseconds between two drawings of the panel, unless something has been printed in between. */
const panelInterval = 100;

export interface WatchOptions {
  readonly epochs: number;
  /** Names by label value. */
  readonly labels: readonly string[];
  /** Of all batches of one step. */
  readonly voxelsPerStep: number;
  /** Bytes on the GPU just now. */
  readonly gpuBytes: () => number;
  /** One JSON object per line on the standard output instead of words. */
  readonly json?: boolean;
}

const foreground = (dice: readonly number[]): number => meanDefined(dice.slice(1));

/** A function to be called with each event. */
export function watch(io: Io, options: WatchOptions): (event: TrainingEvent) => void {
  const { epochs, labels, json = false } = options;
  const live = io.isTerminal ? livePanel(io, options) : undefined;
  let lastLine = Date.now();

  const words = (event: TrainingEvent): string | undefined => {
    switch (event.type) {
      case 'start':
        return beginning(event);
      case 'step':
        if (live || Date.now() - lastLine < plainInterval) return undefined;
        return (
          `epoch ${event.epoch + 1}/${epochs}  step ${event.step + 1}/${event.totalSteps}  ` +
          `loss ${digits(event.loss)}  Dice ${digits(foreground(event.dice))}  ` +
          `lr ${event.learningRate.toExponential(1)}  ETA ${duration(event.etaMs / 1000)}`
        );
      case 'epoch': {
        const { row, best, etaMs } = event;
        const validation =
          row.validationDice.length > 0
            ? `  validation ${digits(row.validationLoss)}  Dice ${digits(foreground(row.validationDice))} ` +
              `(${diceByClass(row.validationDice, labels).join(', ')})${best ? ' best' : ''}`
            : '';
        return (
          `epoch ${row.epoch + 1}/${epochs}  loss ${digits(row.loss)}${validation}  ` +
          `lr ${row.learningRate.toExponential(1)}  ${row.seconds.toFixed(1)} s  ETA ${duration(etaMs / 1000)}`
        );
      }
      case 'skip':
        return event.overflowed
          ? `step ${event.step + 1}: gradients overflowed float16 at loss scale ${event.lossScale}; the step is left ` +
              'out and the scale halved'
          : `step ${event.step + 1}: the loss or a gradient is not finite; the step is left out`;
      case 'warning':
      case 'recovered':
        return `warning: ${event.message}`;
      case 'tuning':
        if (event.done > 0) return undefined;
        return `Measuring kernels for ${event.passes} convolution shapes, once for this GPU; --no-tune leaves it out.`;
      case 'tuned': {
        const better = Object.keys(event.choices).length;
        const left = event.left > 0 ? `; ${event.left} were left for want of time` : '';
        return (
          `Kernels: ${better} of ${event.passes} convolution shapes run faster with another than the default` +
          `${left} (${event.measured} measured in ${duration(event.seconds)})`
        );
      }
      case 'exchange': {
        const { steps, bytes, milliseconds, hidden } = event;
        return (
          `Ranks added up ${formatBytes(bytes)} of gradients in ${digits(milliseconds / steps)} ms per step, ` +
          `${Math.round((100 * hidden) / milliseconds)} % of it while the GPU went on computing`
        );
      }
      case 'concessions':
        return `To fit the memory: ${event.taken.join(', ')}; now ${event.step}`;
      default:
        return undefined;
    }
  };

  return (event) => {
    const line = json ? toJson(event) : words(event);
    if (line !== undefined) {
      if (json) io.out(line);
      else io.err(line);
      lastLine = Date.now();
    }
    live?.(event, line !== undefined);
  };
}

/** What is said of a training's beginning; nothing of one from scratch. */
function beginning({ step, anew, freeze }: Extract<TrainingEvent, { type: 'start' }>): string | undefined {
  const words = [
    ...(step > 0 ? [`Going on from step ${step}.`] : []),
    ...(anew
      ? [
          `Weights are taken over${anew.length > 0 ? ` but for ${anew.join(', ')}, which begin anew` : ', heads included'}.`,
        ]
      : []),
    ...(freeze ? [`The ${freeze} is frozen.`] : []),
  ];
  return words.length > 0 ? words.join(' ') : undefined;
}

/** Keeps the panel; `printed` says that a line has just taken its place. */
function livePanel(io: Io, { epochs, labels, voxelsPerStep, gpuBytes }: WatchOptions) {
  const nothing = { step: 0, totalSteps: 1, loss: NaN, dice: [], learningRate: NaN, etaMs: NaN };
  let standing: Standing = { ...nothing, epoch: 1, epochs, labels, gpuBytes: 0, voxelsPerSecond: NaN };
  let started = false;
  let drawn = 0;
  // Of the epoch at hand, without validation.
  let [steps, since] = [0, 0];
  let bestScore = -Infinity;
  const consider = ({ epoch, smoothedDice, validationDice }: EpochRow): void => {
    if (!(smoothedDice > bestScore)) return;
    bestScore = smoothedDice;
    standing = { ...standing, best: { epoch: epoch + 1, dice: foreground(validationDice) } };
  };

  return (event: TrainingEvent, printed: boolean): void => {
    const now = performance.now();
    switch (event.type) {
      case 'start': {
        started = true;
        [steps, since] = [0, now];
        const totalSteps = event.epochs * event.stepsPerEpoch;
        const epoch = Math.floor(event.step / event.stepsPerEpoch) + 1;
        const notes = [
          ...(event.anew ?? []).map((head) => `${head} anew`),
          ...(event.freeze ? [`${event.freeze} frozen`] : []),
        ];
        standing = { ...standing, ...nothing, epoch, step: event.step, totalSteps, notes };
        event.history.forEach(consider);
        break;
      }
      case 'step': {
        const { epoch, step, totalSteps, loss, dice, learningRate, etaMs } = event;
        steps++;
        const voxelsPerSecond = (1000 * steps * voxelsPerStep) / (now - since);
        const seen = { totalSteps, loss, dice, learningRate, etaMs, voxelsPerSecond };
        standing = { ...standing, ...seen, epoch: epoch + 1, step: step + 1 };
        break;
      }
      case 'validation':
        standing = { ...standing, validating: event };
        break;
      case 'epoch':
        consider(event.row);
        standing = { ...standing, validating: undefined, etaMs: event.etaMs };
        [steps, since] = [0, now];
        break;
      case 'checkpoint': // the saving is no training either
        [steps, since] = [0, now];
        break;
      case 'end':
        io.status();
        return;
    }
    if (!started || (!printed && now - drawn < panelInterval)) return;
    drawn = now;
    standing = { ...standing, gpuBytes: gpuBytes() };
    io.status(...panel(standing, io.columns - 1));
  };
}
