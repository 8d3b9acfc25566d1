/** The command line as processes of a cluster's engine. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TrainingEvent } from '../../src/train/events.ts';

/** What makes `unet3d-gpu` from this checkout. */
export const command: readonly string[] = [
  process.execPath,
  fileURLToPath(new URL('../../dist/cli.js', import.meta.url)),
];

export interface Ended {
  readonly exitCode: number;
  /** Of `--json`. */
  readonly events: readonly TrainingEvent[];
  readonly err: string;
}

/** @param onEvent is given what a `train --json` tells, and the number of the process that was started */
export function start(
  [program, ...args]: readonly string[],
  onEvent: (event: TrainingEvent, pid: number) => void = () => undefined,
): Promise<Ended> {
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const events: TrainingEvent[] = [];
  let [rest, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((each) => each.startsWith('{'))) {
      const event = JSON.parse(line) as TrainingEvent;
      events.push(event);
      onEvent(event, child.pid!);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ exitCode: code ?? 1, events, err }));
  });
}

/** The processes that one has started, in their order. */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

/** Those that were started on its behalf at any depth, which have started none themselves. */
export function workersOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => {
    const own = workersOf(child);
    return own.length > 0 ? own : [child];
  });
}
