// Real and deliberately awkward NIfTI files, against what nibabel reads; the data lie next to the checkout.
import { expect, test } from 'vitest';
import { readNifti, writeNifti, type ReadOptions } from '../../src/data/nifti.ts';
import { openSource } from '../../src/data/source.ts';
import { fromCanonical, orientation, toCanonical, type Volume } from '../../src/data/volume.ts';
import { InvalidVolume } from '../../src/errors.ts';
import { bytesOf, sha256, volumeAt } from '../support/files.ts';

interface Expected {
  shape?: number[];
  dtype?: string;
  affine?: number[][];
  axcodes?: string;
  qform_code?: number;
  sform_code?: number;
  nibabel_error?: string;
  sha256_f32le_fortran?: string;
}

const folder = '../shared/data/nifti-conformance';
const spine = '../shared/data/spinal-cord';
/** The volume in a file. */
async function read(path: string, options: ReadOptions = {}): Promise<Volume> {
  const [source, more] = await volumeAt(path);
  return readNifti(source, { ...more, ...options });
}

const list = await bytesOf(`${folder}/expected.json`);
const known = list && (JSON.parse(new TextDecoder().decode(list)) as Record<string, Expected>);

if (!known) test('conformance files', ({ skip }) => skip(`${folder} is not there`));
else {
  test.each(Object.entries(known))('%s', async (name, expected) => {
    const path = `${folder}/${name}`;
    if (expected.nibabel_error !== undefined || expected.sha256_f32le_fortran === undefined) {
      if (expected.nibabel_error === undefined) expect(expected.dtype).toMatch(/complex|'R'/);
      await expect(read(path)).rejects.toThrow(InvalidVolume);
      return;
    }
    const { data, shape, affine, header } = await read(path);
    expect(shape).toEqual(expected.shape);
    expect(await sha256(data)).toBe(expected.sha256_f32le_fortran);
    expected.affine!.flat().forEach((value, i) => {
      expect(Math.abs(affine[i]! - value)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(value)));
    });
    expect(header.qformCode).toBe(expected.qform_code);
    expect(header.sformCode).toBe(expected.sform_code);
    expect(orientation(affine)).toBe(expected.axcodes);
  });

  test('every order and flip of axes gives the same canonical voxels', async () => {
    const names = Object.keys(known).filter((name) => name.includes('/nifti_space/'));
    const found = new Map<string, string[]>();
    for (const name of names) {
      const { data, shape, affine } = await read(`${folder}/${name}`, { canonical: true });
      expect(orientation(affine)).toBe('RAS');
      const key = `${shape.join(' x ')} ${await sha256(data)}`;
      found.set(key, [...(found.get(key) ?? []), name]);
    }
    expect(names.length).toBeGreaterThan(20);
    expect([...found.values()]).toEqual([names]);
  });
}

const labels = ['mt1', 't1w', 't2', 't2s', 't2s_uncropped'].map((name) => `${spine}/labels/${name}.nii.gz`);
if (!(await bytesOf(labels[0]!))) test('spinal cord labels', ({ skip }) => skip(`${spine} is not there`));
else
  test.each(labels)('%s goes to canonical axes and comes back onto its own grid', async (path) => {
    const source = await read(path);
    const turned = fromCanonical(Uint8Array.from(toCanonical(source).data), source);
    const bytes = await writeNifti({ ...source, data: turned }, { gzip: false });
    const original = await (await openSource((await volumeAt(path))[0])).take(Infinity);
    for (const [from, to] of [
      [40, 48], // dim
      [76, 92], // qfac and zooms
      [123, 124], // units
      [252, 328], // codes, quaternion, offsets, srow
    ] as const)
      expect([...bytes.subarray(from, to)]).toEqual([...original.subarray(from, to)]);
    expect(await sha256((await readNifti(bytes)).data)).toBe(await sha256(source.data));
  });
