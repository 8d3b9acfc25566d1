/** Paths as sources and zlib for gzip, in Node. Importing this module puts them in place. */
import { randomFill } from 'node:crypto';
import { open, readlink, stat } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { createGunzip, createGzip } from 'node:zlib';
import { InvalidVolume } from '../errors.ts';
import { stampAt, stampOf } from '../files/stamp.node.ts';
import { setPlatform, type Platform } from './source.ts';

/** Bytes that are read, and that zlib gives out, at a time: it works on the next piece while this one is looked at. */
const chunkSize = 2 ** 20;

/** Bytes that are handed to zlib at a time, whose counts of bytes end at 4 GiB. */
const pieceSize = 2 ** 26;

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceSize) yield bytes.subarray(at, at + pieceSize);
}

/** A file's bytes from a place on, by position where there is one: pipes have none. */
async function* read(path: string | URL, from?: number, to = Infinity): AsyncGenerator<Uint8Array> {
  await using file = await open(path);
  for (let at = from; ;) {
    const length = Math.min(chunkSize, to - (at ?? 0));
    if (length <= 0) return;
    const piece = Buffer.allocUnsafeSlow(length);
    const { bytesRead } = await file.read(piece, 0, length, at ?? null);
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
    if (at !== undefined) at += bytesRead;
  }
}

export const nodePlatform: Platform = {
  async openFile(path) {
    try {
      const info = await stat(path);
      if (info.isDirectory()) throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' });
      if (!info.isFile() || info.size === 0) return { pieces: () => read(path) }; // /proc says 0
      return {
        size: info.size,
        pieces: (from = 0, to) => read(path, from, to),
        isChanged: async () => (await stampAt(path)) !== stampOf(info),
      };
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const target = await readlink(path).catch(() => undefined);
      if (target !== undefined)
        throw new InvalidVolume(
          `${String(path)} is a link to ${target}, which is not there (${message}); get the file ` +
            '("datalad get", "git annex get") or correct the link.',
          { cause },
        );
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw new InvalidVolume(`${String(path)} cannot be read: ${message}.`, { cause });
    }
  },
  async *gunzip(compressed) {
    const source = Readable.from(compressed, { highWaterMark: 1 });
    const stream = createGunzip({ chunkSize });
    pipeline(source, stream, () => undefined); // readers get the error
    try {
      yield* stream as AsyncIterable<Uint8Array>;
    } finally {
      source.destroy();
    }
  },
  async gzip(bytes) {
    const stream = createGzip({ level: 6, chunkSize });
    pipeline(Readable.from(piecesOf(bytes), { highWaterMark: 1 }), stream, () => undefined); // readers get the error
    return new Uint8Array(await buffer(stream));
  },
  touch: promisify<Uint8Array, unknown>(randomFill),
};

setPlatform(nodePlatform);
