/**
 * The hash that model files and checkpoints carry of their own content, by which a damaged one is recognised: the metadata
 * entry `sha256` is the SHA-256, in hexadecimal, of the header with zeros in the hash's place, followed by the SHA-256
 * of the tensors' bytes.
 */
import { InvalidModel } from '../errors.ts';
import type { ByteRanges } from '../data/byte-ranges.ts';
import { hexadecimal, sha256, sha256Hasher } from '../hash.ts';
import { dataStart, writeSafetensors, type TensorFile, type SafetensorsOptions } from './safetensors.ts';

/** What a header begins with; the hash follows, so that its place is known. */
const beginning = '{"__metadata__":{"sha256":"';
const place = 8 + beginning.length;
const blank = '0'.repeat(64);

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** @param data the SHA-256 of what follows the header */
async function hashOf(header: Uint8Array, data: Uint8Array): Promise<string> {
  const covered = new Uint8Array(header.length + data.length);
  covered.set(header);
  covered.set(encode(blank), place);
  covered.set(data, header.length);
  return hexadecimal(await sha256(covered));
}

/** Of a safetensors file that begins as those of `writeHashed` do. */
async function hashOfBytes(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const start = dataStart(bytes);
  return hashOf(bytes.subarray(0, start), await sha256(bytes.subarray(start)));
}

/** Bytes that are read and hashed at a time. */
const stride = 2 ** 22;

async function hashOfFile(file: ByteRanges, start: number): Promise<string> {
  const hasher = sha256Hasher();
  for (let at = start; at < file.size; at += stride)
    hasher.update(await file.read(at, Math.min(file.size, at + stride)));
  return hashOf(await file.read(0, start), hasher.digest());
}

/** The file's bytes, with their hash among the metadata. */
export async function writeHashed(
  { tensors, metadata }: TensorFile,
  options: SafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const hashed = Object.assign({ sha256: blank }, metadata, { sha256: blank });
  const bytes = writeSafetensors({ tensors, metadata: hashed }, options);
  bytes.set(encode(await hashOfBytes(bytes)), place);
  return bytes;
}

/**
 * Refuses a file whose content is not that of its hash; one without a hash, written by others, passes.
 * @param metadata as they are read of these bytes
 * @param name what messages call the file
 */
export async function requireWhole(
  file: Uint8Array | ByteRanges,
  { metadata }: Pick<TensorFile, 'metadata'>,
  name: string,
): Promise<void> {
  const { sha256: stated } = metadata;
  if (stated === undefined) return;
  const head = file instanceof Uint8Array ? file : await file.read(0, Math.min(file.size, place));
  const starts = encode(beginning).every((byte, at) => head[8 + at] === byte);
  const found = async (): Promise<string> =>
    file instanceof Uint8Array
      ? hashOfBytes(file as Uint8Array<ArrayBuffer>)
      : hashOfFile(file, dataStart(head));
  if (starts && (await found()) === stated) return;
  throw new InvalidModel(
    `${name} is damaged: its content is not that of its hash (sha256 ${stated.slice(0, 64)}); take another copy of the ` +
      'file, or, if a program of yours has changed it, remove sha256 from its metadata',
  );
}
