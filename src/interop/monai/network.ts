/** MONAI's networks as data: their definitions, as arguments of a class by name, and the configurations of ours. */
import * as v from 'valibot';
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { completeConfig } from '../../model/complete-config.ts';
import type { UNet3DConfig } from '../../model/config.ts';
import {
  flag,
  held,
  numberFrom,
  object,
  oneOf,
  text,
  triple,
  wholeNumber,
  type Schema,
} from '../../schema.ts';
import type { Size3 } from '../../size.ts';

/** What a definition gives. */
export interface MonaiNetwork {
  /** The class that it is of. */
  readonly kind: 'BasicUNet' | 'DynUNet' | 'SegResNet' | 'UNet';
  /** The same network as one of this package. */
  readonly config: UNet3DConfig;
  /** What it drops while MONAI trains it, which trainings here do not do and predictions nowhere. */
  readonly dropout: number;
}

type Fail = (problem: string) => Error;

const channel = wholeNumber(1, 4096);
const inputs = { in_channels: wholeNumber(1, 1024), out_channels: wholeNumber(1, 255) };
/** One number for all axes, or one for each of the file's i, j, k, which are our x, y, z. */
const axes = (n: v.GenericSchema<unknown, number>, expected: string) =>
  v.pipe(
    v.union([n, triple(n, expected)], expected),
    v.transform((value): Size3 => (typeof value === 'number' ? [value, value, value] : value)),
  );
const stride = axes(v.picklist([1, 2], '1 or 2'), 'a stride of 1 or 2, or one for each of three axes');
const kernel = axes(v.picklist([1, 3], '1 or 3'), 'a kernel of 1 or 3, or one for each of three axes');
const three = v.pipe(
  axes(v.literal(3, '3'), '3, for each of three axes'),
  v.transform(() => 3 as const),
);
const dropout = v.optional(v.nullable(numberFrom(0, 1)), 0);
const common = {
  _target_: text,
  spatial_dims: v.optional(v.literal(3, '3: networks are three-dimensional')),
  dimensions: v.optional(v.literal(3, '3: networks are three-dimensional')),
  dropout,
};

/** A name, or a name with arguments. */
const named = (expected: string) =>
  v.pipe(
    v.union([v.string(), v.strictTuple([v.string(), v.record(v.string(), v.unknown())])], expected),
    v.transform((value): readonly [string, Record<string, unknown>] =>
      typeof value === 'string' ? [value.toLowerCase(), {}] : [value[0].toLowerCase(), value[1]],
    ),
  );
const act = v.optional(
  named('an activation by name, such as "PRELU", or ["leakyrelu", {"negative_slope": 0.1}]'),
);
const norm = v.optional(named('a norm by name, such as "INSTANCE", or ["instance", {"affine": true}]'));

const leaky = object({ negative_slope: v.optional(numberFrom(0, 1), 0.01), inplace: v.optional(flag) });
const rectified = object({ inplace: v.optional(flag) });
const trained = object({
  num_parameters: v.optional(v.literal(1, '1')),
  init: v.optional(v.number('a number')),
});
const affine = object({
  affine: v.optional(flag),
  eps: v.optional(v.literal(1e-5, '1e-05')),
  track_running_stats: v.optional(flag),
  momentum: v.optional(v.literal(0.1, '0.1')),
});

function arguments_<T>(schema: Schema<T>, what: string, value: unknown, fail: Fail): T {
  return held(schema, value, { expected: 'expected', fail: (problem) => fail(`in ${what}, ${problem}`) });
}

/** A rectifier with its slope below 0. */
function rectifierOf([name, given]: readonly [string, Record<string, unknown>], fail: Fail) {
  if (name === 'leakyrelu') {
    const { negative_slope: slope } = arguments_(leaky, name, given, fail);
    return { activation: 'leakyRelu' as const, slope };
  }
  if (name !== 'relu') throw fail(`the activation is ${JSON.stringify(name)}; expected leakyrelu or relu`);
  arguments_(rectified, name, given, fail);
  return { activation: 'relu' as const };
}

function normOf([name, given]: readonly [string, Record<string, unknown>], fail: Fail) {
  if (name !== 'instance' && name !== 'batch')
    throw fail(`the norm is ${JSON.stringify(name)}; expected instance or batch`);
  const { affine: scaleAndShift = name === 'batch', track_running_stats: tracks } = arguments_(
    affine,
    name,
    given,
    fail,
  );
  if ((tracks ?? name === 'batch') !== (name === 'batch'))
    throw fail(`track_running_stats is ${tracks} for a norm of kind ${name}; expected ${!tracks}`);
  return { norm: name, scaleAndShift } as const;
}

