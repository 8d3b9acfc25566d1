/** Holds a model of another tool, or several networks as one, and segments with it off the page's thread. */
import {
  Ensemble,
  mergedNames,
  metadataPath,
  modelFolders,
  MonaiPredictor,
  NnunetPredictor,
  openMonai,
  openNnunet,
  segmentAsTotalSegmentator,
  type NnunetModel,
  type Region,
  type Segmentation,
  type Source,
} from 'unet3d-gpu/worker';
import { pathsOf, type ModelSource } from './model-source.ts';
import { counted } from './dom.ts';
import { serve } from './worker-jobs.ts';

export interface ForeignFacts {
  readonly config: { readonly inChannels: number; readonly classes: number };
  readonly description: { readonly labels: readonly string[]; readonly regions?: readonly Region[] };
  /** What it is, for people. */
  readonly kind: string;
}

export type ForeignLabels = Pick<Segmentation<Uint8Array | Uint16Array>, 'labels' | 'warnings'>;

/** What is asked of the worker, by the name of the job. */
export interface ForeignRequests {
  open: { readonly files: ModelSource; readonly folder: string | undefined };
  predict: { readonly sources: readonly Source[] };
}

interface Options {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { readonly loaded: number; readonly total: number }) => void;
}

let predict: ((sources: readonly Source[], options: Options) => Promise<ForeignLabels>) | undefined;

async function open({ files, folder }: ForeignRequests['open']): Promise<ForeignFacts> {
  const paths = await pathsOf(files);
  const folders = modelFolders(paths);
  if (folders.length > 1 && folder === undefined) return openTotalSegmentator(files, folders);
  if (folders.length > 0) return openAsNnunet(files, folder);
  if (
    paths.some(({ path }) => metadataPath.test(path)) ||
    !paths.some(({ path }) => path.endsWith('.safetensors'))
  )
    return openAsMonai(files);
  const ensemble = await Ensemble.open(files);
  predict = (sources, options) => ensemble.predict(sources, options);
  const { config, description, members } = ensemble;
  return {
    config,
    description: { labels: description.labels ?? [] },
    kind: `The mean of ${counted(members.length, 'network')}`,
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
  const labels = namesOf(model);
  const { heads, regions } = model.labels;
  const folds = model.folds.map((fold) => fold.name).join(', ');
  return {
    config: { inChannels: model.labels.channels.length, classes: labels.length },
    description: { labels, ...(regions && { regions: heads }) },
    kind: `nnU-Net, ${dataset}, ${model.previous ? `${previousStage}, then ` : ''}${name}, fold${model.folds.length === 1 ? '' : 's'} ${folds}`,
  };
}

async function openAsMonai(files: ModelSource): Promise<ForeignFacts> {
  const model = await openMonai(files);
  if (model.pipeline?.threshold !== undefined)
    throw new Error(
      'This bundle’s labels may overlap, and this page shows one label per voxel: segment with unet3d-gpu predict instead.',
    );
  const predictor = await MonaiPredictor.of(model);
  predict = (sources, options) => predictor.predict(sources, options);
  const { config, kind } = model.network;
  return { config, description: { labels: model.labels }, kind: `${kind} of MONAI` };
}

async function openTotalSegmentator(files: ModelSource, folders: readonly string[]): Promise<ForeignFacts> {
  const models: NnunetModel[] = [];
  for (const folder of folders) models.push(await openNnunet(files, { folder, folds: ['0'] }));
  const parts = models.map((model) => ({ model, open: () => NnunetPredictor.of(model) }));
  predict = (sources, options) => segmentAsTotalSegmentator(parts, sources[0]!, options);
  const labels = mergedNames(parts);
  return {
    config: { inChannels: 1, classes: labels.length },
    description: { labels },
    kind: `TotalSegmentator's way, ${parts.length} parts`,
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
  },
  (result) => {
    const { labels } = result as Partial<ForeignLabels>;
    return labels ? [labels.data.buffer as ArrayBuffer] : [];
  },
);
