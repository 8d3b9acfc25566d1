/** Bundles of MONAI: configurations that say something else, files that are gone or doubled, damaged weights. */
import type { FileEntry } from '../../src/data/case.ts';
import '../../src/data/source.node.ts';
import { toTheirs } from '../../src/interop/mapping.ts';
import { readNetwork } from '../../src/interop/monai/network.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { transformed } from '../../src/interop/monai/transforms.ts';
import { monaiMapping } from '../../src/interop/monai/weights.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { Storages, writePytorch } from '../../src/weights/pytorch/write.ts';
import { entriesOf } from './archives.ts';
import type { Kind } from './harness.ts';
import { chance, mutatedBytes, mutatedJson, mutatedText, pick } from './mutations.ts';
import { mutatedArchive } from './pytorch.ts';

const definitions = [
  { _target_: 'UNet', in_channels: 1, out_channels: 2, channels: [2, 4], strides: [2], num_res_units: 2 },
  {
    _target_: 'SegResNet',
    init_filters: 2,
    norm: ['GROUP', { num_groups: 2 }],
    in_channels: 1,
    out_channels: 2,
    blocks_down: [1, 1],
    blocks_up: [1],
  },
  {
    _target_: 'monai.networks.nets.DynUNet',
    spatial_dims: 3,
    in_channels: 1,
    out_channels: 2,
    kernel_size: [3, [3, 3, 1], 3],
    strides: [1, [2, 2, 1], 2],
    upsample_kernel_size: [[2, 2, 1], 2],
    filters: [2, 4, 4],
    res_block: true,
  },
];
const inferenceOf = (network: object) => ({
  image_key: 'image',
  sizes: { roi: [8, 8, 8] },
  network_def: network,
  preprocessing: {
    _target_: 'Compose',
    transforms: [
      { _target_: 'LoadImaged', keys: '@image_key' },
      { _target_: 'Orientationd', keys: '@image_key', axcodes: 'RAS' },
      { _target_: 'Spacingd', keys: '@image_key', pixdim: [1, 1, 1.5], mode: 'bilinear' },
      { _target_: 'ScaleIntensityRanged', keys: '@image_key', a_min: 0, a_max: 9, b_min: 0, b_max: 1 },
      { _target_: 'NormalizeIntensityd', keys: '@image_key', nonzero: true },
    ],
  },
  inferer: { _target_: 'SlidingWindowInferer', roi_size: '@sizes#roi', sw_batch_size: 1, overlap: 0.5 },
  postprocessing: {
    _target_: 'Compose',
    transforms: [
      { _target_: 'Activationsd', softmax: true },
      { _target_: 'Invertd', nearest_interp: false },
      { _target_: 'AsDiscreted', argmax: true },
    ],
  },
});
const metadata = {
  version: '0.1.0',
  network_data_format: {
    inputs: { image: { channel_def: { '0': 'image' } } },
    outputs: { pred: { channel_def: { '0': 'background', '1': 'spleen' } } },
  },
};

const bundles = await Promise.all(
  definitions.map(async (definition) => {
    const network = readNetwork(definition, 'network.json');
    const layout = layoutParameters(network.config);
    const ours = new Map(namedTensors(layout.parameters, new Float32Array(layout.parameterWords).fill(0.1)));
    const storages = new Storages();
    const weights = writePytorch(storages.stateDict(toTheirs(monaiMapping(network), ours)), storages);
    return { inference: inferenceOf(definition), weights, entries: await entriesOf(weights) };
  }),
);
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const image = {
  data: Float32Array.from({ length: 60 }, (_, voxel) => voxel % 7),
  shape: [5, 4, 3] as const,
  affine: [0, -2, 0, 1, 1, 0, 0, 2, 0, 0, 3, 3, 0, 0, 0, 1],
};

export const monai: Kind = {
  name: 'monai',
  async read(source) {
    const { inference, weights, entries } = pick(source, bundles);
    const changed = (value: unknown): Uint8Array => {
      const text = JSON.stringify(mutatedJson(value, source));
      return encode(chance(source, 6) ? mutatedText(text, source) : text);
    };
    const plain = (value: unknown): Uint8Array => encode(JSON.stringify(value));
    const hurt = (): Uint8Array =>
      chance(source, 3) ? mutatedBytes(weights, source) : mutatedArchive(entries, source);
    const what = source.int(8);
    const root = pick(source, ['', 'spleen/']);
    const files: FileEntry[] = [
      { path: `${root}configs/metadata.json`, source: what === 0 ? changed(metadata) : plain(metadata) },
      {
        path: `${root}configs/inference.json`,
        source: what > 0 && what < 5 ? changed(inference) : plain(inference),
      },
      { path: `${root}models/model.pt`, source: what === 5 || what === 6 ? hurt() : weights },
    ];
    if (what === 7) {
      const path = pick(source, [
        'configs/train.json',
        'a/configs/metadata.json',
        'models/model.pt',
        'x.json',
        '',
      ]);
      files.push({ path: root + path, source: pick(source, files).source });
      if (chance(source, 2)) files.splice(source.int(3), 1);
    }
    const model = await openMonai(files);
    let bytes = 0;
    for (const tensor of model.weights.values()) bytes += (await tensor.read()).byteLength;
    const { transforms = [] } = model.pipeline ?? {};
    // Finer spacings may well take memory.
    if (transforms.every((step) => step.kind !== 'spacing' || Math.min(...step.spacing) >= 0.2))
      bytes += transformed(image, transforms).image.data.byteLength;
    return bytes;
  },
};
