/** nnU-Net's networks as data: what plans say of them. */
import * as v from 'valibot';
import { flag, object, oneOf, openObject, text, triple, wholeNumber } from '../../schema.ts';

/** Along the axes of nnU-Net's arrays, slowest first: z, y, x of the file, permuted by `transpose_forward`. */
export type Axes = readonly [number, number, number];

/** PlainConvUNet or ResidualEncoderUNet with instance norm and leaky ReLU of slope 0.01; level 0 is full resolution. */
export interface NnunetNetwork {
  /** What the encoder is built of. */
  readonly encoder: 'plain' | 'residual';
  /** Channels per level. */
  readonly features: readonly number[];
  /** Of the convolutions of each level. */
  readonly kernels: readonly Axes[];
  /** Of the first convolution of each level; the first level's are 1. */
  readonly strides: readonly Axes[];
  /** Convolutions, or residual blocks, per level. */
  readonly blocks: readonly number[];
  /** Convolutions per step of the decoder, coarsest first: one fewer than there are levels. */
  readonly decoderBlocks: readonly number[];
  /** Channels of the convolution in front of a residual encoder. */
  readonly stem: number;
  /** Whether convolutions, but those of residual blocks' skips, have a bias. */
  readonly bias: boolean;
}

/**
 * A configuration along the axes of the volumes: x, y, z of patch and spacing, and the network along z, y, x.
 * @param transpose axis, of z, y, x of the volumes, that each axis of the configuration is
 */
export function alongVolumes(
  { transpose }: { readonly transpose: Axes },
  {
    patch,
    spacing,
    network,
  }: { readonly patch: Axes; readonly spacing: Axes; readonly network: NnunetNetwork },
): { readonly patch: Axes; readonly spacing: Axes; readonly network: NnunetNetwork } {
  const [z, y, x] = backFrom(transpose);
  const back = (values: Axes): Axes => [values[z], values[y], values[x]];
  const fastestFirst = (values: Axes): Axes => [values[x], values[y], values[z]];
  return {
    patch: fastestFirst(patch),
    spacing: fastestFirst(spacing),
    network: { ...network, kernels: network.kernels.map(back), strides: network.strides.map(back) },
  };
}

/** Axis of the configuration that each of z, y, x of the volumes is. */
export const backFrom = (transpose: Axes) => [0, 1, 2].map((axis) => transpose.indexOf(axis)) as [0, 1, 2];

/** Of what this package runs. */
const mostLevels = 8;
const feature = wholeNumber(1, 4096);
const kernel = v.picklist([1, 3], '1 or 3');
const stride = v.picklist([1, 2], '1 or 2');
const count = wholeNumber(1, 64);
const levels = <Item extends v.GenericSchema<unknown, unknown>>(item: Item, expected: string) =>
  v.pipe(v.array(item, expected), v.minLength(1, expected), v.maxLength(mostLevels, expected));

/** A list, or one number for all levels. */
const perLevel = (item: v.GenericSchema<unknown, number>, expected: string) =>
  v.union([item, levels(item, expected)], expected);
const perLevelAxes = (item: v.GenericSchema<unknown, number>, expected: string) =>
  v.union([item, levels(v.union([item, triple(item, expected)], expected), expected)], expected);

const kernels = perLevelAxes(kernel, 'kernels of 1 or 3 along three axes, for each level');
const strides = perLevelAxes(stride, 'strides of 1 or 2 along three axes, for each level');
const counts = perLevel(count, 'a whole number from 1 to 64 for each level');

const none = v.optional(v.null('null: dropout is not supported'));

/** `architecture` of plans since 2.3. */
export const architectureSchema = openObject({
  network_class_name: text,
  arch_kwargs: object({
    n_stages: wholeNumber(1, mostLevels),
    features_per_stage: perLevel(feature, 'channels from 1 to 4096 for each level'),
    conv_op: oneOf('torch.nn.modules.conv.Conv3d'),
    kernel_sizes: kernels,
    strides,
    n_conv_per_stage: v.optional(counts),
    n_blocks_per_stage: v.optional(counts),
    n_conv_per_stage_decoder: v.union(
      [count, v.pipe(v.array(count), v.maxLength(mostLevels))],
      'a whole number from 1 to 64 for each level but the last',
    ),
    conv_bias: v.optional(flag, false),
    norm_op: oneOf('torch.nn.modules.instancenorm.InstanceNorm3d'),
    norm_op_kwargs: object({
      eps: v.literal(1e-5, '1e-05'),
      affine: v.literal(true, 'true'),
    }),
    dropout_op: none,
    dropout_op_kwargs: none,
    nonlin: oneOf('torch.nn.LeakyReLU', 'torch.nn.modules.activation.LeakyReLU'),
    nonlin_kwargs: v.optional(
      v.nullable(object({ inplace: v.optional(flag), negative_slope: v.optional(v.literal(0.01, '0.01')) })),
    ),
    stem_channels: v.optional(v.nullable(feature)),
    deep_supervision: v.optional(flag),
  }),
});

