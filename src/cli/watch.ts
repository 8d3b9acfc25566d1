/** A training seen from the command line: a live line on a terminal, plain lines otherwise, JSON on request. */
import { meanDefined } from '../metrics/dice.ts';
import type { TrainingEvent } from '../train/events.ts';
import type { Io } from './io.ts';
import { bar, digits, duration, toJson } from './text.ts';

/** Milliseconds between plain lines within an epoch. */
const plainInterval = 30_000;

export interface WatchOptions {
  readonly epochs: number;
  /** Names by label value. */
  readonly labels: readonly string[];
  /** One JSON object per line on the standard output instead of words. */
  readonly json?: boolean;
}

const foreground = (dice: readonly number[]): number => meanDefined(dice.slice(1));

/** A function to be called with each event. */
export function watch(
  io: Io,
  { epochs, labels, json = false }: WatchOptions,
): (event: TrainingEvent) => void {
  let lastLine = Date.now();
  const perClass = (dice: readonly number[]): string =>
    dice
      .map((value, label) => `${labels[label] ?? `class ${label}`} ${digits(value)}`)
      .slice(1)
      .join(', ');

  return (event) => {
    if (json) io.out(toJson(event));
    switch (event.type) {
      case 'start':
        if (!json && event.step > 0) io.err(`Going on from step ${event.step}.`);
        break;
      case 'step': {
        const share = (event.step + 1) / event.totalSteps;
        const line =
          `epoch ${event.epoch + 1}/${epochs} ${bar(share)} step ${event.step + 1}/${event.totalSteps}  ` +
          `loss ${digits(event.loss)}  Dice ${digits(foreground(event.dice))}  ` +
          `lr ${event.learningRate.toExponential(1)}  ETA ${duration(event.etaMs)}`;
        if (io.isTerminal) io.status(line);
        else if (!json && Date.now() - lastLine > plainInterval) {
          io.err(line.replace(/ \[[#.]+\]/, ' '));
          lastLine = Date.now();
        }
        break;
      }
      case 'validation':
        if (io.isTerminal)
          io.status(`epoch ${event.epoch + 1}/${epochs} validation ${event.loaded}/${event.total}`);
        break;
      case 'epoch': {
        if (json) break;
        const { row, best, etaMs } = event;
        const validation =
          row.validationDice.length > 0
            ? `  validation ${digits(row.validationLoss)}  Dice ${digits(foreground(row.validationDice))} ` +
              `(${perClass(row.validationDice)})${best ? ' best' : ''}`
            : '';
        io.err(
          `epoch ${row.epoch + 1}/${epochs}  loss ${digits(row.loss)}${validation}  ` +
            `lr ${row.learningRate.toExponential(1)}  ${row.seconds.toFixed(1)} s  ETA ${duration(etaMs)}`,
        );
        lastLine = Date.now();
        break;
      }
      case 'skip':
        if (json) break;
        io.err(
          event.lossScale > 1
            ? `step ${event.step + 1}: gradients overflowed float16 at loss scale ${event.lossScale}; the step is left ` +
                'out and the scale halved'
            : `step ${event.step + 1}: the loss or a gradient is not finite; the step is left out`,
        );
        break;
      case 'warning':
      case 'recovered':
        if (!json) io.err(`warning: ${event.message}`);
        break;
      case 'concessions':
        if (!json) io.err(`To fit the memory: ${event.taken.join(', ')}; now ${event.step}`);
        break;
      case 'checkpoint':
      case 'end':
        break;
    }
  };
}
