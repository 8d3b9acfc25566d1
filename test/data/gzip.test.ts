// Gzip as files have it, in Node (zlib) and in a browser (its own stream, else pako): several streams one after
// another, zeros behind them, long headers; damage is found in each; no more is read than the volume needs.
import { afterEach, describe, expect, test } from 'vitest';
import { readNifti } from '../../src/data/nifti.ts';
import { openSource, platform, setPlatform, type Source } from '../../src/data/source.ts';
import { InvalidVolume } from '../../src/errors.ts';
import '../support/files.ts';
import { gzip, joined, make } from '../support/nifti.ts';

const own = platform();
afterEach(() => setPlatform(own));

/** CRC-32 as RFC 1952 defines it, bit by bit. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const little = (...values: number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);

/** A gzip stream by RFC 1952 with what its header may hold: extra fields, a name, a comment. */
async function member(
  bytes: Uint8Array,
  { extra, name, comment }: { extra?: Uint8Array; name?: string; comment?: string } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new CompressionStream('deflate-raw'));
  const deflated = new Uint8Array(await new Response(stream).arrayBuffer());
  const flags = (extra ? 4 : 0) + (name === undefined ? 0 : 8) + (comment === undefined ? 0 : 16);
  const text = (value = '', present = false): Uint8Array =>
    present ? new TextEncoder().encode(`${value}\0`) : new Uint8Array();
  return joined(
    Uint8Array.of(0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255),
    ...(extra ? [Uint8Array.of(extra.length & 255, extra.length >> 8), extra] : []),
    text(name, name !== undefined),
    text(comment, comment !== undefined),
    deflated,
    little(crc32(bytes), bytes.length),
  );
}

/** A block of bgzip: a stream whose extra field "BC" holds its own length less one (SAM specification, 4.1). */
async function block(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const field = Uint8Array.of(0x42, 0x43, 2, 0, 0, 0);
  const { length } = await member(bytes, { extra: field });
  field.set([(length - 1) & 255, (length - 1) >> 8], 4);
  return member(bytes, { extra: field });
}

/** The empty block at the end of each bgzip file, as the SAM specification lists it. */
const lastBlock = Uint8Array.from(
  '1f8b08040000000000ff0600424302001b0003000000000000000000'.match(/../g)!,
  (byte) => parseInt(byte, 16),
);

const voxels = Uint8Array.from({ length: 120_000 }, (_, i) => (i * i) % 251);
const file = make({ shape: [40, 50, 60], voxels });
const parts = (size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(file.length / size) }, (_, i) => file.subarray(i * size, (i + 1) * size));

const isVoxels = async (source: Source): Promise<boolean> => {
  const { data } = await readNifti(source);
  return data.length === voxels.length && data.every((value, i) => value === voxels[i]);
};

/** With the platform's own way, and with that of browsers where it is another. */
describe.each([
  ['as this platform does it', own],
  ['as browsers do it', undefined],
])('%s', (_, chosen) => {
  const files: [string, () => Promise<Uint8Array>][] = [
    ['one stream', () => member(file)],
    [
      'streams one after another',
      async () => joined(...(await Promise.all(parts(7001).map((part) => member(part))))),
    ],
    ['bgzip', async () => joined(...(await Promise.all(parts(65280).map(block))), lastBlock)],
    ['an empty stream first', async () => joined(await member(new Uint8Array()), await member(file))],
    ['zeros at the end', async () => joined(await member(file), new Uint8Array(512))],
    ['one zero at the end', async () => joined(await member(file), new Uint8Array(1))],
    ['three MiB of zeros at the end', async () => joined(await member(file), new Uint8Array(3 * 2 ** 20))],
    [
      'headers with a long name and a long comment',
      () => member(file, { name: 'n'.repeat(70_000), comment: 'c'.repeat(1_200_000) }),
    ],
    ['a header with an extra field', () => member(file, { extra: new Uint8Array(65_535).fill(3) })],
    [
      'a stream whose end is that of the bytes read together',
      async () => {
        const [head, rest] = [file.subarray(0, 50_000), file.subarray(50_000)];
        const { length } = await member(head, { name: '' });
        const first = await member(head, { name: 'n'.repeat(2 ** 20 - length) });
        expect(first.length).toBe(2 ** 20);
        return joined(first, await member(rest));
      },
    ],
    ['bytes behind the voxels', async () => joined(await member(joined(file, voxels)), await member(voxels))],
  ];
  test.each(files)('%s', async (_name, bytes) => {
    setPlatform(chosen);
    const zipped = await bytes();
    expect(await isVoxels(new Blob([zipped as Uint8Array<ArrayBuffer>]))).toBe(true);
    expect(await isVoxels(zipped)).toBe(true);
  });

  const changed = (bytes: Uint8Array, at: number): Uint8Array => {
    const copy = bytes.slice();
    copy[(copy.length + at) % copy.length]! ^= 1;
    return copy;
  };
  const [a, b] = [file.subarray(0, 60_000), file.subarray(60_000)];
  const damaged: [string, () => Promise<Uint8Array>][] = [
    ['a checksum', async () => changed(await member(file), -6)],
    ['a length', async () => changed(await member(file), -2)],
    ['a byte behind the header', async () => changed(await member(file), 300)],
    ['the first of two checksums', async () => joined(changed(await member(a), -6), await member(b))],
    ['the second of two checksums', async () => joined(await member(a), changed(await member(b), -6))],
    ['the header of the second stream', async () => joined(await member(a), changed(await member(b), 2))],
    ['the end, cut off', async () => (await member(file)).slice(0, -1)],
    ['the end of the second stream', async () => joined(await member(a), (await member(b)).slice(0, -300))],
    ['all but twenty bytes', async () => (await member(file)).slice(0, 20)],
  ];
  test.each(damaged)('damage is found: %s', async (_name, bytes) => {
    setPlatform(chosen);
    const zipped = await bytes();
    await expect(readNifti(zipped)).rejects.toSatisfy(
      (error) =>
        error instanceof InvalidVolume &&
        /^the buffer is (gzip that ends early or is damaged|truncated or its header)/.test(error.message),
    );
  });
});

