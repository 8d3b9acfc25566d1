/** Paths as sources and zlib for gzip, in Node. Importing this module puts them in place. */
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createGunzip, gzip } from 'node:zlib';
import { InvalidVolume } from '../errors.ts';
import { setPlatform, type Platform } from './source.ts';

/** Bytes that zlib gives out at a time: it works on the next piece while this one is looked at. */
const chunkSize = 2 ** 20;

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
  gunzip: (bytes) => createGunzip({ chunkSize }).end(bytes) as AsyncIterable<Uint8Array>,
  gzip: (bytes) => deflate(bytes, { level: 6 }),
};

setPlatform(nodePlatform);
