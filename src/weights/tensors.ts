/** Weights from whichever kind of file: safetensors, or what torch.save wrote. */
import { fileKind } from './file-kind.ts';
import { withoutWrappers } from './prefixes.ts';
import { readSafetensors, type NamedTensor, type TensorFile } from './safetensors.ts';

/** Under which the metadata of a file hold the description of its network. */
export const descriptionKey = 'unet3d-gpu';

/**
 * The tensors of a file by their names, without what PyTorch's wrappers put in front of them; only safetensors has
 * metadata, and what this package wrote a description.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export async function readTensors(bytes: Uint8Array, name: string): Promise<TensorFile> {
  const kind = fileKind(bytes);
  if (kind !== 'zip' && kind !== 'legacy') {
    const { tensors, metadata } = readSafetensors(bytes, name);
    return { tensors: withoutWrappers(tensors), metadata };
  }
  const { readSaved } = await import('./pytorch/read.ts');
  const { stateDictOf } = await import('./pytorch/state-dict.ts');
  const { value, description } = await readSaved(bytes, name);
  const tensors = new Map<string, NamedTensor>();
  for (const [key, tensor] of stateDictOf(value, name))
    tensors.set(key, { shape: tensor.shape, data: await tensor.read() });
  return { tensors, metadata: description === undefined ? {} : { [descriptionKey]: description } };
}
