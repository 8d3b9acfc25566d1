/** Seeded damage to files: what readers of hostile input are tried with. */
import type { Random } from '../../src/data/random.ts';
import { writeHashed } from '../../src/weights/content-hash.ts';
import { dataStart, readSafetensors } from '../../src/weights/safetensors.ts';

export const pick = <T>(source: Random, list: readonly T[]): T => list[source.int(list.length)]!;

/** One time in `times`. */
export const chance = (source: Random, times: number): boolean => source.int(times) === 0;

/** Values that numbers, texts and lists of a file may turn into. */
const strange: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e308,
  2 ** 53,
  NaN,
  '',
  'LPS',
  '../x',
  '\u001b[2J',
  '__proto__',
  [],
  [1, 1],
  [[]],
  {},
  { constructor: 1 },
];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A copy of a JSON value with one thing in it changed: a value, a name or a length. */
export function mutatedJson(value: unknown, source: Random): unknown {
  const parts: readonly unknown[] = Array.isArray(value)
    ? value
    : isObject(value)
      ? Object.values(value)
      : [];
  if (parts.length === 0 || source.int(6) === 0) return pick(source, strange);
  const at = source.int(parts.length);
  const kind = source.int(8);
  if (Array.isArray(value)) {
    const copy: unknown[] = [...(value as unknown[])];
    if (kind === 0) copy.splice(at, 1);
    else if (kind === 1) copy.splice(at, 0, copy[at]);
    else copy[at] = mutatedJson(copy[at], source);
    return copy;
  }
  const entries = Object.entries(value as object) as [string, unknown][];
  const [name, content] = entries[at]!;
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries[at] = [pick(source, ['', '__proto__', 'constructor', `${name}x`]), content];
  else entries[at] = [name, mutatedJson(content, source)];
  return Object.fromEntries(entries);
}

/** Text with a few letters removed, doubled or replaced. */
export function mutatedText(text: string, source: Random): string {
  const letters = [...text];
  for (let count = 1 + source.int(3); count > 0; count--) {
    const at = source.int(Math.max(1, letters.length));
    const other = ['', '"', '{', ']', '\\', '9', 'e', '\u0000', (letters[at] ?? '').repeat(2)];
    letters[at] = other[source.int(other.length)]!;
  }
  return letters.join('');
}

/** Bytes with a bit flipped, a stretch removed, doubled or overwritten. */
export function mutatedBytes(
  bytes: Uint8Array,
  source: Random,
  before = bytes.length,
): Uint8Array<ArrayBuffer> {
  const at = source.int(Math.max(1, Math.min(before, bytes.length)));
  const copy = new Uint8Array(bytes);
  const length = 1 + source.int(16);
  switch (source.int(5)) {
    case 0:
      return copy.slice(0, at);
    case 1:
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
    case 2:
      return Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)]);
    case 3:
      copy.fill(source.int(256), at, at + length);
      return copy;
    default:
      if (copy.length > 0) copy[at]! ^= 1 << source.int(8);
      return copy;
  }
}

/** A safetensors file with this header in front of the tensors' bytes. */
export function withHeader(header: unknown, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + head.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  bytes.set(data, 8 + head.length);
  return bytes;
}

/** The header of a safetensors file, without the hash of its content, and the bytes behind it. */
export function headerOf(bytes: Uint8Array) {
  const start = dataStart(bytes);
  type Header = Record<string, object> & { __metadata__: Record<string, string> };
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Header;
  delete header.__metadata__['sha256'];
  return { header, data: bytes.slice(start) };
}

/**
 * A damaged copy of a safetensors file: its bytes, its header, its numbers, or the JSON among its metadata changed. Some
 * lose their hash first and some are given that of their new content, so that what lies behind it is tried too.
 */
export async function mutatedSafetensors(
  bytes: Uint8Array,
  source: Random,
): Promise<Uint8Array<ArrayBuffer>> {
  const { header, data } = headerOf(bytes);
  const bare = withHeader(header, data);
  const { tensors, metadata } = readSafetensors(bare);
  const otherNumbers = (): Uint8Array => {
    const copy = bare.slice();
    copy[copy.length - data.length + source.int(data.length)] = source.int(256);
    return copy;
  };
  const json = Object.entries(metadata).filter(([, value]) => /^[{[]/.test(value));
  switch (source.int(8)) {
    case 0:
      return mutatedBytes(bytes, source);
    case 1:
      return mutatedBytes(bare, source, dataStart(bare));
    case 2:
      return withHeader(mutatedJson(header, source), data);
    case 3:
      return withHeader(mutatedText(JSON.stringify(header), source), data);
    case 4:
      return writeHashed(readSafetensors(otherNumbers()));
    default: {
      const [key, text] = pick(source, json);
      const changed = chance(source, 4)
        ? mutatedText(text, source)
        : JSON.stringify(mutatedJson(JSON.parse(text), source));
      return writeHashed({ tensors, metadata: { ...metadata, [key]: changed } });
    }
  }
}
