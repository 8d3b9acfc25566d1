/** Ensembles in a directory. Node only. */
import { modelFilesIn } from './data/dataset.node.ts';
import { Ensemble, ensembleEntries, type EnsembleOptions } from './ensemble.ts';
import { InvalidDataset, InvalidModel } from './errors.ts';
import { assertOptions } from './options.ts';
import { text } from './schema.ts';

/**
 * The networks in a directory: a model folder of nnU-Net, or files that end in .safetensors; see `Ensemble.open`.
 * @throws InvalidModel if it is not a directory that can be read, and as `Ensemble.open` does
 * @example
 * ```js
 * const ensemble = await openEnsembleFolder('folds'); // as train --folds all leaves it
 * const { labels } = await ensemble.predict('scan.nii.gz');
 * await ensemble.dispose();
 * ```
 */
export async function openEnsembleFolder(
  directory: string,
  options: EnsembleOptions = {},
): Promise<Ensemble> {
  assertOptions('openEnsembleFolder', { directory: text }, { directory });
  assertOptions('openEnsembleFolder', ensembleEntries, options);
  const files = await modelFilesIn(directory).catch((error: unknown) => {
    if (!(error instanceof InvalidDataset)) throw error;
    throw new InvalidModel(`there is no folder of models: ${error.message}`, { cause: error });
  });
  return Ensemble.open(files, options);
}
