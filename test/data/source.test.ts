// Where bytes come from: every kind of source, with Node's zlib and with the streams that browsers have.
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { openRanges } from '../../src/data/byte-ranges.ts';
import { readNifti } from '../../src/data/nifti.ts';
import { nodePlatform } from '../../src/data/source.node.ts';
import { openSource, platform, readText, setPlatform, type Source } from '../../src/data/source.ts';
import { InvalidModel, InvalidVolume } from '../../src/errors.ts';
import { make } from '../support/nifti.ts';

const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * i) % 253);
const zipped = new Uint8Array(gzipSync(content));

afterEach(() => setPlatform(nodePlatform));

async function readSource(source: Source): Promise<Uint8Array> {
  const stream = await openSource(source);
  try {
    return await stream.take(Infinity);
  } finally {
    await stream.close();
  }
}

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

  test('gzip of several pieces is that of the whole', async () => {
    const bytes = new Uint8Array(2 ** 26 + 5).fill(7, 2 ** 26 - 3);
    expect(gzipSync(bytes, { level: 6 }).equals(await platform().gzip(bytes))).toBe(true);
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

async function folder(files: Record<string, Uint8Array>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'source-'));
  onTestFinished(() => rm(path, { recursive: true }));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes);
  return path;
}

test('paths and file: URLs', async () => {
  const place = await folder({ 'a.gz': zipped });
  const path = join(place, 'a.gz');
  expect(Buffer.from(await readSource(path)).equals(content)).toBe(true);
  expect(Buffer.from(await readSource(pathToFileURL(path))).equals(content)).toBe(true);
  await expect(readSource(join(place, 'b.gz'))).rejects.toThrow(/b\.gz does not exist/);
  await expect(readSource(place)).rejects.toThrow(InvalidVolume);
});

test('pairs: the other file lies beside the one that is given', async () => {
  const voxels = Uint8Array.from({ length: 8 }, (_, i) => 7 * i);
  const header = make({ pair: true });
  const path = await folder({
    'a.hdr': header,
    'a.img': voxels,
    'b.HDR.gz': gzipSync(header),
    'b.IMG.gz': gzipSync(voxels),
    'c.hdr': header,
    'c.img.gz': gzipSync(voxels),
    'd.img.nii.gz': gzipSync(make({ voxels })),
  });
  for (const name of ['a.hdr', 'a.img', 'b.HDR.gz', 'b.IMG.gz', 'd.img.nii.gz'])
    expect([...(await readNifti(join(path, name))).data]).toEqual([...voxels]);
  expect([...(await readNifti(pathToFileURL(join(path, 'a.hdr')))).data]).toEqual([...voxels]);
  const mixed = await readNifti(join(path, 'c.hdr'), { image: join(path, 'c.img.gz') });
  expect([...mixed.data]).toEqual([...voxels]);
  await expect(readNifti(join(path, 'c.hdr'))).rejects.toThrow(/c\.img does not exist.*"image"/);
});

test('a file that is refused by its size, before it is unzipped, does not stay open', async ({ skip }) => {
  const open = (): Promise<string[]> => readdir('/proc/self/fd');
  skip(!(await open().catch(() => undefined)), 'only Linux tells which files are open');
  const path = await folder({
    'a.hdr.gz': gzipSync(make({ shape: [3000, 3000, 3000], pair: true })),
    'a.img.gz': gzipSync(new Uint8Array(64)),
  });
  const before = await open();
  await expect(readNifti(join(path, 'a.hdr.gz'))).rejects.toThrow(/a\.img\.gz is truncated/);
  expect(await open()).toEqual(before);
});

test('of a file of 3 GiB only what its header says is read, and no file stays open', async ({ skip }) => {
  const told = async (): Promise<{ read: number; open: number }> => ({
    read: Number(/rchar: (\d+)/.exec(await readFile('/proc/self/io', 'utf8'))![1]),
    open: (await readdir('/proc/self/fd')).length,
  });
  const isTold = await told().catch(() => undefined);
  skip(!isTold, 'only Linux tells how much a process has read');
  const shape = [4, 4, 4];
  const path = await folder({
    'long.nii': make({ shape, voxels: new Uint8Array(64).fill(5) }),
    'long.nii.gz': gzipSync(make({ shape, voxels: new Uint8Array(64).fill(5) })),
    'long.hdr': make({ shape, pair: true }),
    'long.img': new Uint8Array(64).fill(5),
    'damaged.nii': new Uint8Array(400),
  });
  const names = ['long.nii', 'long.nii.gz', 'long.hdr'].map((name) => join(path, name));
  for (const name of await readdir(path)) await truncate(join(path, name), 3 * 2 ** 30);
  const before = await told();
  for (const name of names) expect((await readNifti(name)).data).toEqual(new Float32Array(64).fill(5));
  await expect(readNifti(join(path, 'damaged.nii'))).rejects.toThrow(/is not a NIfTI file/);
  const middle = await told();
  expect(middle.read - before.read).toBeLessThan(20 * 2 ** 20);
  expect(middle.open).toBe(before.open);
  await expect(readText(join(path, 'damaged.nii'))).rejects.toThrow(/damaged\.nii is longer than 32 MiB/);
  const after = await told();
  expect(after.read - middle.read).toBeLessThan(40 * 2 ** 20);
  expect(after.open).toBe(before.open);
});

test('a file that cannot be read on is named, also where its end is looked at first', async () => {
  const failsFrom = (place: number) => ({
    ...nodePlatform,
    openFile: () =>
      Promise.resolve({
        size: zipped.length,
        async *pieces(from = 0) {
          yield await Promise.resolve(zipped.subarray(from, place));
          throw new Error('EIO: i/o error, read');
        },
      }),
  });
  for (const place of [0, 100]) {
    setPlatform(failsFrom(place));
    await expect(readSource('scan.nii.gz')).rejects.toThrow(
      new InvalidVolume('scan.nii.gz cannot be read: EIO: i/o error, read.'),
    );
  }
});

test('a browser says that it has no paths', async () => {
  setPlatform(undefined);
  await expect(readSource('a.nii')).rejects.toThrow(/a\.nii.*give a File/);
});

test('URLs: what the server sends, or what it answers instead', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/broken') {
      response.setHeader('content-length', zipped.length);
      response.write(zipped.subarray(0, 100), () => response.destroy());
      return;
    }
    response.statusCode = request.url === '/a.nii.gz' ? 200 : 404;
    response.end(zipped);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(Buffer.from(await readSource(new URL('/a.nii.gz', base))).equals(content)).toBe(true);
  await expect(readSource(new URL('/b.nii.gz', base))).rejects.toThrow(/b\.nii\.gz answers 404/);
  const broken = openRanges(new URL('/broken', base));
  await expect(broken).rejects.toThrow(InvalidModel);
  await expect(broken).rejects.toThrow(/\/broken cannot be read to its end \(/);
  await new Promise((resolve) => server.close(resolve));
  await expect(readSource(new URL('/a.nii.gz', base))).rejects.toThrow(/cannot be fetched/);
});
