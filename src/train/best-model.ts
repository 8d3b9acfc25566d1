/** The weights in a checkpoint as a model file of their own. */
import * as v from 'valibot';
import { InvalidModel } from '../errors.ts';
import { readJson } from '../json.ts';
import { assertOptions } from '../options.ts';
import { bytes, numberFrom, openObject, size3, triple } from '../schema.ts';
import { requireWhole, writeHashed } from '../weights/content-hash.ts';
import { descriptionText, openModel, type ModelDescription } from '../weights/model-file.ts';
import { readSafetensors, type NamedTensor } from '../weights/safetensors.ts';
import { descriptionKey } from '../weights/tensors.ts';
import { mirroredAxes } from './augmentation.ts';

/**
 * The best weights that a checkpoint holds, as a model file: what "stop early and keep the best" loads.
 * @param model the same network's model file, whose description is kept; the size that it was trained on is the checkpoint's
 * @returns undefined if the checkpoint has no best weights yet, or is of another network
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

const identitySchema = openObject({
  size: size3,
  augmentation: v.optional(openObject({ mirror: triple(numberFrom(0, 1), 'three numbers') })),
});

/**
 * What a model tells of its training, which the checkpoint knows.
 * @param patches absent in files of older versions
 */
function trainedOn(
  { identity, patches }: { readonly identity: string; readonly patches?: string | undefined },
  before: Pick<ModelDescription, 'mirrorAxes' | 'patches'>,
): Pick<ModelDescription, 'inputSize' | 'mirrorAxes' | 'patches' | 'postprocessing'> {
  const { size, augmentation } = readJson(
    identity,
    identitySchema,
    (problem) => new InvalidModel(`in the identity of the checkpoint, ${problem}: take another copy of it`),
  );
  return {
    inputSize: size,
    mirrorAxes: augmentation ? mirroredAxes(augmentation) : before.mirrorAxes,
    patches: patches === undefined ? before.patches : patches === 'true',
    postprocessing: undefined, // chosen for other weights
  };
}

/** Those under the first prefix under which the checkpoint has all of the model's. */
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
    for (const [name, { shape }] of own) {
      const tensor = file.tensors.get(`${prefix}${name}`);
      if (tensor?.shape.join() === shape.join()) tensors.set(name, tensor);
    }
    if (tensors.size < own.size) continue;
    const { identity, patches } = file.metadata;
    if (identity === undefined || !(descriptionKey in metadata)) return writeHashed({ tensors, metadata });
    const { description } = await openModel(model);
    const text = descriptionText({ ...description, ...trainedOn({ identity, patches }, description) });
    return writeHashed({ tensors, metadata: { ...metadata, [descriptionKey]: text } });
  }
  return undefined;
}
