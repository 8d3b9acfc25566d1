/** From logits to labels on the file's grid, against nnU-Net's own and against the whole stack of logits. */
import { describe, expect, test } from 'vitest';
import '../../../src/data/source.node.ts';
import { readNifti } from '../../../src/data/nifti.ts';
import { resampleTo } from '../../../src/data/preprocess.ts';
import { fromCanonical, type Grid } from '../../../src/data/volume.ts';
import { random } from '../../../src/data/random.ts';
import { argmax } from '../../../src/infer/probabilities.ts';
import { PlaneReducer } from '../../../src/interop/nnunet/pipeline/labels-of-planes.ts';
import { readImage } from '../../../src/interop/nnunet/pipeline/image.ts';
import { nnunetInput } from '../../../src/interop/nnunet/pipeline/preprocess.ts';
import { labelsOfPlanes } from '../../../src/interop/nnunet/pipeline/segment.ts';
import type { NnunetPlans } from '../../../src/interop/nnunet/plans.ts';
import type { Size3 } from '../../../src/size.ts';
import { fixtureNames, missing, nnunetFixture } from '../../support/nnunet.ts';

/**
 * The fixture's [head][z][y][x] of what the reader gave; of a reader that turns images to RAS they are turned back.
 */
function asInFile(values: Float32Array, grid: Grid, { reader }: NnunetPlans): Float32Array {
  return reader === 'NibabelIOWithReorient' ? fromCanonical(values, grid) : values;
}

/** Planes [head][y][x] of [head][z][y][x]. */
function* planesOf(logits: Float32Array, heads: number, [x, y, z]: Size3): Generator<Float32Array> {
  const area = x * y;
  for (let plane = 0; plane < z; plane++) {
    const result = new Float32Array(heads * area);
    for (let head = 0; head < heads; head++) {
      const start = (head * z + plane) * area;
      result.set(logits.subarray(start, start + area), head * area);
    }
    yield result;
  }
}

describe('as the whole stack gives them', () => {
  const from: Size3 = [9, 7, 6];
  const heads = [0, 1, 2, 3].map((written) => ({ name: `${written}`, labels: [written], written }));
  const source = random(4, 'logits');
  const logits = Float32Array.from({ length: 4 * 9 * 7 * 6 }, () => source.normal());

  test.each<[Size3]>([[[14, 11, 13]], [[5, 9, 3]], [[9, 7, 6]], [[1, 8, 1]]])('%j', (to) => {
    const reducer = new PlaneReducer(from, to, { order: 1 }, { heads, regions: false });
    const found = [...planesOf(logits, 4, from)].flatMap((plane) => [...reducer.push(plane)]);
    expect(found.map(({ z }) => z)).toEqual(Array.from({ length: to[2] }, (_, z) => z));
    const stack = resampleTo(logits, from, to, 'linear');
    expect(found.flatMap(({ labels }) => [...labels])).toEqual([...argmax(stack, 4)]);
  });
});

/** Voxels at which the two best probabilities, or a region's and one half, are nearer than so. */
const nearTie = 1e-3;

describe('as nnU-Net, from its own logits', () => {
  test.for(fixtureNames)('%s', async (name, { skip }) => {
    skip(missing !== undefined, missing);
    const { plans, labels, images, folder, floats } = nnunetFixture(name);
    const image = await readImage(images, plans);
    const input = nnunetInput(image, plans);
    const planes = planesOf(floats('logits.f32'), labels.heads.length, input.size);
    const found = await labelsOfPlanes({ plans, labels }, image, input, planes, true);
    const wanted = await readNifti(`${folder}/case/segmentation.nii.gz`);
    expect(found.labels.shape).toEqual(wanted.shape);
    const probabilities = asInFile(floats('probabilities.f32'), found.labels, plans);
    let most = 0;
    probabilities.forEach((value, at) => {
      most = Math.max(most, Math.abs(value - found.probabilities!.data[at]!));
    });
    expect(most).toBeLessThan(1e-3);
    const voxels = wanted.data.length;
    const different = Array.from(wanted.data.keys()).filter(
      (at) => wanted.data[at] !== found.labels.data[at],
    );
    for (const voxel of different) {
      const own = labels.heads.map((_, head) => probabilities[head * voxels + voxel]!).sort((a, b) => b - a);
      const gap = labels.regions ? Math.min(...own.map((p) => Math.abs(p - 0.5))) : own[0]! - own[1]!;
      expect(gap).toBeLessThan(nearTie);
    }
  });
});
