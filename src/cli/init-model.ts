/** `--init`: the model that a training goes on from, and what of it holds for the training. */
import { dirname, join, posix } from 'node:path';
import { openRanges, type ByteRanges } from '../data/byte-ranges.ts';
import type { Preprocessing } from '../data/preprocessing.ts';
import { scoredNames, soleRegion } from '../data/regions.ts';
import { readText } from '../data/source.ts';
import { composed, type Split } from '../data/split.ts';
import { chosenFolds, foldsAmong } from '../ensemble.ts';
import { InvalidDataset, InvalidModel, InvalidOption } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { readIfThere } from '../files/read.node.ts';
import { modelFiles } from '../interop/model-files.ts';
import { convertMonai } from '../interop/monai/convert.ts';
import { isMonai, openMonai } from '../interop/monai/open.ts';
import { convertNnunet } from '../interop/nnunet/convert.ts';
import { modelFolders, openNnunet, type NnunetModel } from '../interop/nnunet/folder.ts';
import { trainableModel } from '../interop/nnunet/go-on.ts';
import { rulesOf } from '../interop/nnunet/rules.ts';
import { listed, some } from '../listed.ts';
import type { Size3 } from '../size.ts';
import { wholeConfig, type UNet3DConfig } from '../model/config.ts';
import { openModel, type ModelDescription } from '../weights/model-file.ts';
import { partsOnDisk } from './found-model.ts';
import type { Io } from './io.ts';
import { networkEntries, networkOf } from './network-options.ts';
import { openModelFile, othersFiles, refuseConfiguration } from './predict-models.ts';
import { splitIn } from './run-folder.ts';
import { flagOf } from './text.ts';
import type { TrainingData } from './training-data.ts';
import type { TrainOptions } from './train-options.ts';

export interface InitModel {
  readonly file: string;
  /** Of model.safetensors; absent where a checkpoint has the weights by now. */
  readonly bytes?: Uint8Array;
  readonly description: Omit<ModelDescription, 'format' | 'packageVersion'>;
  /** x, y, z of the patches that it was trained on, where it comes from a training on patches alone. */
  readonly patch: Size3 | undefined;
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
  /** Names of the cases that it was trained on, where its split.json lies beside it. */
  readonly trainedOn?: readonly string[] | undefined;
}

/**
 * @param path of a model file, of a training's folder, or of a model of nnU-Net or MONAI: its folder or a zip of it
 * @param which configuration of nnU-Net's, and which fold, where there are several
 * @throws InvalidModel; InvalidOption for a configuration of what is no model of nnU-Net, or a fold of what has none
 */
export async function openInit(
  path: string,
  {
    configuration,
    fold,
  }: { readonly configuration?: string | undefined; readonly fold?: string | undefined },
): Promise<InitModel> {
  const { file, others } = await filesOf(path);
  if (others && modelFolders(others.paths).length > 0) {
    const folds = fold === undefined ? undefined : [fold];
    return nnunetInit(path, await openNnunet(others.given, { configuration, folds }));
  }
  refuseConfiguration(path, configuration);
  const files = others ? await modelFiles(others.given) : [];
  const folds = foldsAmong(files);
  if (fold !== undefined && folds.length === 0)
    throw new InvalidOption(
      `--init-fold ${fold} is one of several folds, and ${path} has none: leave it out`,
    );
  if (folds.length > 0) {
    const [taken] = fold === undefined ? folds : chosenFolds(folds, [fold]);
    const name = join(path, taken!.path);
    const split = files.find((other) => other.path === posix.join(posix.dirname(taken!.path), 'split.json'));
    return {
      ...(await ownInit(name, await taken!.ranges())),
      notes: [`Of several folds, ${name} is taken.`],
      trainedOn: split && trainingCases(await readText(await split.open())),
    };
  }
  if (others && isMonai(others.paths)) {
    const model = await openMonai(others.given);
    const bytes = await convertMonai(model);
    const { kind, dropout } = model.network;
    const without = dropout > 0 ? ` Its dropout of ${dropout} is left out: trainings here have none.` : '';
    return {
      ...(await ownInit(path, await openRanges(bytes))),
      notes: [`${path}: ${kind} of MONAI.${without}`],
    };
  }
  const own = await ownInit(file, await openModelFile(file));
  const split = await readIfThere(join(dirname(file), 'split.json'));
  return {
    ...own,
    trainedOn: split && trainingCases(new TextDecoder().decode(split)),
  };
}

