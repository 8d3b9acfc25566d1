/** Runs a part as a process with all that it starts, for so long at most. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface Ended {
  readonly status: 'done' | 'failed' | 'timeout';
  readonly reason?: string;
}

interface Running {
  readonly env: NodeJS.ProcessEnv;
  readonly seconds: number;
  /** A line of JSON on standard output. */
  readonly onFound: (found: Readonly<Record<string, unknown>>) => void;
  /** All other lines. */
  readonly onLine: (line: string) => void;
}

/** By which the whole is stopped, and with it the part, which is no longer in its group. */
const stopping = ['SIGINT', 'SIGTERM'] as const;

/** What ended processes get to let go of the GPU, after which they are left to themselves. */
const patienceMs = 5000;

export async function runPart(
  command: readonly string[],
  { env, seconds, onFound, onLine }: Running,
): Promise<Ended> {
  // A group of its own, which can be ended as a whole.
  const child = spawn(process.execPath, command, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const tail: string[] = [];
  const other = (line: string): void => {
    tail.push(line);
    if (tail.length > 3) tail.shift();
    onLine(line);
  };
  createInterface(child.stdout).on('line', (line) => {
    const found = line.startsWith('{') ? parsed(line) : undefined;
    if (found) onFound(found);
    else other(line);
  });
  createInterface(child.stderr).on('line', other);
  const closed = new Promise<Ended>((resolve) => {
    child.once('error', ({ message }) => resolve({ status: 'failed', reason: message }));
    child.once('close', (code, signal) =>
      resolve(
        code === 0
          ? { status: 'done' }
          : {
              status: 'failed',
              reason: `${signal ?? `exit code ${code}`}: ${tail.join(' / ').slice(0, 1000)}`,
            },
      ),
    );
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), seconds * 1000);
  });
  const stop = (): never => {
    end(child.pid);
    process.exit(1);
  };
  for (const signal of stopping) process.once(signal, stop);
  const ended = await Promise.race([closed, late]);
  clearTimeout(timer);
  for (const signal of stopping) process.off(signal, stop);
  end(child.pid);
  if (ended) return ended;
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, patienceMs).unref())]);
  return {
    status: 'timeout',
    reason: `ended after ${seconds.toFixed(0)} s: ${tail.join(' / ').slice(0, 1000)}`,
  };
}

/** What a part has left running ends with it. */
function end(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // all have ended
  }
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
