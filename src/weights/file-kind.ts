/** What a file of weights is, by its first bytes: names of files say little. */

export type FileKind =
  'safetensors' | 'zip' | 'legacy' | 'pickle' | 'tar' | 'hdf5' | 'gzip' | 'onnx' | 'text' | 'pointer';

/** Bytes of a file's beginning that tell its kind. */
export const tellingBytes = 512;

/** torch.save's magic number as a pickle of protocol 2, which old files of PyTorch begin with. */
const legacyMagic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

const isPrintable = (byte: number): boolean => (byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13);

const codes = (text: string): readonly number[] => [...text].map((letter) => letter.charCodeAt(0));

/**
 * @param bytes a file or its first `tellingBytes`
 * @returns undefined for what is none of these, or too short to tell
 */
export function fileKind(bytes: Uint8Array): FileKind | undefined {
  const has = (at: number, values: readonly number[]): boolean =>
    values.every((value, index) => bytes[at + index] === value);
  const isTar = has(257, codes('ustar'));
  if (has(0, codes('version https://git-lfs.github.com/spec/'))) return 'pointer';
  // No header of safetensors is as long as eight letters would say.
  if (bytes.length >= 2 && bytes.subarray(0, 8).every(isPrintable)) return isTar ? 'tar' : 'text';
  // Its header begins with a brace behind its length.
  if (bytes[8] === 0x7b) return 'safetensors';
  if (isTar) return 'tar';
  if (has(0, codes('PK\u0003\u0004'))) return 'zip';
  if (has(0, [0x1f, 0x8b])) return 'gzip';
  if (has(0, legacyMagic)) return 'legacy';
  if (bytes[0] === 0x80 && bytes[1]! >= 2 && bytes[1]! <= 5) return 'pickle';
  if (has(0, codes('\u0089HDF\r\n\u001a\n'))) return 'hdf5';
  // A protocol buffer: the version of the format, then the name of the tool that wrote it.
  if (bytes[0] === 8 && bytes[2] === 0x12) return 'onnx';
  return undefined;
}

const ofPytorch = 'it looks like a file of PyTorch; save the weights with safetensors.torch.save_file';

/** What a file that is no safetensors is instead, and what to do. */
export const otherKinds: Readonly<Record<Exclude<FileKind, 'safetensors'>, string>> = {
  zip: ofPytorch,
  legacy: ofPytorch,
  pickle: ofPytorch,
  tar: 'it is a tar archive, as PyTorch wrote them before 0.1.10; in Python, load it and save model.state_dict() again',
  hdf5: 'it is HDF5, perhaps of Keras; save the weights as safetensors under the names of this package',
  gzip: 'it is compressed with gzip, perhaps an image; give the model file in its place',
  onnx: 'it looks like an ONNX model; save the weights of the network that it was exported from as safetensors',
  text: 'it is text; give the model file in its place',
  pointer:
    'it is only the pointer that Git LFS leaves in place of a large file; get the file itself with "git lfs pull", or download it',
};
