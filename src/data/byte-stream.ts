/** Bytes that arrive in pieces and are taken in order; no more is asked for than somebody wants to see. */

/** What is known of a stream's length before it is read. */
export interface Expected {
  /** No more bytes than this can come. */
  readonly most: number;
  /** So many will come, unless the file is damaged or made of several gzip streams; 0 where nothing tells. */
  readonly announced: number;
}

/** Of whose length nothing is known. */
const unknown: Expected = { most: Infinity, announced: 0 };

export class ByteStream {
  readonly expected: Expected;
  readonly #source: AsyncIterator<Uint8Array>;
  /** Closed as well: a source that was never asked for anything has not begun, and so lets go of nothing. */
  readonly #beneath: ByteStream | undefined;
  /** Pieces that have arrived and are not taken yet, and the bytes in them. */
  #pieces: Uint8Array[] = [];
  #length = 0;

  /** @param beneath what the source takes its bytes from */
  constructor(source: AsyncIterable<Uint8Array>, expected = unknown, beneath?: ByteStream) {
    this.expected = expected;
    this.#source = source[Symbol.asyncIterator]();
    this.#beneath = beneath;
  }

  /** Waits until the next `length` bytes are there, or all that come; returns how many are. */
  async hold(length: number): Promise<number> {
    while (this.#length < length) {
      const next = await this.#source.next();
      if (next.done) break;
      if (next.value.length > 0) this.#pieces.push(next.value);
      this.#length += next.value.length;
    }
    return Math.min(length, this.#length);
  }

  /** The next `length` bytes, or fewer at the end; they stay. */
  async peek(length: number): Promise<Uint8Array> {
    const bytes = await this.take(length);
    this.#pieces.unshift(bytes);
    this.#length += bytes.length;
    return bytes;
  }

  /** The next `length` bytes, or fewer at the end. */
  async take(length: number): Promise<Uint8Array> {
    let missing = await this.hold(length);
    const parts: Uint8Array[] = [];
    while (missing > 0) {
      const part = this.#next(missing);
      parts.push(part);
      missing -= part.length;
    }
    return joined(parts);
  }

  /** Passes over the next `length` bytes without keeping them; returns how many there were. */
  async skip(length: number): Promise<number> {
    let skipped = 0;
    while (skipped < length && (await this.hold(1)) > 0) skipped += this.#next(length - skipped).length;
    return skipped;
  }

  /** What is left, piece by piece. */
  async *rest(): AsyncGenerator<Uint8Array> {
    try {
      while ((await this.hold(1)) > 0) yield this.#next(Infinity);
    } finally {
      await this.close();
    }
  }

  /** Lets go of the source, whatever is left of it. */
  async close(): Promise<void> {
    await this.#source.return?.();
    await this.#beneath?.close();
  }

  /** The first piece, or its beginning; there is one. */
  #next(most: number): Uint8Array {
    const piece = this.#pieces[0]!;
    const part = piece.subarray(0, most);
    if (part.length === piece.length) this.#pieces.shift();
    else this.#pieces[0] = piece.subarray(part.length);
    this.#length -= part.length;
    return part;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
