/** Scores of regions against plain loops over sets of labels, and their post-processing. */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import { chooseRegionPostprocessing, postprocessed } from '../../src/metrics/components.ts';
import { evaluateCase, evaluateRegions } from '../../src/metrics/evaluate.ts';
import { regionDice } from '../../src/metrics/region-dice.ts';
import { summarise } from '../../src/metrics/summary.ts';

const regions = [
  { name: 'whole', labels: [1, 2, 3], written: 1 },
  { name: 'core', labels: [2, 3], written: 2 },
  { name: 'rim', labels: [1, 3], written: 3 },
];
const shape = [6, 5, 4];
const draw = random(3, 'regions');
const map = (most: number) => Uint8Array.from({ length: 120 }, () => draw.int(most + 1));
const [truth, prediction] = [map(3), map(3)];

/** 2|A and B| / (|A| + |B|) over the voxels that are known. */
function overlap(isIn: (label: number) => boolean, known: (voxel: number) => boolean) {
  let [both, either] = [0, 0];
  for (let voxel = 0; voxel < truth.length; voxel++) {
    if (!known(voxel)) continue;
    const [t, p] = [isIn(truth[voxel]!), isIn(prediction[voxel]!)];
    both += Number(t && p);
    either += Number(t) + Number(p);
  }
  return (2 * both) / either;
}
const sets = [
  (label: number) => label === 0,
  ...regions.map(
    ({ labels }) =>
      (label: number) =>
        labels.includes(label),
  ),
];

test('Dice of sets of labels; unknown voxels take no part', () => {
  const unknown = truth.map((label, voxel) => (voxel % 7 === 0 ? 255 : label));
  for (const [given, known] of [
    [truth, () => true],
    [unknown, (voxel: number) => voxel % 7 !== 0],
  ] as const) {
    const wanted = sets.map((isIn) => overlap(isIn, known));
    regionDice(prediction, given, regions).forEach((dice, at) => expect(dice).toBeCloseTo(wanted[at]!, 12));
  }
  const nothing = new Uint8Array(4);
  expect(regionDice(nothing, nothing, regions)).toEqual([1, NaN, NaN, NaN]);
});

test('all metrics of a region are those of its mask; what is unknown or no label is seen', () => {
  const volume = (data: ArrayLike<number>) => ({ data, shape, spacing: [1, 2, 3] });
  const marked = truth.map((label, voxel) => (voxel % 9 === 0 ? 4 : label));
  const found = evaluateRegions(volume(marked), volume(prediction), {
    classes: 4,
    regions,
    ignore: 4,
    name: 'a',
  });
  expect(found.classes.map(({ dice }) => dice)).toEqual(
    sets.map((isIn): unknown => {
      const wanted = overlap(isIn, (voxel) => voxel % 9 !== 0);
      return expect.closeTo(wanted, 12);
    }),
  );
  regions.forEach(({ labels }, at) => {
    const mask = (data: Uint8Array) =>
      data.map((label) => (label === 4 ? 4 : Number(labels.includes(label))));
    const alone = evaluateCase(volume(mask(marked)), volume(mask(prediction)), { classes: 2, ignore: 4 });
    expect(found.classes[at + 1]).toEqual(alone.classes[1]);
  });
  expect(found.confusion).toEqual([]);
  expect(summarise([found, found]).foreground.dice.mean).toBeCloseTo(
    found.classes.slice(1).reduce((sum, { dice }) => sum + dice, 0) / 3,
    12,
  );
  const refused = (data: Uint8Array, classes: number) => () =>
    evaluateRegions(volume(truth), volume(data), { classes, regions });
  expect(
    refused(
      prediction.map((label) => label + 1),
      4,
    ),
  ).toThrow(InvalidVolume);
  expect(refused(prediction, 3)).toThrow(InvalidOption);
  const empty = volume(new Uint8Array(120));
  expect(evaluateRegions(volume(truth), empty, { classes: 4, regions, name: 'a' }).notes).toEqual(
    regions.map(({ name }) => expect.stringContaining(`the region "${name}" is in the truth`) as string),
  );
});

test('a region keeps its largest component where that helps, one region after another', async () => {
  // Along x: a whole with a core, and an island of core that is wrong; an island of rim that is right.
  const line = { shape: [12, 1, 1] };
  const right = Uint8Array.from([1, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const island = Uint8Array.from([1, 2, 2, 1, 0, 0, 2, 0, 0, 0, 0, 0]);
  const parts = regions.slice(0, 2);
  const choice = await chooseRegionPostprocessing(
    (look) => [look({ ...line, prediction: island, truth: right })],
    parts,
  );
  // The island goes with the whole; nothing is left that the core would gain.
  expect(choice.largestComponent).toEqual([1]);
  expect(choice.before[1]).toBeCloseTo(8 / 9, 12);
  expect(choice.after[1]).toBe(1);
  expect([...postprocessed(island, line.shape, choice, parts)]).toEqual([...right]);
  const split = Uint8Array.from([1, 2, 2, 1, 0, 0, 2, 2, 0, 0, 0, 0]);
  const kept = await chooseRegionPostprocessing(
    (look) => [look({ ...line, prediction: split, truth: split })],
    parts,
  );
  expect(kept.largestComponent).toEqual([]);
});
