/** What a 3D U-Net is made of, checked. */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import type { NormKind } from '../ops/norm.ts';
import { assertOptions } from '../options.ts';
import {
  brief,
  flag,
  held,
  numberFrom,
  oneOf,
  openObject,
  size3,
  triple,
  wholeNumber,
  withParts,
} from '../schema.ts';
import type { Size3 } from '../size.ts';

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
  /** Output classes, background included. */
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
const usual = ({ features, activation, block, deepSupervision, bias, kernels }: UNet3DConfig) => ({
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

const levels = '1 to 8 whole numbers from 1 to 4096, one per level';
const strideText = 'x, y, z of 1 or 2 for each level but the first, such as [2, 2, 1]';
const kernelText = 'x, y, z of 1 or 3 for each level, such as [3, 3, 1]';
const decoderFeaturesText = 'a whole number from 1 to 4096 for each level but the last';
const decoderKernelText = 'x, y, z of 1 or 3 for each level but the last';
const encoderText = 'a whole number from 1 to 64 for each level';
const decoderText = 'a whole number from 1 to 64 for each level but the last';

const triples = (values: readonly [1, 2 | 3], expected: string) =>
  v.array(triple(v.picklist(values, expected), expected), expected);
const counts = (expected: string) =>
  v.array(
    v.pipe(v.number(expected), v.integer(expected), v.minValue(1, expected), v.maxValue(64, expected)),
    expected,
  );

/** Of which all but `inChannels` and `classes` have defaults. */
export const configEntries = {
  architecture: v.optional(
    v.pipe(
      oneOf('unet', 'residualUnits', 'segResNet'),
      v.description("MONAI's UNet is residualUnits; absent: unet"),
    ),
  ),
  inChannels: wholeNumber(1, 1024),
  classes: v.pipe(wholeNumber(2, 255), v.description('background included')),
  features: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), levels),
      v.minLength(1, levels),
      v.maxLength(8, levels),
      v.description('channels per level, full resolution first'),
    ),
    [...defaultConfig.features],
  ),
  norm: v.optional(oneOf('batch', 'instance', 'group'), defaultConfig.norm),
  groups: v.optional(v.pipe(wholeNumber(1, 4096), v.description('of norm group; absent: 8'))),
  activation: v.optional(oneOf('relu', 'leakyRelu', 'prelu'), defaultConfig.activation),
  deepSupervision: v.optional(flag),
  strides: v.optional(
    v.pipe(
      triples([1, 2], strideText),
      v.description('x, y, z between a level and the one above; absent: 2 along every axis'),
    ),
  ),
  slope: v.optional(v.pipe(numberFrom(0, 1), v.description('of leakyRelu below 0; absent: 0.01'))),
  kernels: v.optional(
    v.pipe(
      triples([1, 3], kernelText),
      v.description('x, y, z of the convolutions per level; absent: 3 along every axis'),
    ),
  ),
  block: v.optional(v.pipe(oneOf('plain', 'residual'), v.description('of the encoder; absent: plain'))),
  encoderBlocks: v.optional(
    v.pipe(
      counts(encoderText),
      v.description('convolutions or residual blocks per level; absent: 2 convolutions, or 1 residual block'),
    ),
  ),
  decoderBlocks: v.optional(
    v.pipe(
      counts(decoderText),
      v.description('convolutions per level of the decoder, full resolution first; absent: 2'),
    ),
  ),
  decoderFeatures: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), decoderFeaturesText),
      v.description('channels per level of the decoder, full resolution first; absent: as features'),
    ),
  ),
  upFeatures: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), decoderFeaturesText),
      v.description('channels that come up to each level of the decoder; absent: as features'),
    ),
  ),
  decoderKernels: v.optional(
    v.pipe(
      triples([1, 3], decoderKernelText),
      v.description('x, y, z of the convolutions per level of the decoder; absent: as kernels'),
    ),
  ),
  stem: v.optional(v.pipe(flag, v.description('in front of a residual encoder; absent: true'))),
  shortcut: v.optional(
    v.pipe(
      oneOf('pool', 'conv'),
      v.description('of residual blocks that stride: average pool, or strided convolution; absent: pool'),
    ),
  ),
  down: v.optional(
    v.pipe(
      oneOf('pool', 'conv'),
      v.description('max-pooling, or the stride of the first block; absent: pool'),
    ),
  ),
  units: v.optional(
    v.pipe(wholeNumber(0, 64), v.description('of residualUnits: convolutions per level; absent: 0')),
  ),
  bias: v.optional(v.pipe(flag, v.description('of convolutions but the heads; absent: true'))),
  upBias: v.optional(
    v.pipe(flag, v.description('of the transposed convolutions of the decoder; absent: as bias')),
  ),
  oddSizes: v.optional(
    v.pipe(
      oneOf('zeros', 'repeat'),
      v.description(
        'sizes that strides do not divide are padded, or the decoder repeats the last voxels; absent: zeros',
      ),
    ),
  ),
  scaleAndShift: v.optional(v.pipe(flag, v.description('of the norms; absent: true'))),
  heads: v.optional(
    v.pipe(wholeNumber(1, 7), v.description('decoder levels with a head; absent: those whose loss counts')),
  ),
};

