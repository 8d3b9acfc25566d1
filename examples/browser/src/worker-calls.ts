/** Calls from the page to a worker of its own: results, progress, abort, and an end that everybody who waits is told of. */

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: Progress;
}

type Progress = (loaded: number, total: number) => void;

export interface CallOptions {
  /** Ends the job, which then rejects, where the job looks at it. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: Progress | undefined;
  /** What the job takes over of its input. */
  readonly transfer?: readonly ArrayBuffer[];
}

export type WorkerRequest =
  | { readonly id: number; readonly job: string; readonly input: unknown }
  | { readonly id: number; readonly abort: true };

/** The name of the error with which calls to a worker fail that has died. */
export const workerFailed = 'WorkerFailed';

export interface WorkerReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
  readonly loaded?: number;
  readonly total?: number;
}

export class WorkerCalls {
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  #next = 1;
  #end: Error | undefined;

  /** Called when the worker has died, of which those who wait are told as well. */
  onFailure: () => void = () => undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.addEventListener('message', ({ data }: MessageEvent<WorkerReply>) => this.#receive(data));
    const failed = (event: Event): void => {
      const why = event instanceof ErrorEvent && event.message ? event.message : 'its script cannot be read';
      this.onFailure();
      this.close(named(workerFailed, `a part of this page has failed in the background: ${why}`));
    };
    worker.addEventListener('error', failed);
    worker.addEventListener('messageerror', failed);
  }

  #receive({ id, loaded, total = 0, error, result }: WorkerReply): void {
    const call = this.#calls.get(id);
    if (loaded !== undefined) return call?.onProgress(loaded, total);
    this.#calls.delete(id);
    if (error) call?.reject(named(error.name, error.message));
    else call?.resolve(result);
  }

  /** @throws Error that the job fails with, by its name; that of the end where the worker has ended */
  call(
    job: string,
    input: unknown,
    { signal, onProgress, transfer = [] }: CallOptions = {},
  ): Promise<unknown> {
    const id = this.#next++;
    const abort = (): void => this.#worker.postMessage({ id, abort: true } satisfies WorkerRequest);
    return new Promise((resolve, reject) => {
      if (this.#end) return reject(this.#end);
      this.#worker.postMessage({ id, job, input } satisfies WorkerRequest, [...transfer]);
      this.#calls.set(id, {
        resolve,
        reject,
        // What is on its way when a job is cancelled is no news.
        onProgress: (loaded, total) => signal?.aborted || onProgress?.(loaded, total),
      });
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) abort();
    }).finally(() => signal?.removeEventListener('abort', abort));
  }

  /** Ends the worker; what waits for it fails with `why`. */
  close(why: Error): void {
    this.#end ??= why;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(this.#end);
    this.#calls.clear();
  }
}

/** An error as it was in the worker: classes do not cross over, their names do. */
const named = (name: string, message: string): Error => Object.assign(new Error(message), { name });
