/**
 * The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes, without gaps.
 * Reads numbers of every type as float32; writes float32 or float16.
 */
import * as v from 'valibot';
import type { ByteRanges } from '../data/byte-ranges.ts';
import { InvalidModel } from '../errors.ts';
import { toHalf } from '../gpu/half.ts';
import { precisionSchema, type Precision } from '../gpu/precision.ts';
import { readJson } from '../json.ts';
import { assertOptions } from '../options.ts';
import { bytes as byteSchema, held, object, text, wholeNumber } from '../schema.ts';
import { fileKind, otherKinds, tellingBytes } from './file-kind.ts';
import { numberTypes } from './number-types.ts';

/** A tensor of a file, converted to float32. */
export interface NamedTensor {
  /** The slowest axis first. */
  readonly shape: readonly number[];
  /** The last axis fastest. */
  readonly data: Float32Array;
}

/** What a safetensors file holds. */
export interface TensorFile {
  /** By name. */
  readonly tensors: ReadonlyMap<string, NamedTensor>;
  /** Texts by name. */
  readonly metadata: Readonly<Record<string, string>>;
}

const entrySchema = object({
  dtype: text,
  shape: v.array(wholeNumber(), 'a list of lengths'),
  data_offsets: v.strictTuple([wholeNumber(), wholeNumber()], 'a first and a last byte'),
});
type HeaderEntry = v.InferOutput<typeof entrySchema>;

/** Of which each entry has its own schema. */
const headerSchema = v.custom<object>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
);

const longestHeader = 100 * 2 ** 20;

const fileEntries = {
  tensors: v.instance(Map, 'a Map of tensors by name'),
  metadata: v.record(v.string(), text, 'texts by name'),
} satisfies Record<keyof TensorFile, unknown>;

/** How a safetensors file is written. */
export interface SafetensorsOptions {
  /** How numbers are stored: `f16` takes half the space and rounds them to the nearest. Default `f32`. */
  readonly precision?: Precision;
}

export const safetensorsEntries = {
  precision: v.optional(precisionSchema),
} satisfies Record<keyof SafetensorsOptions, unknown>;

/**
 * The file's bytes; tensors in the map's order.
 * @throws InvalidModel for numbers that float16 cannot hold
 * @example
 * ```js
 * const bytes = writeSafetensors(readSafetensors(modelBytes), { precision: 'f16' });
 * ```
 */
export function writeSafetensors(
  file: TensorFile,
  options: SafetensorsOptions = {},
): Uint8Array<ArrayBuffer> {
  assertOptions('writeSafetensors', fileEntries, file);
  assertOptions('writeSafetensors', safetensorsEntries, options);
  const { tensors, metadata } = file;
  const { precision = 'f32' } = options;
  const width = precision === 'f16' ? 2 : 4;
  const header: Record<string, HeaderEntry | Record<string, string>> = { __metadata__: { ...metadata } };
  let end = 0;
  for (const [name, { shape, data }] of tensors) {
    const size = width * data.length;
    header[name] = { dtype: precision.toUpperCase(), shape: [...shape], data_offsets: [end, end + size] };
    end += size;
  }
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (new TextEncoder().encode(json).length % 8)) % 8);
  const head = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + head.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  for (const [name, { data }] of tensors) {
    const stored = precision === 'f16' ? halved(name, data) : data;
    bytes.set(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), at);
    at += stored.byteLength;
  }
  return bytes;
}

const largestHalf = 65504;

function halved(name: string, data: Float32Array): Uint16Array<ArrayBuffer> {
  const beyond = data.find((value) => Math.abs(value) > largestHalf);
  if (beyond !== undefined)
    throw new InvalidModel(
      `tensor ${name} holds ${beyond}, and float16 ends at ${largestHalf}: write it in float32`,
    );
  return toHalf(data);
}

/**
 * The tensors of a file, which are decoded when they are looked at: those that nobody asks for may be of any type.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file, before anything of its size is allocated
 * @example
 * ```js
 * const { tensors, metadata } = readSafetensors(modelBytes);
 * console.log(tensors.length, Object.keys(metadata));
 * ```
 */
export function readSafetensors(bytes: Uint8Array, name = 'model file'): TensorFile {
  assertOptions('readSafetensors', { bytes: byteSchema, name: text }, { bytes, name });
  const start = startOf(bytes, bytes.byteLength, name);
  const { entries, metadata } = readHeader(bytes.subarray(0, start), bytes.byteLength, name);
  const tensors = new Map<string, NamedTensor>();
  for (const [key, entry] of entries) {
    const [from, to] = entry.data_offsets;
    tensors.set(key, {
      shape: entry.shape,
      get data() {
        return decoded(name, key, entry, bytes.subarray(start + from, start + to));
      },
    });
  }
  return { tensors, metadata };
}

