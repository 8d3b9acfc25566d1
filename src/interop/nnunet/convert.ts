/** A fold of nnU-Net as a model file of this package. */
import * as v from 'valibot';
import { InvalidOption } from '../../errors.ts';
import { listed } from '../../listed.ts';
import { assertOptions } from '../../options.ts';
import { text, withParts } from '../../schema.ts';
import { writeModel } from '../../weights/model-file.ts';
import { weightsOf } from '../mapping.ts';
import type { NnunetFold, NnunetModel } from './folder.ts';
import { descriptionOf } from './rules.ts';

const entries = {
  model: withParts('a model as openNnunet gives it', 'config', 'folds', 'origin'),
  fold: v.optional(text),
};

/**
 * The bytes of model.safetensors of one fold, which carries nnU-Net's plans and labels: `UNet3D.load` and `predict`
 * follow these.
 * @param fold its name, such as `0`; not needed where there is one
 * @throws InvalidOption for a fold that the model does not have; InvalidModel if its weights cannot be read
 * @example
 * ```js
 * const bytes = await convertNnunet(await openNnunet(nnunetFiles)); // a model.safetensors
 * ```
 */
export async function convertNnunet(model: NnunetModel, fold?: string): Promise<Uint8Array<ArrayBuffer>> {
  assertOptions('convertNnunet', entries, { model, fold });
  const names = model.folds.map(({ name }) => name);
  const found = model.folds.filter(({ name }) => fold === undefined || name === fold);
  if (found.length !== 1)
    throw new InvalidOption(
      `convertNnunet: fold is ${fold ?? 'not given'}; give one of those that the model was opened with: ${listed(names)}`,
    );
  const [{ weights: tensors, path }] = found as [NnunetFold];
  const weights = await weightsOf(model.config, tensors, path);
  return writeModel(descriptionOf(model, model.origin), weights);
}