const unetSchema = object({
  ...common,
  ...inputs,
  channels: v.pipe(
    v.array(channel),
    v.minLength(2, 'two channels or more'),
    v.maxLength(8, '8 channels or fewer'),
  ),
  strides: v.array(stride),
  kernel_size: v.optional(three),
  up_kernel_size: v.optional(three),
  num_res_units: v.optional(wholeNumber(0, 64), 0),
  act,
  norm,
  bias: v.optional(flag, true),
  adn_ordering: v.optional(oneOf('NDA')),
});

function unetOf(definition: unknown, fail: Fail): UNet3DConfig {
  const given = arguments_(unetSchema, 'UNet', definition, fail);
  const [activation, slopes] = given.act ?? ['prelu', {}];
  if (activation !== 'prelu')
    throw fail(`the activation of UNet is ${JSON.stringify(activation)}; expected prelu, the usual one`);
  arguments_(trained, activation, slopes, fail);
  const levels = given.channels.length;
  if (given.strides.length < levels - 1)
    throw fail(`UNet has strides for ${given.strides.length} of ${levels} levels; expected ${levels - 1}`);
  return configured(
    {
      architecture: 'residualUnits',
      inChannels: given.in_channels,
      classes: given.out_channels,
      features: given.channels,
      activation: 'prelu',
      ...normOf(given.norm ?? ['instance', {}], fail),
      strides: given.strides.slice(0, levels - 1),
      units: given.num_res_units,
      bias: given.bias,
    },
    fail,
  );
}

const dynunetSchema = object({
  ...common,
  ...inputs,
  kernel_size: v.array(kernel),
  strides: v.array(stride),
  upsample_kernel_size: v.array(stride),
  filters: v.optional(v.nullable(v.array(channel))),
  norm_name: norm,
  act_name: act,
  deep_supervision: v.optional(flag, false),
  deep_supr_num: v.optional(wholeNumber(1, 7), 1),
  res_block: v.optional(flag, false),
  trans_bias: v.optional(flag, false),
});

function dynunetOf(definition: unknown, fail: Fail): UNet3DConfig {
  const given = arguments_(dynunetSchema, 'DynUNet', definition, fail);
  const { kernel_size: kernels, strides, upsample_kernel_size: up } = given;
  const levels = strides.length;
  if (levels < 3 || levels > 8 || kernels.length !== levels)
    throw fail(
      `DynUNet has ${kernels.length} kernels and ${levels} strides; expected as many of both, from 3 to 8`,
    );
  if (strides[0]!.some((n) => n !== 1))
    throw fail(`the first strides of DynUNet are [${strides[0]!.join(', ')}]; expected 1 along every axis`);
  if (up.join(';') !== strides.slice(1).join(';'))
    throw fail(
      'upsample_kernel_size of DynUNet differs from its strides without the first; expected the same',
    );
  const features =
    given.filters ?? Array.from({ length: levels }, (_, level) => Math.min(32 * 2 ** level, 320));
  if (features.length < levels)
    throw fail(`DynUNet has filters for ${features.length} of ${levels} levels; expected ${levels}`);
  const residual = given.res_block;
  return configured(
    {
      inChannels: given.in_channels,
      classes: given.out_channels,
      features: features.slice(0, levels),
      ...normOf(given.norm_name ?? ['instance', { affine: true }], fail),
      ...rectifierOf(given.act_name ?? ['leakyrelu', { negative_slope: 0.01 }], fail),
      strides: strides.slice(1),
      kernels,
      decoderKernels: kernels.slice(1), // those of the level below
      block: residual ? 'residual' : 'plain',
      ...(residual && { stem: false, shortcut: 'conv' }),
      down: 'conv',
      bias: false,
      upBias: given.trans_bias,
      deepSupervision: given.deep_supervision && given.deep_supr_num >= levels - 3 && levels >= 4,
      heads: given.deep_supervision ? 1 + given.deep_supr_num : 1,
    },
    fail,
  );
}

const basicSchema = object({
  ...common,
  in_channels: v.optional(inputs.in_channels, 1),
  out_channels: v.optional(inputs.out_channels, 2),
  features: v.optional(
    v.pipe(
      v.array(channel, 'channels of five levels and of the last layer'),
      v.length(6, 'six numbers of channels'),
    ),
    [32, 32, 64, 128, 256, 32],
  ),
  act,
  norm,
  bias: v.optional(flag, true),
  upsample: v.optional(oneOf('deconv')),
});

function basicOf(definition: unknown, fail: Fail): UNet3DConfig {
  const given = arguments_(basicSchema, 'BasicUNet', definition, fail);
  const last = given.features[5]!;
  const features = given.features.slice(0, 5);
  return configured(
    {
      inChannels: given.in_channels,
      classes: given.out_channels,
      features,
      ...normOf(given.norm ?? ['instance', { affine: true }], fail),
      ...rectifierOf(given.act ?? ['leakyrelu', { negative_slope: 0.1 }], fail),
      decoderFeatures: [last, ...features.slice(1, 4)],
      // Half of what is below but for the last.
      upFeatures: features.slice(1).map((below, level) => (level === 0 ? below : Math.floor(below / 2))),
      bias: given.bias,
      upBias: true,
      oddSizes: 'repeat',
    },
    fail,
  );
}

