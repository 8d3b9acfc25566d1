// Phantoms: repeatable, the same anatomy at any shape, and not solvable by position or intensity alone.
import { describe, expect, test } from 'vitest';
import { intensityClassifier, positionalPrior } from '../../src/metrics/phantom-baselines.ts';
import { phantom, phantomLabels, phantoms } from '../../src/data/phantom.ts';
import { InvalidDataset, InvalidOption } from '../../src/errors.ts';
import { dice, meanDefined } from '../../src/metrics/dice.ts';

const voxelsOf = (labels: Uint8Array, label: number) =>
  labels.reduce((n, value) => n + Number(value === label), 0);

describe('phantom', () => {
  test('repeats bit by bit, and differs between subjects and seeds', () => {
    const one = phantom(3, { seed: 5 });
    expect(phantom(3, { seed: 5 })).toEqual(one);
    expect(phantom(4, { seed: 5 }).labels).not.toEqual(one.labels);
    expect(phantom(3, { seed: 6 }).labels).not.toEqual(one.labels);
  });

  test('every subject has every class, in enough voxels to be learned', () => {
    for (const { labels } of phantoms(20))
      for (let label = 0; label < phantomLabels.length; label++)
        expect(voxelsOf(labels, label), phantomLabels[label]).toBeGreaterThanOrEqual(60);
  });

  test('another shape shows the same anatomy on the same field of view', () => {
    const coarse = phantom(1);
    const fine = phantom(1, { shape: [64, 64, 32] });
    for (let label = 0; label < phantomLabels.length; label++) {
      const ratio = voxelsOf(fine.labels, label) / 8 / voxelsOf(coarse.labels, label);
      expect(ratio, phantomLabels[label]).toBeGreaterThan(0.8);
      expect(ratio, phantomLabels[label]).toBeLessThan(1.25);
    }
    expect(coarse.spacing).toEqual([12.5, 12.5, 12.5]);
    expect(coarse.affine).toEqual([12.5, 0, 0, -193.75, 0, 12.5, 0, -193.75, 0, 0, 12.5, -93.75, 0, 0, 0, 1]);
    expect(phantom(0, { shape: [5, 6, 7], spacing: [1, 2, 3] }).affine).toEqual([
      1, 0, 0, -2, 0, 2, 0, -5, 0, 0, 3, -9, 0, 0, 0, 1,
    ]);
  });

  test('air carries Rician noise: its Rayleigh mean and deviation are in the ratio 1.913', () => {
    const { image } = phantom(0, { noise: 0.05 });
    const air = Array.from(image).filter((_, voxel) => voxel % 32 < 6 && Math.floor(voxel / 32) % 32 < 6); // a corner
    const mean = meanDefined(air);
    const deviation = Math.sqrt(meanDefined(air.map((value) => (value - mean) ** 2)));
    expect(Math.min(...image)).toBeGreaterThanOrEqual(0);
    expect(mean / deviation).toBeGreaterThan(1.75);
    expect(mean / deviation).toBeLessThan(2.0);
  });

  test.each([[[0, 4, 4]], [[4, 4.5, 4]], [[4, 4]]])('refuses the shape %j', (shape) => {
    expect(() => phantom(0, { shape: shape as [number, number, number] })).toThrow(InvalidOption);
  });
});

describe('baselines on the default phantoms', () => {
  const train = phantoms(24);
  const held = phantoms(12, { first: 1000 });
  const mean = (scores: number[][]) =>
    phantomLabels.map((_, label) => meanDefined(scores.map((s) => s[label]!)));

  test('the positional prior gets at most 0.5 on rectum and prostate', () => {
    const prior = positionalPrior(train);
    const scores = mean(held.map(({ labels }) => dice(prior, labels, 6)));
    expect(scores[1]).toBeGreaterThan(0.7); // it is a working prior: the body it finds
    expect(scores[4]).toBeLessThanOrEqual(0.5);
    expect(scores[5]).toBeLessThanOrEqual(0.5);
  });

  test('intensity alone gets at most 0.5 on rectum and prostate', () => {
    const classify = intensityClassifier(train);
    const scores = mean(held.map(({ image, labels }) => dice(classify(image), labels, 6)));
    expect(scores[1]).toBeGreaterThan(0.7);
    expect(scores[4]).toBeLessThanOrEqual(0.5);
    expect(scores[5]).toBeLessThanOrEqual(0.5);
  });

  test('both need at least one case, on one grid', () => {
    expect(() => positionalPrior([])).toThrow(InvalidDataset);
    expect(() => intensityClassifier([])).toThrow(InvalidDataset);
    expect(() => positionalPrior([phantom(0), phantom(1, { shape: [8, 8, 8] })])).toThrow(
      /16384 and 512 voxels/,
    );
  });
});
