/** What a bundle does with an image before and after its network, as its inference.json says. */
import * as v from 'valibot';
import {
  finite,
  flag,
  held,
  numberAbove,
  object,
  oneOf,
  fractionBelow1,
  triple,
  wholeNumber,
} from '../../schema.ts';
import type { Size3 } from '../../size.ts';
import { componentsIn, harmless, ignored, plainName } from './compose.ts';
import { componentOf, requireValues, type BundleConfig, type Component } from './config.ts';
import { readOutcome, type Outcome } from './postprocessing.ts';

/** In the order in which they are applied. */
export type Transform =
  | { readonly kind: 'orientation' }
  | { readonly kind: 'spacing'; /** Millimetres along x, y, z. */ readonly spacing: Size3 }
  | { readonly kind: 'normalize'; readonly nonzero: boolean; readonly channelWise: boolean }
  | {
      readonly kind: 'range';
      readonly from: readonly [number, number];
      readonly to: readonly [number, number];
      readonly clip: boolean;
    }
  | {
      /** From the least and the largest value to these, of all channels together or of each. */
      readonly kind: 'scale';
      readonly to: readonly [number, number];
      readonly channelWise: boolean;
    };

/** How an image goes through the network. */
export interface Windows {
  /** Voxels along x, y, z; absent: the whole image at once. */
  readonly size?: Size3 | undefined;
  /** Of neighbouring windows, as a fraction of their size: from 0 up to, not including, 1. */
  readonly overlap: number;
  /** Whether all voxels of a window count the same, or the inner ones more. */
  readonly mode: 'constant' | 'gaussian';
  /** Of the Gaussian, as a fraction of the window. */
  readonly sigma: number;
  /** What is around an image that a window is larger than. Default: zeros. */
  readonly padding?: 'replicate' | undefined;
}

/** What a bundle does to an image before the network, how it goes through it, and what is made of its logits. */
export interface Pipeline extends Outcome {
  /** In the order in which they are applied. */
  readonly transforms: readonly Transform[];
  /** How the image goes through the network. */
  readonly windows: Windows;
}

const one = <T extends v.GenericSchema<unknown, unknown>>(item: T, expected: string) =>
  v.pipe(
    v.union([item, v.strictTuple([item])], expected),
    v.transform((value) => (Array.isArray(value) ? value[0] : value) as v.InferOutput<T>),
  );

const orientation = object({
  ...ignored,
  axcodes: v.literal('RAS', '"RAS"'),
  as_closest_canonical: v.optional(flag),
  labels: v.optional(v.unknown()),
});
const spacing = object({
  ...ignored,
  pixdim: triple(numberAbove(0), 'millimetres along three axes'),
  mode: v.optional(one(oneOf('bilinear'), '"bilinear"')),
  padding_mode: v.optional(one(oneOf('border'), '"border"')),
  diagonal: v.optional(v.literal(false, 'false')),
  align_corners: v.optional(one(v.nullable(v.literal(false, 'false')), 'false')),
  scale_extent: v.optional(v.literal(false, 'false')),
});
const normalize = object({
  ...ignored,
  nonzero: v.optional(flag, false),
  channel_wise: v.optional(flag, false),
  subtrahend: v.optional(v.null('null')),
  divisor: v.optional(v.null('null')),
});
const range = object({
  ...ignored,
  a_min: finite(),
  a_max: finite(),
  b_min: finite(),
  b_max: finite(),
  clip: v.optional(flag, false),
});

const scale = object({
  ...ignored,
  minv: v.optional(finite(), 0),
  maxv: v.optional(finite(), 1),
  factor: v.optional(v.null('null')),
  channel_wise: v.optional(flag, false),
});

const readers: Partial<
  Record<string, (given: Component['given'], fail: (problem: string) => Error) => Transform>
