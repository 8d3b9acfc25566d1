/** Model folders of nnU-Net: plans, descriptions and checkpoints that say something else, files that are gone or doubled. */
import type { FileEntry } from '../../src/data/case.ts';
import '../../src/data/source.node.ts';
import { toTheirs } from '../../src/interop/mapping.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { configOf, nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import { readPlans } from '../../src/interop/nnunet/plans.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { Storages, writePytorch } from '../../src/weights/pytorch/write.ts';
import { entriesOf } from './archives.ts';
import type { Kind } from './harness.ts';
import { chance, mutatedBytes, mutatedJson, mutatedText, pick } from './mutations.ts';
import { mutatedArchive } from './pytorch.ts';

const plans = {
  dataset_name: 'Dataset001_A',
  plans_name: 'nnUNetPlans',
  image_reader_writer: 'SimpleITKIO',
  transpose_forward: [2, 0, 1],
  transpose_backward: [1, 2, 0],
  foreground_intensity_properties_per_channel: {
    '0': { mean: 40, std: 9, percentile_00_5: -100, percentile_99_5: 300 },
  },
  configurations: {
    base: {
      patch_size: [8, 8, 8],
      spacing: [1, 1, 1],
      batch_size: 2,
      normalization_schemes: ['CTNormalization'],
      use_mask_for_norm: [false],
      resampling_fn_data: 'resample_data_or_seg_to_shape',
      resampling_fn_data_kwargs: { order: 3, order_z: 0, force_separate_z: null },
      resampling_fn_probabilities: 'resample_data_or_seg_to_shape',
      resampling_fn_probabilities_kwargs: { order: 1, order_z: 0, force_separate_z: null },
      architecture: {
        network_class_name: 'dynamic_network_architectures.architectures.unet.PlainConvUNet',
        arch_kwargs: {
          n_stages: 2,
          features_per_stage: [2, 4],
          conv_op: 'torch.nn.modules.conv.Conv3d',
          kernel_sizes: [[1, 3, 3], 3],
          strides: [1, [1, 2, 2]],
          n_conv_per_stage: 1,
          n_conv_per_stage_decoder: [1],
          conv_bias: true,
          norm_op: 'torch.nn.modules.instancenorm.InstanceNorm3d',
          norm_op_kwargs: { eps: 1e-5, affine: true },
          dropout_op: null,
          nonlin: 'torch.nn.LeakyReLU',
          nonlin_kwargs: { inplace: true },
        },
      },
    },
    '3d_fullres': { inherits_from: 'base', batch_size: 3 },
  },
};
const description = {
  channel_names: { '0': 'CT' },
  labels: { background: 0, whole: [1, 2], core: 2, ignore: 3 },
  regions_class_order: [1, 2],
  numTraining: 2,
  file_ending: '.nii.gz',
};

const config = configOf(readPlans(JSON.stringify(plans), '3d_fullres').configuration.network, 1, 2);
const layout = layoutParameters(config);
const ours = new Map(namedTensors(layout.parameters, new Float32Array(layout.parameterWords).fill(0.1)));
const storages = new Storages();
const checkpoint = writePytorch(
  {
    network_weights: storages.stateDict(toTheirs(nnunetMapping(config), ours)),
    init_args: { configuration: '3d_fullres', fold: 0 },
    trainer_name: 'nnUNetTrainer',
    inference_allowed_mirroring_axes: [0, 1, 2],
  },
  storages,
);
const entries = await entriesOf(checkpoint);

export const nnunet: Kind = {
  name: 'nnunet',
  async read(source) {
    const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
    const changed = (value: unknown): Uint8Array => {
      const text = JSON.stringify(mutatedJson(value, source));
      return encode(chance(source, 6) ? mutatedText(text, source) : text);
    };
    const hurt = (): Uint8Array =>
      chance(source, 3) ? mutatedBytes(checkpoint, source) : mutatedArchive(entries, source);
    const what = source.int(8);
    const root = pick(source, ['', 'Dataset001_A/nnUNetTrainer__nnUNetPlans__3d_fullres/']);
    const files: FileEntry[] = [
      { path: `${root}plans.json`, source: what < 3 ? changed(plans) : encode(JSON.stringify(plans)) },
      {
        path: `${root}dataset.json`,
        source: what === 3 || what === 4 ? changed(description) : encode(JSON.stringify(description)),
      },
      { path: `${root}fold_0/checkpoint_final.pth`, source: what === 5 || what === 6 ? hurt() : checkpoint },
    ];
    if (what === 7) {
      const path = pick(source, ['fold_1/checkpoint_final.pth', 'a/plans.json', 'fold_/x', 'plans.json', '']);
      files.push({ path: root + path, source: pick(source, files).source });
      if (chance(source, 2)) files.splice(source.int(3), 1);
    }
    const { folds } = await openNnunet(files);
    let bytes = 0;
    for (const { weights } of folds)
      for (const tensor of weights.values()) bytes += (await tensor.read()).byteLength;
    return bytes;
  },
};
