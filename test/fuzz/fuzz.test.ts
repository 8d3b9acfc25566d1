// The short run of `npm run fuzz`: damaged files give a value or a refusal in little memory, and nothing else.
import { expect, test } from 'vitest';
import { fuzz, summary, type Kind } from '../../scripts/fuzz/harness.ts';
import { kinds } from '../../scripts/fuzz/kinds.ts';
import { InvalidVolume } from '../../src/errors.ts';

test.each(kinds)('$name', async (kind) => {
  const outcome = await fuzz(kind, { seed: 1, count: 350 });
  console.log(summary(outcome));
  expect(outcome.faults).toEqual([]);
  // Neither all read nor all refused: the inputs reach what is behind the first check.
  expect(outcome.values).toBeGreaterThan(15);
  expect(outcome.values).toBeLessThan(335);
});

test('what is neither a value nor a refusal is a fault, and so is memory', async () => {
  const kept: Uint8Array[] = [];
  const bad: Kind = {
    name: 'bad',
    read(source) {
      const number = source.int(3);
      if (number === 0) throw new TypeError('bare');
      if (number === 1) return Promise.reject(new InvalidVolume('refused'));
      kept.splice(0, 1, new Uint8Array(80 * 2 ** 20).fill(1));
      return Promise.resolve(0);
    },
  };
  const { values, refusals, faults, memory, count } = await fuzz(bad, { seed: 3, count: 8 });
  const bare = faults.filter((fault) => /TypeError: bare/.test(fault));
  const large = faults.filter((fault) => /MiB beyond its answer/.test(fault));
  expect(bare.length).toBeGreaterThan(0);
  expect(values + refusals['InvalidVolume']! + bare.length).toBe(count);
  if (memory !== undefined) expect(large.length).toBeGreaterThan(0);
  const again = await fuzz(bad, { seed: 3, count: 8 });
  expect([again.values, again.refusals]).toEqual([values, refusals]);
});
