/** The worker's side of `WorkerCalls`: does the jobs that the page asks for. */
import type { WorkerReply, WorkerRequest } from './worker-calls.ts';

/** What a job may look at and tell. */
export interface Task {
  readonly signal: AbortSignal;
  readonly progress: (loaded: number, total: number) => void;
}

/** Milliseconds: nobody reads faster, and each takes the page's thread. */
const betweenProgress = 100;

/** @param jobs by name; a result's buffers that `moved` names are moved to the page */
export function serve(
  jobs: Readonly<Record<string, (input: never, task: Task) => unknown>>,
  moved: (result: unknown) => ArrayBuffer[],
): void {
  const running = new Map<number, AbortController>();
  const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []): void =>
    postMessage(message, { transfer });

  async function work(id: number, job: string, input: unknown, signal: AbortSignal): Promise<void> {
    let told = 0;
    const progress = (loaded: number, total: number): void => {
      if (loaded < total && performance.now() - told < betweenProgress) return;
      told = performance.now();
      reply({ id, loaded, total });
    };
    try {
      const result = await jobs[job]!(input as never, { signal, progress });
      reply({ id, result }, moved(result));
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      reply({ id, error: { name, message } });
    }
  }

  addEventListener('message', ({ data }: MessageEvent<WorkerRequest>) => {
    const { id } = data;
    if ('abort' in data) return running.get(id)?.abort();
    const controller = new AbortController();
    running.set(id, controller);
    void work(id, data.job, data.input, controller.signal).finally(() => running.delete(id));
  });
}
