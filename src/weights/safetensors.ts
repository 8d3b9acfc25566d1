/**
 * The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes.
 * Reads every float type; writes float32.
 */
import { InvalidModel } from '../errors.ts';

export interface NamedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface TensorFile {
  readonly tensors: ReadonlyMap<string, NamedTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const longestHeader = 100 * 2 ** 20;

/** The file's bytes; tensors in the map's order, each at a multiple of 8 bytes. */
export function writeSafetensors({ tensors, metadata }: TensorFile): Uint8Array<ArrayBuffer> {
  const header: Record<string, HeaderEntry | Record<string, string>> = { __metadata__: { ...metadata } };
  let end = 0;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape: [...shape], data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (new TextEncoder().encode(json).length % 8)) % 8);
  const head = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + head.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** Throws `InvalidModel` saying what is wrong with the file. */
export function readSafetensors(bytes: Uint8Array, name = 'model file'): TensorFile {
  const fail = (what: string): never => {
    throw new InvalidModel(
      `${name} is not a readable safetensors file: ${what}; save it again or take another copy`,
    );
  };
  const kind = otherKind(bytes);
  if (kind !== undefined) throw new InvalidModel(`${name} is not a safetensors file: ${kind}`);
  if (bytes.byteLength < 10) fail(`it has ${bytes.byteLength} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = Number(view.getBigUint64(0, true));
  if (headerLength > longestHeader || 8 + headerLength > bytes.byteLength) {
    fail(`its header claims ${headerLength} bytes and the file has ${bytes.byteLength}`);
  }
  let header: Record<string, unknown> = {};
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength))) as Record<
      string,
      unknown
    >;
  } catch {
    fail('its header is not JSON');
  }
  const data = bytes.subarray(8 + headerLength);
  const tensors = new Map<string, NamedTensor>();
  let metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(header)) {
    if (key === '__metadata__') {
      metadata = value as Record<string, string>;
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = value as HeaderEntry;
    const length = shape.reduce((product, size) => product * size, 1);
    const decode =
      decoders[dtype] ?? fail(`tensor ${key} has type ${dtype}; F64, F32, F16 and BF16 can be read`);
    const [from, to] = offsets;
    if (from > to || to > data.byteLength || to - from !== length * decode.bytes) {
      fail(
        `tensor ${key} of shape [${shape.join(',')}] should have ${length * decode.bytes} bytes at ${from} to ${to} of ${data.byteLength}`,
      );
    }
    const part = new DataView(data.buffer, data.byteOffset + from, to - from);
    tensors.set(key, {
      shape,
      data: Float32Array.from({ length }, (_, i) => decode.get(part, i * decode.bytes)),
    });
  }
  return { tensors, metadata };
}

/** What a file that starts so is instead, and what to do; undefined where it may be safetensors. */
function otherKind(bytes: Uint8Array): string | undefined {
  const startsWith = (...start: number[]): boolean => start.every((byte, at) => bytes[at] === byte);
  const isPrintable = (byte: number): boolean => (byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13);
  // No header is as long as eight letters would say, and every header begins with a brace behind its length.
  if (bytes.length >= 2 && bytes.subarray(0, 8).every(isPrintable))
    return 'it is text; give the model file in its place';
  if (bytes[8] === 0x7b) return undefined;
  if (startsWith(0x1f, 0x8b))
    return 'it is compressed with gzip, perhaps an image; give the model file in its place';
  // Archives of torch.save; before them it wrote pickles.
  if (startsWith(0x50, 0x4b, 3, 4) || startsWith(0x80, 2))
    return 'it looks like a file of PyTorch; save the weights with safetensors.torch.save_file';
  return undefined;
}

const decoders: Record<string, { bytes: number; get: (view: DataView, at: number) => number }> = {
  F64: { bytes: 8, get: (view, at) => view.getFloat64(at, true) },
  F32: { bytes: 4, get: (view, at) => view.getFloat32(at, true) },
  F16: { bytes: 2, get: (view, at) => fromHalf(view.getUint16(at, true)) },
  BF16: {
    bytes: 2,
    get: (view, at) => new Float32Array(new Uint32Array([view.getUint16(at, true) << 16]).buffer)[0]!,
  },
};

function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
