// Volumes of one place belong together in all 48 orders and directions of their axes (stored by nibabel:
// test/fixtures/geometry/make.py), near 45° too; what lies elsewhere is refused with its distance.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { checkDataset } from '../../src/data/check.ts';
import { cornerDistance, gridDifference, placeTolerance, turnedOnto } from '../../src/data/grid.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { fromArrays, prepareCase } from '../../src/data/prepare.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { random } from '../../src/data/random.ts';
import { canonicalTransform } from '../../src/data/volume.ts';
import { InvalidDataset, InvalidVolume } from '../../src/errors.ts';
import { evaluateCase, metricNames } from '../../src/metrics/evaluate.ts';
import { renderCase } from '../../src/report/render.ts';
import { make } from '../support/nifti.ts';

interface Stored {
  readonly shape: number[];
  readonly affine: number[];
  readonly data: string;
}
const fixtures = JSON.parse(
  readFileSync(new URL('../fixtures/geometry/orders.json', import.meta.url), 'utf8'),
) as { image: Stored; orders: (Stored & { code: string })[] };

const volume = ({ data, ...grid }: Stored) => ({ ...grid, data: Uint8Array.from(data, Number) });
const right = volume(fixtures.image);
const classes = 4;

test('there are 48 of them', () => {
  expect(new Set(fixtures.orders.map(({ code }) => code)).size).toBe(48);
});

describe.each(fixtures.orders)('labels stored as $code', (stored) => {
  const label = volume(stored);

  test('lie on the axes of their image', async () => {
    const read = await readNifti(await writeNifti(label), { onto: right });
    expect(read.shape).toEqual(right.shape);
    expect([...read.data]).toEqual([...right.data]);
    expect(cornerDistance(read, right)).toBeLessThan(1e-4); // float32 affines
  });

  test('prepare, score and draw as those that are stored as their image', async () => {
    // The image itself in another order than both.
    const other = fixtures.orders[(fixtures.orders.indexOf(stored) * 7 + 5) % 48]!;
    const item = async (image: Stored, of: typeof label) => ({
      id: 'a',
      subject: 'a',
      images: [await writeNifti({ ...volume(image), data: Float32Array.from(volume(image).data) })],
      label: await writeNifti(of),
    });
    const plain = { ...defaultPreprocessing(1), normalization: ['none'] as const };
    const prepared = await prepareCase(await item(other, label), plain, { classes });
    // Image and label hold the same values: where they lie over each other, they are equal.
    expect([...prepared.label!]).toEqual([...prepared.image]);
    expect([...prepared.label!]).toEqual([...right.data]);
    const arrays = ({ shape, ...rest }: typeof label) => ({ ...rest, dims: shape });
    expect(fromArrays('a', arrays(volume(other)), arrays(label), plain).label).toEqual(prepared.label);

    const prediction = { ...right, data: right.data.map((value, at) => (at % 7 === 0 ? 0 : value)) };
    const options = { classes, spacing: [1.5, 2, 3] };
    const expected = evaluateCase(right, prediction, options);
    expect(evaluateCase(right, label, { classes }).classes.map(({ dice }) => dice)).toEqual([1, 1, 1, 1]);
    // The truth in this order, the prediction not: distances along each axis come with its own spacing.
    const { spacing } = await readNifti(await writeNifti(label));
    const found = evaluateCase({ ...label, spacing }, prediction, { classes });
    expect(found.confusion).toEqual(expected.confusion);
    for (const [index, entry] of found.classes.entries())
      for (const metric of metricNames)
        expect(Math.abs((entry[metric] || 0) - (expected.classes[index]![metric] || 0))).toBeLessThan(1e-5);

    const image = { ...right, data: Float32Array.from(right.data, (_, at) => at) };
    const draw = (truth: typeof label) => renderCase({ name: 'a', image, truth }, 'png', { panel: 40 });
    expect(await draw(label)).toEqual(await draw(right));
  });
});

