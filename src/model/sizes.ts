/** Sizes of volumes, x, y, z, that a network takes, and what its levels make of them. */
import { assertOptions } from '../options.ts';
import { size3 } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { completed, wholeConfig, type UNet3DConfig } from './config.ts';

/** Voxels of the input along x, y and z in one of a level. */
export function strideTo(config: UNet3DConfig, level: number): Size3 {
  const strides = wholeConfig(config).strides.slice(0, level);
  const along = (axis: 0 | 1 | 2) => strides.reduce((product, stride) => product * stride[axis], 1);
  return [along(0), along(1), along(2)];
}

/**
 * Along x, y and z, the network's input is a multiple of this.
 * @example
 * ```js
 * console.log(sizeMultiple(completeConfig({ inChannels: 1, classes: 6, features: [8, 16, 32] }))); // [4, 4, 4]
 * ```
 */
export function sizeMultiple(config: UNet3DConfig): Size3 {
  assertOptions('sizeMultiple', { config: completed }, { config });
  return wholeConfig(config).oddSizes === 'repeat' ? [1, 1, 1] : leastSize(config);
}

/** The smallest input, x, y, z: it has one voxel at the deepest level. */
export const leastSize = (config: UNet3DConfig): Size3 => strideTo(config, config.features.length - 1);

/** A multiple in words: one number where it is the same along all axes. */
export const multipleInWords = (multiple: Size3): string =>
  new Set(multiple).size === 1 ? String(multiple[0]) : `${multiple.join(', ')} (x, y, z)`;

/**
 * The network's size for a volume: each axis rounded up to the multiple, and no smaller than the network takes.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16, 32] });
 * console.log(paddedSize(config, [33, 32, 30])); // [36, 32, 32]
 * ```
 */
export function paddedSize(config: UNet3DConfig, size: Size3): Size3 {
  assertOptions('paddedSize', { config: completed, size: size3 }, { config, size });
  const [multiple, least] = [sizeMultiple(config), leastSize(config)];
  const up = (axis: 0 | 1 | 2) =>
    Math.max(least[axis], Math.ceil(size[axis] / multiple[axis]) * multiple[axis]);
  return [up(0), up(1), up(2)];
}

/**
 * The size at which a volume goes through the network whole: that of its training where the volume fits, as norms see
 * the padding, too; else its own.
 */
export const wholeSize = (config: UNet3DConfig, shape: Size3, trained?: Size3): Size3 =>
  trained && shape.every((length, axis) => length <= trained[axis]!) ? trained : paddedSize(config, shape);

/** The longest axis cut to a fraction of its length, in the network's multiples; undefined where nothing is left to cut. */
export function shrunk(config: UNet3DConfig, size: Size3, fraction: number): Size3 | undefined {
  const axis = size.indexOf(Math.max(...size));
  const multiple = sizeMultiple(config)[axis]!;
  if (size[axis]! <= multiple) return undefined;
  const length = Math.max(multiple, Math.floor((size[axis]! * fraction) / multiple) * multiple);
  return size.map((old, i) => (i === axis ? length : old)) as unknown as Size3;
}
