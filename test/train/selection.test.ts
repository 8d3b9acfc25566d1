/** Smoothed Dice and early stopping against figures worked out by hand. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import type { EpochRow } from '../../src/train/events.ts';
import { assertEarlyStopping, hasStalled, smoothedDice } from '../../src/train/selection.ts';

const history = (...values: number[]) => values.map((value) => ({ smoothedDice: value }) as EpochRow);

test('the smoothed Dice starts with the first value and then moves by a tenth', () => {
  expect(smoothedDice(NaN, 0.5)).toBe(0.5);
  expect(smoothedDice(0.5, 0.7)).toBeCloseTo(0.52, 12);
  expect(smoothedDice(0.5, NaN)).toBe(0.5);
  expect(smoothedDice(NaN, NaN)).toBeNaN();
});

describe('early stopping', () => {
  test('counts the epochs since the best one', () => {
    expect(hasStalled([], { patience: 2 })).toBe(false);
    expect(hasStalled(history(0.1, 0.2, 0.2), { patience: 2 })).toBe(false);
    expect(hasStalled(history(0.1, 0.2, 0.2, 0.15), { patience: 2 })).toBe(true);
    expect(hasStalled(history(0.1, 0.2, 0.15, 0.21), { patience: 2 })).toBe(false);
  });

  test('asks for minDelta more', () => {
    const creeping = history(0.5, 0.505, 0.509);
    expect(hasStalled(creeping, { patience: 2 })).toBe(false);
    expect(hasStalled(creeping, { patience: 2, minDelta: 0.01 })).toBe(true);
  });

  test('does not wait for a Dice that is never there', () => {
    expect(hasStalled(history(NaN, NaN), { patience: 2 })).toBe(true);
  });

  test.each([0, 1.5, -1])('a patience of %s is refused', (patience) => {
    expect(() => assertEarlyStopping({ patience }, true)).toThrow(InvalidOption);
  });

  test('needs cases to validate on', () => {
    expect(() => assertEarlyStopping({ patience: 3 }, false)).toThrow('no case to validate on');
  });
});
