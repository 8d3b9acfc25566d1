/** Small networks of all kinds as model files, with the logits that PyTorch has for an image (test/fixtures). */
import type { FileEntry } from '../../src/data/case.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { paddedSize } from '../../src/model/sizes.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import type { Size3 } from '../../src/size.ts';
import { writeModel } from '../../src/weights/model-file.ts';
import { flatFrom } from '../../src/weights/named-tensors.ts';
import type { NamedTensor } from '../../src/weights/safetensors.ts';
import { copyGrid } from '../../src/data/copy-grid.ts';
import batch from '../fixtures/torch/network.json';
import batchWeights from '../fixtures/torch/network-weights.json';
import plain from '../fixtures/torch/stages-plain.json';
import residual from '../fixtures/torch/stages-residual.json';
import { interopFixture, monaiModel, type StoredArray } from '../support/interop.ts';
import { turned } from '../support/network.ts';
import { floats, type PackedFloats } from '../support/torch.ts';

export interface Example {
  readonly config: UNet3DConfig;
  readonly weights: Readonly<Record<string, PackedFloats>>;
  /** [sample][channel][z][y][x] */
  readonly image: PackedFloats;
  readonly logits: PackedFloats;
}

type Partially = Parameters<typeof completeConfig>[0];

const { features, classes } = batch;

export const networks = {
  batch: {
    config: completeConfig({ inChannels: 1, features, classes }),
    weights: { ...batchWeights, ...batch.statistics },
    image: batch.image,
    logits: batch.logits,
  },
  plain: { ...plain, config: completeConfig(plain.config as unknown as Partially) },
  residual: { ...residual, config: completeConfig(residual.config as unknown as Partially) },
} satisfies Record<string, Example>;

export type NetworkName = keyof typeof networks;
export const networkNames = Object.keys(networks) as NetworkName[];

/** The bytes of model.safetensors. */
export function modelBytes(
  name: NetworkName,
  change: (data: Float32Array, name: string) => void = () => undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const { config, weights }: Example = networks[name];
  const layout = layoutParameters(config);
  const tensors = new Map(
    Object.entries(weights).map(([key, packed]) => {
      const data = Float32Array.from(floats(packed));
      change(data, key);
      return [key, { shape: packed.shape, data }];
    }),
  );
  return writeModel(
    {
      config,
      labels: [
        'background',
        ...Array.from({ length: config.classes - 1 }, (_, index) => `part ${index + 1}`),
      ],
      channels: Array.from({ length: config.inChannels }, (_, index) => `T${index + 1}`),
      preprocessing: { ...defaultPreprocessing(config.inChannels, [1, 1, 2.5]), crop: 'non-zero' },
      postprocessing: { largestComponent: [1] },
      inputSize: paddedSize(config, [8, 8, 8]),
    },
    {
      parameters: flatFrom(layout.parameters, layout.parameterWords, tensors),
      statistics: flatFrom(layout.statistics, layout.statisticsWords, tensors),
    },
  );
}

export interface Volumes {
  readonly data: Float32Array<ArrayBuffer>;
  /** samples, channels, z, y, x */
  readonly shape: readonly [number, number, number, number, number];
}

/** The image that the logits belong to, padded at the far ends as the network wants it. */
export function imageOf(name: NetworkName): Volumes {
  const { config, image }: Example = networks[name];
  const [samples, channels, z, y, x] = image.shape as [number, number, number, number, number];
  const size: Size3 = [x, y, z];
  const padded = paddedSize(config, size);
  const volumes = samples * channels;
  const data = new Float32Array(volumes * padded[0] * padded[1] * padded[2]);
  copyGrid(data, Float32Array.from(floats(image)), volumes, size, padded);
  return { data, shape: [samples, channels, padded[2], padded[1], padded[0]] };
}

/** The largest difference from PyTorch's logits, within the image, as a share of the largest of these. */
export function errorOf(name: NetworkName, logits: Float32Array): number {
  const expected = (networks[name] as Example).logits;
  const [samples, count, z, y, x] = expected.shape as [number, number, number, number, number];
  const { shape } = imageOf(name);
  const exact = floats(expected);
  const found = new Float32Array(exact.length);
  copyGrid(found, logits, samples * count, [shape[4], shape[3], shape[2]], [x, y, z]);
  const largest = exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return exact.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0) / largest;
}

/** The largest difference as a share of the largest value that is expected. */
export function apart(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length)
    throw new Error(`${found.length} values where ${expected.length} are expected`);
  const largest = (values: Float32Array): number =>
    values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largest(found.map((value, index) => value - expected[index]!)) / largest(expected);
}

/** A network of MONAI as a model file of this package, with the logits that MONAI has for an image, or undefined. */
export async function monaiExample(
  name: string,
): Promise<{ bytes: Uint8Array; image: Volumes; logits: Volumes } | undefined> {
  const [found, model] = [await interopFixture(`monai-${name}`), await monaiModel(name)];
  if (!found || !model) return undefined;
  const volumesAt = async (array: StoredArray): Promise<Volumes> => {
    const { shape, data } = turned({
      shape: array.shape as Volumes['shape'],
      data: Float64Array.from(await found.floatsAt(`forward/${array.file}`)),
    });
    return { shape, data: Float32Array.from(data) };
  };
  const { input, outputs } = found.fixture.forward;
  return {
    bytes: await convertMonai(model),
    image: await volumesAt(input),
    logits: await volumesAt(outputs[0]!),
  };
}

/** A model folder of nnU-Net as a model file of this package: the network and the weights of its first fold. */
export async function modelOfNnunet(files: readonly FileEntry[]): Promise<Uint8Array<ArrayBuffer>> {
  const { config, folds } = await openNnunet(files);
  const { parameters, parameterWords, statisticsWords } = layoutParameters(config);
  const tensors = new Map<string, NamedTensor>();
  for (const [name, tensor] of folds[0]!.weights)
    tensors.set(name, { shape: tensor.shape, data: await tensor.read() });
  return writeModel(
    { config, labels: [], channels: [] },
    {
      parameters: flatFrom(parameters, parameterWords, tensors),
      statistics: new Float32Array(statisticsWords),
    },
  );
}
