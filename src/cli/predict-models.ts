/** The kinds of models that `predict` takes: this package's own, nnU-Net's folders, TotalSegmentator's, and MONAI's bundles. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { filesIn } from '../data/dataset.node.ts';
import { gridOf } from '../data/nifti-affine.ts';
import { readHeader } from '../data/nifti.ts';
import { canonicalGrid, spacingOf, spatialShape } from '../data/volume.ts';
import type { FileEntry } from '../data/case.ts';
import { volumePattern } from '../data/volume-names.ts';
import { Ensemble, foldsAmong } from '../ensemble.ts';
import { InvalidModel, InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { modelFolders, openNnunet, type NnunetModel } from '../interop/nnunet/folder.ts';
import { fastestFirst } from '../interop/nnunet/pipeline/axes.ts';
import { metadataPath, openMonai } from '../interop/monai/open.ts';
import { MonaiPredictor } from '../interop/monai/predictor.ts';
import { NnunetPredictor } from '../interop/nnunet/pipeline/predictor.ts';
import { planSegmentation } from '../interop/nnunet/pipeline/memory.ts';
import { windowResult } from '../interop/nnunet/pipeline/network.ts';
import { bytesOf, filesInZip, modelFiles } from '../interop/model-files.ts';
import { mergedNames, planTotalSegmentator, segmentAsTotalSegmentator } from '../interop/totalsegmentator.ts';
import type { PredictOutput } from '../infer/predict.ts';
import type { Axis } from '../infer/probabilities.ts';
import type { Uncertainty } from '../infer/uncertainty.ts';
import type { WindowProgress } from '../infer/window.ts';
import { paddedSize } from '../model/sizes.ts';
import { formatBytes } from '../format.ts';
import type { Size3 } from '../size.ts';
import { UNet3D } from '../unet3d.ts';
import { openModel } from '../weights/model-file.ts';
import { fileMessage } from './failure.ts';

export interface PredictOptions {
  readonly output: PredictOutput;
  readonly overlap: number;
  readonly window?: readonly [number, number, number];
  readonly tta?: boolean;
  readonly mirrorAxes?: readonly Axis[];
  readonly postprocess: boolean;
  readonly uncertainty?: boolean;
  readonly memory?: number;
  readonly folds?: readonly string[];
  readonly step?: number;
  readonly mirror: boolean;
  readonly previousStage?: string;
  readonly pipeline?: 'totalsegmentator';
}

/** Which options a kind of model takes; the others are of no use to it. */
const own = ['overlap', 'window', 'tta', 'mirrorAxes', 'postprocess', 'uncertainty'] as const;
const nnunet = ['folds', 'step', 'mirror', 'previousStage', 'pipeline'] as const;

/** A model as it was found, before a GPU is looked for. */
export interface FoundModel {
  /** Files that belong together for one volume. */
  readonly inChannels: number;
  /** Files that no result may replace. */
  readonly files: readonly string[];
  /** Those that its results depend on, where these are not all. */
  readonly parts?: readonly string[];
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
  /** Opens it on the GPU. */
  open(): Promise<OpenModel>;
}

export interface OpenModel {
  /** Of the windows, where they are known beforehand. */
  readonly window: Size3 | undefined;
  /** What a volume takes beside the GPU, one sentence; where that is known beforehand. */
  memoryOf?(files: readonly string[]): Promise<string>;
  predict(
    files: readonly string[],
    more: { readonly signal: AbortSignal; readonly onProgress: (progress: WindowProgress) => void },
  ): Promise<{
    readonly warnings: readonly string[];
    readonly uncertainty?: Uncertainty | undefined;
    toNifti(options: { readonly gzip: boolean }): Promise<Uint8Array>;
  }>;
  dispose(): void;
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
    return options.pipeline ? totalSegmentator(files, folders, options) : nnunetModel(files, options);
  }
  const trained = foldsAmong(files?.paths ?? []);
  const others = trained.length > 0 ? nnunet.filter((name) => name !== 'folds') : nnunet;
  refuse(given, others, `${path} is no model of nnU-Net`);
  if (files && trained.length > 0) return ensembleModel(files, trained, options);
  if (files?.paths.some((file) => metadataPath.test(file.path))) {
    refuse(given, own, `${path} is a bundle of MONAI, which keeps its own rules`);
    return monaiModel(files, options);
  }
  return ownModel(ownFile, options);
}

