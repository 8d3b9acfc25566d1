/**
 * Gunzip in a browser. Its own DecompressionStream is the faster one, but takes a single gzip stream and nothing
 * behind it; files of several (bgzip, concatenated ones) or with zeros at their end go through pako, which is
 * loaded when the first of them comes.
 */
import { UNet3DError } from '../errors.ts';

/** Compressed bytes that pako gets at a time: it hands out all that they hold, up to a thousand times as many. */
const bite = 2 ** 12;

/**
 * What is in gzip, in pieces. Fails at the end at the latest if the bytes are damaged or end early.
 * @param again the compressed bytes once more from their beginning
 */
export async function* gunzip(
  compressed: AsyncIterable<Uint8Array>,
  again: () => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let passedOn = 0;
  try {
    const stream = streamOf(compressed).pipeThrough(new DecompressionStream('gzip'));
    for await (const piece of piecesOf(stream)) {
      passedOn += piece.length;
      yield piece;
    }
    return;
  } catch (error) {
    if (error instanceof UNet3DError) throw error; // the bytes did not arrive
  }
  for await (const piece of gunzipMembers(again())) {
    const known = Math.min(passedOn, piece.length);
    passedOn -= known;
    if (known < piece.length) yield piece.subarray(known);
  }
}

/** Gzip streams one after another, up to the end or to a byte 0 between them, as zlib has it. */
async function* gunzipMembers(compressed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { Inflate } = await import('pako/browser/inflate');
  let member: InstanceType<typeof Inflate> | undefined;
  for await (const piece of compressed)
    for (let at = 0; at < piece.length; at += bite) {
      const bytes = piece.subarray(at, at + bite);
      if (!member && bytes[0] === 0) return;
      const found: Uint8Array[] = [];
      member ??= new Inflate({ windowBits: 15 + 16 });
      member.onData = (chunk) => found.push(chunk);
      member.push(bytes);
      if (member.err !== 0) throw new Error(member.msg);
      yield* found;
      if (member.ended) member = undefined;
    }
  if (member) throw new Error('unexpected end of file');
}

/** The pieces of a stream; who stops early cancels it. */
export async function* piecesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader(); // not every browser iterates over streams
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel().catch(() => undefined); // one that has failed has said so
  }
}

/** Pieces as a stream. */
function streamOf(pieces: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = pieces[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const next = await source.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value as Uint8Array<ArrayBuffer>);
    },
    async cancel() {
      await source.return?.();
    },
  });
}
