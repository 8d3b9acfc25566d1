/** Prediction puts what was cropped and resampled back onto the file's own grid; the network is a stand-in. */
import { describe, expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import type { Preprocessing } from '../../src/data/preprocessing.ts';
import { readSources, segmentVolumes, type PredictOptions, type Segmenter } from '../../src/infer/predict.ts';
import { inPlanes } from '../support/planes.ts';

const preprocessing: Preprocessing = {
  orientation: 'RAS',
  crop: 'non-zero',
  spacing: null,
  normalization: ['none'],
  padding: 'zeros at the far end',
};

const predictVolume = async (model: Segmenter, bytes: Uint8Array, options?: PredictOptions) =>
  segmentVolumes(model, await readSources(bytes), options);

/** Two classes; the logit of the second is the image minus 1.5. Keeps the shapes it was asked for. */
function threshold(given: Partial<Preprocessing> = {}): Segmenter & { shapes: string[] } {
  const shapes: string[] = [];
  return {
    shapes,
    config: { inChannels: 1, classes: 2 },
    description: { preprocessing: { ...preprocessing, ...given } },
    planes: inPlanes(({ image, shape }) => {
      shapes.push(shape.join());
      const result = new Float32Array(2 * image.length);
      image.forEach((value, voxel) => (result[image.length + voxel] = value - 1.5));
      return result;
    }),
  };
}

// Stored with x to the left and z first: canonical axes are turned and flipped.
const affine = [0, 0, -2, 10, 0, 1, 0, 20, 3, 0, 0, 30, 0, 0, 0, 1];
const shape = [5, 6, 7] as const;
const at = (x: number, y: number, z: number) => (z * 6 + y) * 5 + x;
const data = new Float32Array(5 * 6 * 7);
for (const [x, y, z, value] of [
  [1, 2, 3, 1],
  [1, 2, 4, 2],
  [3, 4, 5, 3],
  [2, 3, 4, 1],
] as const)
  data[at(x, y, z)] = value;
const file = await writeNifti({ data, shape, affine });

describe('a cropped volume', () => {
  test('goes through the network as its box, and labels come back where they were', async () => {
    const model = threshold();
    const { labels } = await predictVolume(model, file);
    expect(model.shapes).toEqual(['3,3,3']);
    expect(labels.shape).toEqual([...shape]);
    expect(labels.affine).toEqual(affine);
    expect(labels.data).toEqual(Uint8Array.from(data, (value) => (value > 1.5 ? 1 : 0)));
  });

  test('is background outside the box, for certain', async () => {
    const { probabilities } = await predictVolume(threshold(), file, { output: 'probabilities' });
    const voxels = data.length;
    for (let z = 0; z < 7; z++)
      for (let y = 0; y < 6; y++)
        for (let x = 0; x < 5; x++) {
          const inside = x >= 1 && x < 4 && y >= 2 && y < 5 && z >= 3 && z < 6;
          const value = 1 / (1 + Math.exp(1.5 - data[at(x, y, z)]!));
          const expected = inside ? [1 - value, value] : [1, 0];
          const found = [0, 1].map((c) => probabilities!.data[c * voxels + at(x, y, z)]!);
          found.forEach((p, c) => expect(p).toBeCloseTo(expected[c]!, 6));
        }
  });

  test('has logits on the grid of the box, in space where the box is', async () => {
    const { logits } = await predictVolume(threshold(), file, { output: 'logits' });
    const bytes = await writeNifti({ ...logits!, data: logits!.data.subarray(27), shape: [3, 3, 3] });
    const [found, source] = [await readNifti(bytes), await readNifti(file, { canonical: true })];
    // The brightest voxel of both lies at one point.
    const place = (volume: typeof found) => {
      const voxel = volume.data.indexOf(Math.max(...volume.data));
      const [nx, ny] = [volume.shape[0]!, volume.shape[1]!];
      const index = [voxel % nx, Math.floor(voxel / nx) % ny, Math.floor(voxel / (nx * ny)), 1];
      return [0, 4, 8].map((row) => index.reduce((sum, n, i) => sum + volume.affine[row + i]! * n, 0));
    };
    expect(place(found)).toEqual(place(source));
  });

  test('resampled, keeps its labels to within a voxel', async () => {
    const model = threshold({ spacing: [1, 1, 1] });
    const { labels } = await predictVolume(model, file);
    expect(model.shapes).toEqual(['6,3,9']);
    expect(labels.data[at(3, 4, 5)]).toBe(1);
    expect(labels.data[at(0, 0, 0)]).toBe(0);
  });
});

test('a model that does not say how its images were prepared is not used in silence', async () => {
  const [told, silent] = [threshold({ spacing: [1, 1, 1] }), threshold()];
  expect((await predictVolume(told, file)).warnings).toEqual([]);
  expect((await predictVolume(silent, file)).warnings).toEqual([
    expect.stringMatching(/does not say at which spacing it was trained: .* its own, 2 x 1 x 3 mm/),
  ]);
  const { warnings } = await predictVolume({ ...silent, description: {} }, file);
  expect(warnings).toEqual([
    expect.stringMatching(
      /does not say how images were prepared for it: .* RAS, .*2 x 1 x 3 mm, .* z-scored/,
    ),
  ]);
});
