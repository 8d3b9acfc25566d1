/** Labels of planes of logits as they come are those of all of them there at once, to the bit. */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { resampleTo } from '../../src/data/resample.ts';
import { Aborted } from '../../src/errors.ts';
import type { DenseCase } from '../../src/infer/evaluator.ts';
import { labelsOfPlanes, segmentLabels } from '../../src/infer/labels.ts';
import { meanPlanes } from '../../src/infer/mean-planes.ts';
import { labelsOf, probabilitiesOf, segmentProbabilities } from '../../src/infer/probabilities.ts';
import type { Size3 } from '../../src/size.ts';
import { inPlanes, planesOf } from '../support/planes.ts';

const from: Size3 = [7, 5, 6];
const [voxels, classes] = [210, 4];
const source = random(5, 'labels');
const noise = (): Float32Array => Float32Array.from({ length: classes * voxels }, () => source.normal());
const regions = [3, 1, 2, 200].map((label) => ({ name: `${label}`, labels: [label], written: label }));
const volume: DenseCase = { image: new Float32Array(voxels), shape: from };

test.each([
  ['the same grid', from],
  ['a finer one', [13, 11, 17]],
  ['a coarser one', [4, 3, 2]],
  ['finer across, coarser along z', [12, 5, 4]],
  ['one plane', [7, 5, 1]],
] as [string, Size3][])('%s', async (_, to) => {
  for (const heads of [{ classes }, { classes, regions }]) {
    const logits = noise();
    const wanted = labelsOf(resampleTo(probabilitiesOf(logits, heads), from, to, 'linear'), heads);
    const found = await labelsOfPlanes(inPlanes(() => logits)(volume), heads, from, to);
    expect(Buffer.from(found).equals(Buffer.from(wanted))).toBe(true);
    expect(new Set(found).size).toBeGreaterThan(3);
  }
});

test('mirrored passes: of the mean of their probabilities', async () => {
  const logits = noise();
  const options = { mirrorAxes: ['x', 'z'] } as const;
  const to: Size3 = [9, 6, 8];
  const mean = await segmentProbabilities(
    inPlanes(() => logits),
    volume,
    { classes },
    options,
  );
  const wanted = labelsOf(resampleTo(mean, from, to, 'linear'), { classes });
  const found = await segmentLabels(
    inPlanes(() => logits),
    volume,
    { classes },
    options,
    to,
  );
  expect(found).toEqual(wanted);
  const plain = await segmentLabels(
    inPlanes(() => logits),
    volume,
    { classes },
    {},
    to,
  );
  expect(plain).not.toEqual(wanted);
  const signal = AbortSignal.abort();
  const stopped = segmentLabels(
    inPlanes(() => logits),
    volume,
    { classes },
    { signal },
  );
  await expect(stopped).rejects.toThrow(Aborted);
});

test.each([true, false])(
  'the mean of several networks, through which the volume goes at once: %s',
  async (isWhole) => {
    const stacks = [noise(), noise(), noise()];
    const order: string[] = [];
    const members = stacks.map((logits, index) => ({
      isWhole,
      planes: () => {
        const planes = inPlanes(() => logits)(volume);
        const next = planes.next.bind(planes);
        planes.next = () => {
          order.push(`${index}`);
          return next();
        };
        return planes;
      },
    }));
    const sum = stacks[0]!
      .map((value, at) => value + stacks[1]![at]!)
      .map((value, at) => value + stacks[2]![at]!);
    const mean = sum.map((value) => value / 3);
    const found: Float32Array[] = [];
    for await (const plane of meanPlanes(members, from, classes)) found.push(plane);
    expect(found).toEqual([...planesOf(mean, classes, from)]);
    // What goes through at once is on the device until its last plane is read.
    expect(order.join('')).toBe(isWhole ? '000000011111112222222' : '012012012012012012');
  },
);