/** What may be a model of another tool: the files of a folder or an archive. */
export interface OthersFiles {
  /** Within, with `/`. */
  readonly paths: readonly { readonly path: string }[];
  /** As the functions that open models take them. */
  readonly given: readonly FileEntry[] | string;
  /** Files that no result may replace. */
  readonly onDisk: readonly string[];
}

/** Undefined for a file that is no archive and for the folder of a training. */
export async function othersFiles(
  path: string,
  isFolder: boolean,
  ownFile: string,
): Promise<OthersFiles | undefined> {
  if (!isFolder)
    return /\.zip$/i.test(path) ? { paths: await filesInZip(path), given: path, onDisk: [path] } : undefined;
  if (await exists(ownFile)) return undefined;
  const { files } = await filesIn(path);
  return { paths: files, given: files, onDisk: files.map(({ source }) => source as string) };
}

async function monaiModel(files: OthersFiles, options: PredictOptions): Promise<FoundModel> {
  const { output } = options;
  if (output === 'logits')
    throw new InvalidOption(
      '--output logits is not there for bundles of MONAI: give labels or probabilities',
    );
  const model = await openMonai(files.given);
  const { kind, config } = model.network;
  return {
    inChannels: config.inChannels,
    files: files.onDisk,
    notes: [`${kind} of MONAI: labels ${model.labels.join(', ') || `0 to ${config.classes - 1}`}`],
    async open() {
      const predictor = await MonaiPredictor.of(model, deviceOf(options));
      return {
        window: model.pipeline?.windows.size,
        predict: (images, more) =>
          predictor.predict(images, { ...more, probabilities: output === 'probabilities' }),
        dispose: () => predictor.dispose(),
      };
    },
  };
}

function refuse(given: readonly string[], names: readonly string[], because: string): void {
  const name = given.find((option) => names.includes(option));
  if (name === undefined) return;
  const dashed = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const flag = ['postprocess', 'mirror'].includes(name) ? `--no-${dashed}` : `--${dashed}`;
  throw new InvalidOption(`${flag} does nothing here: ${because}; leave it out`);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function ownModel(file: string, options: PredictOptions): Promise<FoundModel> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidModel(
      `cannot read the model ${fileMessage(error)}; give a model.safetensors or its folder, a model folder of nnU-Net or a bundle of MONAI`,
    );
  });
  // The network tells how many channels belong together; it is read before a GPU is looked for.
  const { inChannels } = (await openModel(bytes, file)).description.config;
  return {
    inChannels,
    files: [file],
    notes: [],
    async open() {
      return opened(await UNet3D.load(bytes, deviceOf(options)), options);
    },
  };
}

/** A network of this package, or several as one, with the options that they share. */
function opened(
  model: UNet3D | Ensemble,
  { output, overlap, window, tta, mirrorAxes, postprocess, uncertainty = false }: PredictOptions,
): OpenModel {
  return {
    window: window && paddedSize(model.config, window),
    predict: (files, more) =>
      model.predict(files, {
        ...{ output, overlap, postprocess, uncertainty, ...more },
        ...(window ? { window } : {}),
        ...(tta === undefined ? {} : { tta }),
        ...(mirrorAxes ? { mirrorAxes } : {}),
      }),
    dispose: () => model.dispose(),
  };
}

/** Folds of `train --folds`. */
async function ensembleModel(
  { given, onDisk }: OthersFiles,
  folds: readonly { readonly path: string; readonly fold: string }[],
  options: PredictOptions,
): Promise<FoundModel> {
  const { folds: wanted } = options;
  const names = wanted && wanted.join() !== 'all' ? wanted : folds.map(({ fold }) => fold);
  return {
    inChannels: await channelsOf(given, folds[0]!.path),
    files: onDisk,
    ...(typeof given !== 'string' && { parts: partsOf(given, names) }),
    notes: [`the mean of fold${names.length > 1 ? 's' : ''} ${names.join(', ')}`],
    async open() {
      const device = deviceOf(options);
      return opened(await Ensemble.open(given, { ...device, ...(wanted && { folds: wanted }) }), options);
    },
  };
}

