/** Entropies of probabilities and where they are largest, beside scipy's and nibabel's; the network is a stand-in. */
import { expect, test } from 'vitest';
import { writeNifti } from '../../src/data/nifti.ts';
import type { Region } from '../../src/data/regions.ts';
import type { PredictOptions } from '../../src/infer/predict.ts';
import { readSources, segmentVolumes, withUncertainty, type Segmenter } from '../../src/infer/predict.ts';
import type { Uncertainty } from '../../src/infer/uncertainty.ts';
import { inPlanes } from '../support/planes.ts';
import fixture from '../fixtures/uncertainty/uncertainty.json';

const { image, shape, affine, slopes, ramps, expected } = fixture;
const file = await writeNifti({ data: Float32Array.from(image), shape, affine });

/** Logits slope · voxel + ramp · place along x, as the fixture has them. */
function network(regions?: readonly Region[]): Segmenter {
  return {
    config: { inChannels: 1, classes: 3 },
    description: {
      preprocessing: {
        orientation: 'RAS',
        spacing: null,
        normalization: ['none'],
        padding: 'zeros at the far end',
      },
      regions,
    },
    planes: inPlanes(({ image: given, shape: [nx] }) =>
      Float32Array.from({ length: 3 * given.length }, (_, i) => {
        const [head, voxel] = [Math.floor(i / given.length), i % given.length];
        return slopes[head]! * given[voxel]! + ramps[head]! * (voxel % nx);
      }),
    ),
  };
}
const regions = ['a', 'b', 'c'].map((name, i): Region => ({ name, labels: [i + 1], written: i + 1 }));
const segment = async (options: PredictOptions, of?: readonly Region[]) =>
  segmentVolumes(network(of), await readSources(file), options);

function expectFacts(
  found: Uncertainty | undefined,
  { values, ...facts }: (typeof expected)['classes'],
): void {
  const { volume, mean, millimetres, ...places } = found!;
  expect(volume).toMatchObject({ shape, affine });
  values.forEach((value, at) => expect(volume.data[at]).toBeCloseTo(value, 5));
  expect(mean).toBeCloseTo(facts.mean, 5);
  expect(places).toEqual({ slices: facts.slices, voxel: facts.voxel });
  millimetres.forEach((mm, axis) => expect(mm).toBeCloseTo(facts.millimetres[axis]!, 3));
}

test('of classes, of the mean of mirrorings, and of regions, on the grid of the file', async () => {
  expectFacts((await segment({ uncertainty: true })).uncertainty, expected.classes);
  expectFacts((await segment({ uncertainty: true, output: 'logits' })).uncertainty, expected.classes);
  const mirrored = await segment({ uncertainty: true, mirrorAxes: ['x'] });
  expectFacts(mirrored.uncertainty, expected.mirrored);
  expectFacts((await segment({ uncertainty: true }, regions)).uncertainty, expected.regions);
  expect((await segment({})).uncertainty).toBeUndefined();
});

test('from probabilities that are there already, which stay if they were asked for', async () => {
  const given = await segment({ output: 'probabilities' });
  const kept = withUncertainty(given, { classes: 3 }, 'probabilities');
  expectFacts(kept.uncertainty, expected.classes);
  expect(kept.probabilities).toBe(given.probabilities);
  expect(withUncertainty(given, { classes: 3 }, 'labels').probabilities).toBeUndefined();
  const ofRegions = await segment({ output: 'probabilities' }, regions);
  expectFacts(withUncertainty(ofRegions, { classes: 3, regions }, undefined).uncertainty, expected.regions);
});
