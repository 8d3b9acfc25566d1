/** How figures are written for people, and quantiles. */
import { expect, test } from 'vitest';
import { className, digits, duration, formatBytes } from '../src/format.ts';
import { quantile } from '../src/quantile.ts';

test('digits, with a dash for what is not defined', () => {
  expect([0.12345, -1.26, NaN, Infinity, undefined].map((value) => digits(value, 1))).toEqual([
    '0.1',
    '−1.3',
    '–',
    '–',
    '–',
  ]);
  expect(digits(1)).toBe('1.000');
});

test('bytes with binary units and three digits', () => {
  expect([0, 1023, 1536, 1000 * 2 ** 10, 2 ** 30, 2 ** 50].map(formatBytes)).toEqual([
    '0 B',
    '1023 B',
    '1.50 KiB',
    '1000 KiB',
    '1.00 GiB',
    '1024 TiB',
  ]);
});

test('durations, no unit of which is ever full', () => {
  const seconds = [0.0123, 0.9994, 0.9996, 9.94, 9.96, 42, 59.6, 185, 3599.7, 3723, NaN];
  expect(seconds.map(duration)).toEqual([
    '12 ms',
    '999 ms',
    '1.0 s',
    '9.9 s',
    '10 s',
    '42 s',
    '1:00',
    '3:05',
    '1:00:00',
    '1:02:03',
    '–',
  ]);
});

test('a class without a name has its number', () => {
  expect([0, 1, 2].map((label) => className(['background', 'liver'], label))).toEqual([
    'background',
    'liver',
    'class 2',
  ]);
});

test('quantiles lie linearly between ranks, as in numpy.percentile', () => {
  // numpy.percentile([1, 2, 4, 8], [0, 10, 50, 95, 100])
  expect([0, 0.1, 0.5, 0.95, 1].map((fraction) => quantile([1, 2, 4, 8], fraction))).toEqual([
    1,
    expect.closeTo(1.3, 12),
    3,
    expect.closeTo(7.4, 12),
    8,
  ]);
  expect(quantile([], 0.5)).toBeNaN();
});
