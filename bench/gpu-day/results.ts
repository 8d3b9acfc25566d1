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

export const readDay = (path: string): DayResult => JSON.parse(readFileSync(path, 'utf8')) as DayResult;
