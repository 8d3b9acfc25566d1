// Where bytes come from: every kind of source, with Node's zlib and with the streams that browsers have.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { nodePlatform } from '../../src/data/source.node.ts';
import { platform, readSource, setPlatform } from '../../src/data/source.ts';
import { InvalidVolume } from '../../src/errors.ts';

const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * i) % 253);
const zipped = new Uint8Array(gzipSync(content));

afterEach(() => setPlatform(nodePlatform));

describe.each([
  ['zlib', nodePlatform],
  ['streams', undefined],
])('with %s', (_, chosen) => {
  test('bytes of every kind, gzipped or not', async () => {
    setPlatform(chosen);
    for (const bytes of [content, zipped])
      for (const source of [bytes, bytes.buffer, new Blob([bytes]), new File([bytes], 'a.nii')])
        expect(Buffer.from(await readSource(source)).equals(content)).toBe(true);
    const inside = joinedInside(zipped);
    expect(Buffer.from(await readSource(inside)).equals(content)).toBe(true);
  });

  test('gzip that ends early or is damaged is refused, also where it is tiny', async () => {
    setPlatform(chosen);
    const damaged = zipped.slice();
    damaged[damaged.length - 6]! ^= 255; // in the checksum
    for (const bytes of [
      zipped.slice(0, -9),
      zipped.slice(0, 300),
      zipped.slice(0, 12),
      zipped.slice(0, 2),
      damaged,
    ])
      await expect(readSource(bytes)).rejects.toThrow(/the buffer is gzip that ends early or is damaged/);
    await expect(readSource(new File([zipped.slice(0, 50)], 'scan.nii.gz'))).rejects.toThrow(
      /^scan\.nii\.gz is gzip/,
    );
  });

  test('gzip goes back', async () => {
    setPlatform(chosen);
    expect(gunzipSync(await platform().gzip(content)).equals(content)).toBe(true);
  });
});

/** The same bytes in the middle of a larger buffer. */
function joinedInside(bytes: Uint8Array): Uint8Array {
  const larger = new Uint8Array(bytes.length + 40).fill(200);
  larger.set(bytes, 17);
  return larger.subarray(17, 17 + bytes.length);
}

test('paths and file: URLs', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a.gz');
  await writeFile(path, zipped);
  expect(Buffer.from(await readSource(path)).equals(content)).toBe(true);
  expect(Buffer.from(await readSource(pathToFileURL(path))).equals(content)).toBe(true);
  await expect(readSource(join(folder, 'b.gz'))).rejects.toThrow(/b\.gz does not exist/);
  await expect(readSource(folder)).rejects.toThrow(InvalidVolume);
});

test('a browser says that it has no paths', async () => {
  setPlatform(undefined);
  await expect(readSource('a.nii')).rejects.toThrow(/a\.nii.*give a File/);
});

test('URLs: what the server sends, or what it answers instead', async () => {
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/a.nii.gz' ? 200 : 404;
    response.end(zipped);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(Buffer.from(await readSource(new URL('/a.nii.gz', base))).equals(content)).toBe(true);
  await expect(readSource(new URL('/b.nii.gz', base))).rejects.toThrow(/b\.nii\.gz answers 404/);
  await new Promise((resolve) => server.close(resolve));
  await expect(readSource(new URL('/a.nii.gz', base))).rejects.toThrow(/cannot be fetched/);
});
