// Random numbers: Philox against its authors' known answers, and the distributions' moments.
import { describe, expect, test } from 'vitest';
import { philox, random } from '../../src/data/random.ts';

const hex = (words: number[]) => words.map((word) => word.toString(16).padStart(8, '0')).join(' ');

describe('philox4x32-10', () => {
  const all = 0xffffffff;
  test.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[all, all, all, all], [all, all], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ] as [[number, number, number, number], [number, number], string][])(
    'known answer of Random123 for counter %j, key %j',
    (counter, key, expected) => expect(hex(philox(counter, key))).toBe(expected),
  );
});

describe('random', () => {
  const draw = (seed: number, ...stream: (number | string)[]) => {
    const source = random(seed, ...stream);
    return Array.from({ length: 6 }, () => source.uniform());
  };

  test('repeats for one seed and stream, and differs for another seed, stream or name', () => {
    expect(draw(7, 'a', 1)).toEqual(draw(7, 'a', 1));
    const others = [draw(7, 'a', 1), draw(8, 'a', 1), draw(7, 'a', 2), draw(7, 'b', 1), draw(7, 'a\u0001')];
    others.push(draw(7), draw(7, 0), draw(7 + 2 ** 32, 'a', 1), draw(7, -1));
    expect(new Set(others.map((numbers) => numbers[0])).size).toBe(others.length);
  });

  test('uniform has the range, mean and variance of a uniform distribution', () => {
    const source = random(1, 'uniform');
    const values = Array.from({ length: 20000 }, () => source.uniform(2, 4));
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(Math.min(...values)).toBeGreaterThanOrEqual(2);
    expect(Math.max(...values)).toBeLessThan(4);
    expect(mean).toBeCloseTo(3, 1);
    expect(Math.abs(variance - 4 / 12)).toBeLessThan(0.01);
  });

  test('normal has the moments and the tails of a normal distribution', () => {
    const source = random(2, 'normal');
    const values = Array.from({ length: 20000 }, () => source.normal(1, 3));
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    const beyondTwo = values.filter((value) => Math.abs(value - 1) > 6).length / values.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.07);
    expect(Math.abs(variance - 9)).toBeLessThan(0.3);
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(0.006);
  });

  test('int is even over its range and shuffle keeps the items', () => {
    const source = random(3);
    const counts = new Array<number>(5).fill(0);
    for (let i = 0; i < 10000; i++) counts[source.int(5)]! += 1;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(180);

    const items = Array.from({ length: 30 }, (_, i) => i);
    const shuffled = source.shuffle(items);
    expect(shuffled).not.toEqual(items);
    expect([...shuffled].sort((a, b) => a - b)).toEqual(items);
  });
});
