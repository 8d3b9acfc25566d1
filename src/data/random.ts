/**
 * Seeded random numbers without hidden state: Philox4x32-10 (Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3") of (seed, stream, counter). The same three give the same numbers in
 * every engine, so that phantoms, splits, shuffling and initial weights repeat anywhere.
 */
type Words = [number, number, number, number];

/** The high 32 bits of the 64-bit product of two unsigned 32-bit numbers, from products of their halves. */
function highProduct(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carried = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carried >>> 16)) | 0;
}

/** Philox4x32-10: four unsigned 32-bit words from a counter of four and a key of two. */
export function philox(counter: Readonly<Words>, key: readonly [number, number]): Words {
  // Integers with a sign are what engines compute fastest.
  let a = counter[0] | 0;
  let b = counter[1] | 0;
  let c = counter[2] | 0;
  let d = counter[3] | 0;
  let k0 = key[0] | 0;
  let k1 = key[1] | 0;
  for (let round = 0; round < 10; round++) {
    const high0 = highProduct(0xd2511f53, a);
    const high1 = highProduct(0xcd9e8d57, c);
    const low0 = Math.imul(0xd2511f53, a);
    a = high1 ^ b ^ k0;
    b = Math.imul(0xcd9e8d57, c);
    c = high0 ^ d ^ k1;
    d = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}

/** Natural logarithm of a positive number by basic arithmetic only: Math.log may differ between engines. */
function ln(value: number): number {
  let exponent = 0;
  let mantissa = value;
  for (; mantissa < Math.SQRT1_2; exponent--) mantissa *= 2;
  for (; mantissa > Math.SQRT2; exponent++) mantissa /= 2;
  const t = (mantissa - 1) / (mantissa + 1); // |t| < 0.172: t^25 is below float64's resolution
  let sum = 0;
  for (let power = 23; power >= 1; power -= 2) sum = sum * t * t + 1 / power;
  return 2 * t * sum + exponent * Math.LN2;
}

/** A stream of random numbers; every call takes the stream's next ones. */
export interface Random {
  /** Uniform in [low, high), 53 bits; by default in [0, 1). */
  uniform(low?: number, high?: number): number;
  /** Normal with a mean (0) and a standard deviation (1). */
  normal(mean?: number, deviation?: number): number;
  /** Whole number in [0, below), without bias. `below` from 1 to 2^32. */
  int(below: number): number;
  /** A new array with the items in random order (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[];
}

const low32 = (value: number): number => value >>> 0;
const high32 = (value: number): number => Math.floor(value / 0x1_0000_0000) >>> 0;

/**
 * Random numbers for a seed (a safe integer) and a stream, named by any numbers and texts:
 * `random(7, 'shuffle', epoch)`. Different streams of one seed are independent.
 */
export function random(seed: number, ...stream: readonly (number | string)[]): Random {
  const key: [number, number] = [low32(seed), high32(seed)];
  let [s0, s1] = [0, 0];
  for (const part of stream) {
    const numbers = typeof part === 'number' ? [part] : Array.from(part, (char) => char.codePointAt(0) ?? 0);
    // The kind and the length go first, so that ('a', 1) and ('a\u0001') differ.
    [s0, s1] = philox([typeof part === 'number' ? 1 : 2, numbers.length, s0, s1], key);
    for (const value of numbers) [s0, s1] = philox([low32(value), high32(value), s0, s1], key);
  }

  let counter = 0;
  let words: Words = [0, 0, 0, 0];
  let left = 0;
  const next = (): number => {
    if (left === 0) {
      words = philox([low32(counter), high32(counter++), s0, s1], key);
      left = 4;
    }
    return words[--left]!;
  };
  const uniform = (low = 0, high = 1): number => {
    const unit = ((next() >>> 5) * 0x4000000 + (next() >>> 6)) / 0x20000000000000;
    return low + (high - low) * unit;
  };
  const int = (below: number): number => {
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % below);
    let value = next();
    while (value >= limit) value = next();
    return value % below;
  };
  return {
    uniform,
    int,
    // Marsaglia's polar method: a logarithm and a root, no sine.
    normal(mean = 0, deviation = 1) {
      for (;;) {
        const u = uniform(-1, 1);
        const v = uniform(-1, 1);
        const s = u * u + v * v;
        if (s > 0 && s < 1) return mean + deviation * u * Math.sqrt((-2 * ln(s)) / s);
      }
    },
    shuffle<T>(items: readonly T[]): T[] {
      const result = [...items];
      for (let last = result.length - 1; last > 0; last--) {
        const other = int(last + 1);
        [result[last], result[other]] = [result[other] as T, result[last] as T];
      }
      return result;
    },
  };
}