const grouped = object({
  num_groups: v.optional(wholeNumber(1, 4096), 8),
  eps: v.optional(v.literal(1e-5, '1e-05')),
  affine: v.optional(v.literal(true, 'true')),
});
const blocks = v.array(wholeNumber(1, 64), 'a whole number from 1 to 64 for each level');
const segResNetSchema = object({
  _target_: text,
  spatial_dims: common.spatial_dims,
  init_filters: v.optional(wholeNumber(1, 4096), 8),
  in_channels: v.optional(inputs.in_channels, 1),
  out_channels: v.optional(inputs.out_channels, 2),
  dropout_prob: dropout,
  act,
  norm,
  norm_name: v.optional(oneOf('', 'group', 'GROUP')),
  num_groups: v.optional(wholeNumber(1, 4096), 8),
  use_conv_final: v.optional(v.literal(true, 'true')),
  blocks_down: v.optional(blocks, [1, 2, 2, 4]),
  blocks_up: v.optional(blocks, [1, 1, 1]),
  upsample_mode: v.optional(oneOf('nontrainable')),
});

function segResNetOf(definition: unknown, fail: Fail): UNet3DConfig {
  const given = arguments_(segResNetSchema, 'SegResNet', definition, fail);
  const { blocks_down: down, blocks_up: up } = given;
  // MONAI takes num_groups with norm_name alone, in place of norm.
  const [normName, norms] = given.norm_name
    ? ['group', { num_groups: given.num_groups }]
    : (given.norm ?? ['group', {}]);
  if (normName !== 'group')
    throw fail(`the norm of SegResNet is ${JSON.stringify(normName)}; expected group`);
  const { activation } = rectifierOf(given.act ?? ['relu', {}], fail);
  if (up.length !== down.length - 1)
    throw fail(
      `SegResNet has blocks for ${down.length} levels down and ${up.length} up; expected one fewer up`,
    );
  return configured(
    {
      architecture: 'segResNet',
      inChannels: given.in_channels,
      classes: given.out_channels,
      features: down.map((_, level) => given.init_filters * 2 ** level),
      norm: 'group',
      groups: arguments_(grouped, normName, norms, fail).num_groups,
      activation,
      encoderBlocks: down,
      decoderBlocks: up.toReversed(),
    },
    fail,
  );
}

/** Other arguments are refused by name. */
const networks: Partial<Record<string, { kind: MonaiNetwork['kind']; read: typeof unetOf }>> = {
  BasicUNet: { kind: 'BasicUNet', read: basicOf },
  BasicUnet: { kind: 'BasicUNet', read: basicOf },
  DynUNet: { kind: 'DynUNet', read: dynunetOf },
  DynUnet: { kind: 'DynUNet', read: dynunetOf },
  SegResNet: { kind: 'SegResNet', read: segResNetOf },
  UNet: { kind: 'UNet', read: unetOf },
  Unet: { kind: 'UNet', read: unetOf },
};

function configured(config: Parameters<typeof completeConfig>[0], fail: Fail): UNet3DConfig {
  try {
    return completeConfig(config);
  } catch (error) {
    if (!(error instanceof InvalidOption)) throw error;
    throw fail(error.message);
  }
}

const targetSchema = v.object({
  _target_: v.string('a class by name, such as "UNet"'),
  dropout: v.optional(v.unknown()),
  dropout_prob: v.optional(v.unknown()),
});

/**
 * @param definition `{"_target_": "UNet", …}` with the arguments of the class, without references
 * @param name what messages call the file that it is from
 * @throws InvalidModel naming a class or an argument that is not known
 */
export function readNetwork(definition: unknown, name: string): MonaiNetwork {
  const fail = (problem: string): InvalidModel =>
    new InvalidModel(`the network in ${name} cannot be run here: ${problem}`);
  const { _target_: path, ...dropouts } = held(targetSchema, definition, { expected: 'expected', fail });
  const className = path.slice(path.lastIndexOf('.') + 1);
  const found = Object.hasOwn(networks, className) ? networks[className] : undefined;
  if (!found)
    throw fail(
      `its class is ${JSON.stringify(path.slice(0, 100))}; expected BasicUNet, DynUNet, SegResNet or UNet of MONAI`,
    );
  const config = found.read(definition, fail);
  const dropped = dropouts[found.kind === 'SegResNet' ? 'dropout_prob' : 'dropout'];
  return { kind: found.kind, config, dropout: typeof dropped === 'number' ? dropped : 0 };
}
