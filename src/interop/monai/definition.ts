/** Networks of ours as definitions of MONAI's classes, which `readNetwork` reads back. */
import { InvalidModel } from '../../errors.ts';
import { wholeConfig, type UNet3DConfig } from '../../model/config.ts';
import { readNetwork, type MonaiNetwork } from './network.ts';

type Kind = MonaiNetwork['kind'];
type Whole = ReturnType<typeof wholeConfig>;

/** A network by the name of its class and its arguments, as JSON. */
export type Definition = { readonly _target_: string } & Readonly<Record<string, unknown>>;

const common = ({ inChannels, classes }: Whole) => ({ in_channels: inChannels, out_channels: classes });

const normed = ({ norm, scaleAndShift }: Whole) => ({ norm: [norm, { affine: scaleAndShift }] });

const rectified = ({ activation, slope }: Whole) =>
  activation === 'leakyRelu' ? ['leakyrelu', { negative_slope: slope, inplace: true }] : 'relu';

const argumentsOf: Record<Kind, (config: Whole) => Readonly<Record<string, unknown>>> = {
  UNet: (config) => ({
    spatial_dims: 3,
    ...common(config),
    channels: config.features,
    strides: config.strides,
    num_res_units: config.units,
    act: 'prelu',
    ...normed(config),
    bias: config.bias,
  }),
  DynUNet: (config) => ({
    spatial_dims: 3,
    ...common(config),
    kernel_size: config.kernels,
    strides: [[1, 1, 1], ...config.strides],
    upsample_kernel_size: config.strides,
    filters: config.features,
    norm_name: normed(config).norm,
    act_name: rectified(config),
    deep_supervision: config.heads > 1,
    ...(config.heads > 1 && { deep_supr_num: config.heads - 1 }),
    res_block: config.block === 'residual',
    trans_bias: config.upBias,
  }),
  BasicUNet: (config) => ({
    spatial_dims: 3,
    ...common(config),
    features: [...config.features, config.decoderFeatures[0]],
    act: rectified(config),
    ...normed(config),
    bias: config.bias,
  }),
  SegResNet: (config) => ({
    spatial_dims: 3,
    init_filters: config.features[0],
    ...common(config),
    norm: ['group', { num_groups: config.groups }],
    act: rectified(config),
    blocks_down: config.encoderBlocks,
    blocks_up: config.decoderBlocks.toReversed(),
  }),
};

/** What networks of this architecture may be in MONAI. */
const kindsOf = ({ architecture }: Whole): readonly Kind[] => {
  if (architecture === 'residualUnits') return ['UNet'];
  return architecture === 'segResNet' ? ['SegResNet'] : ['DynUNet', 'BasicUNet'];
};

/**
 * The class of MONAI that has this network, and its arguments.
 * @throws InvalidModel naming what no class of MONAI's has, by the one that comes nearest
 */
export function definitionOf(config: UNet3DConfig): {
  network: Pick<MonaiNetwork, 'kind' | 'config'>;
  definition: Definition;
} {
  const ours = wholeConfig(config);
  const problems: { readonly text: string; readonly count: number }[] = [];
  for (const kind of kindsOf(ours)) {
    const definition = { _target_: kind, ...argumentsOf[kind](ours) };
    try {
      const network = readNetwork(definition, 'the model');
      const theirs = wholeConfig(network.config);
      const others = (Object.keys({ ...ours, ...theirs }) as (keyof Whole)[]).filter(
        // Which heads count in a training is no part of the network.
        (key) => key !== 'deepSupervision' && JSON.stringify(ours[key]) !== JSON.stringify(theirs[key]),
      );
      if (others.length === 0) return { network: { kind, config }, definition };
      const told = others.map(
        (key) => `${key} ${JSON.stringify(ours[key])}, and MONAI's ${kind} ${JSON.stringify(theirs[key])}`,
      );
      problems.push({ text: `the network has ${told.join('; ')}`, count: told.length });
    } catch (error) {
      if (!(error instanceof InvalidModel)) throw error;
      problems.push({ text: error.message, count: Infinity });
    }
  }
  const [nearest] = problems.sort((a, b) => a.count - b.count);
  throw new InvalidModel(
    `the model cannot be written for MONAI: ${nearest!.text}; export it to pytorch or onnx in its place`,
  );
}

/** The class of MONAI that has this network; undefined where there is none. */
export function classOf(config: UNet3DConfig): Kind | undefined {
  try {
    return definitionOf(config).network.kind;
  } catch (error) {
    if (error instanceof InvalidModel) return undefined;
    throw error;
  }
}