> = {
  Orientation(given, fail) {
    held(orientation, given, { expected: 'expected', fail });
    return { kind: 'orientation' };
  },
  Spacing: (given, fail) => ({
    kind: 'spacing',
    spacing: held(spacing, given, { expected: 'expected', fail }).pixdim,
  }),
  NormalizeIntensity(given, fail) {
    const { nonzero, channel_wise: channelWise } = held(normalize, given, { expected: 'expected', fail });
    return { kind: 'normalize', nonzero, channelWise };
  },
  ScaleIntensityRange(given, fail) {
    const { a_min, a_max, b_min, b_max, clip } = held(range, given, { expected: 'expected', fail });
    if (a_min === a_max) throw fail(`a_min and a_max are both ${a_min}; expected two numbers`);
    return { kind: 'range', from: [a_min, a_max], to: [b_min, b_max], clip };
  },
  ScaleIntensity(given, fail) {
    const { minv, maxv, channel_wise: channelWise } = held(scale, given, { expected: 'expected', fail });
    return { kind: 'scale', to: [minv, maxv], channelWise };
  },
};

const monaiNames = {
  orientation: 'Orientation',
  spacing: 'Spacing',
  normalize: 'NormalizeIntensity',
  range: 'ScaleIntensityRange',
  scale: 'ScaleIntensity',
} as const satisfies Record<Transform['kind'], string>;

/** By MONAI's names, what is done before and after the network. */
export const namesAround = ({ transforms, windows, threshold, components = [] }: Pipeline): string[] => [
  ...transforms.map(({ kind }) => monaiNames[kind]),
  ...(windows.size ? ['SlidingWindowInferer'] : []),
  ...(threshold === undefined ? [] : [`AsDiscrete with the threshold ${threshold}`]),
  ...components.map(() => 'KeepLargestConnectedComponent'),
];

function transformsOf(config: BundleConfig): Transform[] {
  const found: Transform[] = [];
  for (const component of componentsIn('preprocessing', config)) {
    const name = plainName(component.className);
    const read = Object.hasOwn(readers, name) ? readers[name] : undefined;
    if (!read)
      throw config.failure(
        `preprocessing has ${JSON.stringify(component.className)}; expected ${[...Object.keys(readers), ...harmless].join(', ')}`,
      );
    requireValues(component, config);
    found.push(read(component.given, (problem) => config.failure(`of ${component.className}, ${problem}`)));
  }
  return found;
}

const sliding = v.object({
  roi_size: triple(wholeNumber(1), 'voxels along three axes'),
  overlap: v.optional(fractionBelow1(), 0.25),
  mode: v.optional(oneOf('constant', 'gaussian'), 'constant'),
  sigma_scale: v.optional(numberAbove(0), 0.125),
  padding_mode: v.optional(oneOf('constant', 'replicate'), 'constant'),
  cval: v.optional(v.literal(0, '0')),
});

function windowsOf(config: BundleConfig): Windows {
  const component = componentOf(config.value('inferer'), 'inferer', config);
  const { className, given } = component;
  if (className === 'SimpleInferer') return { overlap: 0, mode: 'constant', sigma: 1 };
  if (className !== 'SlidingWindowInferer')
    throw config.failure(
      `the inferer is ${JSON.stringify(className)}; expected SlidingWindowInferer or SimpleInferer`,
    );
  const needed = Object.fromEntries(Object.entries(given).filter(([key]) => key in sliding.entries));
  requireValues({ className, given: needed }, config);
  const {
    roi_size: size,
    overlap,
    mode,
    sigma_scale: sigma,
    padding_mode: padding,
  } = held(sliding, needed, {
    expected: 'expected',
    fail: (problem) => config.failure(`of ${className}, ${problem}`),
  });
  return { size, overlap, mode, sigma, ...(padding === 'replicate' && { padding }) };
}

/**
 * @param classes of the network
 * @throws InvalidModel naming what is not supported
 */
export function readPipeline(config: BundleConfig, classes: number): Pipeline {
  const outcome = readOutcome(config, classes);
  return { transforms: transformsOf(config), windows: windowsOf(config), ...outcome };
}
