/** What a call of the day leaves behind. */
import { readFileSync } from 'node:fs';

export type Status = 'done' | 'failed' | 'timeout' | 'left';

export interface PartResult {
  readonly name: string;
  readonly command: string;
  readonly status: Status;
  readonly seconds: number;
  /** How it ended, or why it was left out. */
  readonly reason?: string;
  /** What the part told, and of the command line's tools their events. */
  readonly found: Readonly<Record<string, unknown>>;
  readonly events: readonly Readonly<Record<string, unknown>>[];
}

export interface DayResult {
  readonly date: string;
  /** Of the package, and how it was called. */
  readonly version: string;
  readonly command: string;
  readonly rehearsal: boolean;
  /** Of the machine: node, processor, NVIDIA's driver and GPU, its Python. */
  readonly machine: Readonly<Record<string, string>>;
  readonly vulkanDriver: string | undefined;
  readonly parts: readonly PartResult[];
}

/** A part in a line: what it told last, or of a training its result, else its last epoch. */
export function headline({ found, events }: Pick<PartResult, 'found' | 'events'>): string {
  const scores = (dice: unknown): string =>
    (dice as (number | null)[]).map((value) => value?.toFixed(3) ?? '–').join(' ');
  const result = events.findLast(({ type }) => type === 'result');
  const epoch = events.findLast(({ type }) => type === 'epoch')?.['row'] as
    { epoch: number; validationDice: readonly number[]; seconds: number } | undefined;
  if (result) return `Dice ${scores(result['dice'])}; ${Number(result['seconds']).toFixed(1)} s`;
  if (epoch)
    return `epoch ${epoch.epoch + 1}: validation Dice ${scores(epoch.validationDice)}, ${epoch.seconds.toFixed(1)} s an epoch`;
  return (found['line'] as string | undefined) ?? '';
}

export const readDay = (path: string): DayResult => JSON.parse(readFileSync(path, 'utf8')) as DayResult;
