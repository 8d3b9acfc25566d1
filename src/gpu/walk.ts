/** How a convolution walks over its source, and the text by which keys of passes name it. */
import type { Size3 } from '../size.ts';

/** Along x, y and z. */
export interface Walk {
  /** Taps, 1 to 3: half of those besides the one of an output lie on either side; of 2, see `reach`. */
  readonly kernel: Size3;
  /** Source voxels from one output to the next, 1 or 2. */
  readonly stride: Size3;
  /** 2 where a zero stands between any two source voxels: the stride of the convolution that this is the gradient of. */
  readonly dilation: Size3;
}

/** One step, or no zeros in between, along every axis. */
export const ones: Size3 = [1, 1, 1];

/** 3×3×3 with stride 1: what networks are mostly made of. */
export const usualWalk: Walk = { kernel: [3, 3, 3], stride: ones, dilation: ones };

const isUsual = (walk: Walk): boolean => nameOf(walk) === nameOf(usualWalk);

/**
 * Taps before and after an output along an axis. A kernel of 2 looks ahead; with zeros in between, as the gradient of
 * one that does, it looks back.
 */
export function reach({ kernel, dilation }: Walk, axis: 0 | 1 | 2): { before: number; after: number } {
  const others = kernel[axis] - 1;
  const before = dilation[axis] > 1 ? Math.ceil(others / 2) : Math.floor(others / 2);
  return { before, after: others - before };
}

const times = (size: Size3): string => size.join('x');
const hasSteps = (size: Size3): boolean => size.some((length) => length > 1);

function nameOf({ kernel, stride, dilation }: Walk): string {
  return `${times(kernel)}${hasSteps(stride) ? `/${times(stride)}` : ''}${hasSteps(dilation) ? `*${times(dilation)}` : ''}`;
}

/** Such as `3x3x3/2x2x2`, with dilation `3x3x3*2x2x2`; undefined of the usual walk. */
export const walkName = (walk: Walk): string | undefined => (isUsual(walk) ? undefined : nameOf(walk));

/** The walk of a name; undefined of what is none. */
export function walkOf(name: string): Walk | undefined {
  const match = /^([123]x[123]x[123])(?:\/([12]x[12]x[12]))?(?:\*([12]x[12]x[12]))?$/.exec(name);
  if (!match) return undefined;
  const size = (text: string | undefined): Size3 =>
    text === undefined ? ones : (text.split('x').map(Number) as unknown as Size3);
  return { kernel: size(match[1]), stride: size(match[2]), dilation: size(match[3]) };
}

/** Three numbers as the constants of kernels. */
export const axisConstants = <Name extends string>(name: Name, [x, y, z]: Size3) =>
  ({ [`${name}_X`]: x, [`${name}_Y`]: y, [`${name}_Z`]: z }) as Record<`${Name}_${'X' | 'Y' | 'Z'}`, number>;
