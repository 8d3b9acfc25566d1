// Memory that other threads ask the system for, ahead of who fills it: a thread of the test's, which answers when told.
import { describe, expect, test } from 'vitest';
import { memoryAhead } from '../../src/data/allocation.ts';

/** Voxels: 16 MiB. */
const count = 2 ** 22;

describe.each([1, -1] as const)('filled with step %i', (step) => {
  interface Asked {
    readonly from: number;
    readonly to: number;
    readonly answer: (error?: Error) => void;
  }

  /** What is asked for, in voxels. */
  function filling() {
    const asked: Asked[] = [];
    const touch = ({ byteOffset, length }: Uint8Array): Promise<void> =>
      new Promise((resolve, reject) =>
        asked.push({
          from: byteOffset / 4,
          to: (byteOffset + length) / 4,
          answer: (error) => (error ? reject(error) : resolve()),
        }),
      );
    const own = memoryAhead(new Float32Array(count), touch, step)!;
    /** Those of a range that counts in the order in which they are filled. */
    const fill = (from: number, to: number) => (step > 0 ? own(from, to) : own(count - to, count - from));
    return { asked, fill };
  }

  async function isSettled(promise: Promise<unknown>): Promise<boolean> {
    let settled = false;
    void promise.then(() => (settled = true));
    await new Promise((resolve) => setTimeout(resolve));
    return settled;
  }

  test('voxels are the owner’s when the thread that has them is done, or has failed', async () => {
    const { asked, fill } = filling();
    const first = fill(0, 1);
    const next = fill(0, Math.abs(asked[1]!.from - asked[0]!.from) + 1);
    expect(await isSettled(first)).toBe(false);
    asked[0]!.answer();
    expect(await isSettled(first)).toBe(true);
    expect(await isSettled(next)).toBe(false);
    asked[1]!.answer(new Error('no memory'));
    expect(await isSettled(next)).toBe(true);
  });

  test('none is asked for twice, behind the owner, or far ahead: the rest of a damaged file may never come', async () => {
    const { asked, fill } = filling();
    const eighth = count / 8;
    await expect(isSettled(fill(7 * eighth, count))).resolves.toBe(true);
    for (let filled = 0; filled < 7 * eighth; filled += eighth) {
      for (const { from, to } of asked)
        expect(step > 0 ? to : count - from).toBeLessThanOrEqual(filled + 2 ** 21);
      for (const { answer } of asked) answer();
      const before = asked.length;
      await fill(filled, filled + eighth);
      for (const { from, to } of asked.slice(before))
        expect(step > 0 ? from : count - to).toBeGreaterThanOrEqual(filled + eighth);
    }
    expect(new Set(asked.map(({ from }) => from)).size).toBe(asked.length);
    expect(Math.max(...asked.map(({ from, to }) => (step > 0 ? to : count - from)))).toBe(7 * eighth);
  });

  test('small arrays are left to their owner', () => {
    expect(memoryAhead(new Float32Array(2 ** 20), () => expect.unreachable(), step)).toBeUndefined();
  });
});