/** Without a meaning of their absence. */
const basicNames = ['inChannels', 'classes', 'features', 'norm', 'activation'];

const configSchema = openObject(configEntries);

/**
 * Fills in the defaults; what is not of the configuration is left aside, and so is what says no more than its absence:
 * equal networks have equal configurations.
 * @throws InvalidOption naming the value, what was expected and why
 */
export function completeConfig(
  partial: Pick<UNet3DConfig, 'inChannels' | 'classes'> & {
    readonly [Key in keyof UNet3DConfig]?: UNet3DConfig[Key] | undefined;
  },
): UNet3DConfig {
  const { inChannels, classes, features, norm, activation, ...optional } = held(configSchema, partial, {
    expected: 'give',
    fail: (problem) => new InvalidOption(problem),
  });
  const basic = { inChannels, classes, features, norm, activation };
  const given = { ...basic, ...definedOf(optional) } as UNet3DConfig;
  requireConsistent(given);
  const unusual = Object.entries(usual(given)).flatMap(([name, value]) => {
    const own = given[name as keyof UNet3DConfig];
    return own === undefined || JSON.stringify(own) === JSON.stringify(value) ? [] : [[name, own]];
  });
  return { ...basic, ...Object.fromEntries(unusual) } as UNet3DConfig;
}

/** The network with so many times fewer features; undefined where they cannot be divided so. */
export function narrowed(config: UNet3DConfig, by: number): UNet3DConfig | undefined {
  const { features, decoderFeatures, upFeatures, norm, groups = 8 } = config;
  const unit = by * (norm === 'group' ? groups : 1);
  const lists = { features, decoderFeatures, upFeatures };
  const given = Object.entries(lists).filter((entry): entry is [string, readonly number[]] => !!entry[1]);
  if (given.some(([, list]) => list.some((n) => n % unit !== 0))) return undefined;
  return { ...config, ...Object.fromEntries(given.map(([name, list]) => [name, list.map((n) => n / by)])) };
}

const definedOf = (entries: object): object =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));

/** What architectures have, and what may be chosen of those but the usual one besides channels, classes and features. */
const architectures = {
  unet: { norms: ['batch', 'instance'], activations: ['relu', 'leakyRelu'], entries: undefined },
  residualUnits: {
    norms: ['batch', 'instance'],
    activations: ['prelu'],
    entries: ['strides', 'bias', 'scaleAndShift', 'units'],
  },
  segResNet: {
    norms: ['group'],
    activations: ['relu'],
    entries: ['encoderBlocks', 'decoderBlocks', 'groups'],
  },
} as const;

/** @throws InvalidOption for entries that the architecture does not have */
function requireOfArchitecture(config: UNet3DConfig): void {
  const { architecture = 'unet', norm, activation, features, units, groups } = config;
  const { norms, activations, entries } = architectures[architecture];
  for (const [name, value, own] of [
    ['norm', norm, norms],
    ['activation', activation, activations],
  ] as const)
    if (!(own as readonly string[]).includes(value))
      throw new InvalidOption(
        `${name} is ${value}; give ${own.join(' or ')}, which architecture ${architecture} has`,
      );
  if (!entries) {
    const other = units === undefined ? (groups === undefined ? undefined : 'groups') : 'units';
    if (other)
      throw new InvalidOption(`${other} is not for choice in architecture ${architecture}: leave it out`);
    return;
  }
  const all: readonly string[] = [...basicNames, 'architecture', ...entries];
  const other = Object.keys(config).find((name) => !all.includes(name));
  if (other)
    throw new InvalidOption(
      `${other} is not for choice in architecture ${architecture}: leave it out; there are ${entries.join(', ')}`,
    );
  if (features.length < 2)
    throw new InvalidOption(
      `features is ${brief(features)}; architecture ${architecture} takes two levels or more`,
    );
  const uneven = norm === 'group' ? features.find((channels) => channels % (groups ?? 8) !== 0) : undefined;
  if (uneven !== undefined)
    throw new InvalidOption(
      `features is ${brief(features)}; give multiples of ${groups ?? 8}, the groups of the norm`,
    );
}