/** The same of a file that stays where it is: of its tensors, those are read that are asked for. @throws as `readSafetensors` */
export async function openSafetensors(file: ByteRanges, name: string) {
  const start = startOf(await file.read(0, Math.min(file.size, tellingBytes)), file.size, name);
  const { entries, metadata } = readHeader(await file.read(0, start), file.size, name);
  const tensors = [...entries].map(([key, entry]) => {
    const [from, to] = entry.data_offsets;
    const read = async () => decoded(name, key, entry, await file.read(start + from, start + to));
    return [key, { shape: entry.shape, read, place: from }] as const;
  });
  return { tensors: new Map(tensors), metadata };
}

const failed = (name: string, what: string): InvalidModel =>
  new InvalidModel(`${name} is not a readable safetensors file: ${what}; save it again or take another copy`);

/**
 * The first byte of the tensors.
 * @param bytes the file or its beginning
 * @param size of the file
 */
function startOf(bytes: Uint8Array, size: number, name: string): number {
  const kind = fileKind(bytes);
  if (kind !== undefined && kind !== 'safetensors')
    throw new InvalidModel(`${name} is not a safetensors file: ${otherKinds[kind]}`);
  if (size < 10) throw failed(name, `it has ${size} bytes`);
  const start = dataStart(bytes);
  if (start - 8 > longestHeader || start > size)
    throw failed(name, `its header claims ${start - 8} bytes and the file has ${size}`);
  return start;
}

/** @param bytes the file up to its tensors */
function readHeader(bytes: Uint8Array, size: number, name: string) {
  const failure = (what: string): InvalidModel => failed(name, what);
  let json: string;
  try {
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8));
  } catch {
    throw failure('its header is not JSON, which is UTF-8 text');
  }
  const header = readJson(json, headerSchema, (problem) => failure(`of its header, ${problem}`));
  const dataBytes = size - bytes.length;
  const entries = new Map<string, HeaderEntry>();
  let metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(header) as [string, unknown][]) {
    const fail = (problem: string): InvalidModel => failure(`of ${JSON.stringify(key)}, ${problem}`);
    if (key === '__metadata__') {
      metadata = held(headerSchema, value, { expected: 'expected', fail }) as Record<string, string>;
      for (const [part, content] of Object.entries(metadata))
        held(text, content, { expected: 'expected', fail: (problem) => fail(`${part}: ${problem}`) });
      continue;
    }
    const entry = held(entrySchema, value, { expected: 'expected', fail });
    requireSize(key, entry, dataBytes, failure);
    entries.set(key, entry);
  }
  requireCover(entries, dataBytes, failure);
  return { entries, metadata };
}

/** The first byte of the tensors, by the length that the file states. */
export function dataStart(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return 8 + Number(view.getBigUint64(0, true));
}

/** A tensor's numbers, of which the bytes may belong to somebody else. */
function decoded(file: string, name: string, { dtype }: HeaderEntry, bytes: Uint8Array): Float32Array {
  const type = numberTypes.get(dtype);
  if (!type)
    throw failed(file, `tensor ${name} has type ${dtype}; ${[...numberTypes.keys()].join(', ')} can be read`);
  const part = new Uint8Array(bytes);
  if (dtype === 'F32') return new Float32Array(part.buffer);
  const view = new DataView(part.buffer);
  const length = part.byteLength / type.bytes;
  return Float32Array.from({ length }, (_, i) => type.get(view, i * type.bytes, true));
}

function requireSize(
  name: string,
  { dtype, shape, data_offsets: [from, to] }: HeaderEntry,
  total: number,
  failure: (what: string) => Error,
): void {
  const bytes = numberTypes.get(dtype)?.bytes;
  const expected = bytes === undefined ? to - from : shape.reduce((product, size) => product * size, bytes);
  if (from > to || to > total || to - from !== expected)
    throw failure(
      `tensor ${name} of shape [${shape.slice(0, 8).join(',')}] should have ${expected} bytes at ${from} to ${to} of ${total}`,
    );
}

/** The format allows neither gaps nor bytes that belong to two tensors. */
function requireCover(
  entries: ReadonlyMap<string, HeaderEntry>,
  total: number,
  failure: (what: string) => Error,
): void {
  const ranges = [...entries].map(([name, { data_offsets: offsets }]) => ({ name, offsets }));
  ranges.sort((a, b) => a.offsets[0] - b.offsets[0] || a.offsets[1] - b.offsets[1]);
  let end = 0;
  for (const { name, offsets } of ranges) {
    if (offsets[0] !== end)
      throw failure(
        `tensor ${name} begins at byte ${offsets[0]}, ` +
          (offsets[0] < end ? `within another, which ends at ${end}` : `and nothing lies from ${end} on`),
      );
    end = offsets[1];
  }
  if (end !== total) throw failure(`its tensors end at byte ${end} of ${total}`);
}
