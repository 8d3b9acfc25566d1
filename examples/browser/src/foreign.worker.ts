/** Holds a model of another tool, or several networks as one, and segments with it off the page's thread. */
import {
  Ensemble,
  filesInZip,
  mergedNames,
  metadataPath,
  modelFolders,
  MonaiPredictor,
  NnunetPredictor,
  openMonai,
  openNnunet,
  segmentAsTotalSegmentator,
  type FileEntry,
  type NnunetModel,
  type Segmentation,
  type Source,
} from 'unet3d-gpu/worker';

/** The files of a model, or its archive. */
export type ModelSource = readonly FileEntry[] | File;

export interface ForeignFacts {
  readonly config: { readonly inChannels: number; readonly classes: number };
  readonly description: { readonly labels: readonly string[] };
  /** What it is, for people. */
  readonly kind: string;
}

export type ForeignLabels = Pick<Segmentation<Uint8Array | Uint16Array>, 'labels' | 'warnings'>;

export type ForeignRequest =
  | { readonly type: 'folders'; readonly id: number; readonly files: ModelSource }
  | {
      readonly type: 'open';
      readonly id: number;
      readonly files: ModelSource;
      readonly folder: string | undefined;
    }
  | { readonly type: 'predict'; readonly id: number; readonly sources: readonly Source[] }
  | { readonly type: 'abort'; readonly id: number };

export interface ForeignReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
  readonly loaded?: number;
  readonly total?: number;
}

interface Options {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { readonly loaded: number; readonly total: number }) => void;
}

let predict: ((sources: readonly Source[], options: Options) => Promise<ForeignLabels>) | undefined;

const pathsIn = async (files: ModelSource): Promise<readonly { readonly path: string }[]> =>
  files instanceof File ? filesInZip(files) : files;

async function open(files: ModelSource, folder: string | undefined): Promise<ForeignFacts> {
  const paths = await pathsIn(files);
  const folders = modelFolders(paths);
  if (folders.length > 1 && folder === undefined) return openTotalSegmentator(files, folders);
  if (folders.length > 0)
    return openAsNnunet(folder === undefined || files instanceof File ? files : within(files, folder));
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
    kind: `The mean of ${members.length} network${members.length === 1 ? '' : 's'}`,
  };
}

const within = (files: readonly FileEntry[], folder: string): readonly FileEntry[] =>
  files.filter(({ path }) => path.startsWith(folder));

/** Names by the value that is written. */
function namesOf({ labels: { heads } }: NnunetModel): string[] {
  const names: string[] = ['background'];
  for (const { name, written } of heads) names[written] = name;
  return Array.from(names, (name, value) => name ?? `label ${value}`);
}

async function openAsNnunet(files: ModelSource): Promise<ForeignFacts> {
  const model = await openNnunet(files);
  const predictor = await NnunetPredictor.of(model);
  predict = (sources, options) => predictor.predict(sources, options);
  const labels = namesOf(model);
  const folds = model.folds.map(({ name }) => name).join(', ');
  return {
    config: { inChannels: model.labels.channels.length, classes: labels.length },
    description: { labels },
    kind: `nnU-Net, ${model.plans.dataset}, ${model.plans.configuration.name}, fold${model.folds.length === 1 ? '' : 's'} ${folds}`,
  };
}

async function openAsMonai(files: ModelSource): Promise<ForeignFacts> {
  const model = await openMonai(files);
  const predictor = await MonaiPredictor.of(model);
  predict = (sources, options) => predictor.predict(sources, options);
  const { config, kind } = model.network;
  return { config, description: { labels: model.labels }, kind: `${kind} of MONAI` };
}

async function openTotalSegmentator(files: ModelSource, folders: readonly string[]): Promise<ForeignFacts> {
  const models: NnunetModel[] = [];
  for (const folder of folders)
    models.push(await openNnunet(files instanceof File ? files : within(files, folder), { folds: ['0'] }));
  const parts = models.map((model) => ({ model, open: () => NnunetPredictor.of(model) }));
  predict = (sources, options) => segmentAsTotalSegmentator(parts, sources[0]!, options);
  const labels = mergedNames(parts);
  return {
    config: { inChannels: 1, classes: labels.length },
    description: { labels },
    kind: `TotalSegmentator's way, ${parts.length} parts`,
  };
}

const running = new Map<number, AbortController>();

async function answer(request: Exclude<ForeignRequest, { type: 'abort' }>): Promise<unknown> {
  const { id } = request;
  if (request.type === 'folders') return modelFolders(await pathsIn(request.files));
  if (request.type === 'open') return open(request.files, request.folder);
  const controller = new AbortController();
  running.set(id, controller);
  const { labels, warnings } = await predict!(request.sources, {
    signal: controller.signal,
    onProgress: ({ loaded, total }) => postMessage({ id, loaded, total } satisfies ForeignReply),
  });
  return { labels, warnings };
}

addEventListener('message', ({ data }: MessageEvent<ForeignRequest>) => {
  const { id } = data;
  if (data.type === 'abort') return running.get(id)?.abort();
  void answer(data)
    .then(
      (result) => {
        const labels = (result as Partial<ForeignLabels>).labels;
        postMessage({ id, result }, { transfer: labels ? [labels.data.buffer as ArrayBuffer] : [] });
      },
      (error: unknown) => {
        const { name, message } = error instanceof Error ? error : new Error(String(error));
        postMessage({ id, error: { name, message } } satisfies ForeignReply);
      },
    )
    .finally(() => running.delete(id));
});
