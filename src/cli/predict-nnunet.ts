/** Models of nnU-Net, alone, as a cascade and as TotalSegmentator's parts, as `predict` takes them. */
import { basename, resolve } from 'node:path';
import type { FileEntry } from '../data/case.ts';
import { modelFilesIn } from '../data/dataset.node.ts';
import { affineAsWritten, gridOf } from '../data/nifti-affine.ts';
import { readHeader } from '../data/nifti.ts';
import { readText } from '../data/source.ts';
import { canonicalGrid, spacingOf, spatialShape } from '../data/volume.ts';
import { InvalidModel, InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { formatBytes } from '../format.ts';
import { modelFiles } from '../interop/model-files.ts';
import { besideFolder, openNnunet, usualCheckpoint, type NnunetModel } from '../interop/nnunet/folder.ts';
import { fastestFirst } from '../interop/nnunet/pipeline/axes.ts';
import { gridAsRead } from '../interop/nnunet/pipeline/image.ts';
import { planSegmentation, type SegmentationPlan } from '../interop/nnunet/pipeline/memory.ts';
import { windowResult } from '../interop/nnunet/pipeline/network.ts';
import { NnunetPredictor } from '../interop/nnunet/pipeline/predictor.ts';
import { outlineIn } from '../interop/nnunet/plans.ts';
import {
  isTotalSegmentator,
  mergedNames,
  planTotalSegmentator,
  segmentAsTotalSegmentator,
  totalSegmentatorParts,
} from '../interop/totalsegmentator.ts';
import {
  deviceOf,
  partsOnDisk,
  type FoundModel,
  type OthersFiles,
  type PredictOptions,
} from './found-model.ts';

/** The files of a cascade's second network with those of the first, where its folder lies beside the one that was given. */
export async function withPreviousStage(path: string, files: OthersFiles): Promise<OthersFiles> {
  const plans = (await modelFiles(files.given)).find((file) => file.path === 'plans.json');
  if (!plans) return files;
  const whole = resolve(path);
  const configuration = whole.slice(whole.lastIndexOf('__') + 2);
  const previous = outlineIn(await readText(await plans.open()), configuration)?.previousStage;
  const first = previous && besideFolder(`${whole}/`, configuration, previous);
  if (!first || !(await isFolderAt(first))) return files;
  const given: FileEntry[] = [];
  for (const folder of [whole, first])
    for (const { path: within, source } of await modelFilesIn(folder))
      given.push({ path: `${basename(folder)}/${within}`, source });
  return { paths: given, given, onDisk: given.map(({ source }) => source as string) };
}

/** @throws InvalidOption */
export function refuseLogits({ output }: PredictOptions): void {
  if (output !== 'logits') return;
  throw new InvalidOption('--output logits is not there for models of nnU-Net: give labels or probabilities');
}

export async function nnunetModel(files: OthersFiles, options: PredictOptions): Promise<FoundModel> {
  const { output, folds, checkpoint, configuration, step, mirror, previousStage } = options;
  refuseLogits(options);
  const opened = await openNnunet(files.given, { folds, checkpoint, configuration });
  // Labels of the first network that are given take its place.
  const model = previousStage === undefined ? opened : { ...opened, previous: undefined };
  const first = model.previous;
  const { name, previousStage: before } = model.plans.configuration;
  if (before !== undefined && !first && previousStage === undefined)
    throw new InvalidModel(
      `${name} is the second network of a cascade and takes the labels of "${before}": give --previous-stage with them, ` +
        `or keep the folder of ${before} beside this one, and it makes them`,
    );
  const stages = first ? [first, model] : [model];
  return {
    inChannels: model.labels.channels.length,
    channels: model.labels.channels,
    files: partsOnDisk(files, isPart(stages, checkpoint)),
    notes: [
      ...stages.map(described),
      ...(isTotalSegmentator(model.plans.dataset)
        ? [
            "as nnU-Net alone; TotalSegmentator's own labels take --pipeline totalsegmentator, which does what it does around",
          ]
        : []),
    ],
    async open() {
      const predictor = await NnunetPredictor.of(model, deviceOf(options));
      return {
        window: first ? undefined : fastestFirst(model.plans.configuration.patch),
        async memoryOf([first]) {
          const header = await readHeader(first!);
          const plans = stages.map((stage) =>
            planSegmentation(
              stage,
              gridAsRead(header, stage.plans),
              windowResult(stage.config, stage.folds.length),
              {
                step,
                folds: stage.folds.length,
                probabilities: stage === model && output === 'probabilities',
              },
            ),
          );
          const most = (a: SegmentationPlan, b: SegmentationPlan) => (b.peakBytes > a.peakBytes ? b : a);
          const { peakBytes, imageBytes, inputBytes, logitBytes, labelBytes, probabilityBytes } =
            plans.reduce(most);
          const text =
            `${formatBytes(imageBytes)} while the image is prepared, then ${formatBytes(inputBytes)} for it, ` +
            `${formatBytes(logitBytes)} for logits and ${formatBytes(labelBytes)} for labels` +
            (probabilityBytes > 0
              ? `; ${formatBytes(probabilityBytes)} for probabilities, and twice as much again while they are written`
              : '');
          return { bytes: peakBytes, text };
        },
        predict: (images, more) =>
          predictor.predict(images, {
            ...{ step, mirror, ...more },
            probabilities: output === 'probabilities',
          }),
        dispose: () => predictor.dispose(),
      };
    },
  };
}

/** Whether a file is of what is read of these models. */
const isPart =
  (models: readonly NnunetModel[], checkpoint = usualCheckpoint) =>
  ({ path }: { readonly path: string }): boolean =>
    /(^|\/)(plans|dataset)\.json$/.test(path) ||
    models.some(({ folds }) => folds.some(({ name }) => `/${path}`.endsWith(`/fold_${name}/${checkpoint}`)));

const described = ({ plans, folds, trainer }: NnunetModel): string =>
  `${plans.dataset}, ${plans.configuration.name} by ${trainer}: fold${folds.length > 1 ? 's' : ''} ` +
  folds.map(({ name }) => name).join(', ');

export async function totalSegmentator(
  { paths, given, onDisk }: OthersFiles,
  options: PredictOptions,
): Promise<FoundModel> {
  const { output, folds = ['0'], checkpoint, configuration, step, zoom, mirror, previousStage } = options;
  if (output !== 'labels' || !mirror || (previousStage ?? configuration) !== undefined)
    throw new InvalidOption(
      'with --pipeline totalsegmentator there are labels only, no mirroring, no previous stage and no choice of a configuration: leave --output, --no-mirror, --previous-stage and --configuration out',
    );
  const folders = totalSegmentatorParts(paths);
  const models = await Promise.all(folders.map((folder) => openNnunet(given, { folds, checkpoint, folder })));
  const parts = models.map((model) => ({ model, open: () => NnunetPredictor.of(model, deviceOf(options)) }));
  const names = mergedNames(parts);
  return {
    inChannels: 1,
    channels: [],
    files: partsOnDisk({ paths, given, onDisk }, isPart(models, checkpoint)),
    notes: [...models.map(described), `labels: ${names.map((name, label) => `${label} ${name}`).join(', ')}`],
    open: () =>
      Promise.resolve({
        window: fastestFirst(models[0]!.plans.configuration.patch),
        async memoryOf([first]) {
          const header = await readHeader(first!);
          const { affine, shape } = canonicalGrid(gridOf(header));
          const volume = { size: spatialShape(shape), spacing: spacingOf(affineAsWritten(affine, header)) };
          return { bytes: planTotalSegmentator(parts, volume, { step, zoom }).peakBytes };
        },
        predict: (images, { signal, onProgress }) =>
          segmentAsTotalSegmentator(parts, images[0]!, {
            ...{ step, zoom, signal, onProgress },
          }),
        dispose: () => undefined,
      }),
  };
}
