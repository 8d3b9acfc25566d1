/** The rules by which nnU-Net gives volumes another spacing. */
import { resampleSpline, type SplineOptions, type SplineOrder } from '../../../data/spline.ts';
import { roundHalfEven } from '../../../data/rounding.ts';
import { fromHalf, toHalf } from '../../../gpu/half.ts';
import type { Size3 } from '../../../size.ts';
import type { NnunetLabelResampling, NnunetResampling } from '../plans.ts';
import { voxelsOf } from './axes.ts';

/** Spacings that differ by more than this factor have a low-resolution axis. */
const anisotropy = 3;

/** Voxels at another spacing. */
export const sizeAt = (size: Size3, spacing: Size3, next: Size3): Size3 =>
  size.map((n, axis) => Math.max(1, roundHalfEven((spacing[axis]! / next[axis]!) * n))) as unknown as Size3;

/** The axis that is resampled apart, from one spacing to another; undefined where all go together. */
export function apartAxis(
  { apart }: Pick<Exclude<NnunetResampling, { readonly method: 'none' }>, 'apart'>,
  current: Size3,
  next: Size3,
): 0 | 1 | 2 | undefined {
  if (apart === false) return undefined;
  const isCoarse = (spacing: Size3): boolean => Math.max(...spacing) / Math.min(...spacing) > anisotropy;
  const decisive = apart === true || isCoarse(current) ? current : isCoarse(next) ? next : undefined;
  if (!decisive) return undefined;
  const most = Math.max(...decisive);
  const coarse = ([0, 1, 2] as const).filter((axis) => decisive[axis] === most);
  return coarse.length === 1 ? coarse[0] : undefined;
}

/** Order and low-resolution axis from one spacing to another; undefined where volumes stay as they are. */
export function splineOf(how: NnunetResampling, current: Size3, next: Size3): SplineOptions | undefined {
  if (how.method === 'none') return undefined;
  const axis = apartAxis(how, current, next);
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
 * Labels of another size, each with its share of every voxel by straight lines, along a low-resolution axis that of the
 * nearest slice.
 * @param values the labels that are looked for; others become 0
 * @param winner of the labels: the last that has half or more, or the first of those with most
 */
export function resampleLabels(
  labels: Uint8Array | Uint16Array,
  from: Size3,
  to: Size3,
  values: readonly number[],
  how: SplineOptions,
  winner: NnunetLabelResampling['winner'],
): Uint16Array {
  const result = new Uint16Array(voxelsOf(to));
  const ascending = [...values].sort((a, b) => a - b);
  const sharesOf = (value: number, whole: number): Float32Array =>
    resampleSpline(
      Float32Array.from(labels, (label) => (label === value ? whole : 0)),
      from,
      to,
      how,
    );
  if (winner === 'most') {
    // In thousandths and float16, as nnU-Net compares them: what differs by less is the same.
    const most = fromHalf(toHalf(sharesOf(0, 1000)));
    for (const value of ascending)
      fromHalf(toHalf(sharesOf(value, 1000))).forEach((share, voxel) => {
        if (share > most[voxel]!) [result[voxel], most[voxel]] = [value, share];
      });
    return result;
  }
  for (const value of ascending) {
    const shares = sharesOf(value, 1);
    for (let voxel = 0; voxel < result.length; voxel++) if (shares[voxel]! >= 0.5) result[voxel] = value;
  }
  return result;
}