/** What configurations of 2.0 to 2.2 say in its place. */
const oldNetworkEntries = {
  UNet_class_name: text,
  UNet_base_num_features: feature,
  unet_max_num_features: feature,
  n_conv_per_stage_encoder: levels(count, 'a whole number from 1 to 64 for each level'),
  n_conv_per_stage_decoder: v.array(count, 'a whole number from 1 to 64 for each level but the last'),
  pool_op_kernel_sizes: levels(
    triple(stride, 'strides along three axes'),
    'strides of 1 or 2 along three axes, for each level',
  ),
  conv_kernel_sizes: levels(
    triple(kernel, 'kernels along three axes'),
    'kernels of 1 or 3 along three axes, for each level',
  ),
};
export const oldNetworkSchema = openObject(oldNetworkEntries);

/** @throws what `fail` makes of what does not go together */
export function networkOf(
  { network_class_name: path, arch_kwargs: parsed }: v.InferOutput<typeof architectureSchema>,
  fail: (problem: string) => Error,
): NnunetNetwork {
  const encoder = encoderOf(path, fail);
  const stages = parsed.n_stages;
  const key = encoder === 'plain' ? 'n_conv_per_stage' : 'n_blocks_per_stage';
  const blocks = parsed[key];
  if (blocks === undefined)
    throw fail(`architecture.arch_kwargs.${key} is missing; expected a number for each level`);
  const features = repeated(parsed.features_per_stage, stages);
  return consistent(
    {
      encoder,
      features,
      kernels: repeated(parsed.kernel_sizes, stages).map(along3),
      strides: repeated(parsed.strides, stages).map(along3),
      blocks: repeated(blocks, stages),
      decoderBlocks: repeated(parsed.n_conv_per_stage_decoder, stages - 1),
      stem: parsed.stem_channels ?? features[0]!,
      bias: parsed.conv_bias,
    },
    stages,
    fail,
  );
}

/** The same of the old form. */
export function oldNetworkOf(
  parsed: v.InferOutput<typeof oldNetworkSchema>,
  fail: (problem: string) => Error,
): NnunetNetwork {
  const stages = parsed.n_conv_per_stage_encoder.length;
  const features = Array.from({ length: stages }, (_, level) =>
    Math.min(parsed.unet_max_num_features, parsed.UNet_base_num_features * 2 ** level),
  );
  return consistent(
    {
      encoder: encoderOf(parsed.UNet_class_name, fail),
      features,
      kernels: parsed.conv_kernel_sizes,
      strides: parsed.pool_op_kernel_sizes,
      blocks: parsed.n_conv_per_stage_encoder,
      decoderBlocks: parsed.n_conv_per_stage_decoder,
      stem: features[0]!,
      bias: true,
    },
    stages,
    fail,
  );
}

const repeated = <T>(value: T | readonly T[], length: number): readonly T[] =>
  Array.isArray(value) ? (value as readonly T[]) : Array.from({ length }, () => value as T);

const along3 = (value: number | Axes): Axes => (typeof value === 'number' ? [value, value, value] : value);

function encoderOf(path: string, fail: (problem: string) => Error): NnunetNetwork['encoder'] {
  const name = path.slice(path.lastIndexOf('.') + 1);
  if (name === 'PlainConvUNet') return 'plain';
  if (name === 'ResidualEncoderUNet') return 'residual';
  throw fail(
    `the network is ${JSON.stringify(path.slice(0, 100))}; expected PlainConvUNet or ResidualEncoderUNet`,
  );
}

function consistent(network: NnunetNetwork, stages: number, fail: (problem: string) => Error): NnunetNetwork {
  if (stages < 2) throw fail('the network has a single level; expected two or more');
  const lengths = {
    features: stages,
    kernels: stages,
    strides: stages,
    blocks: stages,
    decoderBlocks: stages - 1,
  } as const;
  for (const [name, length] of Object.entries(lengths)) {
    const found = network[name as keyof typeof lengths].length;
    if (found !== length)
      throw fail(`the network's ${name} are given for ${found} levels; expected ${length} of ${stages}`);
  }
  if (network.strides[0]!.some((step) => step !== 1))
    throw fail(
      `the network's first strides are [${network.strides[0]!.join(', ')}]; expected 1 along every axis`,
    );
  return network;
}
