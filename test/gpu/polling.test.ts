/** Waiting for the GPU in Node: not in every turn of the event loop, and nobody else's timers are touched. */
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { pollCalmly, pollEagerly, setPolling } from '../../src/gpu/polling.node.ts';
import { multiplyAddSpeed } from '../../src/gpu/speed.ts';
import { testDevice } from '../support/device.ts';

const original = globalThis.setImmediate;
afterEach(() => {
  setPolling('calm');
  pollEagerly();
  globalThis.setImmediate = original;
  pollCalmly(); // as it is while a device is open
});

/** Counts what is called by `setImmediate`. */
function counted(): { calls: number } {
  pollEagerly();
  const count = { calls: 0 };
  const counting = (...args: Parameters<typeof original>) => {
    count.calls++;
    return original(...args);
  };
  globalThis.setImmediate = Object.assign(counting, original);
  return count;
}

test('Dawn looks for finished work a few times at once, then once per millisecond', async () => {
  const { device, pipelines } = await testDevice();
  const always = counted();
  await multiplyAddSpeed(device, pipelines);
  const calmly = counted();
  pollCalmly();
  await multiplyAddSpeed(device, pipelines);
  expect(always.calls).toBeGreaterThan(500);
  expect(calmly.calls).toBeGreaterThan(0);
  expect(calmly.calls).toBeLessThan(always.calls / 2);
});

test('other calls go their way', async () => {
  const { calls: before } = counted();
  const order: string[] = [];
  pollCalmly();
  pollCalmly(); // twice is once
  const done = new Promise<void>((resolve) => {
    setImmediate((word: string) => order.push(word), 'first');
    const cleared = setImmediate(() => order.push('cleared'));
    setImmediate(() => {
      order.push('second');
      resolve();
    });
    clearImmediate(cleared);
  });
  await done;
  expect(order).toEqual(['first', 'second']);
  expect(await promisify(setImmediate)('value')).toBe('value');
  expect(before).toBe(0);
});

test('and all is as it was afterwards', () => {
  pollEagerly();
  globalThis.setImmediate = original;
  pollCalmly();
  expect(globalThis.setImmediate).not.toBe(original);
  pollEagerly();
  expect(globalThis.setImmediate).toBe(original);
  // Nor is the work of others undone that came later.
  pollCalmly();
  const later = (() => undefined) as unknown as typeof setImmediate;
  globalThis.setImmediate = later;
  pollEagerly();
  expect(globalThis.setImmediate).toBe(later);
});

test('or is left alone throughout, if that is wished', () => {
  pollEagerly();
  globalThis.setImmediate = original;
  pollCalmly();
  setPolling('eager'); // at once
  expect(globalThis.setImmediate).toBe(original);
  pollCalmly();
  expect(globalThis.setImmediate).toBe(original);
  setPolling('calm');
  pollCalmly();
  expect(globalThis.setImmediate).not.toBe(original);
});
