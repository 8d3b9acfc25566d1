/** The page's side of data.worker.ts: one call per job. */
import type { DataRequests, DataResults } from './data.worker.ts';
import { unlessAborted } from './dom.ts';
import { WorkerCalls, type CallOptions } from './worker-calls.ts';

let calls: WorkerCalls | undefined;

/** What to do when the worker has died, and with it all that it held. */
export const whenLost = new Set<() => void>();

/**
 * Does a job in the data worker, which is started with the first one, and anew where it has died. Who cancels it waits no
 * longer, whenever the job looks at the signal.
 */
export function dataJob<K extends keyof DataRequests>(
  job: K,
  input: DataRequests[K],
  options?: CallOptions,
): Promise<DataResults[K]> {
  if (!calls) {
    calls = new WorkerCalls(new Worker(new URL('./data.worker.ts', import.meta.url), { type: 'module' }));
    calls.onFailure = () => {
      calls = undefined;
      for (const listener of whenLost) listener();
    };
  }
  const done = calls.call(job, input, options) as Promise<DataResults[K]>;
  return unlessAborted(done, options?.signal);
}