test('check and fingerprint see labels through the axes of their image', async () => {
  const cases = await Promise.all(
    [3, 17, 40].map(async (index) => {
      const image = volume(fixtures.orders[index - 3]!);
      return {
        id: `c${index}`,
        subject: `s${index}`,
        images: [await writeNifti({ ...image, data: Float32Array.from(image.data, (v) => v * index + 1) })],
        label: await writeNifti(volume(fixtures.orders[index]!)),
      };
    }),
  );
  const report = await checkDataset({
    name: 'orders',
    cases,
    labels: ['background', 'a', 'b', 'c'],
    channels: [],
    warnings: [],
  });
  expect(report.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  for (const [item, index] of report.cases.map((entry, i) => [entry, [3, 17, 40][i]!] as const)) {
    const under = new Set(item.foreground![0]);
    expect([...under].sort((a, b) => a - b)).toEqual([index + 1, 2 * index + 1, 3 * index + 1]);
    expect(item.orientation).toBe(fixtures.orders[index - 3]!.code);
  }
});

/** A turn by some degrees about z. */
function turnedBy(degrees: number): number[] {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return [c, -s, 0, 0, s, c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
}

test('two affines on both sides of 45° have other nearest axes, and are one place', () => {
  const [image, label] = [turnedBy(45.0001), turnedBy(44.9999)];
  expect(canonicalTransform(image)).not.toEqual(canonicalTransform(label));
  const shape = [16, 16, 4];
  const data = Uint8Array.from({ length: 1024 }, (_, at) => at % 3);
  for (const [a, b] of [
    [image, label],
    [label, image],
  ] as const) {
    const item = fromArrays(
      't',
      { data, dims: shape, affine: a },
      { data, dims: shape, affine: b },
      {
        ...defaultPreprocessing(1),
        normalization: ['none'],
      },
    );
    expect([...item.label!]).toEqual([...item.image]);
    const score = evaluateCase({ data, shape, affine: a }, { data, shape, affine: b }, { classes: 3 });
    expect(score.classes.map(({ dice }) => dice)).toEqual([1, 1, 1]);
  }
});

test('the nearest of the 48 ways is found for any affine, sheared and left-handed ones too', () => {
  const r = random(4, 'affines');
  for (let trial = 0; trial < 200; trial++) {
    const affine = Array.from({ length: 16 }, (_, at) =>
      at === 15 ? 1 : at > 11 ? 0 : r.uniform(-3, 3) + (at % 5 === 0 ? 4 : 0),
    );
    const order = fixtures.orders[r.int(48)]!;
    // As that order stores the fixture's grid, another affine's is stored: by the same step from voxel to voxel.
    const back = turnedOnto(order, fixtures.image);
    const stored = turnedOnto(fixtures.image, order);
    const steps = multiply(invert(fixtures.image.affine), stored.affine);
    const other = { shape: stored.shape, affine: multiply(affine, steps) };
    const found = turnedOnto(other, { shape: fixtures.image.shape, affine });
    expect([found.origin, found.strides]).toEqual([back.origin, back.strides]);
  }
});

function multiply(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: 16 }, (_, at) =>
    [0, 1, 2, 3].reduce((sum, k) => sum + a[(at >> 2) * 4 + k]! * b[k * 4 + (at & 3)]!, 0),
  );
}

/** Gauss and Jordan. */
function invert(matrix: readonly number[]): number[] {
  const rows = [0, 1, 2, 3].map((r) => [
    ...matrix.slice(4 * r, 4 * r + 4),
    ...[0, 1, 2, 3].map((c) => +(c === r)),
  ]);
  for (let column = 0; column < 4; column++) {
    const pivot = rows.slice(column).reduce((x, y) => (Math.abs(y[column]!) > Math.abs(x[column]!) ? y : x));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(
      column,
      0,
      pivot.map((value) => value / pivot[column]!),
    );
    rows.forEach((row, r) => {
      if (r !== column) rows[r] = row.map((value, i) => value - row[column]! * rows[column]![i]!);
    });
  }
  return rows.flatMap((row) => row.slice(4));
}

