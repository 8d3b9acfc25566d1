// The turn to canonical axes: every one of the 48 orientations, oblique and sheared, there and back.
import { expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { random } from '../../src/data/random.ts';
import {
  canonicalTransform,
  fromCanonical,
  orientation,
  spacingOf,
  toCanonical,
  type Volume,
} from '../../src/data/volume.ts';
import { InvalidVolume } from '../../src/errors.ts';

const permutations = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;
const letters = ['LR', 'PA', 'IS'];

/** All 48 ways to lay axes, each with its code, slightly sheared and rotated. */
const all = permutations.flatMap((axes) =>
  Array.from({ length: 8 }, (_, mirrored) => {
    const affine = [0.03, -0.02, 0.04, -31, 0.02, 0.05, -0.03, 17, -0.05, 0.01, 0.02, 5, 0, 0, 0, 1];
    let code = '';
    axes.forEach((row, column) => {
      const sign = (mirrored >> column) & 1 ? -1 : 1;
      affine[4 * row + column] = sign * (column + 1.5);
      code += letters[row]![sign < 0 ? 0 : 1]!;
    });
    return { code, affine };
  }),
);

const shape = [3, 4, 5, 2];

/** A value that tells where in space a voxel lies (in whole micrometres), and which volume of a series it is of. */
function where(affine: readonly number[], voxel: readonly number[]): number {
  const mm = [0, 4, 8].map(
    (row) =>
      affine[row]! * voxel[0]! +
      affine[row + 1]! * voxel[1]! +
      affine[row + 2]! * voxel[2]! +
      affine[row + 3]!,
  );
  return Math.fround(mm[0]! + 100 * mm[1]! + 1e4 * mm[2]! + 7 * voxel[3]!);
}

function filled(sizes: readonly number[], affine: readonly number[]): Float32Array {
  const [nx, ny, nz, nt] = sizes as [number, number, number, number];
  const data = new Float32Array(nx * ny * nz * nt);
  let i = 0;
  for (let t = 0; t < nt; t++)
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) data[i++] = where(affine, [x, y, z, t]);
  return data;
}

const volume = (affine: number[]): Volume => ({
  data: filled(shape, affine),
  shape,
  affine,
  spacing: spacingOf(affine),
  header: {} as Volume['header'],
});

test.each(all)('$code becomes RAS, every voxel stays in its place, and back', ({ code, affine }) => {
  const source = volume(affine);
  expect(orientation(affine)).toBe(code);
  const canonical = toCanonical(source);
  expect(orientation(canonical.affine)).toBe('RAS');
  const expected = filled(canonical.shape, canonical.affine);
  canonical.data.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(0.05));
  expect([...canonical.spacing].sort()).toEqual([...source.spacing].sort());
  expect(fromCanonical(canonical.data, source)).toEqual(source.data);
  const labels = Uint8Array.from(canonical.data, (value) => Math.abs(Math.round(value)) % 256);
  expect(fromCanonical(labels, source)).toEqual(
    Uint8Array.from(source.data, (value) => Math.abs(Math.round(value)) % 256),
  );
});

test.each(all)(
  '$code in sizes that no tile divides: voxels move as plain loops move them',
  async ({ affine }) => {
    const [nx, ny, nz] = [19, 33, 17];
    const data = Float32Array.from({ length: nx * ny * nz }, (_, i) => i);
    const { axes, flips } = canonicalTransform(affine);
    const canonical = toCanonical({ ...volume(affine), data, shape: [nx, ny, nz] });
    const steps = [1, nx, nx * ny];
    const expected: number[] = [];
    const at = (i: number, n: number): number =>
      steps[axes[i]!]! * (flips[i] ? [nx, ny, nz][axes[i]!]! - 1 - n : n);
    const [cx, cy, cz] = canonical.shape as [number, number, number];
    for (let z = 0; z < cz; z++)
      for (let y = 0; y < cy; y++) for (let x = 0; x < cx; x++) expected.push(at(0, x) + at(1, y) + at(2, z));
    expect([...canonical.data]).toEqual(expected);

    // Read as canonical, it is turned while it is decoded; here two volumes in a row.
    const series = Float32Array.from({ length: 2 * data.length }, (_, i) => i);
    const file = await writeNifti({ data: series, shape: [nx, ny, nz, 2], affine }, { gzip: false });
    const read = await readNifti(file, { canonical: true });
    expect(read.shape).toEqual([cx, cy, cz, 2]);
    expect([...read.data]).toEqual([...expected, ...expected.map((i) => i + data.length)]);
  },
);

test('canonicalTransform tells the old axis behind each new one', () => {
  // x runs to the back, y upwards, z to the right
  const affine = [0, 0, 2, 0, -3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1];
  expect(orientation(affine)).toBe('PSR');
  expect(canonicalTransform(affine)).toEqual({ axes: [2, 0, 1], flips: [false, true, false] });
});

test('each canonical axis is taken once, however oblique the affine', () => {
  const next = random(3);
  for (let trial = 0; trial < 200; trial++) {
    const affine = [...Array.from({ length: 12 }, () => next.uniform() * 4 - 2), 0, 0, 0, 1];
    expect([...canonicalTransform(affine).axes].sort()).toEqual([0, 1, 2]);
  }
});

test('an affine of zeros or without depth still gives an order; one with NaN is refused', () => {
  const flat = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  expect(orientation(flat)).toBe('RAS');
  expect(spacingOf(flat)).toEqual([2, 2, 1]);
  expect(() => orientation([NaN, ...flat.slice(1)])).toThrow(InvalidVolume);
});

test('an array that does not fill the grid is refused', () => {
  expect(() => fromCanonical(new Float32Array(61), { shape: [3, 4, 5], affine: all[7]!.affine })).toThrow(
    /61 values do not fill a grid of/,
  );
});
