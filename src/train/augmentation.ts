/**
 * What augmentation may do and how likely, and the draw for one sample. A draw depends on the seed and the
 * sample's position in the training only, so a run repeats, and goes on after a resume, to the bit.
 */
import * as v from 'valibot';
import { random, type Random } from '../data/random.ts';
import { assertOptions, definedOf } from '../options.ts';
import { finite, numberFrom, object, size3, triple, type Schema } from '../schema.ts';
import { allAxes, type Axis, type Size3 } from '../size.ts';
import {
  largestSigma,
  mirrorMatrix,
  type ChannelDraw,
  type Matrix3x4,
  type SampleDraw,
} from '../ops/augment.ts';

/** Values are drawn uniformly between the two. */
export type Interval = readonly [low: number, high: number];

/** Probabilities are per sample; `perChannel` is that of each channel of a sample that has it. Plain data. */
export interface Augmentation {
  /** Each angle; a flat volume is turned in its plane only, by `flatDegrees`. */
  readonly rotation: {
    readonly probability: number;
    readonly degrees: Interval;
    readonly flatDegrees: Interval;
  };
  /** Above 1 what is seen becomes smaller. */
  readonly scaling: { readonly probability: number; readonly factor: Interval };
  /** Probability along x, y, z. Set that of the left-right axis to 0 where labels tell left from right. */
  readonly mirror: readonly [x: number, y: number, z: number];
  /** Standard deviation; the same noise in every channel. */
  readonly noise: { readonly probability: number; readonly deviation: Interval };
  /** Standard deviation in voxels, drawn for each axis, at most 1. */
  readonly blur: { readonly probability: number; readonly perChannel: number; readonly sigma: Interval };
  /** Factors and exponents below and above 1 are equally likely; drawn for each channel. */
  readonly brightness: { readonly probability: number; readonly factor: Interval };
  /** On the distance from the mean; values stay within the channel's range. */
  readonly contrast: { readonly probability: number; readonly factor: Interval };
  /** Share of the voxels along an axis that remain, from 0.5. */
  readonly lowResolution: {
    readonly probability: number;
    readonly perChannel: number;
    readonly share: Interval;
  };
  /** Gamma of the negative image; mean and standard deviation stay as they were. */
  readonly invertedGamma: { readonly probability: number; readonly exponent: Interval };
  /** Gamma of the image itself, in the same way. */
  readonly gamma: { readonly probability: number; readonly exponent: Interval };
}

const probability = numberFrom(0, 1);
/** Both within the limits; at the lower one only where that is not open. */
function interval(least: number, most: number, isOpen = false) {
  const range =
    most === Infinity
      ? `${isOpen ? 'above' : 'from'} ${least}`
      : `from ${isOpen ? 'above ' : ''}${least} to ${most}`;
  const text = `a lower and an upper value ${range}`;
  return v.pipe(
    v.strictTuple([finite(), finite()], text),
    v.check(([low, high]) => low >= least && high <= most && low <= high && !(isOpen && low === least), text),
  );
}
const angles = interval(-180, 180);
const factor = interval(0, Infinity, true);
const augmentationEntries = {
  rotation: object({ probability, degrees: angles, flatDegrees: angles }),
  scaling: object({ probability, factor }),
  mirror: triple(probability, 'three probabilities, along x, y, z'),
  noise: object({ probability, deviation: interval(0, Infinity) }),
  blur: object({ probability, perChannel: probability, sigma: interval(0, largestSigma, true) }),
  brightness: object({ probability, factor }),
  contrast: object({ probability, factor }),
  lowResolution: object({ probability, perChannel: probability, share: interval(0.5, 1) }),
  invertedGamma: object({ probability, exponent: factor }),
  gamma: object({ probability, exponent: factor }),
};
export const augmentationSchema = object(
  augmentationEntries,
  'an augmentation, such as nnunetAugmentation()',
) satisfies Schema<Augmentation>;
const changeEntries = v.partial(augmentationSchema).entries;

/**
 * nnU-Net's defaults for three dimensions, for z-scored images; `changes` replaces whole entries. @throws InvalidOption
 * @example
 * ```js
 * const augmentation = nnunetAugmentation({ mirror: [0.5, 0, 0] }); // for fit(cases, { augmentation })
 * ```
 */