/** @throws InvalidOption for entries that do not go together */
function requireConsistent(config: UNet3DConfig): void {
  requireOfArchitecture(config);
  const { features, activation, slope, deepSupervision, heads, oddSizes, down, block, stem, shortcut } =
    config;
  const lists = [
    ['strides', features.length - 1, strideText],
    ['kernels', features.length, kernelText],
    ['encoderBlocks', features.length, encoderText],
    ['decoderBlocks', features.length - 1, decoderText],
    ['decoderFeatures', features.length - 1, decoderFeaturesText],
    ['upFeatures', features.length - 1, decoderFeaturesText],
    ['decoderKernels', features.length - 1, decoderKernelText],
  ] as const;
  for (const [name, length, expected] of lists) {
    const list = config[name];
    if (list && list.length !== length)
      throw new InvalidOption(
        `${name} is ${JSON.stringify(list)}; give ${expected} of ${features.length}: ${length} in all`,
      );
  }
  if (slope !== undefined && activation === 'relu')
    throw new InvalidOption(
      `slope is ${slope}, but activation is relu, which has none: give leakyRelu, or no slope`,
    );
  if (oddSizes === 'repeat' && (down === 'conv' || deepSupervision))
    throw new InvalidOption(
      `oddSizes is repeat, which ${down === 'conv' ? 'down conv' : 'deepSupervision'} does not go with: give zeros`,
    );
  if (block !== 'residual' && (stem !== undefined || shortcut !== undefined))
    throw new InvalidOption(
      `${stem === undefined ? 'shortcut' : 'stem'} is for residual blocks: give block residual, or leave it out`,
    );
  const supervised = supervisedLevels(config).length;
  if (deepSupervision && supervised === 1)
    throw new InvalidOption(
      `deepSupervision takes four levels or more; features is ${brief(features)}: leave it out or add levels`,
    );
  const most = Math.max(1, features.length - 1);
  if (heads !== undefined && (heads < supervised || heads > most))
    throw new InvalidOption(
      `heads is ${heads}; give a whole number from ${supervised}, the levels whose loss counts, to ${most}, the levels of the decoder`,
    );
}

/** Decoder levels whose loss counts: the finest, and with deep supervision the coarser ones but the coarsest. */
export function supervisedLevels({
  features,
  deepSupervision,
}: Pick<UNet3DConfig, 'features'> & { readonly deepSupervision?: boolean | undefined }): number[] {
  return deepSupervision
    ? Array.from({ length: Math.max(1, features.length - 2) }, (_, level) => level)
    : [0];
}

/** What the loss of each of these levels counts: half as much per level, 1 in all. */
export function supervisionWeights(levels: number): number[] {
  const total = 2 - 2 ** (1 - levels);
  return Array.from({ length: levels }, (_, level) => 2 ** -level / total);
}

/** The name of a level's head among the parameters. */
export const headName = (level: number): string => (level === 0 ? 'head' : `decoder.${level}.head`);

export const completed = withParts(
  'a configuration as completeConfig gives it',
  'inChannels',
  'classes',
  'features',
);

/** Voxels of the input along x, y and z in one of a level. */
export function strideTo(config: UNet3DConfig, level: number): Size3 {
  const strides = wholeConfig(config).strides.slice(0, level);
  const along = (axis: 0 | 1 | 2) => strides.reduce((product, stride) => product * stride[axis], 1);
  return [along(0), along(1), along(2)];
}

/** Along x, y and z, the network's input is a multiple of this. */
export function sizeMultiple(config: UNet3DConfig): Size3 {
  assertOptions('sizeMultiple', { config: completed }, { config });
  return wholeConfig(config).oddSizes === 'repeat' ? every(1) : leastSize(config);
}

/** The smallest input, x, y, z: it has one voxel at the deepest level. */
export const leastSize = (config: UNet3DConfig): Size3 => strideTo(config, config.features.length - 1);

/** A multiple in words: one number where it is the same along all axes. */
export const multipleInWords = (multiple: Size3): string =>
  new Set(multiple).size === 1 ? String(multiple[0]) : `${multiple.join(', ')} (x, y, z)`;

/** The network's size for a volume: each axis rounded up to the multiple, and no smaller than the network takes. */
export function paddedSize(config: UNet3DConfig, size: Size3): Size3 {
  assertOptions('paddedSize', { config: completed, size: size3 }, { config, size });
  const [multiple, least] = [sizeMultiple(config), leastSize(config)];
  const up = (axis: 0 | 1 | 2) =>
    Math.max(least[axis], Math.ceil(size[axis] / multiple[axis]) * multiple[axis]);
  return [up(0), up(1), up(2)];
}

/**
 * The size at which a volume goes through the network whole: that of its training where the volume fits, as norms see
 * the padding, too; else its own.
 */
export const wholeSize = (config: UNet3DConfig, shape: Size3, trained?: Size3): Size3 =>
  trained && shape.every((length, axis) => length <= trained[axis]!) ? trained : paddedSize(config, shape);
