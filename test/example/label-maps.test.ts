/** What the page counts and draws of labels, and writes anew of volumes. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { counted, unzipped } from '../../examples/browser/src/label-maps.ts';
import { writeNifti } from '../../src/node.ts';

test('a volume of several gzip members is written as one that any program reads', async () => {
  const affine = [1, 0, 0, -4, 0, 2, 0, 7, 0, 0, 3, 1, 0, 0, 0, 1];
  const data = Float32Array.from({ length: 24 }, (_, at) => at / 4);
  const plain = await writeNifti({ data, shape: [4, 3, 2], affine }, { gzip: false });
  const members = [plain.subarray(0, 400), plain.subarray(400)].map((part) => gzipSync(part));
  const file = await unzipped(new File(members, 'scan.nii.gz'));
  expect(file.name).toBe('scan.nii');
  expect(Buffer.compare(new Uint8Array(await file.arrayBuffer()), plain)).toBe(0);
});

test('of volumes that overlap, each is counted whole, and the last that holds a voxel is drawn', () => {
  const data = Uint8Array.of(1, 1, 0, 0, 0, 1, 1, 0);
  expect(counted({ data, shape: [2, 2, 1, 2] }, 3)).toEqual({
    counts: [0, 2, 2],
    drawn: Uint8Array.of(1, 2, 2, 0),
  });
});

test('of one label map, the labels themselves are drawn', () => {
  const data = Uint8Array.of(0, 2, 2, 1);
  const { counts, drawn } = counted({ data, shape: [2, 2, 1] }, 3);
  expect(counts).toEqual([1, 1, 2]);
  expect(drawn).toBe(data);
});
