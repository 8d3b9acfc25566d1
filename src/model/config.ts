/** What a 3D U-Net is made of, and what is meant where it does not say. */
import type { NormKind } from '../ops/norm.ts';
import { withParts } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { supervisedLevels } from './supervision.ts';

/**
 * A U-Net of levels, full resolution first; what is left out is a plain U-Net of two 3×3×3 convolutions per level and
 * max-pooling. nnU-Net's `arch_kwargs` map one to one: see each entry.
 */
export interface UNet3DConfig {
  /**
   * `unet` is as the entries below say; `residualUnits` is MONAI's UNet, of which only `features`, `norm`, `strides`
   * (of each level but the last, full resolution first), `bias`, `scaleAndShift` and `units` may be chosen; `segResNet`
   * is MONAI's SegResNet, with `features`, `encoderBlocks`, `decoderBlocks` and `groups`. Default `unet`.
   */
  readonly architecture?: 'unet' | 'residualUnits' | 'segResNet';
  /** Channels of the input volume. */
  readonly inChannels: number;
  /** Output classes, background included; or regions, of which there may be one. */
  readonly classes: number;
  /** Channels per level (`features_per_stage`); their number is that of levels. Default [16, 32, 64, 128]. */
  readonly features: readonly number[];
  /** Default `batch`. The command line's `train` and `plan` default to `instance`. SegResNet has `group`. */
  readonly norm: NormKind;
  /** Of norm `group`: into how many groups the channels of each level are divided. Default 8. */
  readonly groups?: number;
  /** Default `relu`. nnU-Net has `leakyRelu`, MONAI's UNet `prelu`, whose slopes are trained. */
  readonly activation: 'relu' | 'leakyRelu' | 'prelu';
  /** Of `leakyRelu` for values below 0 (`negative_slope`). Default 0.01, nnU-Net's and PyTorch's. */
  readonly slope?: number;
  /**
   * How many times fewer voxels each level has than the one above along x, y and z: 1 or 2, an entry for each level
   * but the first (`strides` without its first entry, which is all ones). Thick slices are kept by a 1 along their
   * axis. Default: 2 along every axis.
   */
  readonly strides?: readonly Size3[];
  /** Voxels along x, y and z of each level's convolutions: 1 or 3 (`kernel_sizes`). Default: 3 along every axis. */
  readonly kernels?: readonly Size3[];
  /**
   * What the encoder is built of: `plain`, a convolution with norm and activation; `residual`, two of them with the
   * sum of their input before the last activation, behind a stem of one convolution, as nnU-Net's ResidualEncoderUNet
   * has it. The decoder is plain either way. Default `plain`.
   */
  readonly block?: 'plain' | 'residual';
  /** Blocks per level of the encoder (`n_conv_per_stage`, `n_blocks_per_stage`). Default: two convolutions' worth. */
  readonly encoderBlocks?: readonly number[];
  /**
   * Plain blocks per level of the decoder, full resolution first: an entry for each level but the last
   * (`n_conv_per_stage_decoder` in reverse). Default 2.
   */
  readonly decoderBlocks?: readonly number[];
  /**
   * Channels of each level of the decoder, full resolution first: an entry for each level but the last. Default: those
   * of the encoder's.
   */
  readonly decoderFeatures?: readonly number[];
  /** Channels of the volume that comes up to each of these levels, joined with the encoder's. Default: as many as those. */
  readonly upFeatures?: readonly number[];
  /** Voxels along x, y and z of these levels' convolutions. Default: those of the encoder's (`kernels`). */
  readonly decoderKernels?: readonly Size3[];
  /** Whether a convolution of its own stands in front of a residual encoder. Default true. */
  readonly stem?: boolean;
  /**
   * How a residual block that strides gets its input to the sum: through an average `pool`, and a convolution where
   * channels change; or always through that convolution, which strides then (MONAI's DynUNet). Default `pool`.
   */
  readonly shortcut?: 'pool' | 'conv';
  /** Each level's resolution is lowered by max-pooling, or by its first block's convolution (nnU-Net). Default `pool`. */
  readonly down?: 'pool' | 'conv';
  /** Of `residualUnits`: convolutions per level of the encoder; 0 for none with a sum (`num_res_units`). Default 0. */
  readonly units?: number;
  /** Whether convolutions have a bias (`conv_bias`); heads always have one. Default true. */
  readonly bias?: boolean;
  /** Whether the transposed convolutions of the decoder have one. Default: as `bias`. */
  readonly upBias?: boolean;
  /**
   * What is done about sizes that the strides do not divide: the image is padded with `zeros` to one that they divide;
   * or the decoder repeats the last voxels where a level lost its odd ones (`repeat`, MONAI's BasicUNet; takes `pool`).
   * Default `zeros`.
   */
  readonly oddSizes?: 'zeros' | 'repeat';
  /** Whether norms scale and shift each channel by trained numbers (`affine` of `norm_op_kwargs`). Default true. */
  readonly scaleAndShift?: boolean;
  /**
   * Deep supervision as in nnU-Net: the losses of coarser decoder levels' heads count half as much per level, the
   * coarsest left out. Takes four levels or more. Default false.
   */
  readonly deepSupervision?: boolean;
  /**
   * Decoder levels that have a head, full resolution first. Default: those whose loss counts, so one without deep
   * supervision. nnU-Net's networks have one on all, of which the coarsest is never trained.
   */
  readonly heads?: number;
}

