// Real and deliberately awkward NIfTI files, against what nibabel reads; the data lie next to the checkout.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import '../../src/data/source.node.ts';
import { fromCanonical, orientation, toCanonical } from '../../src/data/volume.ts';
import { InvalidVolume } from '../../src/errors.ts';

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
const known = existsSync(join(folder, 'expected.json'))
  ? (JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Record<string, Expected>)
  : undefined;

const sha256 = (data: Float32Array): string =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');

if (!known) test('conformance files', ({ skip }) => skip(`${folder} is not there`));
else {
  test.each(Object.entries(known))('%s', async (name, expected) => {
    const path = join(folder, name);
    if (expected.nibabel_error !== undefined || expected.sha256_f32le_fortran === undefined) {
      if (expected.nibabel_error === undefined) expect(expected.dtype).toMatch(/complex|'R'/);
      await expect(readNifti(path)).rejects.toThrow(InvalidVolume);
      return;
    }
    const { data, shape, affine, header } = await readNifti(path);
    expect(shape).toEqual(expected.shape);
    expect(sha256(data)).toBe(expected.sha256_f32le_fortran);
    expected.affine!.flat().forEach((value, i) => {
      expect(Math.abs(affine[i]! - value)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(value)));
    });
    expect(header.qformCode).toBe(expected.qform_code);
    expect(header.sformCode).toBe(expected.sform_code);
    expect(orientation(affine)).toBe(expected.axcodes);
  });

  test('every order and flip of axes gives the same canonical voxels', async () => {
    const space = join(folder, 'niivue/tests/images/nifti_space');
    const names = readdirSync(space);
    const found = new Map<string, string[]>();
    for (const name of names) {
      const { data, shape, affine } = await readNifti(join(space, name), { canonical: true });
      expect(orientation(affine)).toBe('RAS');
      const key = `${shape.join(' x ')} ${sha256(data)}`;
      found.set(key, [...(found.get(key) ?? []), name]);
    }
    expect(names.length).toBeGreaterThan(20);
    expect([...found.values()]).toEqual([names]);
  });
}

const labels = existsSync(join(spine, 'labels')) ? readdirSync(join(spine, 'labels')) : undefined;
if (!labels) test('spinal cord labels', ({ skip }) => skip(`${spine} is not there`));
else
  test.each(labels)('%s goes to canonical axes and comes back onto its own grid', async (name) => {
    const path = join(spine, 'labels', name);
    const source = await readNifti(path);
    const turned = fromCanonical(Uint8Array.from(toCanonical(source).data), source);
    const bytes = await writeNifti({ ...source, data: turned }, { gzip: false });
    const original = new Uint8Array(gunzipSync(await readFile(path)));
    for (const [from, to] of [
      [40, 48], // dim
      [76, 92], // qfac and zooms
      [123, 124], // units
      [252, 328], // codes, quaternion, offsets, srow
    ] as const)
      expect(bytes.slice(from, to)).toEqual(original.slice(from, to));
    expect(sha256((await readNifti(bytes)).data)).toBe(sha256(source.data));
  });
