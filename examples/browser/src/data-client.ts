/** The page's side of data.worker.ts: one call per job. */
import type { DataRequests, DataResults } from './data.worker.ts';

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
  readonly loaded?: number;
  readonly total?: number;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly progress: ((loaded: number, total: number) => void) | undefined;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | undefined;
let next = 1;

function started(): Worker {
  if (worker) return worker;
  worker = new Worker(new URL('./data.worker.ts', import.meta.url), { type: 'module' });
  worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => {
    const job = waiting.get(data.id);
    if (data.loaded !== undefined) return job?.progress?.(data.loaded, data.total ?? 0);
    waiting.delete(data.id);
    if (data.error !== undefined) job?.reject(new Error(data.error));
    else job?.resolve(data.result);
  });
  worker.addEventListener('error', (event) => {
    for (const { reject } of waiting.values()) reject(new Error(`the data worker failed: ${event.message}`));
    waiting.clear();
    worker = undefined;
  });
  return worker;
}

/**
 * @param signal ends the job, which then rejects, where the job looks at it
 * @param transfer what the job takes over of its input
 */
export function dataJob<K extends keyof DataRequests>(
  job: K,
  input: DataRequests[K],
  progress?: (loaded: number, total: number) => void,
  signal?: AbortSignal,
  transfer: readonly ArrayBuffer[] = [],
): Promise<DataResults[K]> {
  return new Promise((resolve, reject) => {
    const id = next++;
    waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, progress });
    started().postMessage({ id, job, input }, { transfer: [...transfer] });
    signal?.addEventListener('abort', () => waiting.has(id) && worker?.postMessage({ id, abort: true }));
  });
}
