/** NIfTI volumes: headers with strange fields, damaged bytes, gzip of every make, pairs in memory and on the disk. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readNifti, type ReadOptions } from '../../src/data/nifti.ts';
import type { Random } from '../../src/data/random.ts';
import '../../src/data/source.node.ts';
import type { Source } from '../../src/data/source.ts';
import { joined, make } from '../../test/support/nifti.ts';
import { inFolder, type Kind } from './harness.ts';
import { chance, mutatedBytes, pick } from './mutations.ts';

const strange = [
  0,
  -0,
  1,
  -1,
  0.1,
  NaN,
  Infinity,
  -Infinity,
  1e30,
  -1e-30,
  2 ** 31,
  2 ** 53,
  32767,
  352,
  100,
];
const types = [2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280, 1, 32, 128, 1536, 77, 0];
const widths: Readonly<Record<number, number>> = { 2: 1, 256: 1, 4: 2, 512: 2, 64: 8, 1024: 8, 1280: 8 };

/** A whole file, or the header and the image of a pair. */
function drawn(source: Random): {
  file: Uint8Array<ArrayBuffer>;
  image: Uint8Array<ArrayBuffer> | undefined;
  /** The header claims what its file does not hold. */
  isLarge: boolean;
} {
  const number = (usual: number): number => (chance(source, 12) ? pick(source, strange) : usual);
  const shape = Array.from({ length: 1 + source.int(5) }, () => 1 + source.int(9));
  const datatype = pick(source, types);
  const count = shape.reduce((a, b) => a * b, 1) * (widths[datatype] ?? 4);
  const voxels = new Uint8Array(count).map(() => source.int(256));
  const pair = chance(source, 8);
  const version = pick(source, [1, 2] as const);
  const whole = version === 2 ? Math.trunc : Number; // NIfTI-2 stores integers there
  const size = (n: number): number => {
    const value = chance(source, 15) ? pick(source, [0, -1, 32767, n + 1, 3]) : n;
    return value;
  };
  const offset = chance(source, 6) ? whole(pick(source, [0, 1, 352, 544, 2 ** 20, 2 ** 31, -8])) : undefined;
  const between = new Uint8Array(4 + 16 * source.int(4)).map(() => (chance(source, 2) ? 0 : source.int(256)));
  const claimed = shape.map(size);
  const file = make({
    version,
    little: chance(source, 2),
    pair,
    shape: claimed,
    datatype,
    voxels,
    slope: number(1),
    intercept: number(0),
    pixdim: Array.from({ length: 8 }, () => number(1.5)),
    qform: {
      code: source.int(3),
      bcd: [number(0.1), number(0), number(0.2)],
      offset: [number(5), number(6), number(7)],
    },
    sform: {
      code: source.int(3),
      rows: [2, 0, 0, 1, 0, 2, 0, 1, 0, 0, 2, 1].map(number),
    },
    between,
    ...(offset === undefined ? {} : { offset }),
  });
  const isLarge = claimed.reduce((a, b) => a * Math.max(1, b), 1) > 2 ** 20;
  return { file, image: pair ? voxels : undefined, isLarge };
}

const zeros = new Uint8Array(gzipSync(new Uint8Array(2 ** 22)));

/**
 * As gzip, of one stream or several, with something behind them, or damaged. Zeros without end follow small volumes
 * only: to a header that asks for them they would be voxels.
 */
function zipped(bytes: Uint8Array, source: Random, isLarge: boolean): Uint8Array<ArrayBuffer> {
  const cut = source.int(bytes.length + 1);
  const streams = chance(source, 2) ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
  const parts = streams.map((part) => new Uint8Array(gzipSync(part)));
  const kind = source.int(8);
  if (kind === 0) parts.push(new Uint8Array(1 + source.int(2000)));
  else if (kind === 1 && !isLarge) parts.push(...new Array<Uint8Array<ArrayBuffer>>(40).fill(zeros));
  else if (kind === 2) parts.push(Uint8Array.of(0x1f, 0x8b, source.int(256)));
  const all = joined(...parts);
  if (kind === 3) return mutatedBytes(all, source);
  if (kind === 4) new DataView(all.buffer).setUint32(all.length - 4, source.int(2 ** 32), true);
  return all;
}

/** A header and its image as two files, some of them under names that belong to no pair, or one file short. */
async function onDisk(
  folder: string,
  [header, image]: readonly Uint8Array[],
  source: Random,
): Promise<Source> {
  const [ending, zip] = [pick(source, ['hdr', 'hdr', 'HDR', 'nii']), pick(source, ['', '.gz'])];
  const other = { hdr: 'img', HDR: 'IMG', nii: 'img' }[ending]!;
  await writeFile(join(folder, `a.${ending}${zip}`), header!);
  if (!chance(source, 10)) await writeFile(join(folder, `a.${other}${zip}`), image!);
  return join(folder, `a.${pick(source, [ending, other])}${zip}`);
}

export const volumes: Kind = {
  name: 'volumes',
  async read(source) {
    const { file, image, isLarge } = drawn(source);
    const stored = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
      const hurt = chance(source, 3) ? mutatedBytes(bytes, source) : bytes;
      return chance(source, 2) ? zipped(hurt, source, isLarge) : hurt;
    };
    const given = stored(file);
    const options: ReadOptions = { canonical: chance(source, 2), statistics: chance(source, 2) };
    const read = async (from: Source, more: ReadOptions = {}): Promise<number> =>
      (await readNifti(from, { ...options, ...more })).data.byteLength;
    if (!image) return read(chance(source, 2) ? given : new Blob([given]));
    const other = stored(image);
    const way = source.int(3);
    if (way === 0) return read(given, { image: other });
    if (way === 1) return read({ header: given, image: new Blob([other]) });
    return inFolder(async (folder) => read(await onDisk(folder, [given, other], source)));
  },
};