export function nnunetAugmentation(changes: Partial<Augmentation> = {}): Augmentation {
  assertOptions('nnunetAugmentation', changeEntries, changes);
  return {
    rotation: { probability: 0.2, degrees: [-30, 30], flatDegrees: [-180, 180] },
    scaling: { probability: 0.2, factor: [0.7, 1.4] },
    mirror: [0.5, 0.5, 0.5],
    noise: { probability: 0.1, deviation: [0, 0.1] },
    blur: { probability: 0.2, perChannel: 0.5, sigma: [0.5, 1] },
    brightness: { probability: 0.15, factor: [0.75, 1.25] },
    contrast: { probability: 0.15, factor: [0.75, 1.25] },
    lowResolution: { probability: 0.25, perChannel: 0.5, share: [0.5, 1] },
    invertedGamma: { probability: 0.1, exponent: [0.7, 1.5] },
    gamma: { probability: 0.3, exponent: [0.7, 1.5] },
    ...definedOf(changes),
  };
}

/** What is mirrored now and then. */
export const mirroredAxes = ({ mirror }: Pick<Augmentation, 'mirror'>): Axis[] =>
  allAxes.filter((_, axis) => mirror[axis]! > 0);

/** The axis that is left out of rotation, scaling and low resolution: of fewer than a third of the longest's voxels. */
function flatAxis(size: Size3): number | undefined {
  const least = Math.min(...size);
  return Math.max(...size) > 3 * least ? size.lastIndexOf(least) : undefined;
}

/** nnU-Net's limit of how much more of a volume than the patch is read for scaling: rarer draws see zeros. */
const sourceScale = 1 / 0.85;

const marginEntries = { augmentation: augmentationSchema, size: size3, largest: size3 };

/**
 * Voxels x, y, z around a patch that rotation by one axis and scaling bring into it, as nnU-Net enlarges its patches:
 * no more than the volumes have beyond the patch, along x rounded up to whole fours.
 * @param size of the patch
 * @param largest shape of the volumes, per axis
 * @example
 * ```js
 * console.log(augmentationMargin(nnunetAugmentation(), [64, 64, 64], [256, 256, 128])); // voxels to cut more on each side
 * ```
 */
export function augmentationMargin(augmentation: Augmentation, size: Size3, largest: Size3): Size3 {
  assertOptions('augmentationMargin', marginEntries, { augmentation, size, largest });
  const { rotation: turn, scaling } = augmentation;
  const flat = flatAxis(size);
  const degrees = flat === undefined ? turn.degrees : turn.flatDegrees;
  const most = turn.probability > 0 ? (Math.min(90, Math.max(...degrees.map(Math.abs))) * Math.PI) / 180 : 0;
  const scale = scaling.probability > 0 ? Math.min(Math.max(1, scaling.factor[1]), sourceScale) : 1;
  return size.map((length, axis) => {
    if (axis === flat) return 0;
    const reaches = size.map((other, otherAxis) => {
      if (otherAxis === axis || otherAxis === flat) return length;
      const angle = Math.min(most, Math.atan2(other, length));
      return length * Math.cos(angle) + other * Math.sin(angle);
    });
    const wanted = Math.ceil((Math.max(...reaches) * scale - length) / 2);
    const margin = Math.min(wanted, Math.max(0, largest[axis]! - length));
    return axis === 0 ? 4 * Math.ceil(margin / 4) : margin;
  }) as unknown as Size3;
}

const between = (source: Random, [low, high]: Interval): number => source.uniform(low, high);

/** Below and above 1 with equal probability, where the interval has both. */
const aroundOne = (source: Random, [low, high]: Interval): number => {
  const below = source.uniform() < 0.5;
  if (high <= 1 || (below && low < 1)) return source.uniform(low, Math.min(1, high));
  return source.uniform(Math.max(1, low), high);
};

