/** Weights from whichever kind of file: safetensors, or what torch.save wrote. */
import { fileKind } from './file-kind.ts';
import { readable, type FileTensor } from './named-tensors.ts';
import { holders, withoutPrefix, withoutWrappers } from './prefixes.ts';
import { readSafetensors, type TensorFile } from './safetensors.ts';

/** Under which the metadata of a file hold the description of its network. */
export const descriptionKey = 'unet3d-gpu';

/** The tensors of a file, which are read when they are asked for. */
export interface ReadableFile extends Pick<TensorFile, 'metadata'> {
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

const bare = (tensors: ReadonlyMap<string, FileTensor>): ReadonlyMap<string, FileTensor> =>
  withoutPrefix(withoutWrappers(tensors), holders);

/**
 * The tensors of a file by their names, without what PyTorch's wrappers and programs put in front of them; only safetensors has
 * metadata, and what this package wrote a description.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export async function readTensors(bytes: Uint8Array, name: string): Promise<ReadableFile> {
  const kind = fileKind(bytes);
  if (kind !== 'zip' && kind !== 'legacy') {
    const { tensors, metadata } = readSafetensors(bytes, name);
    return { tensors: bare(readable(tensors)), metadata };
  }
  const { readSaved } = await import('./pytorch/read.ts');
  const { stateDictOf } = await import('./pytorch/state-dict.ts');
  const { value, description } = await readSaved(bytes, name);
  const tensors = bare(stateDictOf(value, name));
  return { tensors, metadata: description === undefined ? {} : { [descriptionKey]: description } };
}
