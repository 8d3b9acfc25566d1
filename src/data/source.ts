/**
 * Where bytes come from: paths (Node), URLs, files picked in a browser, and arrays, read as far as they are asked
 * for. Gunzips by what the bytes say, not by the name. Platforms differ in a hook, `setPlatform`; the default is that of browsers.
 */
import * as v from 'valibot';
import { InvalidOption, InvalidVolume, UNet3DError } from '../errors.ts';
import { shown } from '../options.ts';
import { ByteStream } from './byte-stream.ts';
import { gunzip, piecesOf } from './gunzip.ts';

/** A string is a path and works in Node only; everywhere else use a URL, a File or Blob, or bytes. */
export type Source = string | URL | Blob | ArrayBuffer | Uint8Array | FilePair;

/** A .hdr and its .img, where the place of one does not follow from that of the other. */
export interface FilePair {
  /** The .hdr. */
  readonly header: Blob | ArrayBuffer | Uint8Array;
  /** The .img, which holds the voxels. */
  readonly image: Blob | ArrayBuffer | Uint8Array;
}

export const isFilePair = (source: unknown): source is FilePair =>
  typeof source === 'object' && source !== null && 'header' in source && 'image' in source;

/** The path of one file of a .hdr/.img pair by that of either, gzipped or not; undefined for a path with neither ending. */
export function pairedPath(path: string, ending: 'hdr' | 'img'): string | undefined {
  const match = /^(.*)\.(hdr|img)((?:\.gz)?)$/is.exec(path);
  if (!match) return undefined;
  const [, start, found, gz] = match as unknown as [string, string, string, string];
  return `${start}.${found === found.toUpperCase() ? ending.toUpperCase() : ending}${gz}`;
}

/** Both files of a .hdr/.img pair, of which one is named; else the path alone. */
export function bothOfPair(path: string): string[] {
  const [header, image] = [pairedPath(path, 'hdr'), pairedPath(path, 'img')];
  return header !== undefined && image !== undefined ? [header, image] : [path];
}

const sourceText =
  'a path (in Node), a URL object, a File or Blob, an ArrayBuffer or a Uint8Array, or { header, image } of these two files';
export const sourceSchema = v.custom<Source>(
  (value) =>
    typeof value === 'string' ||
    isFilePair(value) ||
    [URL, Blob, ArrayBuffer, Uint8Array].some((type) => value instanceof type),
  sourceText,
);

/** The bytes of a file, URL or array as they are stored. */
export interface Stored {
  /** Absent where only the end tells: URLs, pipes. */
  readonly size?: number;
  /** Pieces in order, read as they are asked for, up to `to` or the end. Where there is no `size`, all of them only. */
  readonly pieces: (from?: number, to?: number) => AsyncIterable<Uint8Array>;
  /** Of a file on disk: whether it is another one by now, or is gone. */
  readonly isChanged?: () => Promise<boolean>;
}