/** Rz · Ry · Rx of three angles in degrees. */
function rotation(degrees: readonly number[]): number[][] {
  const [[cx, sx], [cy, sy], [cz, sz]] = degrees.map((angle) => {
    const radians = (angle * Math.PI) / 180;
    return [Math.cos(radians), Math.sin(radians)];
  }) as [[number, number], [number, number], [number, number]];
  return [
    [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
    [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
    [-sy, cy * sx, cy * cx],
  ];
}

/** What the sample at a position of the training gets. `size`: x, y, z of the volumes. */
export function drawSample(
  augmentation: Augmentation,
  { size, channels, seed, position }: { size: Size3; channels: number; seed: number; position: number },
): SampleDraw {
  const source = random(seed, 'augmentation', position);
  const happens = (probability: number): boolean => source.uniform() < probability;
  const flat = flatAxis(size);
  const {
    rotation: turn,
    scaling,
    noise,
    blur,
    brightness,
    contrast,
    lowResolution,
    invertedGamma,
    gamma,
  } = augmentation;

  const isTurned = happens(turn.probability);
  const isScaled = happens(scaling.probability);
  const angles = [0, 1, 2].map((axis) =>
    !isTurned || (flat !== undefined && axis !== flat)
      ? 0
      : between(source, flat === undefined ? turn.degrees : turn.flatDegrees),
  );
  const factor = isScaled ? between(source, scaling.factor) : 1;
  const mirror = augmentation.mirror.map(happens) as [boolean, boolean, boolean];
  let matrix: Matrix3x4 | undefined;
  if (isTurned || isScaled) {
    const centre = size.map((length) => (length - 1) / 2);
    const mirrored = mirrorMatrix(mirror, size);
    const turned = rotation(angles);
    matrix = [0, 1, 2].map((row) => {
      const scale = row === flat ? 1 : factor;
      const weights = [0, 1, 2].map((column) => scale * turned[row]![column]! * mirrored[column]![column]!);
      const shift = centre[row]! - weights.reduce((sum, weight, axis) => sum + weight * centre[axis]!, 0);
      return [weights[0]!, weights[1]!, weights[2]!, shift];
    });
  }
  const noiseDraw = happens(noise.probability)
    ? {
        deviation: between(source, noise.deviation),
        key: [source.int(2 ** 32), source.int(2 ** 32)] as const,
      }
    : undefined;

  const isBlurred = happens(blur.probability);
  const isBright = happens(brightness.probability);
  const isContrasted = happens(contrast.probability);
  const isReduced = happens(lowResolution.probability);
  const hasInvertedGamma = happens(invertedGamma.probability);
  const hasGamma = happens(gamma.probability);
  const sigmas = (): [number, number, number] => [
    between(source, blur.sigma),
    between(source, blur.sigma),
    between(source, blur.sigma),
  ];
  const reduced = (): [number, number, number] => {
    const share = between(source, lowResolution.share);
    return size.map((length, axis) => (axis === flat ? length : Math.round(length * share))) as [
      number,
      number,
      number,
    ];
  };
  const drawn = Array.from({ length: channels }, (): ChannelDraw => ({
    blur: isBlurred && happens(blur.perChannel) ? sigmas() : undefined,
    brightness: isBright ? aroundOne(source, brightness.factor) : undefined,
    contrast: isContrasted ? aroundOne(source, contrast.factor) : undefined,
    lowResolution: isReduced && happens(lowResolution.perChannel) ? reduced() : undefined,
    invertedGamma: hasInvertedGamma ? aroundOne(source, invertedGamma.exponent) : undefined,
    gamma: hasGamma ? aroundOne(source, gamma.exponent) : undefined,
  }));
  return { mirror, matrix, noise: noiseDraw, channels: drawn };
}

/** A draw in few words, for captions: of the first channel; gamma− is the inverted one. */
export function describeDraw({ mirror, matrix, noise, channels }: SampleDraw): string {
  const number = (value: number) => value.toFixed(2);
  const axes = ['x', 'y', 'z'].filter((_, axis) => mirror?.[axis]).join('');
  const { blur, brightness, contrast, lowResolution, invertedGamma, gamma } = channels[0] ?? {};
  const words = [
    axes && `mirror ${axes}`,
    matrix && 'turned or scaled',
    noise && `noise ${number(noise.deviation)}`,
    blur && `blur ${number(Math.max(...blur))}`,
    brightness !== undefined && `brightness ${number(brightness)}`,
    contrast !== undefined && `contrast ${number(contrast)}`,
    lowResolution && `${lowResolution.join('×')} voxels`,
    invertedGamma !== undefined && `gamma− ${number(invertedGamma)}`,
    gamma !== undefined && `gamma ${number(gamma)}`,
  ].filter(Boolean);
  return words.length ? words.join(', ') : 'as it is';
}
