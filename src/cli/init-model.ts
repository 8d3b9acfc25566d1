/** `--init`: the model that a training goes on from, and what of it holds for the training. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Preprocessing } from '../data/preprocessing.ts';
import { scoredNames, soleRegion } from '../data/regions.ts';
import { foldsAmong } from '../ensemble.ts';
import { InvalidDataset, InvalidModel, InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { bytesOf, modelFiles } from '../interop/model-files.ts';
import { convertMonai } from '../interop/monai/convert.ts';
import { isMonai, openMonai } from '../interop/monai/open.ts';
import { convertNnunet } from '../interop/nnunet/convert.ts';
import { modelFolders, openNnunet, type NnunetModel } from '../interop/nnunet/folder.ts';
import { trainableModel } from '../interop/nnunet/go-on.ts';
import { rulesOf } from '../interop/nnunet/rules.ts';
import type { Size3 } from '../size.ts';
import { wholeConfig, type UNet3DConfig } from '../model/config.ts';
import { openModel, type ModelDescription } from '../weights/model-file.ts';
import { fileMessage } from './failure.ts';
import type { Io } from './io.ts';
import { networkEntries, networkOf } from './network-options.ts';
import { othersFiles, refuseConfiguration } from './predict-models.ts';
import { flagOf } from './text.ts';
import type { TrainingData } from './training-data.ts';
import type { TrainOptions } from './train-options.ts';

export interface InitModel {
  readonly file: string;
  /** Of model.safetensors. */
  readonly bytes: Uint8Array;
  readonly description: ModelDescription;
  /** x, y, z of the patches that it was trained on, where it comes from a training on patches alone. */
  readonly patch: Size3 | undefined;
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * @param path of a model file, of a training's folder, or of a model of nnU-Net or MONAI: its folder or a zip of it
 * @param configuration of nnU-Net's, where there are several
 * @throws InvalidModel; InvalidOption for a configuration of what is no model of nnU-Net
 */
export async function openInit(path: string, configuration?: string): Promise<InitModel> {
  const isFolder = await isFolderAt(path);
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const others = await othersFiles(path, isFolder, file).catch((error: unknown) => {
    throw error instanceof InvalidDataset ? new InvalidModel(error.message, { cause: error }) : error;
  });
  if (others && modelFolders(others.paths).length > 0)
    return nnunetInit(path, await openNnunet(others.given, { configuration }));
  refuseConfiguration(path, configuration);
  if (others && isMonai(others.paths)) {
    const model = await openMonai(others.given);
    const bytes = await convertMonai(model);
    const { kind, dropout } = model.network;
    const without = dropout > 0 ? ` Its dropout of ${dropout} is left out: trainings here have none.` : '';
    return { ...(await ownInit(path, bytes)), notes: [`${path}: ${kind} of MONAI.${without}`] };
  }
  const [fold] = foldsAmong(others ? await modelFiles(others.given) : []);
  if (fold) {
    const first = join(path, fold.path);
    return {
      ...(await ownInit(first, await bytesOf(fold))),
      notes: [`Of several folds, ${first} is taken.`],
    };
  }
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidModel(
      `cannot read the model ${fileMessage(error)}; give a model.safetensors, its folder, a .pth, or a model of nnU-Net or MONAI`,
    );
  });
  return ownInit(file, bytes);
}

/** Of a training's options. @throws as `openInit` */
export const initOf = async ({ init, configuration }: TrainOptions): Promise<InitModel | undefined> =>
  init === undefined ? undefined : openInit(init, configuration);

async function ownInit(file: string, bytes: Uint8Array): Promise<InitModel> {
  const { description } = await openModel(bytes, file);
  const { nnunet } = description;
  return nnunet
    ? keptFromNnunet(file, bytes, `a model of nnU-Net's, ${nnunet.configuration}`)
    : { file, bytes, description, patch: undefined, notes: [] };
}

/** The first fold of a model of nnU-Net's. */
async function nnunetInit(path: string, model: NnunetModel): Promise<InitModel> {
  const fold = model.folds[0]!.name;
  const { dataset, configuration } = model.plans;
  const bytes = await convertNnunet(model, fold);
  return keptFromNnunet(path, bytes, `fold ${fold} of ${dataset}, ${configuration.name}`);
}

/** Prepared for as near as trainings here come to it. */
async function keptFromNnunet(file: string, converted: Uint8Array, what: string): Promise<InitModel> {
  const bytes = await trainableModel(converted, file);
  const { description } = await openModel(bytes, file);
  const { batchSize, batchDice } = rulesOf((await openModel(converted, file)).description)!.plans
    .configuration;
  return {
    file,
    bytes,
    description,
    patch: description.inputSize,
    notes: [
      `${file}: ${what}. Its crop, normalisation, spacing and patch are kept; axes are canonical, unlike in nnU-Net, with ` +
        `kernels turned where its plans turn the volumes. Batches are as here, not of ${batchSize} as in its plans` +
        `${batchDice ? ', and Dice is of each sample, not over the batch' : ''}.`,
    ],
  };
}

