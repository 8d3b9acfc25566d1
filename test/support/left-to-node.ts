/** What Chromium leaves to the same tests in Node, where SwiftShader, which compiles a kernel for seconds, runs both. */
import { test } from 'vitest';
import { testDevice } from './device.ts';

const isLeft = typeof window !== 'undefined' && (await testDevice()).adapterClass === 'swiftshader';
const reason = 'SwiftShader compiles its kernels for seconds; the tests in Node try it';

/** Cases, but for those that others stand for: they are left to Node there, and named. */
export function leaveToNode<Case extends { readonly name: string }>(
  what: string,
  cases: readonly Case[],
  isLeftOut: (one: Case) => boolean,
): Case[] {
  const left = isLeft ? cases.filter(isLeftOut) : [];
  if (left.length > 0)
    test(`${what}: ${left.map(({ name }) => name).join('; ')}`, ({ skip }) => skip(reason));
  return cases.filter((one) => !left.includes(one));
}

/** A test that is left to Node there. */
export const testLeftToNode = (name: string, run: () => Promise<void>): void =>
  test(name, async ({ skip }) => {
    if (isLeft) skip(reason);
    await run();
  });