describe('how far apart is elsewhere', () => {
  const identity = turnedBy(0);
  const shape = [11, 21, 5];

  test('corners count, not entries: a turn moves them by what it moves', () => {
    // About the first voxel, by an angle of which the entries show less than a thousandth.
    const degrees = 0.05;
    const angle = (degrees * Math.PI) / 180;
    const large = [400, 300, 2];
    const expected = 2 * Math.sin(angle / 2) * Math.hypot(399, 299); // a chord
    expect(
      cornerDistance({ shape: large, affine: identity }, { shape: large, affine: turnedBy(degrees) }),
    ).toBeCloseTo(expected, 9);
    const data = new Uint8Array(240000);
    const scored = () =>
      evaluateCase(
        { data, shape: large, affine: identity },
        { data, shape: large, affine: turnedBy(degrees) },
        { classes: 2 },
      );
    expect(scored).toThrow(InvalidVolume);
    expect(scored).toThrow(`${expected.toFixed(2)} mm apart`);
  });

  test.each([0.002, 0.24, 0.26, 76])(
    'a shift by %f mm of voxels of 1 mm, wherever it is asked',
    async (mm) => {
      const moved = identity.with(3, mm);
      const isRefused = mm > placeTolerance;
      expect(gridDifference({ shape, affine: identity }, { shape, affine: moved })?.kind).toBe(
        isRefused ? 'place' : undefined,
      );
      const data = Uint8Array.from({ length: 11 * 21 * 5 }, (_, at) => at % 2);
      const [here, there] = [
        { data, shape, affine: identity },
        { data, shape, affine: moved },
      ] as const;
      const bytes = (of: typeof here) => writeNifti({ ...of, data: Float32Array.from(of.data) });
      const labelled = {
        id: 'a',
        subject: 'a',
        images: [await bytes(here)],
        label: await writeNifti(there),
      };
      const channels = { id: 'a', subject: 'a', images: [await bytes(here), await bytes(there)] };
      const words = new RegExp(`${mm.toFixed(mm < 10 ? 2 : 1)} mm apart`);
      const set = (cases: (typeof labelled | typeof channels)[]) => ({
        name: 'a',
        cases,
        labels: [],
        channels: [],
        warnings: [],
      });
      const attempts = [
        async () => prepareCase(labelled, defaultPreprocessing(1)),
        async () => prepareCase(channels, defaultPreprocessing(2)),
        () => Promise.resolve().then(() => evaluateCase(here, there, { classes: 2 })),
        async () => renderCase({ name: 'a', image: here, truth: there }, 'png'),
      ];
      for (const attempt of attempts)
        if (isRefused) await expect(attempt()).rejects.toThrow(words);
        else await expect(attempt()).resolves.toBeDefined();
      for (const item of [labelled, channels]) {
        const { problems } = await checkDataset(set([item]));
        const places = problems.filter(({ kind }) => kind === 'place');
        expect(places.map(({ severity }) => severity)).toEqual(isRefused ? ['error'] : []);
        for (const { message } of places) expect(message).toMatch(words);
      }
    },
  );

  test('an affine that is not finite is refused by name', async () => {
    const item = {
      id: 'a',
      subject: 'a',
      images: [make({ sform: { code: 1, rows: identity.slice(0, 12).with(1, NaN) } })],
    };
    await expect(prepareCase(item, defaultPreprocessing(1))).rejects.toThrow(
      /Case "a": the buffer: its affine has/,
    );
    expect(() => fromArrays('a', { data: [0], dims: [1, 1, 1], affine: identity.with(1, NaN) })).toThrow(
      /affine\[1\] is NaN; give a number/,
    );
  });

  test('shapes are told as they are stored', async () => {
    const flat = {
      data: new Float32Array(24),
      shape: [2, 3, 4],
      affine: [0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
    };
    const item = { id: 'a', subject: 'a', images: [await writeNifti(flat)] };
    const label = await writeNifti({ ...flat, data: new Uint8Array(12), shape: [2, 3, 2] });
    const prepared = prepareCase({ ...item, label }, defaultPreprocessing(1));
    await expect(prepared).rejects.toThrow(InvalidDataset);
    await expect(prepared).rejects.toThrow(/2 x 3 x 4, its label 2 x 3 x 2/);
  });
});