/**
 * The options with the network of the model and, unless others are given, its preprocessing.
 * @throws InvalidOption for options that are given and say something else than the model
 */
export function withInit(
  options: TrainOptions,
  { file, description }: InitModel,
  isGiven: (name: string) => boolean,
): TrainOptions {
  const { config, preprocessing } = description;
  const theirs = wholeConfig(config);
  const ours = networkOf({
    ...options,
    features: (isGiven('features') ? options.features : undefined) ?? config.features,
  });
  const isPrepared = isGiven('preprocessing') || isGiven('spacing');
  if (options.preprocessing === 'model' && isGiven('spacing'))
    throw new InvalidOption(
      `--spacing is ${String(options.spacing)}, but --preprocessing model takes that of ${file}: leave one of the two out`,
    );
  for (const name of networkEntries) {
    if (!isGiven(name) || JSON.stringify(ours[name]) === JSON.stringify(theirs[name])) continue;
    throw new InvalidOption(
      `${flagOf(name)} asks for ${text(ours[name])}, but the network of ${file} has ${text(theirs[name])}: leave it out, ` +
        'or train without --init',
    );
  }
  return {
    ...options,
    ...withoutNetwork,
    ...(config.deepSupervision && { deepSupervision: true }),
    ...(preprocessing && !isPrepared && { preprocessing: 'model' }),
  };
}

/** The network is the model's. */
export const withoutNetwork = Object.fromEntries(networkEntries.map((name) => [name, undefined]));

/** The network of the model, for other images and classes. */
export const networkFrom = (
  { description: { config } }: InitModel,
  { deepSupervision }: Pick<TrainOptions, 'deepSupervision'>,
): UNet3DConfig => (deepSupervision ? { ...config, deepSupervision } : config);

/**
 * What a training takes of the model to prepare its cases, and says of that.
 * @throws InvalidOption where `--preprocessing model` has no model to follow
 */
export function preprocessingOf(
  io: Io,
  { preprocessing: how }: Pick<TrainOptions, 'preprocessing'>,
  init: InitModel | undefined,
): Preprocessing | undefined {
  const kept = init?.description.preprocessing;
  if (how !== 'model') {
    if (init)
      io.err(
        kept
          ? `warning: cases are prepared otherwise than those that ${init.file} was trained on, as was asked for`
          : `${init.file} does not say how its cases were prepared; these are by --preprocessing ${how}`,
      );
    return undefined;
  }
  if (!init || !kept)
    throw new InvalidOption(
      `--preprocessing model follows the model of --init, ${init ? 'which says nothing of its own' : 'which is not given'}: give plain or nnunet`,
    );
  const spacing = kept.spacing ? `${kept.spacing.join(' x ')} mm` : 'their own spacing';
  io.err(`Cases are prepared as those that ${init.file} was trained on, at ${spacing}.`);
  return kept;
}

/** Two classes, for a network of one head alone: it finds the second, as a region. */
export function forItsHeads(data: TrainingData, init: InitModel | undefined): TrainingData {
  if (init?.description.config.classes !== 1 || data.regions || data.labels.length !== 2) return data;
  const regions = soleRegion(data.labels[1]);
  return { ...data, regions, scored: scoredNames(data.labels, regions) };
}

/** @throws InvalidOption where options of `--init` stand without it */
export function assertInit({ init, initHeads, freeze, configuration }: TrainOptions): void {
  if (init !== undefined) return;
  if (configuration !== undefined)
    throw new InvalidOption(
      `--configuration ${configuration} is one of several in a model of nnU-Net: give that model with --init, or leave it out`,
    );
  if (initHeads !== undefined)
    throw new InvalidOption(`--init-heads is ${initHeads}, but there is no --init whose heads it is about`);
  if (freeze !== undefined)
    throw new InvalidOption(
      `--freeze ${freeze} keeps weights as they begin: give --init with the model that they are of`,
    );
}

/**
 * @param names of the images, where the data set tells them
 * @throws InvalidOption for images of other channels than the model's, or of the same in another order
 */
export function assertChannels(
  { file, description }: InitModel,
  channels: number,
  names: readonly string[] = [],
): void {
  const { inChannels } = description.config;
  const [theirs, ours] = [description.channels, names].map((all) => all.map((name) => name.toLowerCase()));
  if (theirs!.join() !== ours!.join() && theirs!.toSorted().join() === ours!.toSorted().join())
    throw new InvalidOption(
      `${file} takes its channels in the order ${description.channels.join(', ')}, and these images have ${names.join(', ')}: ` +
        'name files and channels in the order of the model',
    );
  if (inChannels === channels) return;
  const named = description.channels.length > 0 ? ` (${description.channels.join(', ')})` : '';
  throw new InvalidOption(
    `${file} takes images of ${inChannels} channel(s)${named}, these have ${channels}: give a model for as many`,
  );
}

const text = (value: unknown): string => (Array.isArray(value) ? value.join('/') : String(value));
