/** A model file, as those want it that write it for other programs. */
import * as v from 'valibot';
import { assertOptions } from '../options.ts';
import { bytes as bytesSchema } from '../schema.ts';
import { foldPattern, openModel, type ModelDescription } from '../weights/model-file.ts';
import { requireFinite } from '../weights/named-tensors.ts';
import type { NamedTensor } from '../weights/safetensors.ts';

/** Of the option `fold`. */
export const foldEntry = v.optional(v.pipe(v.string(), v.regex(foldPattern, 'a number, or all')));

export interface ExportedModel {
  readonly description: ModelDescription;
  /** Of a training, where the file says so. */
  readonly fold: string | undefined;
  /** Trained weights and running statistics under our names, which are PyTorch's, in the layers' order. */
  readonly tensors: ReadonlyMap<string, NamedTensor>;
}

/**
 * @param call that was given the bytes
 * @throws InvalidOption for what is not bytes; InvalidModel as `readModel`
 */
export async function modelToExport(call: string, model: Uint8Array): Promise<ExportedModel> {
  assertOptions(call, { model: bytesSchema }, { model });
  const { description, fold, layout, tensors } = await openModel(model);
  const names = [...layout.parameters.keys(), ...layout.statistics.keys()];
  const own = new Map<string, NamedTensor>();
  for (const name of names) {
    const tensor = tensors.get(name)!;
    const found = 'data' in tensor ? tensor : { shape: tensor.shape, data: await tensor.read() };
    requireFinite(name, found);
    own.set(name, found);
  }
  return { description, fold, tensors: own };
}
