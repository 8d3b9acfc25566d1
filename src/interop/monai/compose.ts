/** Lists of transforms in a bundle's configuration. */
import * as v from 'valibot';
import { componentOf, type BundleConfig, type Component } from './config.ts';

/** Decorations of every transform that change nothing here. */
export const ignored = {
  keys: v.optional(v.unknown()),
  allow_missing_keys: v.optional(v.unknown()),
  lazy: v.optional(v.literal(false, 'false')),
};

/** Reading, writing and types, which change no voxel. */
export const harmless = ['LoadImage', 'EnsureChannelFirst', 'AddChannel', 'EnsureType', 'ToTensor'];

/** `Spacingd`, `SpacingD` and `SpacingDict` are `Spacing` of an entry of a dict. */
export const plainName = (className: string): string => className.replace(/(Dict|[dD])$/, '');

/** The transforms under a key that change voxels, in order; a single one need be no list. */
export function componentsIn(key: string, config: BundleConfig): readonly Component[] {
  return all(config.value(key), key, config).filter(
    ({ className }) =>
      !harmless.includes(className) && ![...harmless, 'SaveImage'].includes(plainName(className)),
  );
}

function all(value: unknown, what: string, config: BundleConfig): readonly Component[] {
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
