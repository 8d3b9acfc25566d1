/** Paths as sources and zlib for gzip, in Node. Importing this module puts them in place. */
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { InvalidVolume } from '../errors.ts';
import { setPlatform, type Platform } from './source.ts';

const inflate = promisify(gunzip);
const deflate: (bytes: Uint8Array, options: { level: number }) => Promise<Uint8Array> = promisify(gzip);

export const nodePlatform: Platform = {
  async readFile(path) {
    try {
      return await readFile(path);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw new InvalidVolume(`${String(path)} cannot be read: ${message}.`, { cause });
    }
  },
  gunzip: (bytes) => inflate(bytes, { chunkSize: chunkFor(bytes) }),
  gzip: (bytes) => deflate(bytes, { level: 6 }),
};

/**
 * Size of zlib's output pieces: what the last four bytes of the stream announce, within what its input can hold
 * (deflate expands at most 1032 times), so that most volumes come out in one piece.
 */
function chunkFor(bytes: Uint8Array): number {
  if (bytes.length < 18) return 1 << 14;
  const announced = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getUint32(0, true);
  return Math.max(1 << 14, Math.min(announced + 1, bytes.length * 1032, 2 ** 28));
}

setPlatform(nodePlatform);
