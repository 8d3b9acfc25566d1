/**
 * Where bytes come from: paths (Node), URLs, files picked in a browser, and arrays. Gunzips by what the bytes
 * say, not by the name. Platforms differ in a hook, `setPlatform`; the default is that of browsers.
 */
import { InvalidVolume } from '../errors.ts';

/** A string is a path and works in Node only; everywhere else use a URL, a File or Blob, or bytes. */
export type Source = string | URL | Blob | ArrayBuffer | Uint8Array;

/** What a platform does its own way. */
export interface Platform {
  /** The bytes of a file; undefined if there is none of that name. */
  readFile(path: string | URL): Promise<Uint8Array | undefined>;
  /** Rejects if the bytes are damaged or end early. */
  gunzip(bytes: Uint8Array): Promise<Uint8Array>;
  gzip(bytes: Uint8Array): Promise<Uint8Array>;
}

async function pipe(bytes: Uint8Array, stream: GenericTransformStream): Promise<Uint8Array> {
  const readable = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream);
  return new Uint8Array(
    await new Response(readable as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
  );
}

const browser: Platform = {
  readFile: (path) => {
    throw new InvalidVolume(
      `Cannot open the path ${String(path)}: a browser has no files by path; give a File, a URL or an ArrayBuffer.`,
    );
  },
  gunzip: (bytes) => pipe(bytes, new DecompressionStream('gzip')),
  gzip: (bytes) => pipe(bytes, new CompressionStream('gzip')),
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

/** What messages call a source. */
export function sourceName(source: Source): string {
  if (typeof source === 'string') return source;
  if (source instanceof URL) return source.href;
  if (typeof File !== 'undefined' && source instanceof File) return source.name;
  return source instanceof Blob ? 'the Blob' : 'the buffer';
}

/**
 * A source's bytes, gunzipped if they are gzip.
 * @param remedy what the message about a missing file advises
 * @throws InvalidVolume if the file is not there, cannot be fetched, or its gzip stream is damaged or truncated
 */
export async function readSource(source: Source, remedy = 'check the path'): Promise<Uint8Array> {
  const bytes = await rawBytes(source);
  if (!bytes) throw new InvalidVolume(`${sourceName(source)} does not exist; ${remedy}.`);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await current.gunzip(bytes);
  } catch (cause) {
    throw new InvalidVolume(
      `${sourceName(source)} is gzip that ends early or is damaged (${bytes.length} bytes compressed: ` +
        `${cause instanceof Error ? cause.message : String(cause)}); copy or download it again.`,
      { cause },
    );
  }
}

async function rawBytes(source: Source): Promise<Uint8Array | undefined> {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  if (typeof source === 'string' || source.protocol === 'file:') return current.readFile(source);
  const response = await fetch(source).catch((cause: unknown) => {
    throw new InvalidVolume(`${source.href} cannot be fetched: ${String(cause)}.`, { cause });
  });
  if (!response.ok)
    throw new InvalidVolume(
      `${source.href} answers ${response.status} ${response.statusText}; check the URL.`,
    );
  return new Uint8Array(await response.arrayBuffer());
}
