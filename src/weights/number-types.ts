/** Types of numbers in files of weights, by the names that safetensors has for them. */

export interface NumberType {
  /** Of one number. */
  readonly bytes: number;
  /** 64-bit integers beyond 2^53 are rounded. */
  readonly get: (view: DataView, at: number, littleEndian: boolean) => number;
}

export const numberTypes: ReadonlyMap<string, NumberType> = new Map([
  ['F64', { bytes: 8, get: (view, at, little) => view.getFloat64(at, little) }],
  ['F32', { bytes: 4, get: (view, at, little) => view.getFloat32(at, little) }],
  ['F16', { bytes: 2, get: (view, at, little) => fromHalf(view.getUint16(at, little)) }],
  ['BF16', { bytes: 2, get: (view, at, little) => fromUpperHalf(view.getUint16(at, little)) }],
  ['I64', { bytes: 8, get: (view, at, little) => Number(view.getBigInt64(at, little)) }],
  ['U64', { bytes: 8, get: (view, at, little) => Number(view.getBigUint64(at, little)) }],
  ['I32', { bytes: 4, get: (view, at, little) => view.getInt32(at, little) }],
  ['U32', { bytes: 4, get: (view, at, little) => view.getUint32(at, little) }],
  ['I16', { bytes: 2, get: (view, at, little) => view.getInt16(at, little) }],
  ['U16', { bytes: 2, get: (view, at, little) => view.getUint16(at, little) }],
  ['I8', { bytes: 1, get: (view, at) => view.getInt8(at) }],
  ['U8', { bytes: 1, get: (view, at) => view.getUint8(at) }],
  ['BOOL', { bytes: 1, get: (view, at) => view.getUint8(at) }],
] satisfies [string, NumberType][]);

function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** Of bfloat16, the upper half of a float32. */
function fromUpperHalf(bits: number): number {
  word[0] = bits << 16;
  return float[0]!;
}
