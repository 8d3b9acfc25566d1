/**
 * A large entry of a zip archive as a file to read by range: it is unpacked as far as somebody reads, and what nobody
 * wants is passed over. Reading on is cheap; going back further than what was just passed begins anew.
 */
import type { ZipEntry } from 'unzipit';
import type { ByteRanges } from '../data/byte-ranges.ts';
import { ByteStream } from '../data/byte-stream.ts';
import { piecesOf } from '../data/gunzip.ts';
import { asDamage } from './zip.ts';

/** Bytes behind the place of reading that stay: lists of entries are read from their end. */
const mostKept = 2 ** 20;

/** Bytes that are passed over at a time. */
const stride = 2 ** 18;

export class EntryRanges implements ByteRanges {
  readonly size: number;
  #stream: ByteStream | undefined;
  /** How far the stream has been read. */
  #at = 0;
  /** What came last, in order, up to `#at`. */
  #kept: Uint8Array[] = [];
  /** Of reads, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    readonly entry: ZipEntry,
    readonly name: string,
    readonly damaged: (problem: string) => Error,
  ) {
    this.size = entry.size;
  }

  read(from: number, to: number): Promise<Uint8Array> {
    const found = this.#last.then(() => this.#read(from, to));
    this.#last = found.catch(() => undefined);
    return found;
  }

  async #read(from: number, to: number): Promise<Uint8Array> {
    if (!(from >= 0 && from <= to && to <= this.size))
      throw this.damaged(`it ends at byte ${this.size} and should go on to ${to} at least`);
    const result = new Uint8Array(to - from);
    try {
      const kept = this.#kept.reduce((sum, { length }) => sum + length, 0);
      if (!this.#stream || from < this.#at - kept) await this.#begin();
      let at = this.#at - this.#kept.reduce((sum, { length }) => sum + length, 0);
      for (const piece of this.#kept) {
        place(result, from, piece, at);
        at += piece.length;
      }
      while (this.#at < to) {
        const piece = await this.#stream!.take(Math.min(stride, this.size - this.#at));
        if (piece.length === 0) throw new Error(`it ends at byte ${this.#at} of ${this.size}`);
        place(result, from, piece, this.#at);
        this.#keep(piece);
      }
    } catch (cause) {
      this.#stream = undefined;
      throw asDamage(cause, this.damaged);
    }
    return result;
  }

  async #begin(): Promise<void> {
    await this.#stream?.close();
    this.#stream = new ByteStream(piecesOf(await this.entry.stream()));
    this.#at = 0;
    this.#kept = [];
  }

  #keep(piece: Uint8Array): void {
    this.#at += piece.length;
    this.#kept.push(piece);
    let length = this.#kept.reduce((sum, part) => sum + part.length, 0);
    while (length - this.#kept[0]!.length >= mostKept) length -= this.#kept.shift()!.length;
  }
}

/** What of a piece that lies at `at` belongs to the bytes from `from` on. */
function place(result: Uint8Array, from: number, piece: Uint8Array, at: number): void {
  const [first, end] = [Math.max(from, at), Math.min(from + result.length, at + piece.length)];
  if (first < end) result.set(piece.subarray(first - at, end - at), first - from);
}
