/** What a 3D U-Net is made of, checked. */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import type { Size3 } from '../gpu/plan.ts';
import { doubling } from '../ops/common.ts';
import type { NormKind } from '../ops/norm.ts';
import { flag, held, oneOf, openObject, triple, wholeNumber } from '../schema.ts';

/** The shape of a network. */
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
  /**
   * How many times fewer voxels each level has than the one above along x, y and z: 1 or 2, an entry for each level
   * but the first. Thick slices are kept by a 1 along their axis. Default: 2 along every axis.
   */
  readonly strides?: readonly Size3[];
}

/** What `completeConfig` fills in. */
export const defaultConfig = {
  features: [16, 32, 64, 128],
  norm: 'batch',
  activation: 'relu',
} as const satisfies Partial<UNet3DConfig>;

const strideText = 'x, y, z of 1 or 2 for each level but the first, such as [2, 2, 1]';
const levels = '1 to 8 whole numbers from 1 to 4096, one per level';

/** Of which all but `inChannels` and `classes` have defaults. */
export const configEntries = {
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
  norm: v.optional(oneOf('batch', 'instance'), defaultConfig.norm),
  activation: v.optional(oneOf('relu', 'leakyRelu'), defaultConfig.activation),
  deepSupervision: v.optional(flag),
  strides: v.optional(
    v.pipe(
      v.array(triple(v.picklist([1, 2], strideText), strideText), strideText),
      v.description('x, y, z between a level and the one above; absent: 2 along every axis'),
    ),
  ),
};

const configSchema = openObject(configEntries);

/**
 * Fills in the defaults; what is not of the configuration is left aside.
 * @throws InvalidOption naming the value, what was expected and why
 */
export function completeConfig(
  partial: Pick<UNet3DConfig, 'inChannels' | 'classes'> & {
    readonly [Key in keyof UNet3DConfig]?: UNet3DConfig[Key] | undefined;
  },
): UNet3DConfig {
  const { deepSupervision, strides, ...plain } = held(configSchema, partial, {
    expected: 'give',
    fail: (problem) => new InvalidOption(problem),
  });
  const config = { ...plain, ...(strides && !isUsual(strides, plain.features) && { strides }) };
  if (!deepSupervision) return config;
  const supervised = { ...config, deepSupervision };
  if (supervisedLevels(supervised).length === 1)
    throw new InvalidOption(
      `deepSupervision takes four levels or more; features is [${config.features.join(',')}]: leave it out or add levels`,
    );
  return supervised;
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

/** Strides between the levels, from the first to the second on. */
export const stridesOf = ({ features, strides }: UNet3DConfig): readonly Size3[] =>
  strides ?? features.slice(1).map(() => doubling);

/** Whether strides say no more than their default. @throws InvalidOption if there is not one for each level but the first */
function isUsual(strides: readonly Size3[], features: readonly number[]): boolean {
  if (strides.length !== features.length - 1)
    throw new InvalidOption(
      `strides is ${JSON.stringify(strides)}; give ${strideText} of ${features.length}`,
    );
  return strides.every((stride) => stride.every((n) => n === 2));
}

/** Voxels of the input along x, y and z in one of a level. */
export function strideTo(config: UNet3DConfig, level: number): Size3 {
  const strides = stridesOf(config).slice(0, level);
  const along = (axis: 0 | 1 | 2) => strides.reduce((product, stride) => product * stride[axis], 1);
  return [along(0), along(1), along(2)];
}

/** Along x, y and z, the network's input is a multiple of this. */
export const sizeMultiple = (config: UNet3DConfig): Size3 => strideTo(config, config.features.length - 1);

/** A multiple in words: one number where it is the same along all axes. */
export const multipleInWords = (multiple: Size3): string =>
  new Set(multiple).size === 1 ? String(multiple[0]) : `${multiple.join(', ')} (x, y, z)`;

/** The network's size for a volume: each axis rounded up to the multiple. */
export function paddedSize(config: UNet3DConfig, size: Size3): Size3 {
  const multiple = sizeMultiple(config);
  const up = (axis: 0 | 1 | 2) => Math.ceil(size[axis] / multiple[axis]) * multiple[axis];
  return [up(0), up(1), up(2)];
}

/**
 * The size at which a volume goes through the network whole: that of its training where the volume fits, as norms see
 * the padding, too; else its own.
 */
export const wholeSize = (config: UNet3DConfig, shape: Size3, trained?: Size3): Size3 =>
  trained && shape.every((length, axis) => length <= trained[axis]!) ? trained : paddedSize(config, shape);
