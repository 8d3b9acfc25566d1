/** Strides and kernels for voxels that are longer along one axis than along the others, by nnU-Net's rule. */
import type { Size3 } from '../size.ts';

/** Axes whose voxels are not this many times as long as the shortest are treated alike. */
const alike = 2;
/** Voxels below which an axis is not halved. */
const leastLength = 8;

const axes = [0, 1, 2] as const;

/**
 * Each level halves the axes whose spacing is still less than twice the finest; an axis's kernels are 1 until its
 * spacing is, and 3 from then on, at the lowest level in any case.
 * @param spacing millimetres along x, y, z
 * @param shape voxels of a typical input; short axes are left as they are
 */
export function stagesFor(
  spacing: Size3,
  shape: Size3,
  levels: number,
): { readonly strides: readonly Size3[]; readonly kernels: readonly Size3[] } {
  const strides: Size3[] = [];
  const kernels: Size3[] = [];
  let millimetres = spacing;
  let length = shape;
  let kernel: Size3 = [1, 1, 1];
  const per = (value: (axis: 0 | 1 | 2) => number): Size3 => [value(0), value(1), value(2)];
  while (strides.length < levels - 1) {
    const isFine = (axis: 0 | 1 | 2, among: readonly (0 | 1 | 2)[]): boolean =>
      among.includes(axis) &&
      millimetres[axis] < alike * Math.min(...among.map((other) => millimetres[other]));
    const [last, long] = [kernel, axes.filter((axis) => length[axis] >= leastLength)];
    kernel = per((axis) => (last[axis] === 3 || isFine(axis, axes) ? 3 : 1));
    const stride = per((axis) => (isFine(axis, long.length > 0 ? long : axes) ? 2 : 1));
    kernels.push(kernel);
    strides.push(stride);
    millimetres = per((axis) => millimetres[axis] * stride[axis]);
    length = per((axis) => Math.ceil(length[axis] / stride[axis]));
  }
  return { strides, kernels: [...kernels, [3, 3, 3]] };
}
