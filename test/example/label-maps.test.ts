/** What the page counts and draws of labels. */
import { expect, test } from 'vitest';
import { counted } from '../../examples/browser/src/label-maps.ts';

test('of volumes that overlap, each is counted whole, and the last that holds a voxel is drawn', () => {
  const data = Uint8Array.of(1, 1, 0, 0, 0, 1, 1, 0);
  expect(counted({ data, shape: [2, 2, 1, 2] }, 3)).toEqual({
    counts: [0, 2, 2],
    drawn: Uint8Array.of(1, 2, 2, 0),
  });
});

test('of one label map, the labels themselves are drawn', () => {
  const data = Uint8Array.of(0, 2, 2, 1);
  const { counts, drawn } = counted({ data, shape: [2, 2, 1] }, 3);
  expect(counts).toEqual([1, 1, 2]);
  expect(drawn).toBe(data);
});
