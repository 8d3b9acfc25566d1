/** The jobs of the page's data worker, done in this process: stands in for data-client.ts as a module. */
import { vi } from 'vitest';

type Jobs = Readonly<Record<string, (input: unknown, task: object) => unknown>>;

let jobs: Promise<Jobs> | undefined;

/** The worker's script hands over its jobs where it would listen for messages. */
async function load(): Promise<Jobs> {
  let found: Jobs = {};
  vi.doMock('../../examples/browser/src/worker-jobs.ts', () => ({ serve: (all: Jobs) => (found = all) }));
  await import('../../examples/browser/src/data.worker.ts');
  return found;
}

/** The process does not die. */
export const whenLost = new Set<() => void>();

export async function dataJob(
  job: string,
  input: unknown,
  { signal = new AbortController().signal }: { signal?: AbortSignal } = {},
): Promise<unknown> {
  const all = await (jobs ??= load());
  return all[job]!(input, { signal, progress: () => undefined });
}
