/** float16 on the host: bits from and to float32, rounded to the nearest, ties to even. */

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The float16 bits of each value; what exceeds 65504 becomes infinite. */
export function toHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (words[i]! >>> 16) & 0x8000;
    const size = words[i]! & 0x7fffffff;
    if (size > 0x7f800000) bits[i] = sign | 0x7e00;
    else if (size >= 0x477ff000) bits[i] = sign | 0x7c00;
    else if (size >= 0x38800000) bits[i] = sign | ((size + 0xfff + ((size >>> 13) & 1) - 0x38000000) >>> 13);
    else {
      // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, which is float32's step at 0.5: adding rounds to one.
      word[0] = size;
      float[0] = float[0]! + 0.5;
      bits[i] = sign | (word[0] - 0x3f000000);
    }
  }
  return bits;
}

/** The value of each float16. */
export function fromHalf(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  const words = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! & 0x8000) << 16;
    const size = bits[i]! & 0x7fff;
    if (size >= 0x7c00) words[i] = sign | 0x7f800000 | ((size & 0x3ff) << 13);
    else if (size >= 0x400) words[i] = sign | ((size << 13) + 0x38000000);
    else values[i] = (sign ? -1 : 1) * size * 2 ** -24;
  }
  return values;
}
