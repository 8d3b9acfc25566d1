/** A model as MONAI's own network has it: its state dict, and the definition of the network as in bundles. */
import type { FileEntry } from '../data/case.ts';
import { toTheirs } from '../interop/mapping.ts';
import { definitionOf } from '../interop/monai/definition.ts';
import { monaiMapping } from '../interop/monai/weights.ts';
import { Storages, writePytorch } from '../weights/pytorch/write.ts';
import { modelToExport } from './model.ts';
import { withCounters } from './pytorch.ts';

/** Two files. */
export interface MonaiExport {
  /** `model.pt`, which a bundle keeps in models/, and `network.json`, its `network_def`. */
  readonly files: readonly (FileEntry & { readonly source: Uint8Array<ArrayBuffer> })[];
}

/**
 * A network that one of MONAI's classes has (BasicUNet, DynUNet, SegResNet, UNet), such as one that came from MONAI and
 * was trained on: its state dict under MONAI's names, aliases included, which `load_state_dict` takes strictly, and the
 * class with its arguments. How images are prepared stays in the bundle.
 * @param model the content of model.safetensors
 * @throws InvalidModel for a file that is damaged, newer or of another network, and naming what of the network MONAI's
 *   classes do not have; InvalidOption for what is not bytes
 * @example
 * ```js
 * const { files } = await exportMonai(monaiModelBytes);
 * for (const { path, source } of files) console.log(path, source.length);
 * ```
 */
export async function exportMonai(model: Uint8Array): Promise<MonaiExport> {
  const { description, tensors } = await modelToExport('exportMonai', model);
  const { network, definition } = definitionOf(description.config);
  const storages = new Storages();
  const saved = storages.stateDict(withCounters(toTheirs(monaiMapping(network), tensors)));
  return {
    files: [
      { path: 'model.pt', source: writePytorch(saved, storages) },
      { path: 'network.json', source: new TextEncoder().encode(`${JSON.stringify(definition, null, 2)}\n`) },
    ],
  };
}
