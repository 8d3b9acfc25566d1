/** The rules by which nnU-Net gives volumes another spacing. */
import { apartAxis, resampleSpline, type SplineOptions, type SplineOrder } from '../../../data/spline.ts';
import { roundHalfEven } from '../../../data/rounding.ts';
import { fromHalf, toHalf } from '../../../gpu/half.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetResampling } from '../plans.ts';
import { voxelsOf } from './axes.ts';

/** Voxels at another spacing. */
export const sizeAt = (size: Size3, spacing: Size3, next: Size3): Size3 =>
  size.map((n, axis) => Math.max(1, roundHalfEven((spacing[axis]! / next[axis]!) * n))) as unknown as Size3;

/** Order and low-resolution axis from one spacing to another; undefined where volumes stay as they are. */
export function splineOf(how: NnunetResampling, current: Size3, next: Size3): SplineOptions | undefined {
  if (how.method === 'none') return undefined;
  const axis = apartAxis(current, next, how.apart);
  if (how.method === 'trilinear')
    return { order: 1, apart: axis === undefined ? undefined : { axis, order: 0, float32: true } };
  return {
    order: how.order,
    apart: axis === undefined ? undefined : { axis, order: how.lowResolutionOrder },
  };
}

/** The order along each axis. */
export const ordersOf = ({ order = 3, apart }: SplineOptions): readonly SplineOrder[] =>
  [0, 1, 2].map((axis) => (axis === apart?.axis ? (apart.order ?? 0) : order));

/**
 * Labels of another size, as nnU-Net resamples them with PyTorch: the first of those with most of a voxel has it.
 * @param values the labels that are looked for; others become 0
 */
export function resampleLabelsByMost(
  labels: Uint8Array | Uint16Array,
  from: Size3,
  to: Size3,
  values: readonly number[],
  how: SplineOptions,
): Uint16Array {
  const result = new Uint16Array(voxelsOf(to));
  // In thousandths and float16, as nnU-Net compares them: what differs by less is the same.
  const sharesOf = (value: number): Float32Array => {
    const whole = Float32Array.from(labels, (label) => (label === value ? 1000 : 0));
    return fromHalf(toHalf(resampleSpline(whole, from, to, how)));
  };
  const most = sharesOf(0);
  for (const value of [...values].sort((a, b) => a - b))
    sharesOf(value).forEach((share, voxel) => {
      if (share > most[voxel]!) [result[voxel], most[voxel]] = [value, share];
    });
  return result;
}
