/** The weights in a checkpoint as a model file of their own. */
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
  return weightsOf(checkpoint, model, ['best.']);
}

/**
 * The last weights that a checkpoint holds, or their running average where training keeps one, as a model file: what is
 * left of a training that was cut off.
 * @param model the same network's model file, whose description is kept
 * @returns undefined if the checkpoint is of another network
 * @throws InvalidModel if one of the two is damaged; InvalidOption for what is not bytes
 */
export async function lastModel(
  checkpoint: Uint8Array,
  model: Uint8Array,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  assertOptions('lastModel', { checkpoint: bytes, model: bytes }, { checkpoint, model });
  return weightsOf(checkpoint, model, ['average.', '']);
}

/** Those under the first prefix that the checkpoint has. */
async function weightsOf(
  checkpoint: Uint8Array,
  model: Uint8Array,
  prefixes: readonly string[],
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = readSafetensors(checkpoint, 'the checkpoint');
  await requireWhole(checkpoint, file, 'the checkpoint');
  const { tensors: own, metadata } = readSafetensors(model);
  for (const prefix of prefixes) {
    const tensors = new Map<string, NamedTensor>();
    for (const name of own.keys()) {
      const tensor = file.tensors.get(`${prefix}${name}`);
      if (tensor) tensors.set(name, tensor);
    }
    if (tensors.size > 0) return writeHashed({ tensors, metadata });
  }
  return undefined;
}
