/** A model file, as those want it that write it for other programs. */
import { assertOptions } from '../options.ts';
import { bytes as bytesSchema } from '../schema.ts';
import { layoutParameters } from '../model/parameters.ts';
import { readModel, type ModelDescription } from '../weights/model-file.ts';
import { namedTensors } from '../weights/named-tensors.ts';
import type { NamedTensor } from '../weights/safetensors.ts';

export interface OpenedModel {
  readonly description: ModelDescription;
  /** Trained weights and running statistics under our names, which are PyTorch's. */
  readonly tensors: ReadonlyMap<string, NamedTensor>;
}

/**
 * @param call that was given the bytes
 * @throws InvalidOption for what is not bytes; InvalidModel as `readModel`
 */
export async function openModel(call: string, model: Uint8Array): Promise<OpenedModel> {
  assertOptions(call, { model: bytesSchema }, { model });
  const { description, weights } = await readModel(model);
  const layout = layoutParameters(description.config);
  return {
    description,
    tensors: new Map([
      ...namedTensors(layout.parameters, weights.parameters),
      ...namedTensors(layout.statistics, weights.statistics),
    ]),
  };
}
