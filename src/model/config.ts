/** What a 3D U-Net is made of, checked. */
import { InvalidOption } from '../errors.ts';
import type { Size3 } from '../gpu/plan.ts';
import type { NormKind } from '../ops/norm.ts';

export interface UNet3DConfig {
  /** Channels of the input volume. */
  readonly inChannels: number;
  /** Output classes, background included. */
  readonly classes: number;
  /** Channels per level, full resolution first; their number is the number of levels. Default [16, 32, 64, 128]. */
  readonly features: readonly number[];
  /** Default `batch`. The command line's `train` and `plan` default to `instance`. */
  readonly norm: NormKind;
  /** `leakyRelu` has slope 0.01, nnU-Net's. Default `relu`. */
  readonly activation: 'relu' | 'leakyRelu';
  /**
   * Deep supervision as in nnU-Net: coarser decoder levels have heads of their own, whose losses count half as much
   * per level, the coarsest left out. Takes four levels or more. Default false.
   */
  readonly deepSupervision?: boolean;
}

export const defaultConfig = {
  features: [16, 32, 64, 128],
  norm: 'batch',
  activation: 'relu',
} as const satisfies Partial<UNet3DConfig>;

const whole = (value: number, low: number, high: number) =>
  Number.isInteger(value) && value >= low && value <= high;

/** Fills in the defaults. Throws `InvalidOption` naming the value, what was expected and why. */
export function completeConfig(
  partial: Pick<UNet3DConfig, 'inChannels' | 'classes'> & Partial<UNet3DConfig>,
): UNet3DConfig {
  const config: UNet3DConfig = {
    inChannels: partial.inChannels,
    classes: partial.classes,
    features: partial.features ?? defaultConfig.features,
    norm: partial.norm ?? defaultConfig.norm,
    activation: partial.activation ?? defaultConfig.activation,
  };
  if (partial.deepSupervision) Object.assign(config, { deepSupervision: true });
  const { inChannels, classes, features, norm, activation } = config;
  if (!whole(inChannels, 1, 1024))
    throw new InvalidOption(`inChannels is ${inChannels}; give a whole number from 1 to 1024`);
  if (!whole(classes, 2, 255))
    throw new InvalidOption(`classes is ${classes}; give a whole number from 2 (background counts) to 255`);
  if (features.length < 1 || features.length > 8 || !features.every((count) => whole(count, 1, 4096))) {
    throw new InvalidOption(
      `features is [${features.join(',')}]; give 1 to 8 whole numbers from 1 to 4096, one per level`,
    );
  }
  if (norm !== 'batch' && norm !== 'instance')
    throw new InvalidOption(`norm is '${String(norm)}'; give 'batch' or 'instance'`);
  if (activation !== 'relu' && activation !== 'leakyRelu') {
    throw new InvalidOption(`activation is '${String(activation)}'; give 'relu' or 'leakyRelu'`);
  }
  if (config.deepSupervision && supervisedLevels(config).length === 1)
    throw new InvalidOption(
      `deepSupervision takes four levels or more; features is [${features.join(',')}]: leave it out or add levels`,
    );
  return config;
}

/** Decoder levels with a head: the finest, and with deep supervision the coarser ones but the coarsest. */
export function supervisedLevels({ features, deepSupervision }: UNet3DConfig): number[] {
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

export const activationSlope = (config: UNet3DConfig): number => (config.activation === 'relu' ? 0 : 0.01);

/** Each axis of the network's input is a multiple of this. */
export const sizeMultiple = (config: UNet3DConfig): number => 2 ** (config.features.length - 1);

/** The network's size for a volume: each axis rounded up to the multiple. */
export function paddedSize(config: UNet3DConfig, size: Size3): Size3 {
  const multiple = sizeMultiple(config);
  const up = (length: number) => Math.ceil(length / multiple) * multiple;
  return [up(size[0]), up(size[1]), up(size[2])];
}

/**
 * The size at which a volume goes through the network whole: that of its training where the volume fits, as norms see
 * the padding, too; else its own.
 */
export const wholeSize = (config: UNet3DConfig, shape: Size3, trained?: Size3): Size3 =>
  trained && shape.every((length, axis) => length <= trained[axis]!) ? trained : paddedSize(config, shape);