/** Weights of the folds, and the post-processing of their mean. */
const partsOf = (files: readonly FileEntry[], folds: readonly string[]): string[] =>
  files
    .filter(
      ({ path }) =>
        path === 'ensemble.json' || folds.some((fold) => path === `fold_${fold}/model.safetensors`),
    )
    .map(({ source }) => source as string);

/** Of the first network, which is read before a GPU is looked for. */
async function channelsOf(given: OthersFiles['given'], path: string): Promise<number> {
  const files = await modelFiles(given);
  const { description } = await openModel(await bytesOf(files.find((file) => file.path === path)!), path);
  return description.config.inChannels;
}

const deviceOf = ({ memory }: PredictOptions) => (memory === undefined ? {} : { memoryBudget: memory });

async function nnunetModel(files: OthersFiles, options: PredictOptions): Promise<FoundModel> {
  const { output, folds, step, mirror, previousStage } = options;
  if (output === 'logits')
    throw new InvalidOption(
      '--output logits is not there for models of nnU-Net: give labels or probabilities',
    );
  const model = await openNnunet(files.given, { folds });
  return {
    inChannels: model.labels.channels.length,
    files: files.onDisk,
    notes: [described(model)],
    async open() {
      const predictor = await NnunetPredictor.of(model, deviceOf(options));
      return {
        window: fastestFirst(model.plans.configuration.patch),
        async memoryOf([first]) {
          const header = await readHeader(first!);
          const { affine, shape } = gridOf(header);
          const plan = planSegmentation(
            model,
            { size: spatialShape(shape), spacing: spacingOf(affine) },
            windowResult(model.config, model.folds.length),
            { step, folds: model.folds.length },
          );
          const { peakBytes, imageBytes, inputBytes, logitBytes, labelBytes } = plan;
          return (
            `Beside the GPU it takes ${formatBytes(peakBytes)} at most: ${formatBytes(imageBytes)} while the image is prepared, ` +
            `then ${formatBytes(inputBytes)} for it, ${formatBytes(logitBytes)} for logits and ${formatBytes(labelBytes)} for labels.`
          );
        },
        predict: (images, more) =>
          predictor.predict(images, {
            ...{ step, mirror, previousStage, ...more },
            probabilities: output === 'probabilities',
          }),
        dispose: () => predictor.dispose(),
      };
    },
  };
}

const described = ({ plans, folds, trainer }: NnunetModel): string =>
  `${plans.dataset}, ${plans.configuration.name} by ${trainer}: fold${folds.length > 1 ? 's' : ''} ` +
  folds.map(({ name }) => name).join(', ');

async function totalSegmentator(
  { given, onDisk }: OthersFiles,
  folders: readonly string[],
  options: PredictOptions,
): Promise<FoundModel> {
  const { output, folds = ['0'], step, mirror, previousStage } = options;
  if (output !== 'labels' || !mirror || previousStage !== undefined)
    throw new InvalidOption(
      'with --pipeline totalsegmentator there are labels only, no mirroring and no previous stage: leave --output, --no-mirror and --previous-stage out',
    );
  const models = await Promise.all(folders.map((folder) => openNnunet(given, { folds, folder })));
  const parts = models.map((model) => ({ model, open: () => NnunetPredictor.of(model, deviceOf(options)) }));
  const names = mergedNames(parts);
  return {
    inChannels: 1,
    files: onDisk,
    notes: [...models.map(described), `labels: ${names.map((name, label) => `${label} ${name}`).join(', ')}`],
    open: () =>
      Promise.resolve({
        window: fastestFirst(models[0]!.plans.configuration.patch),
        async memoryOf([first]) {
          const { affine, shape } = canonicalGrid(gridOf(await readHeader(first!)));
          const volume = { size: spatialShape(shape), spacing: spacingOf(affine) };
          const { peakBytes } = planTotalSegmentator(parts, volume, step);
          return `Beside the GPU it takes ${formatBytes(peakBytes)} at most.`;
        },
        predict: (images, more) =>
          segmentAsTotalSegmentator(parts, images[0]!, { ...(step === undefined ? {} : { step }), ...more }),
        dispose: () => undefined,
      }),
  };
}
