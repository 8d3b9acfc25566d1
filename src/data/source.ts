/**
 * Where bytes come from: paths (Node), URLs, files picked in a browser, and arrays. Gunzips by what the bytes
 * say, not by the name. Platforms differ in a hook, `setPlatform`; the default is that of browsers.
 */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { shown } from '../options.ts';

/** A string is a path and works in Node only; everywhere else use a URL, a File or Blob, or bytes. */
export type Source = string | URL | Blob | ArrayBuffer | Uint8Array;

/** What a platform does its own way. */
export interface Platform {
  /** The bytes of a file; undefined if there is none of that name. */
  readFile(path: string | URL): Promise<Uint8Array | undefined>;
  /** In pieces, as they come out. Fails at the end at the latest if the bytes are damaged or end early. */
  gunzip(bytes: Uint8Array): AsyncIterable<Uint8Array>;
  gzip(bytes: Uint8Array): Promise<Uint8Array>;
}

function through(bytes: Uint8Array, stream: GenericTransformStream) {
  const source = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  return source.pipeThrough(stream) as ReadableStream<Uint8Array<ArrayBuffer>>;
}

async function* pieces(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader(); // not every browser iterates over streams
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

const browser: Platform = {
  readFile: (path) => {
    throw new InvalidVolume(
      `Cannot open the path ${String(path)}: a browser has no files by path; give a File, a URL or an ArrayBuffer.`,
    );
  },
  gunzip: (bytes) => pieces(through(bytes, new DecompressionStream('gzip'))),
  gzip: async (bytes) =>
    new Uint8Array(await new Response(through(bytes, new CompressionStream('gzip'))).arrayBuffer()),
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
 * @throws InvalidVolume if the file is not there, cannot be fetched, or its gzip stream is damaged or truncated;
 *   InvalidOption for what is no source
 */
export async function readSource(source: Source, remedy?: string): Promise<Uint8Array> {
  return (await openSource(source, remedy)).rest();
}

/** A source's bytes, to be taken in order; see `ByteStream`. @throws as `readSource`, at any read for its gzip */
export async function openSource(source: Source, remedy = 'check the path'): Promise<ByteStream> {
  const bytes = await rawBytes(source);
  if (!bytes) throw new InvalidVolume(`${sourceName(source)} does not exist; ${remedy}.`);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return new ByteStream([bytes], bytes.length);
  return new ByteStream(unzipped(bytes, sourceName(source)), announced(bytes));
}

async function* unzipped(bytes: Uint8Array, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* current.gunzip(bytes);
  } catch (cause) {
    throw new InvalidVolume(
      `${name} is gzip that ends early or is damaged (${bytes.length} bytes compressed: ` +
        `${cause instanceof Error ? cause.message : String(cause)}); copy or download it again.`,
      { cause },
    );
  }
}

/**
 * Bytes that come out of gzip, as its last four announce, within what deflate can do (1032 times). Not to be relied
 * on: wrong beyond 4 GiB, and for streams that are several in a row.
 */
function announced(bytes: Uint8Array): number {
  if (bytes.length < 18) return 0;
  const length = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getUint32(0, true);
  return Math.min(length, bytes.length * 1032);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Bytes that arrive in pieces and are taken in order. */
export class ByteStream {
  readonly #pieces: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();

  /** @param announced the number of bytes that will come, as far as that can be told before */
  constructor(
    pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    readonly announced: number,
  ) {
    this.#pieces =
      Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  }

  /** The next `length` bytes, or fewer at the end; they stay. */
  async peek(length: number): Promise<Uint8Array> {
    if (this.#piece.length < length) this.#piece = joined(await this.#gather(length));
    return this.#piece.subarray(0, length);
  }

  /** The next `length` bytes, or fewer at the end. */
  async take(length: number): Promise<Uint8Array> {
    const bytes = await this.peek(length);
    this.#piece = this.#piece.subarray(bytes.length);
    return bytes;
  }

  /** All that is left. */
  rest(): Promise<Uint8Array> {
    return this.take(Infinity);
  }

  /** Leaves out what is left, in order to learn of its damage. */
  async drain(): Promise<void> {
    this.#piece = new Uint8Array();
    while (!(await this.#pieces.next()).done);
  }

  /** The current piece and as many more as are needed. */
  async #gather(length: number): Promise<Uint8Array[]> {
    const pieces = [this.#piece];
    let found = this.#piece.length;
    while (found < length) {
      const next = await this.#pieces.next();
      if (next.done) break;
      pieces.push(next.value);
      found += next.value.length;
    }
    return pieces.filter((piece) => piece.length > 0);
  }
}

async function rawBytes(source: Source): Promise<Uint8Array | undefined> {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  if (typeof source !== 'string' && !(source instanceof URL))
    throw new InvalidOption(
      `a source is ${shown(source)}: give a path (in Node), a URL object, a File or Blob, an ArrayBuffer or a Uint8Array`,
    );
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
