/**
 * `model.safetensors`: weights under PyTorch's names and shapes, and metadata with everything that
 * inference needs. The metadata key `unet3d-gpu` holds JSON as `ModelDescription` describes it.
 */
import * as v from 'valibot';
import type { ByteRanges } from '../data/byte-ranges.ts';
import { InvalidModel, InvalidOption } from '../errors.ts';
import { preprocessingSchema, type Preprocessing } from '../data/preprocessing.ts';
import { labelCount, regionsSchema, soleRegion, type Region } from '../data/regions.ts';
import type { Axis, Size3 } from '../size.ts';
import type { Postprocessing } from '../metrics/components.ts';
import { readJson } from '../json.ts';
import { listed } from '../listed.ts';
import { completeConfig } from '../model/complete-config.ts';
import { configEntries } from '../model/config-entries.ts';
import { headName } from '../model/supervision.ts';
import { multipleInWords, paddedSize, sizeMultiple } from '../model/sizes.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { layoutParameters, type ParameterLayout } from '../model/parameters.ts';
import type { Weights } from '../model/state.ts';
import {
  axes,
  distinctNames,
  flag,
  object,
  openObject,
  size3,
  text,
  wholeNumber,
  type Schema,
} from '../schema.ts';
import { version as packageVersion } from '../version.ts';
import { requireWhole, writeHashed } from './content-hash.ts';
import { isCounter, namedTensors, readFlat, requireShapes, type FileTensor } from './named-tensors.ts';
import type { NamedTensor } from './safetensors.ts';
import { descriptionKey, readTensors } from './tensors.ts';

/** The JSON under the metadata key `unet3d-gpu`. */
export interface ModelDescription {
  /**
   * Version of this description: files of a newer one are refused; those of 5 (without `mirrorAxes` and `patches`), of 4 (resampled
   * trilinearly besides), of 3 (without
   * `nnunet` besides), of 2 (2 along every
   * axis between levels besides) and of 1 (resampled before normalised besides) are read.
   */
  readonly format: 6;
  /** Version of this package that wrote the file. */
  readonly packageVersion: string;
  /** The network. */
  readonly config: UNet3DConfig;
  /** Names by label value; empty if nobody gave any. */
  readonly labels: readonly string[];
  /** What each head finds, where that overlaps; absent: each head is the class of that label, of which one wins. */
  readonly regions?: readonly Region[] | undefined;
  /** Names of the input channels, in order. */
  readonly channels: readonly string[];
  /** What turns a volume into the network's input, to be repeated exactly. */
  readonly preprocessing?: Preprocessing | undefined;
  /** What is done to the labels, as validation chose it. */
  readonly postprocessing?: Postprocessing | undefined;
  /** x, y, z that the network was trained on; smaller volumes are padded to it at the far ends. */
  readonly inputSize?: Size3 | undefined;
  /**
   * Whether that is the size of patches, through which it was validated, too: larger volumes then go through windows of
   * this size where norms would see all of them.
   */
  readonly patches?: boolean | undefined;
  /** What training mirrored, for test-time augmentation to flip; none if empty, unknown if absent. */
  readonly mirrorAxes?: readonly Axis[] | undefined;
  /** Of a network of nnU-Net's: it is run by these rules, in place of `preprocessing`. */
  readonly nnunet?: NnunetOrigin | undefined;
}

/** What nnU-Net's own files say of a model. */
export interface NnunetOrigin {
  /** The text of plans.json. */
  readonly plans: string;
  /** The text of dataset.json. */
  readonly dataset: string;
  /** Which of plans.json's it is, such as `3d_fullres`. */
  readonly configuration: string;
  /** The class that trained it, such as `nnUNetTrainer`. */
  readonly trainer: string;
  /** Axes of nnU-Net's arrays, slowest first, along which windows are mirrored; none if empty. */
  readonly mirrorAxes: readonly number[];
}

const format = 6;

/** Of a training: its number, or `all`. */
export const foldPattern = /^(\d+|all)$/;

const configSchema = object(configEntries);

export const postprocessingSchema = object({
  largestComponent: v.array(wholeNumber(1, 254), 'a list of classes'),
}) satisfies Schema<Postprocessing>;

export const nnunetSchema = object({
  plans: text,
  dataset: text,
  configuration: text,
  trainer: text,
  mirrorAxes: v.pipe(
    v.array(wholeNumber(0, 2), 'a list of axes from 0 to 2'),
    v.check((axes) => new Set(axes).size === axes.length, 'a list of axes from 0 to 2, each once'),
  ),
}) satisfies Schema<NnunetOrigin>;

/**
 * Of a description of format 6; of 5, which says neither what training mirrored nor whether it saw patches; of 4, which has no cubic resampling; of
 * 3, which follows no other rules; of 2, which has no strides; or of 1, with another order of preprocessing besides. There are no keys that may be left aside: what a later version adds changes results,
 * and comes with a format of its own.
 */
