/**
 * Which volumes belong together: those of the same place in space, whatever the order and the direction in which
 * their files store the axes. Everything that lays one volume over another (preparation, check, scores, pictures,
 * predictions of several channels) asks here.
 */
import { InvalidVolume } from '../errors.ts';
import {
  requireFiniteAffine,
  spacingOf,
  spatialShape,
  turnedGrid,
  type AxisTransform,
  type Grid,
  type TurnedGrid,
} from './volume.ts';

/**
 * How far corners of two grids may lie apart, as a share of the voxel's shortest edge. Two maps that each lie within a
 * quarter of a voxel of their image lie within half a voxel of each other: the voxel nearest to each one is that of
 * the same index, so that resampling (nearest) would move nothing, and an index means one place. Rounding stays far
 * below: float32 affines err by a thousandth of a voxel, direction cosines of five digits by a hundredth at 512 voxels.
 */
export const placeTolerance = 1 / 4;

/** The orders of three axes. */
export const permutations = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;

/** All ways to order and to reverse three axes; first the one that changes nothing. */
const transforms: readonly AxisTransform[] = permutations.flatMap((axes) =>
  Array.from({ length: 8 }, (_, reversed): AxisTransform => ({
    axes,
    flips: [(reversed & 1) > 0, (reversed & 2) > 0, (reversed & 4) > 0],
  })),
);

/** Largest distance in mm between corresponding corner voxels of two grids. */
export function cornerDistance(a: Grid, b: Grid): number {
  let largest = 0;
  for (let corner = 0; corner < 8; corner++) {
    const place = ({ shape, affine }: Grid, row: number): number =>
      spatialShape(shape).reduce(
        (sum, n, axis) => sum + ((corner >> axis) & 1) * (n - 1) * affine[row + axis]!,
        affine[row + 3]!,
      );
    const along = [0, 4, 8].map((row) => place(a, row) - place(b, row));
    largest = Math.max(largest, Math.hypot(...along));
  }
  return largest;
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  spatialShape(a).join() === spatialShape(b).join();

/**
 * A grid turned to the axes of another: of all orders and directions the one whose corners lie nearest to the other's,
 * and as it is rather than another way that is no nearer. Where both show the same place, voxels of one index then
 * show the same point. (To turn each to canonical axes by itself does not do: near 45° two affines that differ in
 * their last digit have different nearest axes.)
 * @throws InvalidVolume if an affine has an entry that is not finite
 */
export function turnedOnto(grid: Grid, target: Grid): TurnedGrid {
  requireFiniteAffine(grid.affine);
  requireFiniteAffine(target.affine);
  let best = turnedGrid(grid, transforms[0]!);
  let least = Infinity;
  for (const transform of transforms) {
    const turned = turnedGrid(grid, transform);
    const distance = cornerDistance(target, turned);
    if (distance < least) [best, least] = [turned, distance];
  }
  return best;
}

/** What to do about a map whose shape is that of its volume from behind, as arrays of SimpleITK have it; else undefined. */
export const reversedRemedy = (
  what: string,
  map: readonly number[],
  volume: readonly number[],
): string | undefined =>
  sameShape([...spatialShape(map)].reverse(), volume)
    ? `save the ${what} with its array as x, y, z (SimpleITK gives it as z, y, x)`
    : undefined;

/** How two grids of one axis order differ: in shape, or by so many mm. */
export type GridDifference =
  { readonly kind: 'shape' } | { readonly kind: 'place'; readonly millimetres: number };

/** What keeps two grids of one axis order (see turnedOnto) from being the same; undefined if they are. */
export function gridDifference(a: Grid, b: Grid): GridDifference | undefined {
  if (!sameShape(a.shape, b.shape)) return { kind: 'shape' };
  const millimetres = cornerDistance(a, b);
  const limit = placeTolerance * Math.min(...spacingOf(a.affine));
  return millimetres <= limit ? undefined : { kind: 'place', millimetres };
}

/** The distance of two grids as messages say it. */
export const apartText = (millimetres: number): string =>
  `up to ${millimetres.toFixed(millimetres < 10 ? 2 : 1)} mm apart`;

/** A map over a volume; where it lies may not be known. */
export interface LooseGrid {
  readonly shape: readonly number[];
  /** Voxel to mm, 16 numbers row-major. */
  readonly affine?: readonly number[];
}

/**
 * How a map is to be turned so that it lies over another volume voxel by voxel; undefined where one of them does not
 * say where it lies, and voxels of one index belong together.
 * @param names of case, map and volume in messages
 * @throws InvalidVolume if they are not the same place, or of different shape
 */
export function requireOver(
  map: LooseGrid,
  volume: LooseGrid,
  names: { readonly name: string; readonly map: string; readonly volume: string },
): TurnedGrid | undefined {
  const { name } = names;
  const known = map.affine && volume.affine && { a: map.affine, b: volume.affine };
  if (known) {
    requireFiniteAffine(known.a, `${name}: the affine of the ${names.map}`);
    requireFiniteAffine(known.b, `${name}: the affine of the ${names.volume}`);
  }
  const target = known && { shape: volume.shape, affine: known.b };
  const turned = known && target && turnedOnto({ shape: map.shape, affine: known.a }, target);
  const text = ({ shape }: LooseGrid): string => spatialShape(shape).join(' x ');
  const { shape } = turned ?? map;
  if (!sameShape(shape, volume.shape)) {
    const remedy =
      reversedRemedy(names.map, shape, volume.shape) ??
      "resample one onto the other's grid (labels: nearest neighbour); predict writes labels on the grid of its input";
    throw new InvalidVolume(
      `${name}: the ${names.map} has ${text(map)} voxels, the ${names.volume} ${text(volume)}: ${remedy}.`,
    );
  }
  const difference = turned && target && gridDifference(target, turned);
  if (difference?.kind === 'place')
    throw new InvalidVolume(
      `${name}: the ${names.map} and the ${names.volume} lie ${apartText(difference.millimetres)}, more than a quarter of ` +
        'a voxel: see whether they belong together; if their voxels correspond, give both one affine, else resample ' +
        "one onto the other's grid (labels: nearest neighbour).",
    );
  return turned;
}
