/** The rules by which nnU-Net gives volumes another spacing. */
import { apartAxis, type SplineOptions, type SplineOrder } from '../../../data/spline.ts';
import { roundHalfEven } from '../../../data/rounding.ts';
import { fromHalf, toHalf } from '../../../gpu/half.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetResampling } from '../plans.ts';

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
 * For `resampleLabels`, as nnU-Net resamples labels with PyTorch: the first of those with most of a voxel has it. In
 * thousandths and float16, as nnU-Net compares them: what differs by less is the same.
 */
export const byMost = {
  whole: 1000,
  winner(labels: readonly number[], shares: Float32Array): number {
    let [best, most] = [0, 0];
    fromHalf(toHalf(shares)).forEach((share, i) => {
      if (share > most) [best, most] = [labels[i]!, share];
    });
    return best;
  },
};
