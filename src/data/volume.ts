/**
 * A volume in memory and where it lies: orientation codes, and the turn to canonical axes (right, anterior,
 * superior) and back, as nibabel's io_orientation and as_closest_canonical define them.
 */
import { some } from '../listed.ts';
import { InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { affine as affineSchema } from '../schema.ts';
import { arrayLike, type VoxelArray } from './allocation.ts';
import type { NiftiHeader } from './nifti-header.ts';
import type { Statistics } from './statistics.ts';

/** Voxels with x fastest, and how they lie in space. */
export interface Volume {
  /** x fastest, then y, z and further axes. */
  readonly data: Float32Array;
  /** x, y, z and up to four more axes; fewer than three where the file has fewer. */
  readonly shape: number[];
  /** 16 numbers, row-major: voxel index to millimetres, x to the right, y to the front, z up. */
  readonly affine: number[];
  /** Millimetres between voxels along x, y, z: lengths of the affine's columns. */
  readonly spacing: [x: number, y: number, z: number];
  /** Of the voxels as they were read, over all channels, where that was asked for. */
  readonly statistics?: Statistics;
  /** Of the file the volume was read from, unchanged by later turns. */
  readonly header: NiftiHeader;
}

/** x, y or z of voxels. */
type Axis = 0 | 1 | 2;
/** Along x, y and z. */
type Triple<T> = [T, T, T];

/** How a grid is turned: new axis i is the old axis `axes[i]`, reversed where `flips[i]`. */
export interface AxisTransform {
  /** By new axis: the old one. */
  readonly axes: Readonly<Triple<Axis>>;
  /** By new axis: whether it runs the other way. */
  readonly flips: Readonly<Triple<boolean>>;
}

/** A grid of voxels: what fromCanonical needs to know of a source volume. */
export interface Grid {
  /** Voxels along x, y, z, and possibly channels. */
  readonly shape: readonly number[];
  /** Voxel to mm, 16 numbers row-major. */
  readonly affine: readonly number[];
}

/** Lengths of the columns of an affine; 1 for a column of zeros. */
export function spacingOf(affine: readonly number[]): Triple<number> {
  const column = (c: number): number => Math.hypot(affine[c]!, affine[4 + c]!, affine[8 + c]!) || 1;
  return [column(0), column(1), column(2)];
}

/**
 * How near to perpendicular the axes of an affine are: a voxel's volume as a share of its spacing multiplied. 1 where they
 * are, less for scans with a tilted gantry, 0 where an axis has no length or lies in the plane of the others.
 */
export function perpendicularity(affine: readonly number[]): number {
  const at = (row: number, column: number): number => affine[4 * row + column]!;
  const minor = (a: number, b: number): number => at(1, a) * at(2, b) - at(1, b) * at(2, a);
  const volume = at(0, 0) * minor(1, 2) - at(0, 1) * minor(0, 2) + at(0, 2) * minor(0, 1);
  return Math.abs(volume) / spacingOf(affine).reduce((a, b) => a * b, 1);
}

/** Perpendicularity of axes that make no space. */
export const flat = 1e-6;

/**
 * Cubic millimetres of a voxel: less than its spacing multiplied where axes are not perpendicular, as of a CT with a tilted
 * gantry.
 * @param affine voxel to mm, 16 numbers row-major; of axes that lie in one plane the spacing counts
 * @throws InvalidOption if it is something else
 * @example
 * ```js
 * const millilitres = (1200 * voxelVolume([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1])) / 1000; // 3.6
 * ```
 */
export function voxelVolume(affine: readonly number[]): number {
  assertOptions('voxelVolume', { affine: affineSchema }, { affine });
  const share = perpendicularity(affine);
  const isPerpendicular = share > 1 - 1e-6; // as float32 has it
  return spacingOf(affine).reduce((a, b) => a * b, 1) * (isPerpendicular || share < flat ? 1 : share);
}

/**
 * The canonical axis nearest to each voxel axis: the rotation nearest to the affine without its zooms (polar
 * decomposition), largest component per voxel axis, each canonical axis taken once.
 * @throws InvalidVolume if the affine has an entry that is not finite
 */
export function canonicalTransform(affine: readonly number[]): AxisTransform {
  requireFiniteAffine(affine);
  const zooms = spacingOf(affine);
  const turn = nearestRotation([0, 1, 2].map((r) => zooms.map((zoom, c) => affine[4 * r + c]! / zoom)));
  const axes: Triple<Axis> = [0, 1, 2];
  const flips: Triple<boolean> = [false, false, false];
  const free = new Set<Axis>([0, 1, 2]);
  for (const axis of [0, 1, 2] as const) {
    const size = (row: Axis): number => Math.abs(turn[row]![axis]!);
    const row = [...free].reduce((best, other) => (size(other) > size(best) ? other : best));
    free.delete(row);
    axes[row] = axis;
    flips[row] = turn[row]![axis]! < 0;
  }
  return { axes, flips };
}

/**
 * @param what the message calls it
 * @throws InvalidVolume if the affine is not 16 finite numbers
 */
export function requireFiniteAffine(affine: readonly number[], what = 'The affine'): void {
  if (affine.length !== 16 || !affine.every(Number.isFinite))
    throw new InvalidVolume(
      `${what} is [${some([...affine].map(String))}]; expected 16 finite numbers. Correct the volume's sform or qform.`,
    );
}

/** The orthogonal factor of a 3 x 3 matrix by Newton's iteration; the matrix itself if it is singular. */
function nearestRotation(matrix: number[][]): number[][] {
  let turn = matrix;
  for (let step = 0; step < 50; step++) {
    const [a, b, c] = turn as Triple<number[]>;
    const cofactors = [cross(b, c), cross(c, a), cross(a, b)];
    const determinant = a[0]! * cofactors[0]![0]! + a[1]! * cofactors[0]![1]! + a[2]! * cofactors[0]![2]!;
    if (Math.abs(determinant) < 1e-12) return matrix;
    const next = turn.map((row, r) => row.map((value, i) => (value + cofactors[r]![i]! / determinant) / 2));
    const change = Math.max(
      ...next.flatMap((row, r) => row.map((value, i) => Math.abs(value - turn[r]![i]!))),
    );
    turn = next;
    if (change < 1e-15) break;
  }
  return turn;
}

function cross(a: number[], b: number[]): number[] {
  return [a[1]! * b[2]! - a[2]! * b[1]!, a[2]! * b[0]! - a[0]! * b[2]!, a[0]! * b[1]! - a[1]! * b[0]!];
}

/** Where each voxel axis points, for example "RAS" or "LPI". @throws InvalidVolume as canonicalTransform */
export function orientation(affine: readonly number[]): string {
  const { axes, flips } = canonicalTransform(affine);
  return [0, 1, 2]
    .map((axis) => {
      const row = axes.indexOf(axis as Axis);
      return (flips[row] ? 'LPI' : 'RAS')[row]!;
    })
    .join('');
}

/** The three spatial sizes; axes that a volume does not have count 1. */
export function spatialShape(shape: readonly number[]): Triple<number> {
  return [shape[0] ?? 1, shape[1] ?? 1, shape[2] ?? 1];
}

/** A grid after a turn, and where each voxel of the source lies in it. */
export interface TurnedGrid {
  readonly shape: number[];
  readonly affine: number[];
  /** Nothing is to be moved. */
  readonly same: boolean;
  /** Voxel (x, y, z) of the source is voxel origin + x * strides[0] + y * strides[1] + z * strides[2]. */
  readonly origin: number;
  readonly strides: Triple<number>;
}

/** The grid with its axes permuted and flipped; the same voxels at the same places. */
export function turnedGrid({ shape, affine }: Grid, { axes, flips }: AxisTransform): TurnedGrid {
  const sizes = spatialShape(shape);
  const turned = affine.slice();
  let origin = 0;
  let step = 1;
  const strides: Triple<number> = [0, 0, 0];
  for (const i of [0, 1, 2] as const) {
    const from = axes[i];
    const sign = flips[i] ? -1 : 1;
    strides[from] = sign * step;
    if (flips[i]) origin += (sizes[from] - 1) * step;
    step *= sizes[from];
    for (const row of [0, 4, 8]) {
      turned[row + i] = sign * affine[row + from]!;
      if (flips[i]) turned[row + 3]! += affine[row + from]! * (sizes[from] - 1);
    }
  }
  const same = axes.every((axis, i) => axis === i && !flips[i]);
  return {
    shape: same ? [...shape] : [...axes.map((axis) => sizes[axis]), ...shape.slice(3)],
    affine: same ? [...affine] : turned,
    same,
    origin,
    strides,
  };
}

/** @throws InvalidVolume as canonicalTransform */
export const canonicalGrid = (grid: Grid): TurnedGrid => turnedGrid(grid, canonicalTransform(grid.affine));

/**
 * The volume with its axes permuted and flipped so that x points to the right, y to the front and z up, as
 * nearly as that is possible without resampling; itself if it is so already.
 * @throws InvalidVolume as canonicalTransform
 */
export const toCanonical = <T extends Omit<Volume, 'header'>>(volume: T): T =>
  turnedVolume(volume, canonicalGrid(volume));

/** The volume on its grid as it is turned; itself if nothing is to be moved. */
export function turnedVolume<T extends Omit<Volume, 'header'>>(volume: T, grid: TurnedGrid): T {
  if (grid.same) return volume;
  const data = turnedValues(volume.data, volume.shape, grid);
  const { shape, affine } = grid;
  return { ...volume, data, shape, affine, spacing: spacingOf(affine) };
}

/**
 * The voxels of one or more volumes of a shape, moved to where they lie in its turned grid; the array itself if none moves.
 * @throws OutOfMemory
 */
export function turnedValues<T extends VoxelArray>(
  data: T,
  shape: readonly number[],
  turned: TurnedGrid | undefined,
): T {
  if (!turned || turned.same) return data;
  const [nx, ny, nz] = spatialShape(shape);
  const [sx, sy, sz] = turned.strides;
  const result = arrayLike(data, turnedName);
  let at = 0;
  for (let first = turned.origin; at < data.length; first += nx * ny * nz)
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++)
        for (let x = 0, to = first + y * sy + z * sz; x < nx; x++, to += sx) result[to] = data[at++]!;
  return result;
}

/** What messages call voxels that are moved. */
const turnedName = 'the volume with its axes turned';

/**
 * The inverse of toCanonical for any array on the canonical grid: labels, probabilities.
 * @param data one or more volumes on the canonical grid of `source`, each with x fastest
 * @param source the grid to go back to
 * @throws InvalidVolume if the length of `data` is no multiple of the grid's voxels; OutOfMemory
 */
export function fromCanonical<T extends VoxelArray>(data: T, source: Grid): T {
  const grid = canonicalGrid(source);
  const [nx, ny, nz] = spatialShape(source.shape);
  const block = nx * ny * nz;
  if (data.length % block !== 0)
    throw new InvalidVolume(
      `${data.length} values do not fill a grid of ${nx} x ${ny} x ${nz} voxels; expected a multiple of ${block}.`,
    );
  const result = arrayLike(data, turnedName);
  if (grid.same) {
    result.set(data);
    return result;
  }
  const [sx, sy, sz] = grid.strides;
  let to = 0;
  for (let first = grid.origin; to < data.length; first += block)
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++)
        for (let x = 0, from = first + y * sy + z * sz; x < nx; x++, from += sx) result[to++] = data[from]!;
  return result;
}
