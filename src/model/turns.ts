/**
 * Who uses a model now. A model has one set of buffers on the device, so its calls take turns in the order they came:
 * each finds the model as the call before has left it, as if they had been awaited one by one.
 */
import { Aborted } from '../errors.ts';

/** A call that waits for its turn. */
interface Waiting {
  /** Calls are counted as they come. */
  readonly number: number;
  /** Begins what may be done before the turn. */
  prepare(): void;
  /** Takes the turn, and resolves when it is over, however it ends. */
  begin(): Promise<void>;
}

export interface TurnOptions<Ready> {
  /** What was called, for messages: 'predict'. */
  readonly name: string;
  /** A call that still waits, or reads ahead, when this fires leaves at once. */
  readonly signal?: AbortSignal | undefined;
  /** What needs no model, such as reading files: begun when the call is the next in line. */
  readonly ahead?: (() => Promise<Ready>) | undefined;
}

export class Turns {
  readonly #waiting: Waiting[] = [];
  readonly #callers = new Set<(error: Error) => void>();
  #count = 0;
  /** The turn that is being taken. */
  #taken: Promise<void> | undefined;
  /** While a turn is lent: calls from this number on may have it; whoever lends makes room in front of each. */
  #lent: { readonly from: number; readonly makeRoom: () => void } | undefined;
  #closed: Error | undefined;

  /** How many calls have come. */
  get count(): number {
    return this.#count;
  }

  /**
   * Runs `work` when the calls that came before have ended, and gives its result.
   * @param work takes what `ahead` gave
   * @throws Aborted if the signal fires before the work has begun; the error of `close`; whatever the work throws
   */
  take<T, Ready = undefined>(
    { name, signal, ahead }: TurnOptions<Ready>,
    work: (ready: Ready) => T | Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      let ready: Promise<Ready> | undefined;
      const end = (error: Error): void => {
        signal?.removeEventListener('abort', leave);
        this.#callers.delete(end);
        reject(error);
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        end(new Aborted(`${name} was stopped while it waited for the model's earlier calls`));
      };
      const prepare = (): void => {
        ready ??= ahead?.();
        ready?.catch(() => undefined); // thrown when its turn has come
      };
      const begin = async (): Promise<void> => {
        signal?.removeEventListener('abort', leave);
        prepare();
        const given = orStopped(ready, signal, `${name} was stopped while it read its files`);
        await given.then((value) => work(value as Ready)).then(resolve, reject);
        this.#callers.delete(end);
      };
      const waiting = { number: this.#count++, prepare, begin };
      this.#callers.add(end);
      this.#waiting.push(waiting);
      this.#next();
      if (!this.#waiting.includes(waiting)) return; // it has begun
      if (signal?.aborted) leave();
      else signal?.addEventListener('abort', leave);
    });
  }

  /**
   * Waits, within a turn, for a value that the caller's own code makes. That code may call the model itself and wait
   * for the answer: calls that have come since it began have their turns meanwhile.
   * @param from what `count` was when the code began
   * @param makeRoom called in front of each of these turns
   * @throws the error of `close`, and what the value rejects with
   */
  async lend<T>(from: number, value: Promise<T>, makeRoom = (): void => undefined): Promise<T> {
    const soon = new Promise<void>((resolve) => setTimeout(resolve));
    await Promise.race([value, soon]); // code that calls nothing has mostly ended by then
    const own = this.#giveAway(from, makeRoom);
    try {
      return await this.#orClosed(value);
    } finally {
      this.#lent = { from: Infinity, makeRoom };
      await this.#taken; // a call that has begun is waited for
      this.#lent = undefined;
      this.#taken = own;
    }
  }

  #orClosed<T>(value: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      this.#callers.add(reject);
      void value.then(resolve, reject).finally(() => this.#callers.delete(reject));
    });
  }

  #giveAway(from: number, makeRoom: () => void): Promise<void> | undefined {
    const own = this.#taken;
    this.#taken = undefined;
    this.#lent = { from, makeRoom };
    this.#next();
    return own;
  }

  /** Ends for their callers the calls that wait and the one that runs, and refuses those that come. */
  close(error: Error): void {
    this.#closed ??= error;
    this.#waiting.length = 0;
    for (const end of this.#callers) end(this.#closed);
  }

  #next(): void {
    if (!this.#taken) {
      const from = this.#lent?.from ?? 0;
      const at = this.#waiting.findIndex(({ number }) => number >= from);
      const next = at < 0 ? undefined : this.#waiting.splice(at, 1)[0];
      if (next) this.#lent?.makeRoom();
      this.#taken = next?.begin().then(() => {
        this.#taken = undefined;
        this.#next();
      });
    }
    if (this.#taken) this.#waiting[0]?.prepare();
  }
}

/** @throws Aborted with that message if the signal fires before the value is there */
async function orStopped<T>(
  value: Promise<T> | undefined,
  signal: AbortSignal | undefined,
  message: string,
): Promise<T | undefined> {
  if (!value || !signal) return value;
  let stop = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(new Aborted(message));
    signal.addEventListener('abort', stop);
  });
  if (signal.aborted) stop();
  return Promise.race([value, stopped]).finally(() => signal.removeEventListener('abort', stop));
}
