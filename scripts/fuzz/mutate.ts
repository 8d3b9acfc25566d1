/** Damage that every kind of file may have. */
import type { Random } from '../../src/data/random.ts';

export const pick = <T>(source: Random, list: readonly T[]): T => list[source.int(list.length)]!;

/** One time in `times`. */
export const chance = (source: Random, times: number): boolean => source.int(times) === 0;

/** Bytes with some changed, a stretch removed or doubled, or the end cut off. */
export function damaged(bytes: Uint8Array, source: Random): Uint8Array<ArrayBuffer> {
  const at = source.int(Math.max(1, bytes.length));
  const length = 1 + source.int(40);
  switch (source.int(5)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
    case 2:
      return Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)]);
    default: {
      const copy = bytes.slice();
      for (let times = 1 + source.int(4); times > 0 && copy.length > 0; times--)
        copy[source.int(copy.length)] = source.int(256);
      return copy;
    }
  }
}

const strange: readonly unknown[] = [
  null, true, -1, 0, 0.5, 1e308, 2 ** 53, '', 'LPS', '../x', '\u001b[2J', '__proto__', [], [1, 1], [[]], {}, { constructor: 1 },
]; // prettier-ignore

/** A copy of a JSON value with one thing in it changed: a value, a name or a length. */
export function changed(value: unknown, source: Random): unknown {
  if (typeof value !== 'object' || value === null || chance(source, 6)) return pick(source, strange);
  const entries = Object.entries(value);
  if (entries.length === 0) return pick(source, strange);
  const at = source.int(entries.length);
  const [name, content] = entries[at] as [string, unknown];
  const kind = source.int(8);
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries.splice(at, 0, [pick(source, ['', '__proto__', `${name}x`]), content]);
  else entries[at] = [name, changed(content, source)];
  return Array.isArray(value) ? entries.map(([, item]): unknown => item) : Object.fromEntries(entries);
}