export const descriptionSchema = object({
  format: v.picklist([1, 2, 3, 4, 5, format]),
  packageVersion: text,
  config: configSchema,
  labels: distinctNames('classes'),
  regions: v.optional(regionsSchema),
  channels: v.array(text, 'a list of names of channels'),
  preprocessing: v.optional(preprocessingSchema),
  postprocessing: v.optional(postprocessingSchema),
  inputSize: v.optional(size3),
  patches: v.optional(flag),
  mirrorAxes: v.optional(axes),
  nnunet: v.optional(nnunetSchema),
}) satisfies Schema<Omit<ModelDescription, 'format' | 'config'>>;

const formatSchema = openObject({ format: wholeNumber(1), packageVersion: v.optional(v.string()) });

/** The file's bytes, with a hash of their content. */
export function writeModel(
  description: Omit<ModelDescription, 'format' | 'packageVersion'>,
  weights: Weights,
): Promise<Uint8Array<ArrayBuffer>> {
  const layout = layoutParameters(description.config);
  const tensors = new Map<string, NamedTensor>([
    ...namedTensors(layout.parameters, weights.parameters),
    ...namedTensors(layout.statistics, weights.statistics),
  ]);
  return writeHashed({ tensors, metadata: { [descriptionKey]: descriptionText(description) } });
}

/** The JSON of a description in the format of this version. */
export const descriptionText = (description: Omit<ModelDescription, 'format' | 'packageVersion'>): string =>
  JSON.stringify({ ...description, format, packageVersion } satisfies ModelDescription);

/**
 * Reads a model file. One without our metadata, written by others under these names with safetensors or torch.save, is
 * read too: its configuration follows from the shapes.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export async function readModel(
  source: Uint8Array | ByteRanges,
  name = 'the model file',
): Promise<{ description: ModelDescription; weights: Weights }> {
  const { description, layout, tensors } = await openModel(source, name);
  return {
    description,
    weights: {
      parameters: await readFlat(layout.parameters, layout.parameterWords, tensors, name),
      statistics: await readFlat(layout.statistics, layout.statisticsWords, tensors, name),
    },
  };
}

/** The same with its weights left in the file until they are looked at. */
export async function openModel(
  source: Uint8Array | ByteRanges,
  name = 'the model file',
): Promise<{
  description: ModelDescription;
  /** Of a training, where the file says so. */
  fold: string | undefined;
  layout: ParameterLayout;
  tensors: ReadonlyMap<string, FileTensor>;
}> {
  const file = await readTensors(source, name);
  const { tensors, metadata } = file;
  if ('unet3d-gpu checkpoint' in metadata) {
    throw new InvalidModel(
      `${name} is a checkpoint of a training, not a model: take model.safetensors from the same folder`,
    );
  }
  await requireWhole(source, file, name);
  const json = metadata[descriptionKey];
  const description: ModelDescription =
    json === undefined
      ? {
          format,
          packageVersion: 'unknown',
          ...shown(tensors, name),
          channels: [],
        }
      : readDescription(json, name);
  const layout = layoutParameters(description.config);
  if (json === undefined) requireNoOthers(tensors, layout, name);
  for (const entries of [layout.parameters, layout.statistics])
    requireShapes(entries, tensors, { file: name });
  const fold = foldPattern.test(metadata['fold'] ?? '') ? metadata['fold'] : undefined;
  return { description, fold, layout, tensors };
}

/** Weights that have no place in a network would be missed in it: it is another one. */
function requireNoOthers(
  tensors: ReadonlyMap<string, unknown>,
  { parameters, statistics }: ParameterLayout,
  name: string,
): void {
  const others = [...tensors.keys()].filter(
    (tensor) => !parameters.has(tensor) && !statistics.has(tensor) && !isCounter(tensor),
  );
  if (others.length === 0) return;
  throw new InvalidModel(
    `${name} holds ${listed(others)}, for which a network of this package with its other weights has no place: it is ` +
      'another network, or under other names',
  );
}

function readDescription(json: string, name: string): ModelDescription {
  const fail = (problem: string): InvalidModel =>
    new InvalidModel(`in the description of ${name}, ${problem}: take another copy of the file`);
  const found = readJson(json, formatSchema, fail);
  if (found.format > format)
    throw new InvalidModel(
      `${name} has format ${found.format}, written by version ${found.packageVersion}; this package reads formats 1 to ${format}: update unet3d-gpu`,
    );
  const stored = readJson(json, descriptionSchema, fail);
  const description: ModelDescription = { ...stored, format, config: checkedConfig(stored.config, fail) };
  requireConsistent(description, fail);
  const { preprocessing } = description;
  return stored.format === 1 && preprocessing
    ? { ...description, preprocessing: { ...preprocessing, order: 'resample, normalize' } }
    : description;
}

