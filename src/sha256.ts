/** SHA-256 (FIPS 180-4) of bytes that come piece by piece, which Web Crypto takes only as a whole, and copies. */

/** The first 32 bits behind the point of the roots of the first primes. */
function roots(count: number, exponent: number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Int32Array.from(primes, (prime) => fractionOf(prime, exponent));
}

/** Of the root of a prime: in whole numbers, since a float64 of a cube root has too few bits to be sure of. */
function fractionOf(prime: number, exponent: number): number {
  const scaled = BigInt(prime) << BigInt(32 * exponent);
  let root = BigInt(Math.floor(prime ** (1 / exponent) * 2 ** 32));
  while (root ** BigInt(exponent) > scaled) root--;
  while ((root + 1n) ** BigInt(exponent) <= scaled) root++;
  return Number(root & 0xffffffffn);
}

const constants = roots(64, 3);
const beginning = roots(8, 2);
const blockBytes = 64;

export class Sha256 {
  readonly #state = beginning.slice();
  readonly #words = new Int32Array(64);
  /** What does not fill a block yet. */
  readonly #rest = new Uint8Array(blockBytes);
  #length = 0;

  update(bytes: Uint8Array): this {
    const held = this.#length % blockBytes;
    this.#length += bytes.length;
    let at = 0;
    if (held > 0) {
      at = Math.min(blockBytes - held, bytes.length);
      this.#rest.set(bytes.subarray(0, at), held);
      if (held + at < blockBytes) return this;
      this.#block(this.#rest, 0);
    }
    for (; at + blockBytes <= bytes.length; at += blockBytes) this.#block(bytes, at);
    this.#rest.set(bytes.subarray(at));
    return this;
  }

  /** Of all that came; nothing may come after it. */
  digest(): Uint8Array<ArrayBuffer> {
    const bits = BigInt(this.#length) * 8n;
    const held = this.#length % blockBytes;
    const end = new Uint8Array(held < 56 ? blockBytes - held : 2 * blockBytes - held);
    end[0] = 0x80;
    new DataView(end.buffer).setBigUint64(end.length - 8, bits);
    this.update(end);
    const digest = new Uint8Array(32);
    const view = new DataView(digest.buffer);
    this.#state.forEach((word, index) => view.setInt32(4 * index, word));
    return digest;
  }

  #block(bytes: Uint8Array, at: number): void {
    const words = this.#words;
    for (let t = 0; t < 16; t++, at += 4)
      words[t] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    for (let t = 16; t < 64; t++) {
      const near = words[t - 2]!;
      const far = words[t - 15]!;
      const sigma1 = turned(near, 17) ^ turned(near, 19) ^ (near >>> 10);
      const sigma0 = turned(far, 7) ^ turned(far, 18) ^ (far >>> 3);
      words[t] = (sigma1 + words[t - 7]! + sigma0 + words[t - 16]!) | 0;
    }
    const state = this.#state;
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let t = 0; t < 64; t++) {
      const sum1 = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25);
      const first = (h + sum1 + ((e & f) ^ (~e & g)) + constants[t]! + words[t]!) | 0;
      const sum0 = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22);
      const second = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
    state[5]! += f;
    state[6]! += g;
    state[7]! += h;
  }
}

/** Of 32 bits, to the right. */
const turned = (word: number, by: number): number => (word >>> by) | (word << (32 - by));
