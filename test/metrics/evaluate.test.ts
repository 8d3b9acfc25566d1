/** Metrics against numpy and scipy (test/fixtures/metrics/make.py), bad input, and the summary. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { InvalidDataset, InvalidOption, InvalidVolume } from '../../src/errors.ts';
import { squaredDistances } from '../../src/metrics/distance.ts';
import { evaluateCase, metricNames, type MetricName } from '../../src/metrics/evaluate.ts';
import {
  compareDice,
  diceTable,
  metricsCsv,
  metricsJson,
  pairCases,
  summarise,
} from '../../src/metrics/summary.ts';

interface FixtureCase {
  name: string;
  shape: number[];
  spacing: number[];
  tolerance: number;
  truth: string;
  prediction: string;
  confusion: number[][];
  classes: Record<MetricName, number | null>[];
}
const fixtures = JSON.parse(
  readFileSync(new URL('../fixtures/metrics/metrics.json', import.meta.url), 'utf8'),
) as { cases: FixtureCase[]; sparse: FixtureCase[] };
const map = (digits: string, shape: number[]) => ({ data: Uint8Array.from(digits, Number), shape });

test.each([...fixtures.cases, ...fixtures.sparse])('$name agrees with scipy', (fixture) => {
  const { name, shape, spacing, tolerance, truth, prediction, confusion, classes } = fixture;
  const isSparse = fixtures.sparse.includes(fixture);
  const options = {
    ...{ classes: classes.length, spacing, tolerance, name, background: true },
    ...(isSparse && { ignore: 9 }),
  };
  const found = evaluateCase(map(truth, shape), map(prediction, shape), options);
  expect(found.confusion).toEqual(confusion);
  for (const [label, expected] of classes.entries())
    for (const metric of metricNames) {
      const [value, wanted] = [found.classes[label]![metric], expected[metric] ?? NaN];
      const isEqual = Number.isNaN(wanted)
        ? Number.isNaN(value)
        : Math.abs(value - wanted) <= 1e-12 * Math.max(1, Math.abs(wanted));
      expect(isEqual, `${metric} of class ${label} is ${value}, scipy has ${wanted}`).toBe(true);
    }
});

test('distances are exact against all pairs of voxels', () => {
  const r = random(3, 'distances');
  for (const [shape, density] of [
    [[9, 7, 5], 0.02],
    [[1, 8, 6], 0.1],
    [[6, 1, 1], 0.3],
    [[4, 5, 6], 0],
  ] as const) {
    const spacing = [r.uniform(0.2, 5), r.uniform(0.2, 5), r.uniform(0.2, 5)] as const;
    const [nx, ny, nz] = shape;
    const sites = Uint8Array.from({ length: nx * ny * nz }, () => (r.uniform() < density ? 1 : 0));
    const place = (at: number): number[] => [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
    const found = squaredDistances(sites, shape, spacing);
    found.forEach((square, at) => {
      let least = Infinity;
      sites.forEach((site, other) => {
        if (site === 0) return;
        const [a, b] = [place(at), place(other)];
        least = Math.min(
          least,
          a.reduce((sum, value, axis) => sum + ((value - b[axis]!) * spacing[axis]!) ** 2, 0),
        );
      });
      if (least === Infinity) expect(square).toBe(Infinity);
      else expect(Math.abs(square - least)).toBeLessThanOrEqual(1e-12 * Math.max(1, least));
    });
  }
});

const shape = [4, 4, 4];
const ones = Uint8Array.from({ length: 64 }, (_, index) => (index % 4 < 2 ? 1 : 0));
const truth = { data: ones, shape };

test('bad input has a message of its own', () => {
  const classes = ['background', 'organ'];
  const against =
    (prediction: Parameters<typeof evaluateCase>[1], options = {}) =>
    () =>
      evaluateCase(truth, prediction, { classes, name: 'p1', ...options });
  const withValue = (value: number) => ({
    data: Float32Array.from(ones, (label, at) => (at === 21 ? value : label)),
    shape,
  });
  expect(against({ data: new Uint8Array(32), shape: [4, 4, 2] })).toThrow(
    'p1: the prediction has 4 x 4 x 2 voxels, the truth 4 x 4 x 4',
  );
  expect(against({ data: new Uint8Array(32), shape })).toThrow('32 values for 4 x 4 x 4');
  expect(against({ data: new Float32Array(128), shape: [4, 4, 4, 2] })).toThrow(
    'p1: the prediction has 4 axes, 4 x 4 x 4 x 2, expected the three of a label map: it seems to hold probabilities',
  );
  expect(against({ data: ones, shape: [4, 4, 4, 1] })).not.toThrow();
  expect(against(withValue(NaN))).toThrow('p1: the prediction is NaN at voxel (1, 1, 1)');
  expect(against(withValue(0.25))).toThrow('the value 0.25 at voxel (1, 1, 1), but the classes are 0 to 1');
  expect(against(withValue(2))).toThrow(InvalidVolume);
  const mask = { data: ones.map((value) => 255 * value), shape };
  expect(against(mask)).toThrow(/the value 255 at voxel .*but the classes are 0 to 1: save 255 as 1/);
  expect(against(truth, { spacing: [1, 0, 1] })).toThrow(InvalidOption);
  expect(against(truth, { tolerance: -1 })).toThrow(InvalidOption);
  expect(against(truth, { classes: 1 })).toThrow(InvalidOption);
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const moved = { data: ones, shape, affine: affine.with(3, 5) };
  expect(() => evaluateCase({ ...truth, affine }, moved, { classes })).toThrow(
    'case: the prediction and the truth lie up to 5.00 mm apart',
  );
  expect(evaluateCase({ ...truth, affine }, { ...moved, affine }, { classes }).classes[1]!.dice).toBe(1);
});

test('a class in only one map is noted, and counted in the summary', () => {
  const options = { classes: ['background', 'organ'] };
  const missed = evaluateCase(truth, { data: new Uint8Array(64), shape }, { ...options, name: 'a' });
  const found = evaluateCase(truth, truth, { ...options, name: 'b' });
  expect(missed.notes).toEqual([
    'a: "organ" (class 1) is in the truth but not in the prediction: Dice 0, distances not defined.',
  ]);
  expect(found.notes).toEqual([]);
  const summary = summarise([missed, found]);
  expect(summary.classes[1]!.dice).toMatchObject({ mean: 0.5, defined: 2, missing: 0 });
  expect(summary.classes[1]!.hd95).toMatchObject({ mean: 0, defined: 1, missing: 1 });
  expect(summary.confusion).toEqual([
    [64, 0],
    [32, 32],
  ]);
  expect(summary.notes).toEqual(missed.notes);
});

test('predictions are compared over the same classes of the same cases, also where one of them rightly finds none', () => {
  const cases = (...pairs: readonly (readonly [truth: string, prediction: string])[]) =>
    pairs.map(([truth, prediction]) =>
      evaluateCase(map(truth, [4, 1, 1]), map(prediction, [4, 1, 1]), { classes: 3, name: truth }),
    );
  // Class 1 has 2 * 1 / (2 + 1) each time; class 2 is found where there is none of it; the last is empty throughout.
  const found = cases(['0110', '0102'], ['0000', '0002'], ['0000', '0000']);
  const none = cases(['0110', '0100'], ['0000', '0000'], ['0000', '0000']);
  const { sets, rightlyEmpty } = compareDice([found, none]);
  const [less, most] = [(2 / 3 / 2 + 0) / 2, ((2 / 3 + 1) / 2 + 1) / 2];
  expect(rightlyEmpty).toBe(2);
  expect(sets.map(({ dice }) => dice)).toEqual([expect.closeTo(less, 12), expect.closeTo(most, 12)]);
  expect(sets[0]!.less).toMatchObject({ mean: expect.closeTo(most - less, 12) as number, defined: 2 });
  expect(sets[1]!.less).toBeUndefined();
  // Where none finds what is not there, only what is there counts.
  expect(compareDice([none, none])).toMatchObject({
    sets: [{ dice: expect.closeTo(2 / 3, 12) as number }, { less: { mean: 0, defined: 1 } }],
    rightlyEmpty: 0,
  });
});

test('the bootstrap interval covers the mean as often as it says, and repeats with its seed', () => {
  const r = random(11, 'coverage');
  const empty = evaluateCase(truth, truth, { classes: 2 });
  const trials = 300;
  let covered = 0;
  for (let trial = 0; trial < trials; trial++) {
    const cases = Array.from({ length: 30 }, () => ({
      ...empty,
      classes: [empty.classes[0]!, { ...empty.classes[1]!, dice: r.normal(0.8, 0.05) }],
    }));
    const { low, high, mean } = summarise(cases, { seed: trial, resamples: 200 }).classes[1]!.dice;
    expect(low).toBeLessThan(mean);
    expect(high).toBeGreaterThan(mean);
    if (low <= 0.8 && 0.8 <= high) covered++;
  }
  const cases = [0.2, 0.5, 0.9].map((dice) => ({ ...empty, classes: [{ ...empty.classes[0]!, dice }] }));
  expect(summarise(cases, { seed: 4 })).toEqual(summarise(cases, { seed: 4 }));
  expect(summarise(cases, { seed: 4, resamples: 50 })).not.toEqual(
    summarise(cases, { seed: 5, resamples: 50 }),
  );
  // A 95 % percentile bootstrap of 30 cases covers about 93 %.
  expect(covered / trials).toBeGreaterThan(0.88);
  expect(covered / trials).toBeLessThan(0.99);
});

test('CSV, JSON and the table hold the same figures', () => {
  const prediction = { data: ones.map((label, at) => (at < 16 ? 0 : label)), shape };
  const cases = ['=1+1', 'a,"b"'].map((name) => evaluateCase(truth, prediction, { classes: 3, name }));
  const labels = ['background', 'organ', 'absent'];
  const lines = metricsCsv(cases, labels).trimEnd().split('\n');
  expect(lines).toHaveLength(1 + 2 * 3);
  expect(lines[2]).toMatch(/^"'=1\+1",1,organ,0.857142857/);
  expect(lines[6]).toMatch(/^"a,""b""",2,absent,NaN,/);
  const summary = summarise(cases);
  const json = JSON.parse(metricsJson(cases, summary, { labels, tolerance: 2 })) as {
    units: { nsdToleranceMillimetres: number };
    summary: { classes: Record<string, Record<string, { mean: number | null }>> };
    cases: { classes: Record<string, Record<string, number | null>> }[];
  };
  expect(json.units.nsdToleranceMillimetres).toBe(2);
  expect(json.summary.classes['organ']!['dice']!.mean).toBe(24 / 28);
  expect(json.summary.classes['absent']!['dice']!.mean).toBeNull();
  expect(json.cases[0]!.classes['organ']!['hd95']).toBe(cases[0]!.classes[1]!.hd95);
  expect(diceTable(summary, labels)).toMatch(/organ +0\.857 +0\.857 to 0\.857 /);
  expect(diceTable(summary, labels)).toMatch(/absent +– /);
});

test('predictions and truths are paired by name, and what is missing is named', () => {
  const files = (...names: string[]) => names.map((name) => ({ name, source: name }));
  expect(pairCases(files('out/a.nii.gz', 'b.nii'), files('b.nii.gz', 'labels/a.nii'))).toEqual([
    { name: 'b', prediction: 'b.nii', truth: 'b.nii.gz' },
    { name: 'a', prediction: 'out/a.nii.gz', truth: 'labels/a.nii' },
  ]);
  expect(() => pairCases(files('a.nii'), files('a.nii', 'b.nii'))).toThrow(
    '1 of 2 cases have no prediction: b.',
  );
  expect(() => pairCases(files('a.nii', 'c.nii'), files('a.nii'))).toThrow(
    '1 of 2 predictions have no truth: c.',
  );
  expect(() => pairCases(files('a.nii', 'a.nii.gz'), files('a.nii'))).toThrow('two predictions called "a"');
  expect(() => pairCases([], [])).toThrow(InvalidDataset);
  expect(() => summarise([])).toThrow(InvalidDataset);
});

test.each([255, 3, 0])('unknown voxels of value %i count in no metric, whatever lies there', (ignore) => {
  const r = random(7, 'unknown');
  const sizes = [7, 6, 5];
  const draw = () => Uint8Array.from({ length: 210 }, () => r.int(3));
  const known = Uint8Array.from({ length: 210 }, () => (r.uniform() < 0.6 ? 1 : 0));
  const marked = draw().map((value, at) => (known[at] ? (value === ignore ? 1 : value) : ignore));
  const given = draw();
  const of = (prediction: Uint8Array) =>
    evaluateCase(
      { data: marked, shape: sizes },
      { data: prediction, shape: sizes },
      {
        classes: 3,
        spacing: [1, 2, 5],
        background: true,
        ignore,
      },
    );
  const found = of(given);
  // By plain loops over the known voxels.
  for (const label of [0, 1, 2]) {
    let [both, inTruth, inPrediction] = [0, 0, 0];
    for (let at = 0; at < 210; at++) {
      if (!known[at]) continue;
      const [t, p] = [marked[at] === label, given[at] === label];
      both += +(t && p);
      inTruth += +t;
      inPrediction += +p;
    }
    const { dice, truthVolume, predictionVolume } = found.classes[label]!;
    expect(dice).toBeCloseTo((2 * both) / (inTruth + inPrediction), 12);
    expect([truthVolume, predictionVolume]).toEqual([inTruth / 100, inPrediction / 100]);
  }
  expect(found.confusion.flat().reduce((a, b) => a + b)).toBe(known.reduce((a, b) => a + b));
  for (const other of [draw(), draw()])
    expect(of(given.map((value, at) => (known[at] ? value : other[at]!)))).toEqual(found);
  // A prediction may be unknown where the truth is, and nowhere else.
  if (ignore > 2) {
    expect(of(given.map((value, at) => (known[at] ? value : ignore)))).toEqual(found);
    expect(() => of(given.map(() => ignore))).toThrow(/unknown at voxel .* where the truth is known/);
  }
});

test('a value of unknown voxels that no byte holds is refused', () => {
  for (const ignore of [256, -1, 1.5])
    expect(() => evaluateCase(truth, truth, { classes: 2, ignore })).toThrow(InvalidOption);
});

test('a voxel of a scan with a tilted gantry is smaller than its sides multiplied', () => {
  const tilt = (20 * Math.PI) / 180;
  // Slices 3 mm apart along a direction that is 20 degrees off their normal.
  const affine = [1, 0, 0, 0, 0, 1, 3 * Math.sin(tilt), 0, 0, 0, 3 * Math.cos(tilt), 0, 0, 0, 0, 1];
  const volume = { ...map('0011', [2, 2, 1]), spacing: [1, 1, 3], affine };
  const { classes } = evaluateCase(volume, volume, { classes: 2 });
  expect(classes[1]!.truthVolume).toBeCloseTo((2 * 3 * Math.cos(tilt)) / 1000, 12);
  const straight = { ...volume, affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1] };
  expect(evaluateCase(straight, straight, { classes: 2 }).classes[1]!.truthVolume).toBe(0.006);
});

test('distances are in millimetres of the affine where no spacing is told', () => {
  const [shape, affine] = [
    [1, 1, 4],
    [0.8, 0, 0, 0, 0, 0.8, 0, 0, 0, 0, 5, 0, 0, 0, 0, 1],
  ] as const;
  const of = (digits: string) => ({ data: Uint8Array.from(digits, Number), shape, affine });
  const [, found] = evaluateCase(of('0110'), of('0111'), { classes: 2 }).classes;
  expect(found).toMatchObject({ hd95: 4.5, nsd: 0.8 }); // distances 0, 0 and 0, 0, 5 mm
});

test('intervals are over subjects: cases of one person, all alike, tell no more than one of them', () => {
  const empty = evaluateCase(truth, truth, { classes: 2 });
  const named = (dice: number) => ({
    ...empty,
    classes: [empty.classes[0]!, { ...empty.classes[1]!, dice }],
  });
  const single = [0.5, 0.6, 0.75, 0.8, 0.9].map(named);
  const eightEach = single.flatMap((entry) => Array.from({ length: 8 }, () => entry));
  const subjects = eightEach.map((_, at) => `person ${Math.floor(at / 8)}`);
  const of = (cases: typeof single, options = {}) => summarise(cases, options).classes[1]!.dice;
  const [few, many] = [of(single), of(eightEach, { subjects })];
  for (const end of ['low', 'high'] as const) expect(many[end]).toBeCloseTo(few[end], 12);
  expect(many).toMatchObject({ defined: 40, missing: 0 });
  const { low, high } = of(eightEach);
  expect(high - low).toBeLessThan((many.high - many.low) / 2);
  expect(summarise(eightEach, { subjects })).toMatchObject({ cases: 40, subjects: 5 });
  expect(of(eightEach.slice(0, 8), { subjects: subjects.slice(0, 8) }).low).toBeNaN(); // one person
  // Of others, nothing is told: they have no such class.
  const others = eightEach.map((entry, at) => (at < 8 ? entry : named(NaN)));
  expect(of(others, { subjects })).toMatchObject({ mean: 0.5, low: NaN, high: NaN, defined: 8 });
  expect(() => summarise(single, { subjects })).toThrow(/subjects has 40 entries for 5 cases/);

  const worse = eightEach.map((entry, at) => named(entry.classes[1]!.dice - (at < 8 ? -0.01 : 0.05)));
  const lessOf = (told?: readonly string[]) => compareDice([eightEach, worse], told).sets[1]!.less!;
  expect(lessOf(subjects).low).toBeLessThan(lessOf().low);
});
