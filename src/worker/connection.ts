/**
 * The page's end of the line to a worker: calls with results, events, questions and abort. A worker that dies,
 * however it dies, rejects everything that waits for it with `DeviceLost`.
 */
import { Aborted, DeviceLost, InvalidOption } from '../errors.ts';
import {
  buffersOf,
  fromPlainError,
  toPlainError,
  type Method,
  type ModelFacts,
  type Question,
  type Request,
  type Response,
} from './protocol.ts';

/** One call's handlers, besides its result. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly transfer?: readonly ArrayBuffer[];
  /** What it throws stops the call, which rejects with it. */
  readonly onEvent?: (event: unknown) => void;
  readonly answer?: (what: Question, args: readonly unknown[]) => Promise<unknown>;
  /** Whether batches among the answers are moved, not copied. */
  readonly movesBatches?: boolean;
}

interface Pending extends CallOptions {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Called with each message of the worker about it. */
  readonly heard?: () => void;
  /** Called when the worker asks the page something, and when it has been answered. */
  readonly asked?: (change: 1 | -1) => void;
}

/** How long a worker may be silent after an abort before it is ended: at least so many times as long as it was before. */
const abortGrace = { ms: 30_000, times: 6 };

/** Workers of the caller's that hold a model now. */
const taken = new WeakSet<Worker>();

/** Of the next call of whatever model: an answer that comes when its model is gone is nobody else's. */
let nextCall = 1;

export class Connection {
  readonly #worker: Worker;
  readonly #owned: boolean;
  readonly #pending = new Map<number, Pending>();
  readonly #watch = new AbortController();
  readonly #ready: Promise<void>;
  #lost: Error | undefined;
  /** What the worker last said of its model. */
  facts: ModelFacts | undefined;

