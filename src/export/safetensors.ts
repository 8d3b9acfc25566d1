/** A model as safetensors for other programs. */
import { assertOptions } from '../options.ts';
import { writeHashed } from '../weights/content-hash.ts';
import { descriptionText } from '../weights/model-file.ts';
import { safetensorsEntries, type SafetensorsOptions } from '../weights/safetensors.ts';
import { descriptionKey } from '../weights/tensors.ts';
import { foldEntry, modelToExport } from './model.ts';

/** How a model is written as safetensors. */
export interface SafetensorsExportOptions extends SafetensorsOptions {
  /** Of a training: a number, or `all`, as which `exportNnunet` writes it. Default: what the file says, if anything. */
  readonly fold?: string;
}

const exportEntries = { ...safetensorsEntries, fold: foldEntry } satisfies Record<
  keyof SafetensorsExportOptions,
  unknown
>;

/**
 * The bytes of a safetensors file that safetensors.torch.load_file gives back as a state dict: tensors under the names
 * of the model file. Beside them are the metadata of a model file, which others need not look at, so that it loads
 * here too.
 * @param model the content of model.safetensors, or of a .pth under its names
 * @throws InvalidModel for a file that is damaged, newer or of another network, and for weights that float16 cannot
 *   hold; InvalidOption for what is not bytes and for unknown options
 * @example
 * ```js
 * const half = await exportSafetensors(modelBytes, { precision: 'f16' });
 * ```
 */
export async function exportSafetensors(
  model: Uint8Array,
  options: SafetensorsExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  assertOptions('exportSafetensors', exportEntries, options);
  const { description, tensors, fold: told } = await modelToExport('exportSafetensors', model);
  const { fold = told, ...stored } = options;
  const metadata = {
    ...{ format: 'pt', [descriptionKey]: descriptionText(description) },
    ...(fold !== undefined && { fold }),
  };
  return writeHashed({ tensors, metadata }, stored);
}
