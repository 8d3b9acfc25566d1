/**
 * Labels that are nearly whole numbers, as nibabel writes arrays of floats into scaled integers (value = slope · stored
 * + intercept in float32, slope = (largest − smallest) / 65535): they count as the numbers that were meant, everywhere.
 */
import { expect, test } from 'vitest';
import { countValues } from '../../src/data/case-facts.ts';
import { checkDataset } from '../../src/data/check.ts';
import { pairDataset } from '../../src/data/dataset.ts';
import { highestLabel } from '../../src/data/label-values.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { checkedLabels } from '../../src/data/prepare-checks.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { evaluateCase } from '../../src/metrics/evaluate.ts';
import { mapsOver } from '../../src/report/render.ts';
import '../support/files.ts';

const shape = [4, 4, 4];
const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const meant = Uint8Array.from({ length: 64 }, (_, i) => [0, 1, 2, 7][i % 4]!);
const slope = 7 / 65535;
const stored = Float32Array.from(meant, (value) => Math.fround(slope) * Math.round(value / slope));

test('training, counts, metrics and pictures take them as what was meant', () => {
  expect([...stored]).not.toEqual([...meant]);
  expect(checkedLabels('a', stored, { classes: 3, ignoreLabel: 7 })).toEqual(
    meant.map((value) => (value === 7 ? 255 : value)),
  );
  expect(
    highestLabel(
      Float32Array.from(meant, (value) => value * 0.9999),
      7,
    ),
  ).toBe(2);
  expect(countValues(stored, 7)).toEqual(countValues(meant, 7));
  const image = { data: new Float32Array(64), dims: shape };
  expect(fromArrays('a', image, { data: stored, dims: shape }).label).toEqual(meant);
  const map = (data: ArrayLike<number>) => ({ data, shape, affine });
  const options = { classes: 8 };
  expect(evaluateCase(map(stored), map(stored), options)).toEqual(
    evaluateCase(map(meant), map(meant), options),
  );
  const grid = { data: new Float32Array(64), shape: [4, 4, 4] as const, affine };
  const drawn = (data: Float32Array) =>
    mapsOver({ name: 'a', image: grid, truth: { data, shape: [4, 4, 4] } }).truth;
  expect(drawn(stored)).toEqual(drawn(Float32Array.from(meant)));
});

test('check says so, and refuses what is no label', async () => {
  const files = async (labels: Float32Array) => {
    const file = (data: Float32Array) => writeNifti({ data, shape, affine });
    const [image, label] = [await file(Float32Array.from(meant, (v, i) => v + i)), await file(labels)];
    return pairDataset([{ path: 'a.nii.gz', source: image }], [{ path: 'a.nii.gz', source: label }]);
  };
  const of = async (labels: Float32Array) =>
    (await checkDataset(await files(labels))).problems.filter(({ kind }) => kind === 'label values');
  expect(await of(stored)).toMatchObject([
    { severity: 'warning', message: expect.stringMatching(/such as .*count as the whole numbers/) as string },
  ]);
  expect(await of(Float32Array.from(meant))).toEqual([]);
  expect(await of(Float32Array.from(meant, (value) => value * 0.9))).toMatchObject([{ severity: 'error' }]);
});
