/** Resampling by splines, and of labels by straight lines, against scipy. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { resampleLabels, resampleSpline, type SplineOptions } from '../../src/data/spline.ts';
import { random } from '../../src/data/random.ts';
import { InvalidOption, InvalidVolume, OutOfMemory } from '../../src/errors.ts';
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
  test.each(examples)(
    '$from to $to, order $order, apart $apart, ends $ends',
    ({ data, expected, from, to, ...how }) => {
      const values = floats(data);
      const found = resampleSpline(values, from, to, how);
      const wanted = floats(expected);
      expect(found.length).toBe(wanted.length);
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      // Between the axes numbers are float32.
      wanted.forEach((value, i) => expect(Math.abs(found[i]! - value)).toBeLessThan(1e-6 * largest));
    },
  );
});

interface LabelExample {
  readonly from: Size3;
  readonly to: Size3;
  readonly axis: 0 | 1 | 2 | null;
  readonly labels: string;
  readonly expected: string;
}
const labelExamples = JSON.parse(
  readFileSync('test/fixtures/spline-labels/labels.json', 'utf8'),
) as LabelExample[];

test.each(labelExamples)('labels as scipy, $from to $to, apart $axis', ({ from, to, axis, ...given }) => {
  const labels = Uint8Array.from(given.labels, Number);
  const apart = axis === null ? undefined : { axis };
  expect(resampleLabels(labels, from, to, [1, 2], { apart }).join('')).toBe(given.expected);
});

test.each<[Size3, Size3, 0 | 1 | 2 | undefined]>([
  [[9, 8, 7], [12, 6, 11], undefined],
  [[9, 8, 7], [4, 8, 14], undefined],
  [[6, 10, 9], [8, 7, 13], 0],
  [[6, 10, 9], [9, 21, 5], 1],
  [[2, 10, 9], [5, 4, 9], 2],
])('labels %j to %j, apart %j: to the bit what each of them gives by itself', (from, to, axis) => {
  const source = random(4, 'labels');
  // Places of one label, and of many; one is not looked for.
  const labels = Uint16Array.from({ length: from[0] * from[1] * from[2] }, (_, i) =>
    i % from[0] < from[0] / 3 ? 300 : [0, 1, 2, 7, 300][source.int(5)]!,
  );
  const apart = axis === undefined ? undefined : { axis };
  const expected = new Uint16Array(to[0] * to[1] * to[2]);
  for (const value of [1, 2, 300]) {
    const own = Float32Array.from(labels, (label) => (label === value ? 1 : 0));
    resampleSpline(own, from, to, { order: 1, apart }).forEach((share, at) => {
      if (share >= 0.5) expected[at] = value;
    });
  }
  expect(new Set(expected).size).toBe(4);
  expect(resampleLabels(labels, from, to, [300, 2, 1], { apart })).toEqual(expected);
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
  expect(() => resampleSpline(new Float32Array(4), [2, 2, 1], [2 ** 52, 2, 1])).toThrow(OutOfMemory);
});
