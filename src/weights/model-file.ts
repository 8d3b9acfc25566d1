/**
 * `model.safetensors`: weights under PyTorch's names and shapes, and metadata with everything that
 * inference needs. The metadata key `unet3d-gpu` holds JSON as `ModelDescription` describes it.
 */
import { InvalidModel } from '../errors.ts';
import type { Preprocessing } from '../data/prepare.ts';
import type { Size3 } from '../gpu/plan.ts';
import type { Postprocessing } from '../metrics/components.ts';
import { completeConfig, type UNet3DConfig } from '../model/config.ts';
import { layoutParameters } from '../model/parameters.ts';
import { flatFrom, namedTensors, type Weights } from '../model/state.ts';
import { version as packageVersion } from '../version.ts';
import { readSafetensors, writeSafetensors, type NamedTensor } from './safetensors.ts';

/** The JSON under the metadata key `unet3d-gpu`. */
export interface ModelDescription {
  /** Version of this description: files of a newer one are refused, those of 1 (resampled before normalised) read. */
  readonly format: 2;
  readonly packageVersion: string;
  readonly config: UNet3DConfig;
  /** Names by label value; empty if nobody gave any. */
  readonly labels: readonly string[];
  /** Names of the input channels, in order. */
  readonly channels: readonly string[];
  /** What turns a volume into the network's input, to be repeated exactly. */
  readonly preprocessing?: Preprocessing | undefined;
  /** What is done to the labels, as validation chose it. */
  readonly postprocessing?: Postprocessing | undefined;
  /** x, y, z that the network was trained on; smaller volumes are padded to it at the far ends. */
  readonly inputSize?: Size3 | undefined;
}

const key = 'unet3d-gpu';

export function writeModel(
  description: Omit<ModelDescription, 'format' | 'packageVersion'>,
  weights: Weights,
): Uint8Array<ArrayBuffer> {
  const layout = layoutParameters(description.config);
  const tensors = new Map<string, NamedTensor>([
    ...namedTensors(layout.parameters, weights.parameters),
    ...namedTensors(layout.statistics, weights.statistics),
  ]);
  const metadata = {
    [key]: JSON.stringify({ format: 2, packageVersion, ...description } satisfies ModelDescription),
  };
  return writeSafetensors({ tensors, metadata });
}

/**
 * Reads a model file. One without our metadata, written by others under these names, is read too: its
 * configuration follows from the shapes.
 * @param name what messages call the file
 * @throws InvalidModel saying what is wrong with the file
 */
export function readModel(
  bytes: Uint8Array,
  name = 'the model file',
): { description: ModelDescription; weights: Weights } {
  const { tensors, metadata } = readSafetensors(bytes, name);
  if ('unet3d-gpu checkpoint' in metadata) {
    throw new InvalidModel(
      `${name} is a checkpoint of a training, not a model: take model.safetensors from the same folder`,
    );
  }
  const text = metadata[key];
  let description: ModelDescription;
  if (text === undefined) {
    description = {
      format: 2,
      packageVersion: 'unknown',
      config: configFromShapes(tensors, name),
      labels: [],
      channels: [],
    };
  } else {
    let found: Omit<ModelDescription, 'format'> & { format: number };
    try {
      found = JSON.parse(text) as ModelDescription;
    } catch {
      throw new InvalidModel(`the description in ${name} is not JSON: take another copy of the file`);
    }
    const { format, config, preprocessing } = found;
    if (format !== 1 && format !== 2) {
      throw new InvalidModel(
        `${name} has format ${String(format)}, written by version ${String(found.packageVersion)}; this package reads formats 1 and 2: update unet3d-gpu`,
      );
    }
    description = { ...found, format: 2, config: completeConfig(config) };
    if (format === 1 && preprocessing)
      description = { ...description, preprocessing: { ...preprocessing, order: 'resample, normalize' } };
  }
  const layout = layoutParameters(description.config);
  return {
    description,
    weights: {
      parameters: flatFrom(layout.parameters, layout.parameterWords, tensors),
      statistics: flatFrom(layout.statistics, layout.statisticsWords, tensors),
    },
  };
}

function configFromShapes(tensors: ReadonlyMap<string, NamedTensor>, name: string): UNet3DConfig {
  const features: number[] = [];
  for (;;) {
    const weight = tensors.get(`encoder.${features.length}.conv1.weight`);
    if (!weight) break;
    features.push(weight.shape[0] ?? 0);
  }
  const inChannels = tensors.get('encoder.0.conv1.weight')?.shape[1];
  const classes = tensors.get('head.weight')?.shape[0];
  if (inChannels === undefined || classes === undefined) {
    throw new InvalidModel(
      `${name} holds no encoder.0.conv1.weight or no head.weight: it is not a 3D U-Net of this package`,
    );
  }
  const norm = tensors.has('encoder.0.norm1.running_mean') ? 'batch' : 'instance';
  const deepSupervision = tensors.has('decoder.1.head.weight');
  return completeConfig({ inChannels, classes, features, norm, deepSupervision });
}
