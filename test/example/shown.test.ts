/** What the page draws in the place of a volume that is too large for WebGL on a processor. */
import { expect, test } from 'vitest';
import { shown } from '../../examples/browser/src/shown.ts';
import { readNifti, writeNifti } from '../../src/node.ts';

const shape = [20, 18, 7] as const;
/** Voxels that may be drawn: the longest axes are halved, or more. */
const most = 400;
/** Oblique, with a spacing of its own on each axis. */
const affine = [0, -2, 0.1, 40, 0.7, 0, 0.2, -30, 0.1, 0.3, 3, 12, 0, 0, 0, 1];
const at = (x: number, y: number, z: number): number => x + shape[0] * (y + shape[1] * z);

async function file(data: Uint8Array): Promise<File> {
  const bytes = await writeNifti({ data, shape: [...shape], affine }, { gzip: false });
  return new File([bytes], 'large.nii');
}

const place = (matrix: readonly number[], [x, y, z]: readonly number[]): number[] =>
  [0, 4, 8].map(
    (row) => matrix[row]! * x! + matrix[row + 1]! * y! + matrix[row + 2]! * z! + matrix[row + 3]!,
  );

test('a large volume is shown with means over blocks, labels with values of their own, at the same place', async () => {
  const data = Uint8Array.from(
    { length: shape[0] * shape[1] * shape[2] },
    (_, voxel) => (voxel * 7919) % 251,
  );
  const source = await file(data);
  const [image, labels] = [await shown(source, false, most), await shown(source, true, most)];
  const small = await readNifti(new Uint8Array(await image.file!.arrayBuffer()));
  const classes = await readNifti(new Uint8Array(await labels.file!.arrayBuffer()));
  expect(image.note).toBe(
    `Shown with ${small.shape.join(' × ')} of its ${shape.join(' × ')} voxels; all are segmented and saved.`,
  );
  expect(small.data.length).toBeLessThanOrEqual(most);
  const factor = shape.map((length, axis) => Math.ceil(length / small.shape[axis]!));
  for (const voxel of [[0, 0, 0], [3, 5, 2], [6, 1, 4], small.shape.map((length) => length - 1)]) {
    const values: number[] = [];
    const corner = voxel.map((index, axis) => index * factor[axis]!);
    const end = corner.map((from, axis) => Math.min(shape[axis]!, from + factor[axis]!));
    for (let z = corner[2]!; z < end[2]!; z++)
      for (let y = corner[1]!; y < end[1]!; y++)
        for (let x = corner[0]!; x < end[0]!; x++) values.push(data[at(x, y, z)]!);
    const [nx, ny] = small.shape as [number, number, number];
    const index = voxel[0]! + nx * (voxel[1]! + ny * voxel[2]!);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(small.data[index]).toBeCloseTo(mean, 3);
    expect(values).toContain(classes.data[index]);
    // The middle of the block in the patient.
    const middle = corner.map((from, axis) => from + (factor[axis]! - 1) / 2);
    const [here, expected] = [place(small.affine, voxel), place(affine, middle)];
    for (const axis of [0, 1, 2]) expect(here[axis]).toBeCloseTo(expected[axis]!, 3);
  }
});

test('a volume that can be drawn is shown as it is; of several, the first is and says so', async () => {
  const small = { data: new Uint8Array(24), shape: [4, 3, 2], affine };
  const bytes = await writeNifti(small);
  expect(await shown(new File([bytes], 'small.nii.gz'), false, most)).toEqual({ file: undefined, note: '' });
  const several = { data: Uint8Array.from({ length: 72 }, (_, voxel) => voxel), shape: [4, 3, 2, 3], affine };
  const series = new File([await writeNifti(several)], 'series.nii.gz');
  const { file: first, note } = await shown(series, false, most);
  expect(note).toBe('Shown is the first of 3 volumes.');
  const { data } = await readNifti(new Uint8Array(await first!.arrayBuffer()));
  expect([...data]).toEqual([...several.data.subarray(0, 24)]);
});

test('of a report, what a network found is measured and pictured case by case, until it is cancelled; files are named by their hashes', async () => {
  const { assessed, hashOf } = await import('../../examples/browser/src/assessed.ts');
  const size = [8, 6, 4] as const;
  const count = size[0] * size[1] * size[2];
  const truth = Uint8Array.from({ length: count }, (_, voxel) => (voxel % 8 < 4 ? 1 : 0));
  const half = truth.map((value, voxel) => (voxel % 8 < 2 ? value : 0));
  const image = Float32Array.from(truth, (value) => 10 * value);
  const item = { subject: 's', image, label: truth, channels: 1, shape: size, spacing: [1, 1, 1] as const };
  const found = {
    cases: [
      { ...item, id: 'a' },
      { ...item, id: 'b' },
    ],
    predictions: [truth, half],
    labels: ['background', 'lesion'],
    scored: ['background', 'lesion'],
    regions: undefined,
  };
  const { metrics, pictures } = await assessed(found, new AbortController().signal);
  expect(structuredClone(metrics).map(({ name, classes }) => [name, classes[1]!.dice])).toEqual([
    ['a', 1],
    ['b', 2 / 3],
  ]);
  expect(pictures.map(({ title, name }) => [title, name])).toEqual([
    ['Best case', 'a'],
    ['Worst case', 'b'],
  ]);
  // Of the standard, FIPS 180-2.
  expect(await hashOf(new Blob(['abc']))).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  );
  const stop = new AbortController();
  const done = assessed(found, stop.signal);
  stop.abort();
  await expect(done).rejects.toThrow('aborted');
});
