/** The kinds of models that `predict` takes: this package's own, nnU-Net's folders, TotalSegmentator's, and MONAI's bundles. */
import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openRanges, type ByteRanges } from '../data/byte-ranges.ts';
import { modelFilesIn } from '../data/dataset.node.ts';
import type { FileEntry } from '../data/case.ts';
import { volumePattern } from '../data/volume-names.ts';
import { Ensemble, foldsAmong } from '../ensemble.ts';
import { InvalidModel, InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { assertNoMeanOfLogits } from '../infer/predict.ts';
import { mirroredAsTrained } from '../infer/probabilities.ts';
import { modelFolders } from '../interop/nnunet/folder.ts';
import { isMonai, mayBeOfModel, openMonai } from '../interop/monai/open.ts';
import { areMaps, MonaiPredictor, requirePipeline } from '../interop/monai/predictor.ts';
import { filesInZip, modelFiles } from '../interop/model-files.ts';
import { paddedSize } from '../model/sizes.ts';
import { UNet3D } from '../unet3d.ts';
import { openModel, type ModelDescription } from '../weights/model-file.ts';
import { fileMessage } from './failure.ts';
import { nnunetModel, refuseLogits, totalSegmentator, withPreviousStage } from './predict-nnunet.ts';
import { flagOf } from './text.ts';
import {
  deviceOf,
  partsOnDisk,
  type FoundModel,
  type OpenModel,
  type OthersFiles,
  type PredictOptions,
} from './found-model.ts';

/** Which options a kind of model takes; the others are of no use to it. */
export const own = ['overlap', 'window', 'tta', 'mirrorAxes', 'postprocess', 'uncertainty'] as const;
const nnunet = [
  ...['folds', 'checkpoint', 'configuration', 'step', 'mirror'],
  ...['previousStage', 'pipeline', 'zoom'],
] as const;

/** Of the option `--configuration`. */
export const configurationHelp =
  'nnU-Net: of several in a folder or zip, which one, such as 3d_fullres (its -c)';

/** @throws InvalidOption for a configuration of what is no model of nnU-Net */
export function refuseConfiguration(path: string, configuration: string | undefined): void {
  if (configuration !== undefined) refuseOfNnunet(['configuration'], path);
}

/**
 * @param given names of the options that were given on the command line
 * @throws InvalidModel if there is no model of any kind; InvalidOption for options that are of no use to it
 */
export async function findModel(
  path: string,
  options: PredictOptions,
  given: readonly string[],
): Promise<FoundModel> {
  const isFolder = await isFolderAt(path);
  if (!isFolder && volumePattern.test(path))
    throw new InvalidOption(`the model ${path} has the name of an image: give MODEL first, then the images`);
  const ownFile = isFolder ? join(path, 'model.safetensors') : path;
  const files = await othersFiles(path, isFolder, ownFile);
  const folders = files ? modelFolders(files.paths) : [];
  if (files && folders.length > 0) {
    refuse(given, own, `${path} is a model of nnU-Net, which keeps its own rules`);
    if (options.pipeline) return totalSegmentator(files, options);
    refuse(given, ['zoom'], 'it is of --pipeline totalsegmentator');
    const isAlone = !isFolder || options.previousStage !== undefined;
    return nnunetModel(isAlone ? files : await withPreviousStage(path, files), options);
  }
  const trained = foldsAmong(files?.paths ?? []);
  if (files && trained.length > 0) {
    refuseOfNnunet(given, path, ['folds']);
    return ensembleModel(files, trained, options);
  }
  if (files && isMonai(files.paths)) {
    refuseOfNnunet(given, path);
    refuse(given, own, `${path} is a model of MONAI, which keeps its own rules`);
    return monaiModel(files, options);
  }
  return ownModel(ownFile, options, given);
}

/** @param but what such a model takes, too */
const refuseOfNnunet = (given: readonly string[], path: string, but: readonly string[] = []): void =>
  refuse(
    given,
    nnunet.filter((name) => !but.includes(name)),
    `${path} is no model of nnU-Net`,
  );

/** Undefined for a file that is no archive and for the folder of a training. */
export async function othersFiles(
  path: string,
  isFolder: boolean,
  ownFile: string,
): Promise<OthersFiles | undefined> {
  if (!isFolder)
    return /\.zip$/i.test(path) ? { paths: await filesInZip(path), given: path, onDisk: [path] } : undefined;
  if (await exists(ownFile)) return undefined;
  const files = await modelFilesIn(path);
  return { paths: files, given: files, onDisk: files.map(({ source }) => source as string) };
}

/** The file of a model, however long. @throws InvalidModel that says what else may be given */
export async function openModelFile(file: string): Promise<ByteRanges> {
  await access(file, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidModel(
      `cannot read the model ${fileMessage(error)}; give a model.safetensors or its folder, a model folder of nnU-Net or a bundle of MONAI`,
    );
  });
  return openRanges(file);
}