const smallVoxels = Uint8Array.from({ length: 64 }, (_, i) => i);
const small = make({ shape: [4, 4, 4], voxels: smallVoxels });

/** A Blob that counts the bytes which are taken from it, 64 KiB at a time. */
class Counted extends Blob {
  read = 0;

  override slice(from = 0): Blob {
    const count = (bytes: number): void => void (this.read += bytes);
    const whole = super.slice(from);
    let at = 0;
    const stream = (): ReadableStream<Uint8Array<ArrayBuffer>> =>
      new ReadableStream({
        async pull(controller) {
          const piece = new Uint8Array(await whole.slice(at, at + 2 ** 16).arrayBuffer());
          if (piece.length === 0) return controller.close();
          count(piece.length);
          at += piece.length;
          return controller.enqueue(piece);
        },
      });
    return Object.assign(whole, { stream });
  }
}

test('of a small volume in front of much else, little is read and inflated', async () => {
  const zeros = await gzip(new Uint8Array(2 ** 24));
  const bomb = new Counted([await gzip(small), ...new Array<Uint8Array<ArrayBuffer>>(400).fill(zeros)]);
  expect((await readNifti(bomb)).data).toEqual(Float32Array.from(smallVoxels));
  expect(bomb.read).toBeLessThan(3 * 2 ** 20);
  expect(bomb.size).toBeGreaterThan(6 * 2 ** 20);
});

test('of a small volume in front of much else, only the beginning is read', async () => {
  const long = new Counted([small, ...new Array<Uint8Array<ArrayBuffer>>(40).fill(new Uint8Array(2 ** 20))]);
  expect((await readNifti(long)).data).toEqual(Float32Array.from(smallVoxels));
  expect(long.read).toBeLessThan(2 * 2 ** 20);
  const header = new Counted([
    make({ pair: true, shape: [4, 4, 4] }),
    ...new Array<Uint8Array<ArrayBuffer>>(40).fill(new Uint8Array(2 ** 20)),
  ]);
  const image = new Counted([smallVoxels, new Uint8Array(40 * 2 ** 20)]);
  expect((await readNifti(header, { image })).data).toEqual(Float32Array.from(smallVoxels));
  expect(header.read + image.read).toBeLessThan(4 * 2 ** 20);
});

test('a header that promises more than its gzip can hold is refused before anything is inflated', async () => {
  const promising = make({ shape: [32767, 32767, 100], voxels: new Uint8Array(2 ** 24) });
  const blob = new Counted([await gzip(promising)]);
  await expect(readNifti(blob)).rejects.toThrow(/need 107367629252 bytes, found at most/);
});

test('several streams whose last one announces little are read as far as the voxels go', async () => {
  const zipped = joined(await member(file.subarray(0, 100_000)), await member(file.subarray(100_000)));
  expect(await isVoxels(zipped)).toBe(true);
  const short = joined(
    await member(file.subarray(0, 100_000)),
    await member(file.subarray(100_000, 120_000)),
  );
  await expect(readNifti(short)).rejects.toThrow(/need 120352 bytes, found 120000/);
});

test('a stream that fails on its way is an error of the source', async () => {
  const failing = Object.assign(new Blob([file]), {
    slice: () => ({
      stream: () => new ReadableStream({ pull: (controller) => controller.error(new Error('line cut')) }),
    }),
  });
  for (const chosen of [own, undefined]) {
    setPlatform(chosen);
    await expect(openSource(failing)).rejects.toThrow(/^the Blob cannot be read: line cut/);
  }
});
