/** Weights from whichever kind of file: safetensors, or what torch.save wrote. */
import type { ByteRanges } from '../data/byte-ranges.ts';
import { fileKind, tellingBytes } from './file-kind.ts';
import { readable, type FileTensor } from './named-tensors.ts';
import { withoutHolder } from './prefixes.ts';
import { openSafetensors, readSafetensors, type TensorFile } from './safetensors.ts';

/** Under which the metadata of a file hold the description of its network. */
export const descriptionKey = 'unet3d-gpu';

/** The tensors of a file, which are read when they are asked for. */
export interface ReadableFile extends Pick<TensorFile, 'metadata'> {
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

/** No name of this package's begins so itself. */
function bare(tensors: ReadonlyMap<string, FileTensor>): ReadonlyMap<string, FileTensor> {
  const within = withoutHolder(tensors);
  return within === tensors ? tensors : bare(within);
}

/**
 * The tensors of a file by their names, without what PyTorch's wrappers and programs put in front of them; only safetensors has
 * metadata, and what this package wrote a description.
 * @param file its bytes, or a file that stays where it is
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export async function readTensors(file: Uint8Array | ByteRanges, name: string): Promise<ReadableFile> {
  const inMemory = file instanceof Uint8Array;
  const kind = fileKind(inMemory ? file : await file.read(0, Math.min(file.size, tellingBytes)));
  if (kind !== 'zip' && kind !== 'legacy') {
    if (inMemory) {
      const { tensors, metadata } = readSafetensors(file, name);
      return { tensors: bare(readable(tensors)), metadata };
    }
    const { tensors, metadata } = await openSafetensors(file, name);
    return { tensors: bare(tensors), metadata };
  }
  const { readSaved } = await import('./pytorch/read.ts');
  const { stateDictOf } = await import('./pytorch/state-dict.ts');
  const { value, description } = await readSaved(file, name);
  const tensors = bare(stateDictOf(value, name));
  return { tensors, metadata: description === undefined ? {} : { [descriptionKey]: description } };
}
