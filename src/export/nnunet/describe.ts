/** A model of this package in nnU-Net's words: what plans.json and dataset.json say of it. */
import type { Normalization } from '../../data/normalize.ts';
import type { Region } from '../../data/regions.ts';
import { InvalidModel } from '../../errors.ts';
import type { NnunetNetwork } from '../../interop/nnunet/network.ts';
import { configOf } from '../../interop/nnunet/weights.ts';
import { listed } from '../../listed.ts';
import type { Postprocessing } from '../../metrics/components.ts';
import { completeConfig } from '../../model/complete-config.ts';
import { wholeConfig, type UNet3DConfig } from '../../model/config.ts';
import type { ModelDescription, NnunetOrigin } from '../../weights/model-file.ts';

type Axes = readonly [number, number, number];

/** nnU-Net's arrays of files that were turned to canonical axes are z, y, x. */
const zyx = ([x, y, z]: readonly [number, number, number]): Axes => [z, y, x];

function networkOf(config: UNet3DConfig): NnunetNetwork {
  const { features, kernels, strides, block, encoderBlocks, decoderBlocks, bias } = wholeConfig(config);
  return {
    encoder: block,
    features,
    kernels: kernels.map(zyx),
    strides: [[1, 1, 1], ...strides.map(zyx)],
    blocks: encoderBlocks,
    decoderBlocks: decoderBlocks.toReversed(),
    stem: features[0]!,
    bias,
  };
}

/**
 * The network as nnU-Net's classes have it: with a head at every level of the decoder.
 * @throws InvalidModel naming what they do not have
 */
export function nnunetConfig(config: UNet3DConfig): UNet3DConfig {
  if (config.features.length < 2) throw failed('the network has one level alone; nnU-Net’s have two or more');
  const { architecture = 'unet' } = config;
  if (architecture !== 'unet')
    throw failed(
      `the network has architecture ${architecture}, and nnU-Net’s classes (PlainConvUNet, ResidualEncoderUNet) have encoders and decoders of their own`,
    );
  const theirs = configOf(networkOf(config), config.inChannels, config.classes);
  const heads = { deepSupervision: theirs.deepSupervision ?? false, heads: theirs.heads ?? 1 };
  const ours = wholeConfig(completeConfig({ ...config, ...heads }));
  const expected = wholeConfig(theirs);
  const keys = Object.keys(expected) as (keyof UNet3DConfig)[];
  const others = keys.filter((key) => JSON.stringify(ours[key]) !== JSON.stringify(expected[key]));
  if (others.length === 0) return theirs;
  const inWords = (config: UNet3DConfig): string =>
    others.map((key) => `${key} ${JSON.stringify(config[key])}`).join(', ');
  throw failed(
    `the network has ${inWords(ours)}, and nnU-Net’s classes (PlainConvUNet, ResidualEncoderUNet) have ${inWords(expected)}`,
  );
}

const failed = (problem: string): InvalidModel =>
  new InvalidModel(
    `the model cannot be written for nnU-Net: ${problem}; export it to pytorch or onnx in its place`,
  );

/** Plans and labels, and what nnU-Net does in another way by them. */
export function describedForNnunet({
  config,
  labels,
  regions,
  channels,
  preprocessing,
  postprocessing,
  inputSize,
  mirrorAxes = [],
}: ModelDescription): { origin: NnunetOrigin; warnings: readonly string[] } {
  if (!preprocessing) throw failed('it does not say how images are prepared (preprocessing)');
  const { spacing, normalization, crop, order, resampling: how } = preprocessing;
  if (!spacing) throw failed('images keep their own spacing, and nnU-Net resamples all to one');
  if (!inputSize) throw failed('the size that it was trained on is not known (inputSize)');
  if (order) throw failed('it resamples images before it normalises them');
  const warnings: string[] = [];
  if (!crop)
    warnings.push(
      'nnU-Net cuts images to their voxels that are not 0 before it normalises them; this model was trained without',
    );
  warnings.push(...componentsKept(postprocessing, regions));
  const schemes = normalization.map(schemeOf);
  const configuration = '3d_fullres';
  const by = (order: 1 | 3, isLabels: boolean) => ({
    is_seg: isLabels,
    order,
    order_z: 0,
    force_separate_z: how === 'cubic' ? null : false,
  });
  const linear = { ...by(1, false), force_separate_z: false };
  const resampling = 'resample_data_or_seg_to_shape';
  const network = networkOf(config);
  const plans = {
    dataset_name: 'Dataset001_unet3d',
    plans_name: 'nnUNetPlans',
    original_median_spacing_after_transp: zyx(spacing),
    original_median_shape_after_transp: zyx(inputSize),
    image_reader_writer: 'NibabelIOWithReorient',
    transpose_forward: [0, 1, 2],
    transpose_backward: [0, 1, 2],
    configurations: {
      [configuration]: {
        data_identifier: `nnUNetPlans_${configuration}`,
        preprocessor_name: 'DefaultPreprocessor',
        batch_size: 2,
        patch_size: zyx(inputSize),
        median_image_size_in_voxels: zyx(inputSize),
        spacing: zyx(spacing),
        normalization_schemes: schemes.map(({ scheme }) => scheme),
        use_mask_for_norm: schemes.map(({ masked = false }) => masked),
        resampling_fn_data: resampling,
        resampling_fn_seg: resampling,
        resampling_fn_data_kwargs: by(how === 'cubic' ? 3 : 1, false),
        resampling_fn_seg_kwargs: by(1, true),
        resampling_fn_probabilities: resampling,
        resampling_fn_probabilities_kwargs: linear,
        architecture: architectureOf(network),
        batch_dice: false,
      },
    },
    experiment_planner_used: 'unet3d-gpu',
    label_manager: 'LabelManager',
    foreground_intensity_properties_per_channel: Object.fromEntries(
      schemes.map(({ intensities }, channel) => [channel, intensities]),
    ),
  };
  const dataset = {
    channel_names: Object.fromEntries(
      normalization.map((_, channel) => [channel, channels[channel] ?? `channel ${channel}`]),
    ),
    ...labelsFor(config.classes, labels, regions),
    numTraining: 0,
    file_ending: '.nii.gz',
  };
  return {
    origin: {
      plans: `${JSON.stringify(plans, null, 4)}\n`,
      dataset: `${JSON.stringify(dataset, null, 4)}\n`,
      configuration,
      trainer: 'nnUNetTrainer',
      mirrorAxes: (['z', 'y', 'x'] as const).flatMap((name, axis) =>
        mirrorAxes.includes(name) ? [axis] : [],
      ),
    },
    warnings,
  };
}

