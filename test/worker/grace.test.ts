/** How long a worker that was told to stop is waited for. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connection } from '../../src/worker/connection.ts';
import type { Request, Response } from '../../src/worker/protocol.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A call that runs in a worker of which the test says what it answers. */
async function running() {
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
    .call('fit', [], { signal: stop.signal })
    .catch((error: unknown) => (error as Error).message);
  say({ type: 'ready' });
  await vi.advanceTimersByTimeAsync(0);
  const { id } = asked.find(({ type }) => type === 'call') as Extract<Request, { type: 'call' }>;
  return {
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
