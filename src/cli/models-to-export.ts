/** What `export` writes: one network of whatever kind, or the folds of a training. */
import { basename, dirname, extname, join, resolve } from 'node:path';
import { chosenFolds, foldsAmong, postprocessingIn } from '../ensemble.ts';
import { mirroredByAll } from '../ensemble-runner.ts';
import { InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { bytesOf, modelFiles, type ModelFile } from '../interop/model-files.ts';
import { convertMonai } from '../interop/monai/convert.ts';
import { isMonai, openMonai } from '../interop/monai/open.ts';
import { namesAround } from '../interop/monai/pipeline.ts';
import { convertNnunet } from '../interop/nnunet/convert.ts';
import { modelFolders, openNnunet } from '../interop/nnunet/folder.ts';
import { openModel, readModel, writeModel, type ModelDescription } from '../weights/model-file.ts';
import { openModelFile, othersFiles, refuseConfiguration } from './predict-models.ts';

export interface ModelsToExport {
  readonly models: readonly {
    /** Of a training with several, where that is known of it. */
    readonly fold?: string;
    /** The bytes of model.safetensors. */
    readonly read: () => Promise<Uint8Array>;
  }[];
  /** Files that they are of. */
  readonly inputs: readonly string[];
  /** The path that exports go beside. */
  readonly place: string;
  /** Of a bundle of MONAI: by MONAI's names, what it does before and after its network, which model files have no room for. */
  readonly around?: readonly string[];
}

/** A fold's own, with the fold. */
const ownFolder = /[\\/]fold_(\d+|all)$/;

/**
 * @param fold of several, the one that is meant
 * @param foldsTogether whether what is written holds folds: all of them if none is named, and one network as that one
 * @throws InvalidModel if there is no model; InvalidOption where one of several folds has to be named
 */
export async function modelsToExport(
  path: string,
  { fold, configuration }: { readonly fold?: string; readonly configuration?: string },
  foldsTogether: boolean,
): Promise<ModelsToExport> {
  const isFolder = await isFolderAt(path);
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const others = await othersFiles(path, isFolder, file);
  // Beside a folder of several files: within, it would be taken for a part of the model.
  const place = isFolder ? resolve(path) : path.replace(/\.zip$/i, '');
  const wanted = fold === undefined ? undefined : [fold];
  const requireOne = (folds: readonly string[]): void => {
    if (folds.length > 1 && !foldsTogether)
      throw new InvalidOption(`${path} has the folds ${folds.join(', ')}: give one of them with --fold`);
  };
  const all = others ? await modelFiles(others.given) : [];
  const trained = foldsAmong(all);
  // Half a folder of nnU-Net's is told what it lacks; what was exported below a training's folds is no part of it.
  const isNnunet =
    trained.length === 0
      ? all.some((entry) => basename(entry.path) === 'plans.json')
      : modelFolders(all).length > 0;
  if (others && isNnunet) {
    const model = await openNnunet(others.given, { folds: wanted, configuration });
    const names = model.folds.map(({ name }) => name);
    requireOne(names);
    return {
      models: names.map((name) => ({ fold: name, read: () => convertNnunet(model, name) })),
      inputs: others.onDisk,
      place: foldsTogether ? place : `${place}-fold_${names[0]!}`,
    };
  }
  refuseConfiguration(path, configuration);
  if (trained.length > 0) {
    const folds = chosenFolds(trained, wanted);
    requireOne(folds.map((found) => found.fold));
    const [{ path: first, root }] = folds as [(typeof folds)[number]];
    const shared: Shared = {
      postprocessing: await postprocessingIn(all, root),
      // nnU-Net has one list for all folds.
      mirrorAxes: foldsTogether ? mirroredByAll(await Promise.all(trained.map(mirroredBy))) : undefined,
    };
    const alone = isFolder ? join(path, dirname(first), 'model') : `${place}-fold_${folds[0]!.fold}`;
    return {
      models: folds.map((found) => ({
        fold: found.fold,
        read: async () => withShared(await bytesOf(found), shared),
      })),
      inputs: isFolder ? folds.map((found) => join(path, found.path)) : [path],
      place: foldsTogether ? place : alone,
    };
  }
  if (fold !== undefined && !foldsTogether)
    throw new InvalidOption(`--fold is for folders of several folds; ${path} is none`);
  const own = fold ?? ownFolder.exec(dirname(resolve(file)))?.[1];
  const one = (read: () => Promise<Uint8Array>) => [own === undefined ? { read } : { fold: own, read }];
  if (others && isMonai(others.paths)) {
    const model = await openMonai(others.given);
    const around = model.pipeline ? namesAround(model.pipeline) : [];
    return { models: one(() => convertMonai(model)), inputs: others.onDisk, place, around };
  }
  const ranges = await openModelFile(file);
  await openModel(ranges, file); // what is wrong with it is said of the file
  return {
    models: one(() => ranges.read(0, ranges.size)),
    inputs: [file],
    place: join(dirname(file), basename(file, extname(file))),
  };
}

/** What is of all folds together. */
type Shared = Pick<ModelDescription, 'postprocessing' | 'mirrorAxes'>;

const mirroredBy = async (file: ModelFile) =>
  (await openModel(await file.ranges(), file.path)).description.mirrorAxes;

/** A fold's model with it. */
async function withShared(model: Uint8Array, { postprocessing, mirrorAxes }: Shared): Promise<Uint8Array> {
  if (!postprocessing && !mirrorAxes) return model;
  const { description, weights } = await readModel(model);
  return writeModel(
    { ...description, ...(postprocessing && { postprocessing }), ...(mirrorAxes && { mirrorAxes }) },
    weights,
  );
}