/** What is lost with a post-processing, which nnU-Net's folder has no place for that is data. */
function componentsKept(
  postprocessing: Postprocessing | undefined,
  regions: readonly Region[] | undefined,
): readonly string[] {
  const kept = postprocessing?.largestComponent ?? [];
  if (kept.length === 0) return [];
  const what = regions
    ? `the regions ${listed(kept.map((entry) => regions[entry - 1]!.name))}`
    : `labels ${kept.join(', ')}`;
  return [`nnU-Net keeps all components of ${what}; this model keeps the largest`];
}

/** dataset.json's labels, with the order of regions where there are some. */
function labelsFor(classes: number, labels: readonly string[], regions: readonly Region[] | undefined) {
  if (!regions)
    return {
      labels: Object.fromEntries(Array.from({ length: classes }, (_, at) => [nameOf(at, labels), at])),
    };
  if (regions.every((region) => region.labels.length === 1))
    throw failed('each of its regions is one label, which nnU-Net takes for classes of which one wins');
  const names = ['', ...regions.map(({ name }) => name)];
  const entries = regions.map((region, index) => [nameOf(index + 1, names), region.labels] as const);
  return {
    labels: { background: 0, ...Object.fromEntries(entries) },
    regions_class_order: regions.map(({ written }) => written),
  };
}

/** `background` is label 0 in nnU-Net, and `ignore` no class. */
const nameOf = (label: number, labels: readonly string[]): string => {
  if (label === 0) return 'background';
  const name = labels[label] ?? '';
  return ['', 'background', 'ignore'].includes(name) || /^\d+$/.test(name) ? `class ${label}` : name;
};

interface Scheme {
  readonly scheme: string;
  readonly masked?: boolean;
  /** Of CT: nnU-Net looks for some of every channel. */
  readonly intensities: Readonly<Record<string, number>>;
}

const intensitiesOf = (low: number, high: number, mean: number, deviation: number) => ({
  ...{ min: low, percentile_00_5: low, percentile_99_5: high, max: high },
  ...{ mean, median: mean, std: deviation },
});

function schemeOf(normalization: Normalization): Scheme {
  if (typeof normalization === 'object') {
    const { clip, mean, deviation } = normalization;
    return { scheme: 'CTNormalization', intensities: intensitiesOf(...clip, mean, deviation) };
  }
  const schemes = {
    'z-score': { scheme: 'ZScoreNormalization' },
    'z-score inside': { scheme: 'ZScoreNormalization', masked: true },
    'min-max': { scheme: 'RescaleTo01Normalization' },
    none: { scheme: 'NoNormalization' },
  } as const;
  return { ...schemes[normalization], intensities: intensitiesOf(0, 0, 0, 1) };
}

function architectureOf({ encoder, features, kernels, strides, blocks, decoderBlocks, bias }: NnunetNetwork) {
  const isPlain = encoder === 'plain';
  return {
    network_class_name: `dynamic_network_architectures.architectures.unet.${isPlain ? 'PlainConvUNet' : 'ResidualEncoderUNet'}`,
    arch_kwargs: {
      n_stages: features.length,
      features_per_stage: features,
      conv_op: 'torch.nn.modules.conv.Conv3d',
      kernel_sizes: kernels,
      strides,
      [isPlain ? 'n_conv_per_stage' : 'n_blocks_per_stage']: blocks,
      n_conv_per_stage_decoder: decoderBlocks,
      conv_bias: bias,
      norm_op: 'torch.nn.modules.instancenorm.InstanceNorm3d',
      norm_op_kwargs: { eps: 1e-5, affine: true },
      dropout_op: null,
      dropout_op_kwargs: null,
      nonlin: 'torch.nn.LeakyReLU',
      nonlin_kwargs: { inplace: true },
    },
    _kw_requires_import: ['conv_op', 'norm_op', 'dropout_op', 'nonlin'],
  };
}
