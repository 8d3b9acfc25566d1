/** `--init`: the model that a training goes on from, and what of it holds for the training. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Preprocessing } from '../data/preprocessing.ts';
import { InvalidModel, InvalidOption } from '../errors.ts';
import { wholeConfig } from '../model/config.ts';
import { readModel, type ModelDescription } from '../weights/model-file.ts';
import { fileMessage } from './failure.ts';
import type { Io } from './io.ts';
import { networkEntries, networkOf, optionName } from './network-options.ts';
import type { TrainOptions } from './train-options.ts';

export interface InitModel {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly description: ModelDescription;
}

/**
 * @param path of a model file, or of a training's folder
 * @throws InvalidModel
 */
export async function openInit(path: string): Promise<InitModel> {
  const isFolder = await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidModel(
      `cannot read the model of --init, ${fileMessage(error)}; give a model.safetensors, its folder or a .pth`,
    );
  });
  const { description } = await readModel(bytes, file);
  return { file, bytes, description };
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
  for (const name of networkEntries) {
    if (!isGiven(name) || JSON.stringify(ours[name]) === JSON.stringify(theirs[name])) continue;
    throw new InvalidOption(
      `--${optionName(name)} asks for ${text(ours[name])}, but the network of ${file} has ${text(theirs[name])}: leave it out, ` +
        'or train without --init',
    );
  }
  const network = Object.fromEntries(
    networkEntries.map((name) => [name, config[name as keyof typeof config]]),
  );
  const isPrepared = isGiven('preprocessing') || isGiven('spacing');
  return {
    ...options,
    ...network,
    ...(config.deepSupervision && { deepSupervision: true }),
    ...(preprocessing && !isPrepared && { preprocessing: 'model' }),
  };
}

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

/** @throws InvalidOption where options of `--init` stand without it */
export function assertInit({ init, initHeads, freeze }: TrainOptions): void {
  if (init !== undefined) return;
  if (initHeads !== undefined)
    throw new InvalidOption(`--init-heads is ${initHeads}, but there is no --init whose heads it is about`);
  if (freeze !== undefined)
    throw new InvalidOption(
      `--freeze ${freeze} keeps weights as they begin: give --init with the model that they are of`,
    );
}

/** @throws InvalidOption for images of other channels than the model's */
export function assertChannels({ file, description }: InitModel, channels: number): void {
  const { inChannels } = description.config;
  if (inChannels === channels) return;
  const named = description.channels.length > 0 ? ` (${description.channels.join(', ')})` : '';
  throw new InvalidOption(
    `${file} takes images of ${inChannels} channel(s)${named}, these have ${channels}: give a model for as many`,
  );
}

const text = (value: unknown): string => (Array.isArray(value) ? value.join('/') : String(value));
