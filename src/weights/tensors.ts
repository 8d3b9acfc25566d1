/** Weights from whichever kind of file: safetensors, or what torch.save wrote. */
import { fileKind } from './file-kind.ts';
import { withoutWrappers } from './prefixes.ts';
import { readSafetensors, type NamedTensor, type TensorFile } from './safetensors.ts';

/**
 * The tensors of a file by their names, without what PyTorch's wrappers put in front of them; only safetensors has
 * metadata.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export async function readTensors(bytes: Uint8Array, name: string): Promise<TensorFile> {
  const kind = fileKind(bytes);
  if (kind !== 'zip' && kind !== 'legacy') {
    const { tensors, metadata } = readSafetensors(bytes, name);
    return { tensors: withoutWrappers(tensors), metadata };
  }
  const { readStateDict } = await import('./pytorch/state-dict.ts');
  const tensors = new Map<string, NamedTensor>();
  for (const [key, tensor] of await readStateDict(bytes, name))
    tensors.set(key, { shape: tensor.shape, data: await tensor.read() });
  return { tensors, metadata: {} };
}
