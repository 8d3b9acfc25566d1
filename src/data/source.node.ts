/** Paths as sources and zlib for gzip, in Node. Importing this module puts them in place. */
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createGunzip, gzip } from 'node:zlib';
import { InvalidVolume } from '../errors.ts';
import { setPlatform, type Platform } from './source.ts';

/** Bytes that zlib gives out at a time: it works on the next piece while this one is looked at. */
const chunkSize = 2 ** 20;

const deflate: (bytes: Uint8Array, options: { level: number }) => Promise<Uint8Array> = promisify(gzip);

/** What one call reads at most. */
const mostBytes = 2 ** 30;

/** A whole file in as few reads as possible: `readFile` takes half a MiB at a time, and three times as long. */
async function readWhole(path: string | URL): Promise<Uint8Array> {
  await using file = await open(path);
  const found = await file.stat();
  if (!found.isFile() || found.size === 0) return await file.readFile(); // a pipe, say, does not know its length
  const bytes = Buffer.allocUnsafeSlow(found.size);
  let at = 0;
  for (let read = 1; read > 0 && at < bytes.length; at += read)
    read = (await file.read(bytes, at, Math.min(mostBytes, bytes.length - at), at)).bytesRead;
  return bytes.subarray(0, at);
}

export const nodePlatform: Platform = {
  async readFile(path) {
    try {
      return await readWhole(path);
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
