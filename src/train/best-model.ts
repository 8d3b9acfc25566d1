/** The best weights of a training as a model file of their own. */
import { assertOptions } from '../options.ts';
import { bytes } from '../schema.ts';
import { requireWhole, writeHashed } from '../weights/content-hash.ts';
import { readSafetensors, type NamedTensor } from '../weights/safetensors.ts';

/**
 * The best weights that a checkpoint holds, as a model file: what "stop early and keep the best" loads.
 * @param model the same network's model file, whose description is kept
 * @returns undefined if the checkpoint has no best weights yet
 * @throws InvalidModel if one of the two is damaged; InvalidOption for what is not bytes
 */
export async function bestModel(
  checkpoint: Uint8Array,
  model: Uint8Array,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  assertOptions('bestModel', { checkpoint: bytes, model: bytes }, { checkpoint, model });
  const prefix = 'best.';
  const file = readSafetensors(checkpoint, 'the checkpoint');
  await requireWhole(checkpoint, file, 'the checkpoint');
  const tensors = new Map<string, NamedTensor>();
  for (const [name, tensor] of file.tensors)
    if (name.startsWith(prefix)) tensors.set(name.slice(prefix.length), tensor);
  if (tensors.size === 0) return undefined;
  return writeHashed({ tensors, metadata: readSafetensors(model).metadata });
}
