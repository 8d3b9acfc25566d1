import { expect, test, vi } from 'vitest';
import { startRun } from '../../src/train/run.ts';

/** A run that tells one and two, and then ends as `end` does. */
const counting = <Result>(end: () => Result, onEvent?: (event: number) => void) =>
  startRun(async (emit: (event: number) => void) => {
    emit(1);
    await Promise.resolve();
    emit(2);
    return end();
  }, onEvent);
const failing = () =>
  counting<string>(() => {
    throw new Error('broken');
  });

/** What is rejected without anybody to handle it while `work` runs, and a while after. */
async function unhandled(work: () => unknown): Promise<unknown[]> {
  const seen: unknown[] = [];
  const listen = (reason: unknown): void => void seen.push(reason);
  const event = (rejection: PromiseRejectionEvent): void => {
    rejection.preventDefault();
    listen(rejection.reason);
  };
  const inNode = typeof process !== 'undefined' && typeof process.listeners === 'function';
  const others = inNode ? process.listeners('unhandledRejection') : [];
  if (inNode) process.removeAllListeners('unhandledRejection').on('unhandledRejection', listen);
  else addEventListener('unhandledrejection', event);
  try {
    await work();
    await new Promise((resolve) => setTimeout(resolve, 0));
    await new Promise((resolve) => setTimeout(resolve, 0));
  } finally {
    if (inNode) {
      process.off('unhandledRejection', listen);
      for (const other of others) process.on('unhandledRejection', other);
    } else removeEventListener('unhandledrejection', event);
  }
  return seen;
}

test('a run is a promise of its result', async () => {
  const run = counting(() => 'result');
  expect(run).toBeInstanceOf(Promise);
  const last = vi.fn();
  expect(await run.finally(last)).toBe('result');
  expect(last).toHaveBeenCalledOnce();
  expect(await failing().catch((error: unknown) => String(error))).toBe('Error: broken');
  expect(await Promise.allSettled([run, failing()])).toMatchObject([
    { status: 'fulfilled' },
    { status: 'rejected' },
  ]);
});

test('its events come once to whoever iterates, then its failure', async () => {
  const events: number[] = [];
  const run = failing();
  await expect(
    (async () => {
      for await (const event of run) events.push(event);
    })(),
  ).rejects.toThrow('broken');
  expect(events).toEqual([1, 2]);
  await expect(run[Symbol.asyncIterator]().next()).rejects.toThrow('once');
  const seen: number[] = [];
  await counting(
    () => undefined,
    (event) => seen.push(event),
  );
  expect(seen).toEqual([1, 2]);
});

test('a failure that nobody looks at is an unhandled rejection; one that is awaited or iterated is not', async () => {
  expect(await unhandled(() => void failing())).toEqual([new Error('broken')]);
  expect(await unhandled(() => failing().catch(() => undefined))).toEqual([]);
  expect(
    await unhandled(async () => {
      try {
        // While an event is looked at, the run fails.
        for await (const event of failing()) await new Promise((resolve) => setTimeout(resolve, event));
      } catch {
        // expected
      }
    }),
  ).toEqual([]);
});

test('what takes events may fail: the run does so, at once or at the next event', async () => {
  const broken = new Error('no place for it');
  const throwing = (): never => {
    throw broken;
  };
  await expect(counting(() => 'result', throwing)).rejects.toBe(broken);
  for (const failsAt of [1, 2]) {
    const rejecting = (event: number): unknown => (event === failsAt ? Promise.reject(broken) : undefined);
    const seen = await unhandled(async () => {
      const run = counting(() => new Promise((resolve) => setTimeout(resolve)), rejecting as () => void);
      await expect(run).rejects.toBe(broken);
    });
    expect(seen).toEqual([]);
  }
  // When the run is over, there is nothing left that could fail.
  const late = () => new Promise((_, reject) => setTimeout(() => reject(broken)));
  expect(await unhandled(() => counting(() => 'result', late as () => void))).toEqual([broken, broken]);
});
