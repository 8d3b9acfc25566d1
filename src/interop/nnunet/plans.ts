/** nnU-Net's plans.json of 2.0 to today: one of its configurations, with what it inherits. */
import * as v from 'valibot';
import { InvalidModel } from '../../errors.ts';
import { readJson } from '../../json.ts';
import { listed } from '../../listed.ts';
import {
  finite,
  flag,
  held,
  numberAbove,
  oneOf,
  openObject,
  text,
  triple,
  wholeNumber,
} from '../../schema.ts';
import {
  architectureSchema,
  networkOf,
  oldNetworkOf,
  oldNetworkSchema,
  type Axes,
  type NnunetNetwork,
} from './network.ts';

/** How a channel is normalised, before it is resampled. */
export type NnunetNormalization =
  | {
      readonly scheme: 'CTNormalization';
      /** Clipped to these, then minus the mean, divided by the deviation. */
      readonly clip: readonly [number, number];
      readonly mean: number;
      readonly deviation: number;
    }
  | {
      readonly scheme: 'ZScoreNormalization';
      /** Statistics of, and only applied to, voxels inside the mask of what is not 0. */
      readonly masked: boolean;
    }
  | { readonly scheme: 'RescaleTo01Normalization' | 'RGBTo01Normalization' | 'NoNormalization' };

/** How volumes get another spacing. */
export type NnunetResampling =
  | {
      readonly method: 'spline';
      /** 3 is cubic, 1 linear, 0 nearest. */
      readonly order: 0 | 1 | 3;
      /** Along a low-resolution axis that is resampled apart. */
      readonly lowResolutionOrder: 0 | 1 | 3;
      /** Whether it is apart; undefined: where spacings differ by a factor above 3. */
      readonly apart: boolean | undefined;
    }
  | {
      /** As PyTorch's; along a low-resolution axis that is resampled apart the nearest slice. */
      readonly method: 'trilinear';
      /** As of a spline. */
      readonly apart: boolean | undefined;
    }
  | { readonly method: 'none' };

/** How labels of a cascade's previous stage do. */
export interface NnunetLabelResampling {
  /** Each label's share of voxels. */
  readonly how: NnunetResampling;
  /** Which label has a voxel: the last with half of it or more, or that with most. */
  readonly winner: 'half' | 'most';
}

/** One of the configurations of `plans.json`. */
export interface NnunetConfiguration {
  /** Such as `3d_fullres`. */
  readonly name: string;
  /** Voxels of the window. */
  readonly patch: Axes;
  /** In mm, along the axes of the patch. */
  readonly spacing: Axes;
  /** Samples of a training batch. */
  readonly batchSize: number;
  /** One per channel. */
  readonly normalization: readonly NnunetNormalization[];
  /** Of images, of what the network gives, and of the labels of a previous stage. */
  readonly resampling: {
    readonly data: NnunetResampling;
    readonly probabilities: NnunetResampling;
    readonly labels: NnunetLabelResampling;
  };
  /** What its network is built of. */
  readonly network: NnunetNetwork;
  /** The configuration whose labels are this one's input beside the image. */
  readonly previousStage: string | undefined;
  /** Whether Dice is of a whole batch in training. */
  readonly batchDice: boolean;
}

/** What `plans.json` says that segmentation needs. */
export interface NnunetPlans {
  /** Name of the data set. */
  readonly dataset: string;
  /** Such as `nnUNetResEncUNetMPlans`. */
  readonly name: string;
  /** Such as `SimpleITKIO`. */
  readonly reader: string;
  /** Axis of the file, as z, y, x, that each axis of nnU-Net's arrays is. */
  readonly transpose: Axes;
  /** Names of all configurations. */
  readonly configurations: readonly string[];
  /** The one that is used. */
  readonly configuration: NnunetConfiguration;
}

const permutation = v.pipe(
  triple(wholeNumber(0, 2), 'an order of the axes 0, 1, 2'),
  v.check((order) => new Set(order).size === 3, 'each of the axes 0, 1, 2 once'),
);

/** Null for NaN, of a channel without foreground; only CTNormalization needs them. */
const found = v.nullable(finite());
const intensities = openObject({
  mean: found,
  std: found,
  percentile_00_5: found,
  percentile_99_5: found,
});
const noIntensities = { mean: null, std: null, percentile_00_5: null, percentile_99_5: null };
const perChannel = v.optional(v.record(v.string(), intensities, 'an object with one entry per channel'));