/** What a platform does its own way. */
export interface Platform {
  /** A file; undefined if there is none of that name. */
  openFile(path: string | URL): Promise<Stored | undefined>;
  /**
   * In pieces, as they come out. Fails at the end at the latest if the bytes are damaged or end early.
   * @param again the same bytes from their beginning
   */
  gunzip(
    compressed: AsyncIterable<Uint8Array>,
    again: () => AsyncIterable<Uint8Array>,
  ): AsyncIterable<Uint8Array>;
  gzip(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>>;
  /** Writes whatever it likes into bytes on a thread of its own, so that the system gives memory for them there. */
  readonly touch?: (bytes: Uint8Array) => Promise<unknown>;
}

const browser: Platform = {
  openFile: (path) => {
    throw new InvalidVolume(
      `Cannot open the path ${String(path)}: a browser has no files by path; give a File, a URL or its bytes.`,
    );
  },
  gunzip,
  async gzip(bytes) {
    const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
      .stream()
      .pipeThrough(new CompressionStream('gzip'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  },
};

let current = browser;

/** Replaces how files are opened and gzip is handled; undefined brings the browser's way back. */
export function setPlatform(platform: Platform | undefined): void {
  current = platform ?? browser;
}

/** The platform in use. */
export function platform(): Platform {
  return current;
}

/** One source, or the caller's list of them, in a list of its own. */
export const sourceList = (sources: Source | readonly Source[]): readonly Source[] =>
  [sources].flat() as readonly Source[];

/** What messages call a source. */
export function sourceName(source: Source): string {
  if (typeof source === 'string') return source;
  if (source instanceof URL) return source.href;
  if (typeof File !== 'undefined' && source instanceof File) return source.name;
  if (isFilePair(source)) return sourceName(source.header);
  return source instanceof Blob ? 'the Blob' : 'the buffer';
}

/** Deflate makes bytes at most so many times fewer. */
const bestRatio = 1032;

/**
 * A source's bytes, gunzipped if they are gzip, to be taken in order. Whoever opens it closes it.
 * @param remedy what the message about a missing file advises
 * @throws InvalidVolume if the file is not there or cannot be fetched; at any read, if it cannot be read on or its
 *   gzip stream is damaged or truncated; InvalidOption for what is no source
 */
export async function openSource(source: Source, remedy = 'check the path'): Promise<ByteStream> {
  const name = sourceName(source);
  const stored = await openStored(source);
  if (!stored) throw new InvalidVolume(`${name} does not exist; ${remedy}.`);
  const { size = Infinity } = stored;
  const bytes = new ByteStream(named(stored.pieces(), name), {
    most: size,
    announced: Number.isFinite(size) ? size : 0,
  });
  const magic = await bytes.peek(2);
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return bytes;
  const ahead = await announced(stored, name).catch(async (error: unknown) => {
    await bytes.close();
    throw error;
  });
  return new ByteStream(
    unzipped(bytes.rest(), () => named(stored.pieces(), name), name),
    { most: size * bestRatio, announced: ahead },
    bytes,
  );
}

/** Bytes of a text at most: of data sets with a hundred thousand cases, and more. */
const longestText = 2 ** 25;

/**
 * A source's bytes as UTF-8 text.
 * @throws InvalidVolume as openSource, and if it is longer than any text that belongs to a data set
 */
export async function readText(source: Source, remedy?: string): Promise<string> {
  const stream = await openSource(source, remedy);
  try {
    const bytes = await stream.take(longestText + 1);
    if (bytes.length > longestText)
      throw new InvalidVolume(
        `${sourceName(source)} is longer than ${longestText / 2 ** 20} MiB; expected a text, check that it is the right file.`,
      );
    return new TextDecoder().decode(bytes);
  } finally {
    await stream.close();
  }
}

async function* unzipped(
  compressed: AsyncIterable<Uint8Array>,
  again: () => AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  try {
    yield* current.gunzip(compressed, again);
  } catch (cause) {
    if (cause instanceof UNet3DError) throw cause;
    throw new InvalidVolume(
      `${name} is gzip that ends early or is damaged (${messageOf(cause)}); copy or download it again.`,
      { cause },
    );
  }
}

/** What something that was thrown says. */
export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/**
 * Bytes that come out of gzip, as its last four announce, within what deflate can do. Not to be relied on: wrong
 * beyond 4 GiB, and for streams that are several in a row.
 */
async function announced({ size, pieces }: Stored, name: string): Promise<number> {
  if (size === undefined || size < 18) return 0;
  const end = new ByteStream(named(pieces(size - 4), name));
  const last = await end.take(4);
  await end.close();
  if (last.length < 4) return 0;
  return Math.min(new DataView(last.buffer, last.byteOffset, 4).getUint32(0, true), size * bestRatio);
}

/** Pieces whose failure says of which source it is. */
async function* named(pieces: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (cause) {
    if (cause instanceof UNet3DError) throw cause;
    throw new InvalidVolume(`${name} cannot be read: ${messageOf(cause)}.`, { cause });
  }
}

/**
 * A source as it is stored; undefined for a path without a file.
 * @throws InvalidVolume if it cannot be opened or fetched; InvalidOption for what is no source
 */
export async function openStored(source: Source): Promise<Stored | undefined> {
  if (isFilePair(source)) return openStored(source.header);
  if (source instanceof Uint8Array) return inMemory(source);
  if (source instanceof ArrayBuffer) return inMemory(new Uint8Array(source));
  if (source instanceof Blob)
    return { size: source.size, pieces: (from = 0, to) => piecesOf(source.slice(from, to).stream()) };
  if (typeof source !== 'string' && !(source instanceof URL))
    throw new InvalidOption(`a source is ${shown(source)}: give ${sourceText}`);
  if (typeof source === 'string' || source.protocol === 'file:') return current.openFile(source);
  return fetched(source);
}

function inMemory(bytes: Uint8Array): Stored {
  return {
    size: bytes.length,
    async *pieces(from = 0, to) {
      yield await Promise.resolve(bytes.subarray(from, to));
    },
  };
}

/** A URL's answer as it arrives; whoever reads it again fetches it again. */
async function fetched(url: URL): Promise<Stored> {
  let answer: Response | undefined = await get(url);
  return {
    async *pieces() {
      const { body } = answer ?? (await get(url));
      answer = undefined;
      if (body) yield* piecesOf(body);
    },
  };
}

async function get(url: URL): Promise<Response> {
  const response = await fetch(url).catch((cause: unknown) => {
    throw new InvalidVolume(`${url.href} cannot be fetched: ${String(cause)}.`, { cause });
  });
  if (response.ok) return response;
  await response.body?.cancel();
  throw new InvalidVolume(`${url.href} answers ${response.status} ${response.statusText}; check the URL.`);
}
