/** A model folder of nnU-Net v2 as data: what its plans, its dataset.json and its folds' checkpoints say. */
import * as v from 'valibot';
import type { FileEntry } from '../../data/case.ts';
import { fileList } from '../../data/dataset.ts';
import { readText, type Source } from '../../data/source.ts';
import { InvalidModel } from '../../errors.ts';
import { listed } from '../../listed.ts';
import { assertOptions } from '../../options.ts';
import type { UNet3DConfig } from '../../model/config.ts';
import { layoutParameters } from '../../model/parameters.ts';
import { text } from '../../schema.ts';
import type { ReadableTensor } from '../../weights/named-tensors.ts';
import { toOurs } from '../mapping.ts';
import { readCheckpoint } from './checkpoint.ts';
import { readLabels, type NnunetLabels } from './labels.ts';
import { readPlans, type NnunetPlans } from './plans.ts';
import { configOf, nnunetMapping } from './weights.ts';

/** What a model folder of nnU-Net v2 says. */
export interface NnunetModel {
  /** Of plans.json: the network, spacing, patch and normalisation of its configuration. */
  readonly plans: NnunetPlans;
  /** Of dataset.json: channels, classes or regions, and the value of unknown voxels. */
  readonly labels: NnunetLabels;
  /** The network as this package has it; its channels are the image's and one per foreground label of a previous stage. */
  readonly config: UNet3DConfig;
  /** The class that trained it, such as `nnUNetTrainer`. */
  readonly trainer: string;
  /** Axes of nnU-Net's arrays along which windows are mirrored; none if empty. */
  readonly mirrorAxes: readonly number[];
  /** Those that were asked for, each with its weights. */
  readonly folds: readonly NnunetFold[];
}

export interface NnunetFold {
  /** A number, or `all`. */
  readonly name: string;
  /** Under the names and with the shapes of this package; read from the file one by one when they are asked for. */
  readonly weights: ReadonlyMap<string, ReadableTensor>;
}

export interface NnunetOptions {
  /** Such as `['0', '3']` or `['all']`. Default: all numbered folds, else `all`. */
  readonly folds?: readonly string[] | undefined;
  /** Default `checkpoint_final.pth`. */
  readonly checkpoint?: string | undefined;
}

const nnunetEntries = {
  folds: v.optional(v.array(text, "a list of folds, such as ['0', '3'] or ['all']")),
  checkpoint: v.optional(text),
} satisfies Record<keyof NnunetOptions, unknown>;

/**
 * Reads a model folder, or one with a single model somewhere within. Weights stay in their files until they are
 * asked for.
 * @param files with `/` in their paths
 * @throws InvalidModel naming what is missing, damaged or not supported; InvalidOption
 */
export async function openNnunet(
  files: readonly FileEntry[],
  options: NnunetOptions = {},
): Promise<NnunetModel> {
  assertOptions('openNnunet', { files: fileList }, { files });
  assertOptions('openNnunet', nnunetEntries, options);
  const { folds, checkpoint = 'checkpoint_final.pth' } = options;
  const root = modelRoot(files, checkpoint);
  const within = new Map(
    files
      .filter(({ path }) => path.startsWith(root))
      .map(({ path, source }) => [path.slice(root.length), source]),
  );
  const textOf = (name: string): Promise<string> => {
    const source = within.get(name);
    if (source === undefined)
      throw new InvalidModel(`the folder ${root} has no ${name}; give the whole model folder`);
    return readText(source);
  };
  const labels = readLabels(await textOf('dataset.json'));
  const checkpoints = await Promise.all(
    chosenFolds(within, checkpoint, folds).map(async (name) => {
      const path = `fold_${name}/${checkpoint}`;
      return { name, path: root + path, ...(await readCheckpoint(within.get(path) as Source, root + path)) };
    }),
  );
  const { configuration, trainer, mirrorAxes } = checkpoints[0]!;
  const facts = JSON.stringify([configuration, trainer, mirrorAxes]);
  const other = checkpoints.find(
    (fold) => JSON.stringify([fold.configuration, fold.trainer, fold.mirrorAxes]) !== facts,
  );
  if (other)
    throw new InvalidModel(
      `${other.path} is of configuration ${other.configuration} and trainer ${other.trainer}, mirrored along ` +
        `[${other.mirrorAxes.join(', ')}]; ${checkpoints[0]!.path} of ${configuration} and ${trainer}, along ` +
        `[${mirrorAxes.join(', ')}]: give folds of one training`,
    );
  const plans = readPlans(await textOf('plans.json'), configuration);
  const { network, normalization, previousStage } = plans.configuration;
  if (normalization.length !== labels.channels.length)
    throw new InvalidModel(
      `plans.json normalises ${normalization.length} channels and dataset.json names ${labels.channels.length}: they belong to different data sets`,
    );
  const foreground = labels.heads.length - (labels.regions ? 0 : 1);
  const inChannels = labels.channels.length + (previousStage === undefined ? 0 : foreground);
  const config = configOf(network, inChannels, labels.heads.length);
  const { parameters } = layoutParameters(config);
  const mapping = nnunetMapping(config);
  return {
    plans,
    labels,
    config,
    trainer,
    mirrorAxes,
    folds: checkpoints.map(({ name, path, weights }) => ({
      name,
      weights: toOurs(mapping, weights, parameters, { name: path, describedBy: 'plans.json' }),
    })),
  };
}

const foldPattern = /^fold_(\d+|all)\//;

/** The folder that holds plans.json beside folds, with its `/`. */
function modelRoot(files: readonly FileEntry[], checkpoint: string): string {
  const paths = files.map(({ path }) => path);
  const folders = paths
    .filter((path) => path === 'plans.json' || path.endsWith('/plans.json'))
    .map((path) => path.slice(0, -'plans.json'.length));
  const models = folders.filter((folder) =>
    paths.some((path) => path.startsWith(folder) && foldPattern.test(path.slice(folder.length))),
  );
  if (models.length === 1) return models[0]!;
  if (models.length > 1)
    throw new InvalidModel(
      `there are several models of nnU-Net: ${listed(models)}; give one of these folders`,
    );
  throw new InvalidModel(
    `there is no model of nnU-Net v2: expected a folder with plans.json, dataset.json and fold_0/${checkpoint} or the like`,
  );
}

function chosenFolds(
  within: ReadonlyMap<string, Source>,
  checkpoint: string,
  wanted: readonly string[] | undefined,
): readonly string[] {
  const all = [...within.keys()]
    .filter(
      (path) => foldPattern.test(path) && path.endsWith(`/${checkpoint}`) && path.split('/').length === 2,
    )
    .map((path) => foldPattern.exec(path)![1]!)
    .sort((a, b) => Number(a) - Number(b));
  const numbered = all.filter((name) => name !== 'all');
  const chosen = wanted ?? (numbered.length > 0 ? numbered : all);
  const missing = chosen.find((name) => !all.includes(name));
  if (missing === undefined && chosen.length > 0) return chosen;
  const found = all.length > 0 ? `there are ${listed(all)}` : 'there is none';
  throw new InvalidModel(
    missing === undefined
      ? `no fold has a ${checkpoint}; give a model folder whose training has ended, or another checkpoint`
      : `fold ${missing} with its ${checkpoint} is missing; ${found}`,
  );
}
