/**
 * The hash that model files and checkpoints carry of their own content, by which a damaged one is recognised: the metadata
 * entry `sha256` is the SHA-256, in hexadecimal, of the header with zeros in the hash's place, followed by the SHA-256
 * of the tensors' bytes.
 */
import { InvalidModel } from '../errors.ts';
import { hexadecimal, sha256 } from '../hash.ts';
import { dataStart, writeSafetensors, type TensorFile, type SafetensorsOptions } from './safetensors.ts';

/** What a header begins with; the hash follows, so that its place is known. */
const beginning = '{"__metadata__":{"sha256":"';
const place = 8 + beginning.length;
const blank = '0'.repeat(64);

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** Of a safetensors file that begins as those of `writeHashed` do. */
async function hashOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const start = dataStart(bytes);
  const covered = new Uint8Array(start + 32);
  covered.set(bytes.subarray(0, start));
  covered.set(encode(blank), place);
  covered.set(await sha256(bytes.subarray(start)), start);
  return hexadecimal(await sha256(covered));
}

/** The file's bytes, with their hash among the metadata. */
export async function writeHashed(
  { tensors, metadata }: TensorFile,
  options: SafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const hashed = Object.assign({ sha256: blank }, metadata, { sha256: blank });
  const bytes = writeSafetensors({ tensors, metadata: hashed }, options);
  bytes.set(encode(await hashOf(bytes)), place);
  return bytes;
}

/**
 * Refuses a file whose content is not that of its hash; one without a hash, written by others, passes.
 * @param metadata as `readSafetensors` gives them for these bytes
 * @param name what messages call the file
 */
export async function requireWhole(
  bytes: Uint8Array,
  { metadata }: Pick<TensorFile, 'metadata'>,
  name: string,
): Promise<void> {
  const { sha256: stated } = metadata;
  if (stated === undefined) return;
  const starts = encode(beginning).every((byte, at) => bytes[8 + at] === byte);
  if (starts && (await hashOf(bytes as Uint8Array<ArrayBuffer>)) === stated) return;
  throw new InvalidModel(
    `${name} is damaged: its content is not that of its hash (sha256 ${stated.slice(0, 64)}); take another copy of the ` +
      'file, or, if a program of yours has changed it, remove sha256 from its metadata',
  );
}
