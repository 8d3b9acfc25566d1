/** Labels plane by plane, against those of the whole stack of logits on the image's grid. */
import { expect, test } from 'vitest';
import { resampleTo } from '../../../src/data/resample.ts';
import { random } from '../../../src/data/random.ts';
import { argmax } from '../../../src/infer/probabilities.ts';
import { PlaneReducer } from '../../../src/interop/nnunet/pipeline/labels-of-planes.ts';
import type { Size3 } from '../../../src/size.ts';
import { planesOf } from '../../support/planes.ts';

const from: Size3 = [9, 7, 6];
const heads = [0, 1, 2, 3].map((written) => ({ name: `${written}`, labels: [written], written }));
const source = random(4, 'logits');
const logits = Float32Array.from({ length: 4 * 9 * 7 * 6 }, () => source.normal());

/** All planes that come of pushing those of `logits`. */
const reduced = (to: Size3, labels: PlaneReducer['labels']) => {
  const reducer = new PlaneReducer(from, to, labels, { how: { order: 1 } });
  const found = [...planesOf(logits, heads.length, from)].flatMap((plane) => [...reducer.push(plane)]);
  expect(found.map(({ z }) => z)).toEqual(Array.from({ length: to[2] }, (_, z) => z));
  return found.flatMap(({ labels }) => [...labels]);
};

test.each<[Size3]>([[[14, 11, 13]], [[5, 9, 3]], [[9, 7, 6]], [[1, 8, 1]]])('to %j', (to) => {
  const stack = resampleTo(logits, from, to, 'linear');
  expect(reduced(to, { heads, regions: false })).toEqual([...argmax(stack, 4)]);
});

test('regions: where each is above one half, later ones over earlier', () => {
  const to: Size3 = [14, 11, 13];
  const stack = resampleTo(logits, from, to, 'linear');
  const voxels = 14 * 11 * 13;
  const regions = [3, 1, 2, 300].map((written) => ({ name: `${written}`, labels: [written], written }));
  const wanted = Array.from({ length: voxels }, (_, voxel) =>
    regions.reduce((label, { written }, head) => (stack[head * voxels + voxel]! > 0 ? written : label), 0),
  );
  expect(reduced(to, { heads: regions, regions: true })).toEqual(wanted);
});
