/**
 * Surface metrics of two masks in millimetres: HD95, ASSD and NSD. The border of a mask is the mask
 * minus its 6-neighbour erosion, where what lies outside the volume is background. Between a mask and unknown
 * voxels there is no border: where the surface lies there, nobody has said.
 */
import { quantile } from '../quantile.ts';
import { squaredDistances, type DistanceScratch } from './distance.ts';

type Triple = readonly [number, number, number];

/** Distances between two borders. */
export interface SurfaceMetrics {
  /** Larger of the two directed 95th percentiles (linear between ranks) of border distances, mm. */
  readonly hd95: number;
  /** Mean over the voxels of both borders of the distance to the other border, mm. */
  readonly assd: number;
  /** Share of the voxels of both borders that lie within the tolerance of the other border. */
  readonly nsd: number;
}

/** Border voxels of the mask `labels === label` as 1, but for those towards the value of `unknown` voxels alone. */
export function border(
  labels: Uint8Array,
  label: number,
  [nx, ny, nz]: Triple,
  unknown?: number,
): Uint8Array {
  const out = new Uint8Array(labels.length);
  const solid = unknown === undefined ? labels : labels.map((value) => (value === unknown ? label : value));
  const slice = nx * ny;
  for (let z = 0, at = 0; z < nz; z++)
    for (let y = 0; y < ny; y++) {
      const isRim = z === 0 || z === nz - 1 || y === 0 || y === ny - 1;
      for (let x = 0; x < nx; x++, at++) {
        if (labels[at] !== label) continue;
        const isInside =
          !isRim &&
          x > 0 &&
          x < nx - 1 &&
          solid[at - 1] === label &&
          solid[at + 1] === label &&
          solid[at - nx] === label &&
          solid[at + nx] === label &&
          solid[at - slice] === label &&
          solid[at + slice] === label;
        if (!isInside) out[at] = 1;
      }
    }
  return out;
}

/** Distances in mm from each voxel of one border to the other. */
function directed(
  from: Uint8Array,
  to: Uint8Array,
  shape: Triple,
  spacing: Triple,
  scratch: DistanceScratch,
): Float64Array {
  const squares = squaredDistances(to, shape, spacing, { wanted: from, scratch });
  let count = 0;
  for (const voxel of from) count += voxel;
  const out = new Float64Array(count);
  for (let at = 0, next = 0; at < from.length; at++)
    if (from[at] !== 0) out[next++] = Math.sqrt(squares[at]!);
  return out;
}

interface SurfaceOptions {
  /** Voxels along x, y, z. */
  readonly shape: Triple;
  /** mm between them. */
  readonly spacing: Triple;
  /** In mm. */
  readonly tolerance: number;
  /** Value of voxels that are not known, in both maps at the same places. */
  readonly unknown?: number | undefined;
  readonly scratch: DistanceScratch;
}

/**
 * Surface metrics of the masks `truth === label` and `prediction === label`, neither of them empty; NaN where unknown
 * voxels hide the border of one.
 * A distance counts as within the tolerance up to a relative 1e-6 above it, so that spacings that
 * were stored as float32 do not decide.
 */
export function surfaceMetrics(
  truth: Uint8Array,
  prediction: Uint8Array,
  label: number,
  { shape, spacing, tolerance, unknown, scratch }: SurfaceOptions,
): SurfaceMetrics {
  const truthBorder = border(truth, label, shape, unknown);
  const predictionBorder = border(prediction, label, shape, unknown);
  if (unknown !== undefined && ![truthBorder, predictionBorder].every((voxels) => voxels.includes(1)))
    return { hd95: NaN, assd: NaN, nsd: NaN };
  const sides = [
    directed(truthBorder, predictionBorder, shape, spacing, scratch),
    directed(predictionBorder, truthBorder, shape, spacing, scratch),
  ];
  let [sum, within, count] = [0, 0, 0];
  for (const distances of sides) {
    for (const distance of distances) {
      sum += distance;
      if (distance <= tolerance * (1 + 1e-6)) within++;
    }
    count += distances.length;
  }
  const hd95 = Math.max(...sides.map((distances) => quantile(distances.sort(), 0.95)));
  return { hd95, assd: sum / count, nsd: within / count };
}
