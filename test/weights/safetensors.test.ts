/** The container: every type of number is read, and what the format forbids is refused before its size is allocated. */
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { withHeader } from '../../scripts/fuzz/mutations.ts';

const entry = (dtype: string, shape: number[], from: number, to: number) => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

describe('safetensors', () => {
  test.each<[string, number, (view: DataView, value: number, at: number) => void, number[]]>([
    ['F64', 8, (view, value, at) => view.setFloat64(at, value, true), [0, -1.5, 2 ** 70]],
    ['F32', 4, (view, value, at) => view.setFloat32(at, value, true), [0, -1.5, 2 ** 70]],
    ['I64', 8, (view, value, at) => view.setBigInt64(at, BigInt(value), true), [0, -3, 2 ** 40]],
    ['U64', 8, (view, value, at) => view.setBigUint64(at, BigInt(value), true), [0, 3, 2 ** 63]],
    ['I32', 4, (view, value, at) => view.setInt32(at, value, true), [0, -3, 2 ** 30]],
    ['U32', 4, (view, value, at) => view.setUint32(at, value, true), [0, 3, 2 ** 31]],
    ['I16', 2, (view, value, at) => view.setInt16(at, value, true), [0, -3, 2 ** 14]],
    ['U16', 2, (view, value, at) => view.setUint16(at, value, true), [0, 3, 2 ** 15]],
    ['I8', 1, (view, value, at) => view.setInt8(at, value), [0, -3, 127]],
    ['U8', 1, (view, value, at) => view.setUint8(at, value), [0, 3, 255]],
    ['BOOL', 1, (view, value, at) => view.setUint8(at, value), [0, 1, 1]],
    // bfloat16 is the upper half of float32.
    ['BF16', 2, (view, value, at) => view.setUint16(at, floatBits(value) >>> 16, true), [0, -1.5, 2 ** 70]],
  ])('%s is read', (dtype, bytes, set, values) => {
    const data = new Uint8Array(bytes * values.length);
    values.forEach((value, index) => set(new DataView(data.buffer), value, bytes * index));
    const file = withHeader({ x: entry(dtype, [values.length], 0, data.length) }, data);
    const { shape, data: read } = readSafetensors(file).tensors.get('x')!;
    expect(shape).toEqual([values.length]);
    expect([...read]).toEqual(values);
  });

  test('half precision is read', () => {
    const values = [0, 1, -2.5, 65504, 2 ** -24, Infinity];
    const bits = new Uint16Array([0x0000, 0x3c00, 0xc100, 0x7bff, 0x0001, 0x7c00]);
    const file = withHeader({ x: entry('F16', [6], 0, 12) }, new Uint8Array(bits.buffer));
    expect([...readSafetensors(file).tensors.get('x')!.data]).toEqual(values);
  });

  test('a tensor of an unknown type is refused when it is asked for, not before', () => {
    const { tensors } = readSafetensors(withHeader({ x: entry('F8_E4M3', [4], 0, 4) }, new Uint8Array(4)));
    expect(() => tensors.get('x')!.data).toThrow(/tensor x has type F8_E4M3; F64, F32.*can be read/);
  });

  const huge = (length: bigint): Uint8Array => {
    const file = withHeader({}, new Uint8Array(0));
    new DataView(file.buffer).setBigUint64(0, length, true);
    return file;
  };
  test.each<[string, Uint8Array, RegExp]>([
    ['a header of 2^64 - 1 bytes', huge(2n ** 64n - 1n), /claims 18446744073709552000 bytes/],
    ['a header of 2^63 bytes', huge(2n ** 63n), /claims \d+ bytes and the file has 10/],
    [
      'tensors that overlap',
      withHeader({ a: entry('F32', [2], 0, 8), b: entry('F32', [2], 4, 12) }, new Uint8Array(12)),
      /tensor b begins at byte 4, within another, which ends at 8/,
    ],
    [
      'a gap',
      withHeader({ b: entry('F32', [1], 8, 12), a: entry('F32', [1], 0, 4) }, new Uint8Array(12)),
      /tensor b begins at byte 8, and nothing lies from 4 on/,
    ],
    [
      'bytes behind the last',
      withHeader({ a: entry('F32', [1], 0, 4) }, new Uint8Array(8)),
      /end at byte 4 of 8/,
    ],
    [
      'a shape that does not fill its bytes',
      withHeader({ a: entry('F32', [3], 0, 8) }, new Uint8Array(8)),
      /should have 12 bytes/,
    ],
    [
      'lengths whose product overflows',
      withHeader({ a: entry('F32', [2 ** 40, 2 ** 40, 2 ** 40], 0, 4) }, new Uint8Array(4)),
      /should have 5\.3\d*e\+36 bytes/,
    ],
    [
      'a length beyond 2^53',
      withHeader({ a: entry('F32', [2 ** 54], 0, 4) }, new Uint8Array(4)),
      /shape\[0\] is 18/,
    ],
    ['a negative length', withHeader({ a: entry('F32', [-1], 0, 4) }, new Uint8Array(4)), /shape\[0\] is -1/],
    [
      'offsets the wrong way',
      withHeader({ a: entry('F32', [1], 4, 0) }, new Uint8Array(4)),
      /at 4 to 0 of 4/,
    ],
    [
      'a name twice',
      withHeader(`{"a":${JSON.stringify(entry('F32', [1], 0, 4))},"\\u0061":{}}`, new Uint8Array(4)),
      /the name "\\u0061" twice/,
    ],
    [
      'a metadata name twice',
      withHeader('{"__metadata__":{"x":"1","x":"2"}}', new Uint8Array(0)),
      /"x" twice/,
    ],
    ['metadata that are no texts', withHeader('{"__metadata__":{"x":1}}', new Uint8Array(0)), /x: it is 1/],
    [
      'a tensor that is none',
      withHeader('{"a":7}', new Uint8Array(0)),
      /of "a", it is 7; expected an object/,
    ],
    ['a list', withHeader('[]', new Uint8Array(0)), /it is \[\]; expected an object/],
    ['brackets without end', withHeader(`{"a":${'['.repeat(1e6)}`, new Uint8Array(0)), /not valid JSON/],
    ['deep brackets', withHeader(`{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, new Uint8Array(0)), /of "a"/],
    [
      'a prototype',
      withHeader('{"__proto__":{"dtype":"F32"}}', new Uint8Array(0)),
      /of "__proto__", shape is missing/,
    ],
  ])('%s: refused', (_, file, message) => {
    expect(() => readSafetensors(file)).toThrow(InvalidModel);
    expect(() => readSafetensors(file)).toThrow(message);
  });
});

const floatBits = (value: number): number => new Uint32Array(new Float32Array([value]).buffer)[0]!;
