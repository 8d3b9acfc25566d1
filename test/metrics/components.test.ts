/** Largest components against scipy's labels, a flood fill and hand-made shapes. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import {
  choosePostprocessing,
  componentDice,
  largestComponents,
  postprocessed,
  type Connectivity,
} from '../../src/metrics/components.ts';

const { components: fixture } = JSON.parse(
  readFileSync(new URL('../fixtures/metrics/metrics.json', import.meta.url), 'utf8'),
) as {
  components: {
    shape: number[];
    labels: string;
    largest: Record<string, { components: number; largest: number }[]>;
  };
};

/** Sizes of what a flood fill from each voxel of a label finds, and the voxels of the first largest. */
function flood(
  labels: Uint8Array,
  [nx, ny, nz]: readonly [number, number, number],
  label: number,
  connectivity: Connectivity,
): number[] {
  const seen = new Uint8Array(labels.length);
  let best: number[] = [];
  for (let start = 0; start < labels.length; start++) {
    if (labels[start] !== label || seen[start]) continue;
    const found = [start];
    seen[start] = 1;
    for (const at of found) {
      const [x, y, z] = [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
      for (let dz = -1; dz <= 1; dz++)
        for (let dy = -1; dy <= 1; dy++)
          for (let dx = -1; dx <= 1; dx++) {
            const steps = Math.abs(dx) + Math.abs(dy) + Math.abs(dz);
            if (steps > (connectivity === 6 ? 1 : 3)) continue;
            if (x + dx < 0 || x + dx >= nx || y + dy < 0 || y + dy >= ny || z + dz < 0 || z + dz >= nz)
              continue;
            const next = at + dx + nx * (dy + ny * dz);
            if (labels[next] === label && !seen[next]) {
              seen[next] = 1;
              found.push(next);
            }
          }
    }
    if (found.length > best.length) best = found;
  }
  return best;
}

test.each([6, 26] as const)(
  'the largest components by %i neighbours have the sizes that scipy finds',
  (connectivity) => {
    const labels = Uint8Array.from(fixture.labels, Number);
    const kept = largestComponents(labels, fixture.shape, { connectivity });
    for (const [index, { largest }] of fixture.largest[String(connectivity)]!.entries())
      expect(kept.filter((label) => label === index + 1)).toHaveLength(largest);
  },
);

test.each([6, 26] as const)('random maps by %i neighbours keep what a flood fill keeps', (connectivity) => {
  const r = random(8, 'components', connectivity);
  for (const shape of [
    [7, 6, 5],
    [1, 9, 8],
    [12, 1, 1],
    [5, 5, 1],
  ] as const)
    for (const density of [0.2, 0.45, 0.7]) {
      const labels = Uint8Array.from({ length: shape[0] * shape[1] * shape[2] }, () =>
        r.uniform() < density ? 1 + r.int(2) : 0,
      );
      const expected = new Uint8Array(labels.length);
      for (const label of [1, 2])
        for (const at of flood(labels, shape, label, connectivity)) expected[at] = label;
      expect(largestComponents(labels, shape, { connectivity })).toEqual(expected);
    }
});

test('only the classes asked for are cleaned', () => {
  const labels = Uint8Array.from([1, 0, 1, 1, 2, 0, 2, 2]);
  expect([...largestComponents(labels, [8, 1, 1], { classes: [2] })]).toEqual([1, 0, 1, 1, 0, 0, 2, 2]);
  expect([...largestComponents(labels, [8, 1, 1])]).toEqual([0, 0, 1, 1, 0, 0, 2, 2]);
});

test('cleaning is adopted only for classes whose mean Dice on validation rises', () => {
  const shape = [8, 1, 1];
  const prediction = Uint8Array.from([1, 0, 1, 1, 2, 0, 2, 2]);
  const truth = Uint8Array.from([0, 0, 1, 1, 2, 0, 2, 2]);
  const scores = componentDice(prediction, truth, shape, 4);
  const choice = choosePostprocessing([scores, { before: [1, 0.5, 0.5, NaN], after: [1, 0.5, 0.9, NaN] }], 4);
  // Class 1 rises from 0.8 to 1 in the first case; class 2 falls there by less than it rises in the second.
  expect(scores.before).toEqual([4 / 5, 4 / 5, 1, NaN]);
  expect(scores.after).toEqual([6 / 7, 1, 4 / 5, NaN]);
  expect(choice.largestComponent).toEqual([1, 2]);
  expect(choice.after[2]).toBeCloseTo((4 / 5 + 0.9) / 2);
  expect(choosePostprocessing([scores], 4).largestComponent).toEqual([1]);
  expect(choosePostprocessing([], 4).largestComponent).toEqual([]);
  expect([...postprocessed(prediction, shape, { largestComponent: [1] })]).toEqual([0, 0, 1, 1, 2, 0, 2, 2]);
  expect(postprocessed(prediction, shape, undefined)).toBe(prediction);
});

test('wrong shapes and connectivities are refused', () => {
  expect(() => largestComponents([1, 1], [3, 1, 1])).toThrow(InvalidVolume);
  expect(() => largestComponents([1, 1], [2, 1, 1], { connectivity: 18 as Connectivity })).toThrow(
    InvalidOption,
  );
});