async function monaiModel(files: OthersFiles, options: PredictOptions): Promise<FoundModel> {
  const { output } = options;
  if (output === 'logits')
    throw new InvalidOption(
      '--output logits is not there for bundles of MONAI: give labels or probabilities',
    );
  const model = await openMonai(files.given);
  requirePipeline(model);
  const { kind, config } = model.network;
  return {
    inChannels: config.inChannels,
    channels: model.channels,
    files: partsOnDisk(files, mayBeOfModel(files.paths)),
    notes: [
      `${kind} of MONAI: labels ${model.labels.join(', ') || `0 to ${Math.max(config.classes - 1, 1)}`}` +
        (areMaps(model) ? ', which may overlap: a volume of 0 and 1 for each' : ''),
    ],
    async open() {
      const predictor = await MonaiPredictor.of(model, deviceOf(options));
      return {
        window: model.pipeline?.windows.size,
        predict: (images, { signal, onProgress }) =>
          predictor.predict(images, { signal, onProgress, probabilities: output === 'probabilities' }),
        dispose: () => predictor.dispose(),
      };
    },
  };
}

function refuse(given: readonly string[], names: readonly string[], because: string): void {
  const name = given.find((option) => names.includes(option));
  if (name === undefined) return;
  throw new InvalidOption(`${typed(name)} does nothing here: ${because}; leave it out`);
}

/** As it is typed where it is given: two are on unless they are denied. */
const typed = (name: string): string => flagOf(name, ['postprocess', 'mirror'].includes(name));

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function ownModel(
  file: string,
  options: PredictOptions,
  given: readonly string[],
): Promise<FoundModel> {
  // The network tells how many channels belong together; it is read before a GPU is looked for.
  const { config, channels, nnunet: origin } = (await openModel(await openModelFile(file), file)).description;
  if (!origin) refuseOfNnunet(given, file);
  const how = origin ? likeNnunet(file, options, given) : options;
  return {
    inChannels: config.inChannels,
    channels,
    files: [file],
    notes: [],
    async open() {
      return opened(await UNet3D.load(file, deviceOf(options)), how);
    },
  };
}

/**
 * What is asked of one network of nnU-Net's in a file of its own, in the words of this package.
 * @throws InvalidOption for what its rules have no place for
 */
export function likeNnunet(file: string, options: PredictOptions, given: readonly string[]): PredictOptions {
  refuseLogits(options);
  refuse(given, ['window', 'mirrorAxes', 'postprocess'], `${file} follows nnU-Net's rules`);
  const others = nnunet.filter((name) => name !== 'step' && name !== 'mirror');
  refuse(given, others, `it is for model folders of nnU-Net, and ${file} is one network of such`);
  for (const [ours, theirs] of Object.entries({ overlap: 'step', tta: 'mirror' }))
    if (given.includes(ours) && given.includes(theirs))
      throw new InvalidOption(`${typed(ours)} and ${typed(theirs)} are about the same: give one of them`);
  const { step, mirror } = options;
  return { ...options, ...(step !== undefined && { overlap: 1 - step }), ...(!mirror && { tta: false }) };
}

/**
 * A network of this package, or several as one, with the options that they share.
 * @throws InvalidOption for options that no volume could be segmented with
 */
function opened(
  model: UNet3D | Ensemble,
  { output, overlap, window, tta, mirrorAxes, postprocess, uncertainty = false }: PredictOptions,
): OpenModel {
  const asked = {
    ...{ output, overlap, postprocess, uncertainty },
    ...(window ? { window } : {}),
    ...(tta === undefined ? {} : { tta }),
    ...(mirrorAxes ? { mirrorAxes } : {}),
  };
  try {
    assertNoMeanOfLogits(mirroredAsTrained(asked, model.description));
  } catch (error) {
    model.dispose();
    throw error;
  }
  return {
    window: window && paddedSize(model.config, window),
    predict: (files, { signal, onProgress }) => model.predict(files, { ...asked, signal, onProgress }),
    dispose: () => model.dispose(),
  };
}

/** Folds of `train --folds`. */
async function ensembleModel(
  { given, onDisk }: OthersFiles,
  folds: ReturnType<typeof foldsAmong>,
  options: PredictOptions,
): Promise<FoundModel> {
  const { folds: wanted } = options;
  const all = folds.map(({ fold }) => fold);
  const names = wanted && wanted.join() !== 'all' ? wanted : all;
  const { root } = folds[0]!;
  const { config, channels } = await describedIn(given, folds[0]!.path);
  return {
    inChannels: config.inChannels,
    channels,
    // Of a folder the networks alone: earlier results may lie in it.
    files: typeof given === 'string' ? onDisk : partsOf(given, root, all),
    ...(typeof given !== 'string' && { parts: partsOf(given, root, names) }),
    notes: [`the mean of fold${names.length > 1 ? 's' : ''} ${names.join(', ')}`],
    async open() {
      const device = deviceOf(options);
      return opened(await Ensemble.open(given, { ...device, ...(wanted && { folds: wanted }) }), options);
    },
  };
}

/** Weights of the folds, and the post-processing of their mean. */
function partsOf(files: readonly FileEntry[], root: string, folds: readonly string[]): string[] {
  const parts = ['ensemble.json', ...folds.map((fold) => `fold_${fold}/model.safetensors`)];
  return files
    .filter(({ path }) => parts.some((part) => path === root + part))
    .map(({ source }) => source as string);
}

/** Of the first network, which is read before a GPU is looked for. */
async function describedIn(given: OthersFiles['given'], path: string): Promise<ModelDescription> {
  const files = await modelFiles(given);
  const ranges = await files.find((file) => file.path === path)!.ranges();
  return (await openModel(ranges, path)).description;
}
