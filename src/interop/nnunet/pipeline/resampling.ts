/** The rules by which nnU-Net gives volumes another spacing. */
import { resampleSpline, type SplineOptions, type SplineOrder } from '../../../data/spline.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetResampling } from '../plans.ts';
import { roundHalfEven } from '../../../data/rounding.ts';
import { voxelsOf } from './axes.ts';

/** Spacings that differ by more than this factor have a low-resolution axis. */
const anisotropy = 3;

/** Voxels at another spacing. */
export const sizeAt = (size: Size3, spacing: Size3, next: Size3): Size3 =>
  size.map((n, axis) => Math.max(1, roundHalfEven((spacing[axis]! / next[axis]!) * n))) as unknown as Size3;

/** The axis that is resampled apart, from one spacing to another; undefined where all go together. */
export function apartAxis(
  how: NnunetResampling & { readonly method: 'spline' },
  current: Size3,
  next: Size3,
): 0 | 1 | 2 | undefined {
  if (how.apart === false) return undefined;
  const isCoarse = (spacing: Size3): boolean => Math.max(...spacing) / Math.min(...spacing) > anisotropy;
  const decisive = how.apart === true || isCoarse(current) ? current : isCoarse(next) ? next : undefined;
  if (!decisive) return undefined;
  const most = Math.max(...decisive);
  const coarse = ([0, 1, 2] as const).filter((axis) => decisive[axis] === most);
  return coarse.length === 1 ? coarse[0] : undefined;
}

/** Order and low-resolution axis from one spacing to another; undefined where volumes stay as they are. */
export function splineOf(how: NnunetResampling, current: Size3, next: Size3): SplineOptions | undefined {
  if (how.method === 'none') return undefined;
  if (how.method === 'trilinear') return { order: 1 };
  const axis = apartAxis(how, current, next);
  return {
    order: how.order,
    apart: axis === undefined ? undefined : { axis, order: how.lowResolutionOrder },
  };
}

/** The order along each axis. */
export const ordersOf = ({ order = 3, apart }: SplineOptions): readonly SplineOrder[] =>
  [0, 1, 2].map((axis) => (axis === apart?.axis ? (apart.order ?? 0) : order));

/**
 * Labels of another size: each by straight lines, taken where it has at least half; of two that have, the larger. Along
 * a low-resolution axis the nearest slice.
 * @param values the labels that are looked for; others become 0
 */
export function resampleLabels(
  labels: Uint8Array | Uint16Array,
  from: Size3,
  to: Size3,
  values: readonly number[],
  { apart }: SplineOptions,
): Uint16Array {
  const result = new Uint16Array(voxelsOf(to));
  const options = { order: 1, apart: apart && { axis: apart.axis } } as const;
  for (const value of [...values].sort((a, b) => a - b)) {
    const soft = resampleSpline(
      Float32Array.from(labels, (label) => (label === value ? 1 : 0)),
      from,
      to,
      options,
    );
    for (let voxel = 0; voxel < result.length; voxel++) if (soft[voxel]! >= 0.5) result[voxel] = value;
  }
  return result;
}