function checkedConfig(
  config: Parameters<typeof completeConfig>[0],
  fail: (problem: string) => Error,
): UNet3DConfig {
  try {
    return completeConfig(config);
  } catch (error) {
    if (!(error instanceof InvalidOption)) throw error;
    throw fail(error.message);
  }
}

/** What is said twice must agree. */
export function requireConsistent(
  {
    config,
    labels,
    regions,
    channels,
    preprocessing,
    postprocessing,
    inputSize,
  }: Omit<ModelDescription, 'format' | 'packageVersion'>,
  fail: (problem: string) => Error,
): void {
  const { inChannels, classes } = config;
  const wrong = (what: string, count: number, expected: number): void => {
    if (count !== expected) throw fail(`${what} has ${count} entries; expected ${expected}, as config says`);
  };
  if (regions) wrong('regions', regions.length, classes);
  if (!regions && classes === 1)
    throw fail('classes is 1 without regions; expected 2 or more, or the region that the one head finds');
  if (regions && labels.length > 0 && labels.length < labelCount(regions))
    throw fail(
      `labels has ${labels.length} entries; expected ${labelCount(regions)} or more, as regions says`,
    );
  if (!regions && labels.length > 0) wrong('labels', labels.length, classes);
  if (channels.length > 0) wrong('channels', channels.length, inChannels);
  if (preprocessing) wrong('preprocessing.normalization', preprocessing.normalization.length, inChannels);
  const most = regions ? classes : classes - 1;
  const unknown = postprocessing?.largestComponent.find((label) => label > most);
  if (unknown !== undefined)
    throw fail(
      `postprocessing.largestComponent has ${unknown}; expected ${regions ? 'regions' : 'classes'} from 1 to ${most}`,
    );
  if (inputSize && paddedSize(config, inputSize).join() !== inputSize.join())
    throw fail(
      `inputSize is [${inputSize.join(', ')}]; expected multiples of ${multipleInWords(sizeMultiple(config))}`,
    );
}

/** What shapes tell of a network and its heads. */
function shown(
  ...file: Parameters<typeof configFromShapes>
): Pick<ModelDescription, 'config' | 'labels' | 'regions'> {
  const config = configFromShapes(...file);
  return { config, labels: [], ...(config.classes === 1 && { regions: soleRegion() }) };
}

/** The configuration of a plain network with max-pooling, as its parameters' names and shapes tell it. */
function configFromShapes(
  tensors: ReadonlyMap<string, Pick<NamedTensor, 'shape'>>,
  name: string,
): UNet3DConfig {
  const shapeOf = (parameter: string) => tensors.get(`${parameter}.weight`)?.shape;
  const inChannels = shapeOf('encoder.0.conv1')?.[1];
  const classes = shapeOf('head')?.[0];
  if (inChannels === undefined || classes === undefined) {
    const residual = shapeOf('encoder.stem.conv1') !== undefined;
    throw new InvalidModel(
      residual
        ? `${name} has residual blocks, but no description, without which it is not known how they lower the resolution: take the file that this package wrote`
        : `${name} holds no encoder.0.conv1.weight or no head.weight, but ${listed([...tensors.keys()])}: it is no 3D U-Net under ` +
            'the names of this package; if it is such a network, rename its tensors in Python (docs/formats.md has the names), ' +
            'or if it is one of MONAI, give a folder with it and its network.json (docs/monai.md)',
    );
  }
  /** From 0 on, as long as the name for that number is there. */
  const found = (parameter: (index: number) => string): number[] => {
    const indices: number[] = [];
    while (shapeOf(parameter(indices.length))) indices.push(indices.length);
    return indices;
  };
  const levels = found((level) => `encoder.${level}.conv1`);
  const blocks = (part: string) => found((index) => `${part}.conv${index + 1}`).length;
  const axes = (parameter: string, odd: number) => {
    const [, , z = odd, y = odd, x = odd] = shapeOf(parameter) ?? [];
    return [x, y, z];
  };
  const heads = found(headName).length;
  const config = {
    inChannels,
    classes,
    features: levels.map((level) => shapeOf(`encoder.${level}.conv1`)![0] ?? 0),
    norm: tensors.has('encoder.0.norm1.running_mean') ? 'batch' : 'instance',
    strides: levels.slice(1).map((level) => axes(`decoder.${level - 1}.up`, 2)),
    kernels: levels.map((level) => axes(`encoder.${level}.conv1`, 3)),
    encoderBlocks: levels.map((level) => blocks(`encoder.${level}`)),
    decoderBlocks: levels.slice(1).map((level) => blocks(`decoder.${level - 1}`)),
    bias: tensors.has('encoder.0.conv1.bias'),
    scaleAndShift: tensors.has('encoder.0.norm1.weight'),
    deepSupervision: heads > 1,
    heads,
  } as unknown as UNet3DConfig;
  return checkedConfig(config, (problem) => new InvalidModel(`by the shapes in ${name}, ${problem}`));
}