const plansSchema = openObject({
  dataset_name: text,
  plans_name: text,
  image_reader_writer: text,
  transpose_forward: permutation,
  transpose_backward: permutation,
  foreground_intensity_properties_per_channel: perChannel,
  foreground_intensity_properties_by_modality: perChannel,
  configurations: v.record(
    v.string(),
    v.looseObject({ inherits_from: v.optional(text) }, 'an object'),
    'an object with an entry per configuration',
  ),
});
type Plans = v.InferOutput<typeof plansSchema>;

const order = v.picklist([0, 1, 3], '0, 1 or 3');
const resampler = oneOf('resample_data_or_seg_to_shape', 'resample_torch_fornnunet', 'no_resampling_hack');
const resamplerOptions = openObject({
  order: v.optional(order),
  order_z: v.optional(order),
  force_separate_z: v.optional(v.nullable(flag)),
  separate_z_anisotropy_threshold: v.optional(v.literal(3, '3')),
  mode: v.optional(v.literal('linear', '"linear"')),
  aniso_axis_mode: v.optional(v.literal('nearest-exact', '"nearest-exact"')),
  memefficient_seg_resampling: v.optional(flag),
});

type ResamplerOptions = v.InferOutput<typeof resamplerOptions>;

const configurationSchema = openObject({
  patch_size: triple(
    wholeNumber(1, 4096),
    'three whole numbers: networks in two dimensions are not supported',
  ),
  spacing: triple(numberAbove(0), 'three numbers above 0'),
  batch_size: wholeNumber(1),
  normalization_schemes: v.array(
    oneOf(
      'CTNormalization',
      'ZScoreNormalization',
      'RescaleTo01Normalization',
      'RGBTo01Normalization',
      'NoNormalization',
    ),
    'a list with one entry per channel',
  ),
  use_mask_for_norm: v.array(flag, 'a list of true and false, one per channel'),
  resampling_fn_data: resampler,
  resampling_fn_data_kwargs: resamplerOptions,
  resampling_fn_probabilities: resampler,
  resampling_fn_probabilities_kwargs: resamplerOptions,
  resampling_fn_seg: v.optional(resampler, 'resample_data_or_seg_to_shape'),
  resampling_fn_seg_kwargs: v.optional(resamplerOptions, { order: 1, force_separate_z: null }),
  batch_dice: v.optional(flag, true),
  previous_stage: v.optional(v.nullable(text)),
  preprocessor_name: v.optional(oneOf('DefaultPreprocessor')),
});

const fail = (problem: string): InvalidModel =>
  new InvalidModel(`plans.json: ${problem}; take another copy of the model folder`);

/**
 * @param json the text of plans.json
 * @param name of the configuration
 * @throws InvalidModel with the path and the value of what is wrong or not supported
 */
export function readPlans(json: string, name: string): NnunetPlans {
  const plans = readJson(json, plansSchema, fail);
  const names = Object.keys(plans.configurations);
  if (plans.transpose_forward.some((from, to) => plans.transpose_backward[from] !== to))
    throw fail('transpose_backward is not the reverse of transpose_forward');
  return {
    dataset: plans.dataset_name,
    name: plans.plans_name,
    reader: plans.image_reader_writer,
    transpose: plans.transpose_forward,
    configurations: names,
    configuration: configurationOf(plans, name),
  };
}

/** The data set that plans.json names; whatever else it says. @throws InvalidModel */
export const datasetIn = (json: string): string => readJson(json, plansSchema, fail).dataset_name;

/** What a choice among several models asks of a configuration. */
export interface NnunetOutline {
  /** The configuration whose labels it takes. */
  readonly previousStage: string | undefined;
  /** Its network has two dimensions, and cannot be opened. */
  readonly isPlanar: boolean;
}

/** Whatever else plans.json says; undefined for a configuration that it does not have. @throws InvalidModel */
export function outlineIn(json: string, name: string): NnunetOutline | undefined {
  const plans = readJson(json, plansSchema, fail);
  if (!Object.hasOwn(plans.configurations, name)) return undefined;
  const { previous_stage: previous, patch_size: patch } = inherited(plans, name);
  return {
    previousStage: typeof previous === 'string' ? previous : undefined,
    isPlanar: Array.isArray(patch) && patch.length === 2,
  };
}