/** The file of a model, or the files of one of another tool, or of several folds. */
async function filesOf(path: string) {
  const isFolder = await isFolderAt(path);
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const others = await othersFiles(path, isFolder, file).catch((error: unknown) => {
    throw error instanceof InvalidDataset ? new InvalidModel(error.message, { cause: error }) : error;
  });
  return { file, others };
}

/** Files of a model that no result may replace: of a folder those that may be parts of it. @throws as `openInit` */
export async function initFiles(path: string): Promise<readonly string[]> {
  const { file, others } = await filesOf(path);
  return others ? partsOnDisk(others, (part) => /\.(json|safetensors|pth?|ckpt)$/i.test(part.path)) : [file];
}

const trainingCases = (split: string): readonly string[] | undefined => {
  const cases = splitIn(split)?.train.cases;
  return cases && composed(cases);
};

/** Of a training's options. @throws as `openInit` */
export const initOf = async ({
  init,
  configuration,
  initFold,
}: TrainOptions): Promise<InitModel | undefined> =>
  init === undefined ? undefined : openInit(init, { configuration, fold: initFold });

/**
 * Which fold of `--init` one of `--folds` goes on from: that of its number, as the others were trained on the cases that
 * it is validated on, unless `--init-fold` names one for all; undefined for a model without folds.
 * @throws InvalidOption where there are folds, but not this one
 */
export async function initFoldOf(
  { init, configuration, initFold }: TrainOptions,
  fold: string,
): Promise<string | undefined> {
  if (init === undefined || initFold !== undefined) return initFold;
  const { others } = await filesOf(init);
  if (!others) return undefined;
  const isNnunet = modelFolders(others.paths).length > 0;
  const folds = isNnunet
    ? (await openNnunet(others.given, { configuration })).folds.map(({ name }) => name)
    : foldsAmong(others.paths).map((found) => found.fold);
  if (folds.length === 0 || folds.join() === 'all') return undefined;
  if (folds.includes(fold)) return fold;
  throw new InvalidOption(
    `fold ${fold} is to go on from fold ${fold} of --init, as others may have been trained on the cases that it is validated on, ` +
      `and ${init} has ${some(folds)}: train those alone (--folds ${folds.join()}), or name one for all with --init-fold ` +
      'if it was trained on other cases',
  );
}

/** What there is to say where the model of `--init` was trained on cases that its scores are to be of. */
export function seenByInit({ file, trainedOn = [] }: InitModel, split: Split): string | undefined {
  const scored = [...split.validation.cases, ...split.test.cases];
  const seen = scored.filter((id) => trainedOn.includes(id));
  if (seen.length === 0) return undefined;
  return (
    `${file} was trained on ${seen.length} of the ${scored.length} cases that are validated or tested here, by their names in ` +
    `the split.json beside it: ${listed(seen)}. Scores on them say little of new cases; divide the cases as its training ` +
    'did, or begin with another model.'
  );
}

async function ownInit(file: string, ranges: ByteRanges): Promise<InitModel> {
  const { description } = await openModel(ranges, file);
  const bytes = await ranges.read(0, ranges.size);
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
  io.err(preparedAs(init.file, kept));
  return kept;
}

/** What a user should know of cases that are prepared as those of a model. */
export function preparedAs(file: string, { spacing }: Preprocessing): string {
  const at = spacing ? `${spacing.join(' x ')} mm` : 'their own spacing';
  return `Cases are prepared as those that ${file} was trained on, at ${at}.`;
}

/** Two classes, for a network of one head alone: it finds the second, as a region. */
export function forItsHeads(data: TrainingData, init: InitModel | undefined): TrainingData {
  if (init?.description.config.classes !== 1 || data.regions || data.labels.length !== 2) return data;
  const regions = soleRegion(data.labels[1]);
  return { ...data, regions, scored: scoredNames(data.labels, regions) };
}

/** @throws InvalidOption where options of `--init` stand without it */
export function assertInit({ init, initHeads, initFold, freeze, configuration }: TrainOptions): void {
  if (init !== undefined) return;
  if (initFold !== undefined)
    throw new InvalidOption(
      `--init-fold ${initFold} is one of several folds of a model: give that model with --init, or leave it out`,
    );
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
