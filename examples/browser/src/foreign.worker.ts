/** Holds a model of another tool, or several networks as one, and segments with it off the page's thread. */
import {
  convertMonai,
  convertNnunet,
  Ensemble,
  mergedNames,
  metadataPath,
  modelFolders,
  MonaiPredictor,
  NnunetPredictor,
  openMonai,
  openNnunet,
  overlappingRegions,
  segmentAsTotalSegmentator,
  totalSegmentatorParts,
  trainableModel,
  trainingStart,
  type NnunetModel,
  type Region,
  type Segmentation,
  type Source,
} from 'unet3d-gpu/worker';
import type { Start } from './beginning.ts';
import { pathsOf, type ModelSource } from './model-source.ts';
import { counted } from './dom.ts';
import { serve } from './worker-jobs.ts';

export interface ForeignFacts {
  readonly config: { readonly inChannels: number; readonly classes: number };
  readonly description: {
    readonly labels: readonly string[];
    readonly regions?: readonly Region[];
    /** Names of the images of a case in order, where the model tells them. */
    readonly channels?: readonly string[];
  };
  /** What it is, for people. */
  readonly kind: string;
  /** What a training that begins with it needs to know, or why none can. */
  readonly start: Start | string;
}

export type ForeignLabels = Pick<Segmentation<Uint8Array | Uint16Array>, 'labels' | 'warnings'>;

/** What is asked of the worker, by the name of the job. */
export interface ForeignRequests {
  open: { readonly files: ModelSource; readonly folder: string | undefined };
  predict: { readonly sources: readonly Source[] };
  save: undefined;
}

interface Options {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { readonly loaded: number; readonly total: number }) => void;
}

let predict: ((sources: readonly Source[], options: Options) => Promise<ForeignLabels>) | undefined;
/** The bytes of model.safetensors, where `start` does not say that there are none. */
let save: (() => Promise<Uint8Array>) | undefined;

async function open({ files, folder }: ForeignRequests['open']): Promise<ForeignFacts> {
  const paths = await pathsOf(files);
  const folders = modelFolders(paths);
  if (folders.length > 0 && folder === undefined)
    return openTotalSegmentator(files, totalSegmentatorParts(paths));
  if (folders.length > 0) return openAsNnunet(files, folder);
  if (
    paths.some(({ path }) => metadataPath.test(path)) ||
    !paths.some(({ path }) => path.endsWith('.safetensors'))
  )
    return openAsMonai(files);
  const ensemble = await Ensemble.open(files);
  predict = (sources, options) => ensemble.predict(sources, options);
  const { config, description, members } = ensemble;
  const { regions } = description;
  return {
    config,
    description: { labels: description.labels, channels: description.channels, ...(regions && { regions }) },
    kind: `The mean of ${counted(members.length, 'network')}`,
    start: `it is the mean of ${counted(members.length, 'network')}: open one of them alone, by its model file`,
  };
}

/** Names by the value that is written. */
function namesOf({ labels: { heads } }: NnunetModel): string[] {
  const names: string[] = ['background'];
  for (const { name, written } of heads) names[written] = name;
  return Array.from(names, (name, value) => name ?? `label ${value}`);
}

async function openAsNnunet(files: ModelSource, folder: string | undefined): Promise<ForeignFacts> {
  const model = await openNnunet(files, { folder });
  const { dataset, configuration } = model.plans;
  const { name, previousStage } = configuration;
  if (previousStage && !model.previous)
    throw new Error(
      `this is the second network of a cascade, which takes the labels of the first: give a folder or zip archive ` +
        `with that of "${previousStage}" beside it`,
    );
  const predictor = await NnunetPredictor.of(model);
  predict = (sources, options) => predictor.predict(sources, options);
  save = async () => trainableModel(await convertNnunet(model));
  const labels = namesOf(model);
  const { heads, regions } = model.labels;
  const folds = model.folds.map((fold) => fold.name).join(', ');
  return {
    config: { inChannels: model.labels.channels.length, classes: labels.length },
    description: { labels, channels: model.labels.channels, ...(regions && { regions: heads }) },
    kind: `nnU-Net, ${dataset}, ${model.previous ? `${previousStage}, then ` : ''}${name}, fold${model.folds.length === 1 ? '' : 's'} ${folds}`,
    start: startOfNnunet(model),
  };
}

function startOfNnunet(model: NnunetModel): Start | string {
  const { plans, previous, folds } = model;
  const [first] = folds;
  if (previous ?? plans.configuration.previousStage)
    return 'it is a cascade of two networks, of which the second reads labels of the first: open the first alone, or a model that is no cascade';
  if (folds.length > 1)
    return `it is the mean of ${folds.length} folds: open its folder or zip archive with one fold in it, such as fold_${first!.name}`;
  return trainingStart(model);
}

async function openAsMonai(files: ModelSource): Promise<ForeignFacts> {
  const model = await openMonai(files);
  // Weights beside the definition of their network do not tell how images are prepared: they can be trained on.
  const predictor = model.pipeline && (await MonaiPredictor.of(model));
  predict = async (sources, options) => {
    if (predictor) return predictor.predict(sources, options);
    throw new Error(
      'nothing tells how images are prepared for this network: open the bundle of MONAI that it belongs to, or begin a training with it',
    );
  };
  save = () => convertMonai(model);
  const { config, kind } = model.network;
  const overlapping = overlappingRegions(model);
  return {
    config: { inChannels: config.inChannels, classes: Math.max(config.classes, 2) },
    description: {
      labels: model.labels,
      channels: model.channels,
      ...(overlapping && { regions: overlapping }),
    },
    kind: `${kind} of MONAI${overlapping ? ', whose channels may overlap' : predictor ? '' : ', to begin a training with'}`,
    start: { config },
  };
}

async function openTotalSegmentator(files: ModelSource, folders: readonly string[]): Promise<ForeignFacts> {
  const models: NnunetModel[] = [];
  for (const folder of folders) models.push(await openNnunet(files, { folder, folds: ['0'] }));
  const parts = models.map((model) => ({ model, open: () => NnunetPredictor.of(model) }));
  predict = (sources, options) => segmentAsTotalSegmentator(parts, sources[0]!, options);
  const [first] = models as [NnunetModel];
  save = async () => trainableModel(await convertNnunet(first));
  const labels = mergedNames(parts);
  return {
    config: { inChannels: 1, classes: labels.length },
    description: { labels },
    kind: `TotalSegmentator's way, ${counted(parts.length, 'part')}`,
    start:
      models.length === 1
        ? startOfNnunet(first)
        : `it is ${models.length} networks, each for other classes: open one of them alone`,
  };
}

serve(
  {
    open,
    async predict({ sources }: ForeignRequests['predict'], { signal, progress }) {
      const { labels, warnings } = await predict!(sources, {
        signal,
        onProgress: ({ loaded, total }) => progress(loaded, total),
      });
      return { labels, warnings };
    },
    save: () => save!(),
  },
  (result) => {
    if (result instanceof Uint8Array) return [result.buffer as ArrayBuffer];
    const { labels } = result as Partial<ForeignLabels>;
    return labels ? [labels.data.buffer as ArrayBuffer] : [];
  },
);