  /**
   * @param worker the caller's, which is not ended on `close`; by default one is started and ended here
   * @throws InvalidOption for a worker that holds another model
   */
  constructor(worker?: Worker) {
    if (worker && taken.has(worker))
      throw new InvalidOption(
        'this worker holds another model: dispose of that one first, or give each model a worker of its own',
      );
    this.#owned = worker === undefined;
    if (worker) taken.add(worker);
    this.#worker = worker ?? new Worker(new URL('./worker-thread.js', import.meta.url), { type: 'module' });
    // Not randomUUID, which pages over plain HTTP lack: there the worker says what is missing.
    const lock = `unet3d-gpu ${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    this.#ready = new Promise<void>((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject });
    });
    this.#ready.catch(() => undefined);
    this.#worker.addEventListener('message', this.#receive);
    this.#worker.addEventListener('error', this.#broken);
    this.#worker.addEventListener('messageerror', this.#broken);
    this.#send({ type: 'hello', lock });
    void this.#ready.then(() => this.#watchFor(lock)).catch(() => undefined);
  }

  /** The worker holds this lock as long as it lives, and the browser frees it when it dies. */
  async #watchFor(lock: string): Promise<void> {
    const locks = (navigator as { locks?: LockManager }).locks;
    await locks?.request(lock, { signal: this.#watch.signal }, () => {
      this.#fail('it was ended from outside, or its tab ran out of memory');
    });
  }

  #send(message: Request, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, [...transfer]);
  }

  readonly #broken = (event: Event): void => {
    const message =
      event instanceof ErrorEvent && event.message ? event.message : 'its script could not be loaded';
    this.#fail(message);
  };

  #fail(reason: string): void {
    const error = new DeviceLost(
      `the worker that held the GPU is gone (${reason}): make a new model and resume from the last checkpoint`,
    );
    this.#lost ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#stopListening();
    if (this.#owned) this.#worker.terminate();
  }

  #stopListening(): void {
    taken.delete(this.#worker);
    this.#watch.abort();
    this.#worker.removeEventListener('message', this.#receive);
    this.#worker.removeEventListener('error', this.#broken);
    this.#worker.removeEventListener('messageerror', this.#broken);
  }

  readonly #receive = ({ data }: MessageEvent<Response>): void => {
    if (data.type === 'ready') {
      this.#pending.get(0)?.resolve(undefined);
      this.#pending.delete(0);
      return;
    }
    const call = this.#pending.get(data.id);
    if (!call) return;
    call.heard?.();
    if (data.type === 'event') call.onEvent?.(data.event);
    else if (data.type === 'ask') void this.#answer(call, data);
    else {
      this.#pending.delete(data.id);
      this.facts = data.facts ?? this.facts;
      if (data.type === 'failure') call.reject(fromPlainError(data.error));
      else call.resolve(data.value);
    }
  };

  async #answer(call: Pending, { ask, what, args }: Extract<Response, { type: 'ask' }>): Promise<void> {
    call.asked?.(1);
    try {
      const value = await call.answer?.(what, args);
      this.#send(
        { type: 'answer', ask, value },
        what === 'batch' && call.movesBatches ? buffersOf(value) : [],
      );
    } catch (error) {
      this.#send({ type: 'answer', ask, error: toPlainError(error) });
    } finally {
      call.asked?.(-1);
    }
  }

  /**
   * @throws DeviceLost if the worker dies or is dead; Aborted if the signal fires, at the latest after a time of
   *   silence, much longer than those before, at whose end the worker is ended; and whatever the method or `onEvent` throws
   */
  async call<T>(method: Method, args: readonly unknown[], options: CallOptions = {}): Promise<T> {
    const { signal, transfer = [] } = options;
    if (signal?.aborted) throw new Aborted(`${method} was stopped before it began`);
    const given = args.map((value: unknown) => (Array.isArray(value) ? [...(value as unknown[])] : value));
    await this.#ready; // lists may change meanwhile
    if (this.#lost) throw this.#lost;
    const id = nextCall++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let grace = 0;
    let [last, longest] = [performance.now(), 0];
    let questions = 0;
    const wait = (): void => {
      clearTimeout(timer);
      if (questions > 0) return; // it is the worker that waits
      timer = setTimeout(() => {
        const text = `${method} did not stop within ${Math.round(grace / 1000)} s; its worker was ended`;
        this.#pending.get(id)?.reject(new Aborted(text));
        this.#pending.delete(id);
        this.#worker.terminate();
        this.#fail('it did not obey an abort');
      }, grace);
    };
    const heard = (): void => {
      if (grace > 0) return wait();
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    };
    const asked = (change: 1 | -1): void => {
      questions += change;
      last = performance.now();
      if (grace > 0 && this.#pending.has(id)) wait();
    };
    const abort = (): void => {
      if (!this.#pending.has(id) || grace > 0) return;
      this.#send({ type: 'abort', id });
      grace = Math.max(abortGrace.ms, abortGrace.times * longest);
      wait();
    };
    let failure: Error | undefined;
    const onEvent = (event: unknown): void => {
      if (failure) return;
      try {
        options.onEvent?.(event);
      } catch (error) {
        failure = error as Error;
        abort();
      }
    };
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#pending.set(id, {
          ...{ ...options, onEvent, heard, asked },
          resolve: (value) => (failure ? reject(failure) : resolve(value as T)),
          reject: (error) => reject(failure ?? error),
        });
        this.#send({ type: 'call', id, method, args: given }, transfer);
        signal?.addEventListener('abort', abort);
        if (signal?.aborted) abort();
      });
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Frees the worker's model and ends the worker, unless it is the caller's. */
  close(): void {
    if (this.#lost) return;
    this.#send({ type: 'call', id: nextCall++, method: 'dispose', args: [] });
    this.#lost = new DeviceLost('the model was disposed: make a new one');
    for (const { reject } of this.#pending.values()) reject(this.#lost);
    this.#pending.clear();
    this.#stopListening();
    if (this.#owned) this.#worker.terminate();
  }
}
