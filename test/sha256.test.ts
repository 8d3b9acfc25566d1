/** SHA-256 piece by piece, against Node's: all lengths around the ends of blocks, however they are cut. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { random } from '../src/data/random.ts';
import { hexadecimal } from '../src/hash.ts';
import { Sha256 } from '../src/sha256.ts';

const expected = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('every length up to three blocks, cut anywhere', () => {
  const source = random(1, 'sha256');
  for (let length = 0; length <= 192; length++) {
    const bytes = Uint8Array.from({ length }, () => source.int(256));
    const hash = new Sha256();
    for (let at = 0; at < length;) {
      const end = Math.min(length, at + source.int(80));
      hash.update(bytes.subarray(at, end));
      at = end;
    }
    expect(hexadecimal(hash.digest()), `${length} bytes`).toBe(expected(bytes));
  }
});

test('a million bytes', () => {
  const bytes = Uint8Array.from({ length: 1_000_003 }, (_, index) => (index * index) >> 3);
  expect(hexadecimal(new Sha256().update(bytes).digest())).toBe(expected(bytes));
});
