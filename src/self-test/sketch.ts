/**
 * A result in few numbers: each value, with a sign that looks random, is added to one of 32 sums. For the difference of
 * two results, the sums' norm is the difference's own give or take an eighth (the square's deviation is √(2 / 32)), and
 * one wrong value shows in full, so that answers can be compared without being stored whole.
 */

const sums = 32;

/** The sums. */
export function sketch(values: ArrayLike<number>): Float64Array {
  const result = new Float64Array(sums);
  for (let i = 0; i < values.length; i++) result[i % sums]! += isNegative(i) ? -values[i]! : values[i]!;
  return result;
}

/** A bit of a hash of the index (the finaliser of MurmurHash3). */
function isNegative(index: number): boolean {
  let hash = index + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) & 1) === 1;
}

/** For storing: base64 of float32. */
export const encodeSketch = (values: Float64Array): string =>
  btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(values).buffer)));

export function decodeSketch(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
