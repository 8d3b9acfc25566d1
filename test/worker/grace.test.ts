/** How a call to a worker ends: how long one that was told to stop is waited for, and what else ends it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Aborted, DeviceLost } from '../../src/errors.ts';
import { Connection, type CallOptions } from '../../src/worker/connection.ts';
import { toPlainError, type ModelFacts, type Request, type Response } from '../../src/worker/protocol.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A call that runs in a worker of which the test says what it answers. */
async function running(options: CallOptions = {}) {
  const asked: Request[] = [];
  let isEnded = false;
  const worker = Object.assign(new EventTarget(), {
    postMessage: (message: Request) => asked.push(message),
    terminate: () => (isEnded = true),
  });
  const say = (data: Response) => worker.dispatchEvent(new MessageEvent('message', { data }));
  const connection = new Connection(worker as unknown as Worker);
  const stop = new AbortController();
  const failure = connection
    .call('fit', [], { ...options, signal: stop.signal })
    .catch((error: unknown) => (error as Error).message);
  say({ type: 'ready' });
  await vi.advanceTimersByTimeAsync(0);
  const { id } = asked.find(({ type }) => type === 'call') as Extract<Request, { type: 'call' }>;
  return {
    id,
    asked,
    say,
    connection,
    stop: () => stop.abort(),
    failure,
    /** So long later the worker sends an event. */
    event: async (seconds: number): Promise<void> => {
      await vi.advanceTimersByTimeAsync(seconds * 1000);
      say({ type: 'event', id, event: {} });
    },
    /** Whether it is ended so long later. */
    isEndedAfter: async (seconds: number): Promise<boolean> => {
      await vi.advanceTimersByTimeAsync(seconds * 1000);
      return isEnded;
    },
  };
}

test('a worker that is told to stop is ended after 30 s of silence', async () => {
  const { event, stop, isEndedAfter, failure } = await running();
  await event(1);
  stop();
  expect(await isEndedAfter(29)).toBe(false);
  await event(0);
  expect(await isEndedAfter(29)).toBe(false);
  expect(await isEndedAfter(1)).toBe(true);
  expect(await failure).toBe('fit did not stop within 30 s; its worker was ended');
});

test('one whose steps take long has six times as long', async () => {
  const { event, stop, isEndedAfter, failure } = await running();
  await event(40);
  await event(20);
  stop();
  expect(await isEndedAfter(239)).toBe(false);
  expect(await isEndedAfter(1)).toBe(true);
  expect(await failure).toBe('fit did not stop within 240 s; its worker was ended');
});

test('one that waits for an answer of the page has all the time that this takes', async () => {
  let answer = (): void => undefined;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const { id, say, event, stop, isEndedAfter, failure } = await running({ answer: () => answered });
  await event(1);
  say({ type: 'ask', id, ask: 1, what: 'batch', args: [0, 0] });
  await event(60);
  stop();
  expect(await isEndedAfter(3600)).toBe(false);
  answer();
  expect(await isEndedAfter(359)).toBe(false);
  expect(await isEndedAfter(1)).toBe(true);
  expect(await failure).toBe('fit did not stop within 360 s; its worker was ended');
});

test('a call whose events cannot be taken is stopped, and rejects with why', async () => {
  const seen = vi.fn(() => {
    throw new Error('no place for it');
  });
  const { id, asked, say, event, failure } = await running({ onEvent: seen });
  await event(1);
  expect(asked.at(-1)).toEqual({ type: 'abort', id });
  await event(1);
  expect(seen).toHaveBeenCalledOnce();
  say({ type: 'failure', id, error: toPlainError(new Aborted('stopped')) });
  expect(await failure).toBe('no place for it');
});

test('what the worker says of its model comes with failures, too', async () => {
  const { id, say, connection, failure } = await running();
  const facts = { adapter: 'another one' } as ModelFacts;
  say({ type: 'failure', id, error: toPlainError(new Error('broken')), facts });
  expect(await failure).toBe('broken');
  expect(connection.facts).toBe(facts);
});

test.each(['error', 'messageerror'])('a worker of our own is ended after its %s', async (type) => {
  const terminate = vi.fn();
  const workers: EventTarget[] = [];
  const made = class extends EventTarget {
    readonly terminate = terminate;
    constructor() {
      super();
      workers.push(this);
    }
    postMessage(): void {
      // Nobody hears it.
    }
  };
  vi.stubGlobal('Worker', made);
  vi.stubGlobal('ErrorEvent', class extends Event {});
  try {
    const call = new Connection().call('save', []);
    workers[0]!.dispatchEvent(new Event(type));
    await expect(call).rejects.toThrow(DeviceLost);
    expect(terminate).toHaveBeenCalledOnce();
  } finally {
    vi.unstubAllGlobals();
  }
});

test('a worker in a browser that gives no locks is ready all the same', async () => {
  const said: Response[] = [];
  const listeners: ((event: { data: Request }) => void)[] = [];
  vi.stubGlobal('postMessage', (message: Response) => said.push(message));
  vi.stubGlobal('addEventListener', (_type: string, listener: (typeof listeners)[number]) =>
    listeners.push(listener),
  );
  const request = () => Promise.reject(new DOMException('denied', 'SecurityError'));
  vi.stubGlobal('navigator', { locks: { request } });
  await import('../../src/worker/thread.ts');
  listeners[0]!({ data: { type: 'hello', lock: 'a lock' } });
  await vi.waitFor(() => expect(said).toEqual([{ type: 'ready' }]));
  vi.unstubAllGlobals();
});