/** What `completeConfig` fills in. */
export const defaultConfig = {
  features: [16, 32, 64, 128],
  norm: 'batch',
  activation: 'relu',
} as const satisfies Partial<UNet3DConfig>;

/** Along x, y and z. */
const every = (n: number): Size3 => [n, n, n];

/** What the entries that may be left out then are. */
export const usual = ({ features, activation, block, deepSupervision, bias, kernels }: UNet3DConfig) => ({
  architecture: 'unet' as const,
  groups: 8,
  slope: activation === 'leakyRelu' ? 0.01 : 0,
  strides: features.slice(1).map(() => every(2)),
  deepSupervision: false,
  kernels: features.map(() => every(3)),
  block: 'plain' as const,
  encoderBlocks: features.map(() => (block === 'residual' ? 1 : 2)),
  decoderBlocks: features.slice(1).map(() => 2),
  decoderFeatures: features.slice(0, -1),
  upFeatures: features.slice(0, -1),
  decoderKernels: kernels?.slice(0, -1) ?? features.slice(1).map(() => every(3)),
  stem: true,
  shortcut: 'pool' as const,
  down: 'pool' as const,
  units: 0,
  bias: true,
  upBias: bias ?? true,
  oddSizes: 'zeros' as const,
  scaleAndShift: true,
  heads: supervisedLevels({ features, deepSupervision }).length,
});

/** All entries, with what those left out mean. */
export const wholeConfig = (config: UNet3DConfig): Required<UNet3DConfig> => ({
  ...usual(config),
  ...config,
});

/** What functions of a network ask of their argument. */
export const completed = withParts(
  'a configuration as completeConfig gives it',
  'inChannels',
  'classes',
  'features',
);

/** The network with so many times fewer features; undefined where they cannot be divided so. */
export function narrowed(config: UNet3DConfig, by: number): UNet3DConfig | undefined {
  const { features, decoderFeatures, upFeatures, norm, groups = 8 } = config;
  const unit = by * (norm === 'group' ? groups : 1);
  const lists = { features, decoderFeatures, upFeatures };
  const given = Object.entries(lists).filter((entry): entry is [string, readonly number[]] => !!entry[1]);
  if (given.some(([, list]) => list.some((n) => n % unit !== 0))) return undefined;
  return { ...config, ...Object.fromEntries(given.map(([name, list]) => [name, list.map((n) => n / by)])) };
}
