// Dice: by hand on small maps, and the two empty cases.
import { expect, test } from 'vitest';
import { InvalidVolume } from '../../src/errors.ts';
import { dice, meanDefined } from '../../src/metrics/dice.ts';

test('2|A and B| / (|A| + |B|) for every class', () => {
  expect(dice([0, 0, 1, 1, 2], [0, 1, 1, 1, 0], 3)).toEqual([2 / 4, 4 / 5, 0]);
});

test('both empty is NaN and left out of means, one empty is 0', () => {
  const scores = dice([0, 0, 1], [0, 0, 0], 3);
  expect(scores).toEqual([4 / 5, 0, NaN]);
  expect(meanDefined(scores)).toBe(2 / 5);
  expect(meanDefined([NaN])).toBeNaN();
});

test('values outside the classes count for no class', () => {
  expect(dice([255, 1], [1, 1], 2)).toEqual([NaN, 2 / 3]);
  // Where the truth is to be left out, the prediction does not matter.
  expect(dice([1, 1, 0], [255, 1, 0], 2)).toEqual([1, 1]);
});

test('maps of different length are refused with both lengths', () => {
  expect(() => dice([0], [0, 1], 2)).toThrow(InvalidVolume);
  expect(() => dice([0], [0, 1], 2)).toThrow(/1 voxels.*2/);
});