function configurationOf(plans: Plans, name: string): NnunetConfiguration {
  const within = (problem: string): InvalidModel => fail(`of configuration "${name}", ${problem}`);
  const given = inherited(plans, name);
  const wording = { expected: 'expected', fail: within } as const;
  const parsed = held(configurationSchema, given, wording);
  const network =
    'architecture' in given
      ? networkOf(held(openObject({ architecture: architectureSchema }), given, wording).architecture, within)
      : oldNetworkOf(held(oldNetworkSchema, given, wording), within);
  const schemes = parsed.normalization_schemes;
  if (schemes.length === 0 || parsed.use_mask_for_norm.length !== schemes.length)
    throw within(
      `use_mask_for_norm has ${parsed.use_mask_for_norm.length} entries and normalization_schemes ${schemes.length}; expected one per channel`,
    );
  return {
    name,
    patch: parsed.patch_size,
    spacing: parsed.spacing,
    batchSize: parsed.batch_size,
    normalization: schemes.map((scheme, channel) => {
      if (scheme === 'ZScoreNormalization') return { scheme, masked: parsed.use_mask_for_norm[channel]! };
      return scheme === 'CTNormalization' ? ctNormalization(plans, channel) : { scheme };
    }),
    resampling: {
      data: resamplingOf(parsed.resampling_fn_data, parsed.resampling_fn_data_kwargs),
      probabilities: resamplingOf(
        parsed.resampling_fn_probabilities,
        parsed.resampling_fn_probabilities_kwargs,
      ),
      labels: labelResamplingOf(parsed, within),
    },
    network,
    previousStage: parsed.previous_stage ?? undefined,
    batchDice: parsed.batch_dice,
  };
}

/** The entries of a configuration over those of its parents. */
function inherited({ configurations }: Plans, name: string): Record<string, unknown> {
  const chain: Record<string, unknown>[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = name; next !== undefined;) {
    if (!Object.hasOwn(configurations, next))
      throw fail(`configuration "${next}" is missing; there are ${listed(Object.keys(configurations))}`);
    if (seen.size === seen.add(next).size) throw fail(`configuration "${next}" inherits from itself`);
    const { inherits_from: parent, ...own }: Plans['configurations'][string] = configurations[next]!;
    chain.unshift(own);
    next = parent;
  }
  return Object.assign({}, ...chain) as Record<string, unknown>;
}

function ctNormalization(plans: Plans, channel: number): NnunetNormalization {
  const all =
    plans.foreground_intensity_properties_per_channel ?? plans.foreground_intensity_properties_by_modality;
  const { mean, std, percentile_00_5: low, percentile_99_5: high } = all?.[channel] ?? noIntensities;
  if (mean === null || std === null || low === null || high === null)
    throw fail(
      `foreground_intensity_properties_per_channel.${channel} is ${all?.[channel] ? 'without numbers' : 'missing'}, which CTNormalization needs`,
    );
  return { scheme: 'CTNormalization', clip: [low, high], mean, deviation: Math.max(std, 1e-8) };
}

/** What is not given is as in the functions themselves. */
function resamplingOf(
  method: v.InferOutput<typeof resampler>,
  { order = 3, order_z: lowResolutionOrder = 0, force_separate_z: apart }: ResamplerOptions,
): NnunetResampling {
  if (method === 'no_resampling_hack') return { method: 'none' };
  if (method === 'resample_torch_fornnunet') return { method: 'trilinear', apart: apart ?? undefined };
  if (apart === undefined) return { method: 'spline', order, lowResolutionOrder, apart: false };
  return { method: 'spline', order, lowResolutionOrder, apart: apart ?? undefined };
}

function labelResamplingOf(
  {
    resampling_fn_seg: method,
    resampling_fn_seg_kwargs: options,
    previous_stage: previous,
  }: v.InferOutput<typeof configurationSchema>,
  within: (problem: string) => Error,
): NnunetLabelResampling {
  const how = resamplingOf(method, options);
  if (previous && options.memefficient_seg_resampling)
    throw within(
      `resampling_fn_seg_kwargs.memefficient_seg_resampling is true; expected false for labels of "${previous}", as half of a voxel then hangs on rounding`,
    );
  if (how.method === 'trilinear') return { how, winner: 'most' };
  const isUsual = how.method === 'none' || (how.order === 1 && how.lowResolutionOrder === 0);
  if (previous && !isUsual)
    throw within(
      `resampling_fn_seg_kwargs has order ${how.order} and order_z ${how.lowResolutionOrder}; expected 1 and 0 for labels of "${previous}"`,
    );
  return { how, winner: 'half' };
}
