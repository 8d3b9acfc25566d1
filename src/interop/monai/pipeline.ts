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
import { componentOf, requireValues, type BundleConfig, type Component } from './config.ts';

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

/** What a bundle does to an image before the network and how it goes through it. */
export interface Pipeline {
  /** In the order in which they are applied. */
  readonly transforms: readonly Transform[];
  /** How the image goes through the network. */
  readonly windows: Windows;
  /**
   * What comes back to the image's own grid: probabilities, of which the largest counts there, or labels, each from the
   * voxel that is nearest. Default: probabilities.
   */
  readonly back?: 'labels' | undefined;
}

/** Decorations of every transform that change nothing here. */
const ignored = {
  keys: v.optional(v.unknown()),
  allow_missing_keys: v.optional(v.unknown()),
  lazy: v.optional(v.literal(false, 'false')),
};
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

/** Reading and types, which change no voxel. */
const harmless = ['LoadImage', 'EnsureChannelFirst', 'AddChannel', 'EnsureType', 'ToTensor'];

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

/** `Spacingd`, `SpacingD` and `SpacingDict` are `Spacing` of an entry of a dict. */
const plainName = (className: string): string => className.replace(/(Dict|[dD])$/, '');

function components(value: unknown, what: string, config: BundleConfig): Component[] {
  const { className, given } = componentOf(value, what, config);
  if (className !== 'Compose') return [{ className, given }];
  const { transforms } = given;
  if (!Array.isArray(transforms)) {
    componentOf(transforms, `transforms of ${what}`, config); // an expression is named
    throw config.failure(`transforms of ${what} are no list`);
  }
  return transforms
    .map((item, index) => componentOf(item, `transform ${index + 1} of ${what}`, config))
    .filter(({ given: { _disabled_: disabled } }) => disabled !== true);
}

function transformsOf(config: BundleConfig): Transform[] {
  const found: Transform[] = [];
  for (const component of components(config.value('preprocessing'), 'preprocessing', config)) {
    const name = plainName(component.className);
    if (harmless.includes(name) || harmless.includes(component.className)) continue;
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

/** Probabilities are brought back to the image's own grid, and there the largest counts. */
const probabilitiesBack = ['Activations', 'Invert', 'AsDiscrete'];
/** The largest counts on the network's grid, and labels are brought back. */
const labelsBack = ['AsDiscrete', 'Invert'];

function backOf(config: BundleConfig): Pipeline['back'] {
  if (!config.has('postprocessing')) return undefined;
  const steps = components(config.value('postprocessing'), 'postprocessing', config)
    .map(({ className, given }) => ({ name: plainName(className), given }))
    .filter(({ name }) => name !== 'SaveImage' && !harmless.includes(name));
  const names = steps.map(({ name }) => name);
  const given = (name: string) => steps.find((step) => step.name === name)?.given ?? {};
  const isNearest = given('Invert')['nearest_interp'] ?? true; // MONAI's default
  const isUsual = given('AsDiscrete')['argmax'] === true;
  const isSoftmax = given('Activations')['softmax'] === true;
  if (isUsual && isSoftmax && isNearest === false && names.join() === probabilitiesBack.join())
    return undefined;
  const rest = names[0] === 'Activations' && isSoftmax ? names.slice(1) : names;
  if (isUsual && isNearest === true && rest.join() === labelsBack.join()) return 'labels';
  throw config.failure(
    `postprocessing is ${names.join(', ')}; expected Activations with softmax, Invert with nearest_interp false, then AsDiscrete ` +
      'with argmax; or AsDiscrete with argmax, then Invert with nearest_interp true',
  );
}

/** @throws InvalidModel naming what is not supported */
export function readPipeline(config: BundleConfig): Pipeline {
  const back = backOf(config);
  return { transforms: transformsOf(config), windows: windowsOf(config), ...(back && { back }) };
}
