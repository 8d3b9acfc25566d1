/** Resampling by splines, against scipy. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { resampleSpline, type SplineOptions } from '../../src/data/spline.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import type { Size3 } from '../../src/size.ts';

interface Example extends SplineOptions {
  from: Size3;
  to: Size3;
  data: string;
  expected: string;
}

const examples = JSON.parse(readFileSync('test/fixtures/spline/spline.json', 'utf8')) as Example[];
const floats = (base64: string): Float32Array =>
  new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);

describe('as scipy', () => {
  test.each(examples)('$from to $to, order $order, apart $apart', ({ data, expected, from, to, ...how }) => {
    const values = floats(data);
    const found = resampleSpline(values, from, to, how);
    const wanted = floats(expected);
    expect(found.length).toBe(wanted.length);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    // Between the axes numbers are float32.
    wanted.forEach((value, i) => expect(Math.abs(found[i]! - value)).toBeLessThan(1e-6 * largest));
  });
});

test('the same size is a copy', () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const found = resampleSpline(data, [2, 2, 1], [2, 2, 1]);
  expect(found).toEqual(data);
  expect(found.buffer).not.toBe(data.buffer);
});

test('what does not fit is refused', () => {
  expect(() => resampleSpline(new Float32Array(5), [2, 2, 1], [3, 3, 1])).toThrow(InvalidVolume);
  expect(() => resampleSpline(new Float32Array(4), [2, 2, 1], [3, 0.5, 1])).toThrow(InvalidOption);
});
