/** A model as a state dict in a file of PyTorch. */
import type { UNet3DConfig } from '../model/config.ts';
import { descriptionText } from '../weights/model-file.ts';
import { Storages, writePytorch, type SavedTensor } from '../weights/pytorch/write.ts';
import type { NamedTensor } from '../weights/safetensors.ts';
import { modelToExport } from './model.ts';

/**
 * The bytes of a .pth that torch.load gives back as a state dict: float32 tensors under the names of the model file,
 * running statistics with their counters. `examples/pytorch/unet3d.py` makes the network that it belongs to, from the
 * description that lies in the archive beside the weights and by which the file loads here too; not those of MONAI, whose
 * own classes take what `exportMonai` writes.
 * @param model the content of model.safetensors
 * @throws InvalidModel for a file that is damaged, newer, of another network, or of 4 GiB and more; InvalidOption for
 *   what is not bytes
 * @example
 * ```js
 * const stateDict = await exportPytorch(modelBytes); // the bytes of a .pth
 * ```
 */
export async function exportPytorch(model: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const { description, tensors } = await modelToExport('exportPytorch', model);
  const storages = new Storages();
  return writePytorch(storages.stateDict(withCounters(tensors)), storages, descriptionText(description));
}

/** Entries of a configuration that the network of `examples/pytorch/unet3d.py` does not have. */
const beyondExample = [
  ...(['architecture', 'decoderFeatures', 'upFeatures', 'decoderKernels'] as const),
  ...(['stem', 'shortcut', 'upBias', 'oddSizes'] as const),
] satisfies readonly (keyof UNet3DConfig)[];

/** Whether `examples/pytorch/unet3d.py` makes this network. */
export const isInExample = (config: UNet3DConfig): boolean => !beyondExample.some((entry) => entry in config);

/** With the counters of batch norms beside their statistics: only networks without momentum look at them. */
export function withCounters(tensors: ReadonlyMap<string, NamedTensor>): Map<string, SavedTensor> {
  const all = new Map<string, SavedTensor>(tensors);
  for (const name of tensors.keys())
    if (name.endsWith('.running_var'))
      all.set(name.replace(/running_var$/, 'num_batches_tracked'), { shape: [], data: new BigInt64Array(1) });
  return all;
}
