/**
 * nnU-Net's lists run along the axes of its arrays, slowest first; sizes in this package run fastest first. In this
 * folder x, y and z are the axes of nnU-Net's arrays, behind `transpose_forward`.
 */
import type { AxisTransform } from '../../../data/volume.ts';
import type { Size3 } from '../../../size.ts';
import type { Axes } from '../network.ts';

export const fastestFirst = ([z, y, x]: Axes): Size3 => [x, y, z];

/** `transpose_forward` as a turn of a volume's axes. */
export const transposition = ([z, y, x]: Axes): AxisTransform => ({
  axes: [2 - x, 2 - y, 2 - z] as unknown as AxisTransform['axes'],
  flips: [false, false, false],
});

export const voxelsOf = ([x, y, z]: Size3): number => x * y * z;
