/**
 * Slices through a volume as a reader of medical images expects them: the affine says which way the
 * voxels lie, so that any stored orientation is shown upright, in radiological convention.
 */
import * as v from 'valibot';
import { permutations } from '../data/grid.ts';
import { spacingOf as axisLengths } from '../data/volume.ts';
import { InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { quantile } from '../quantile.ts';
import { affine, numberAbove, numbers, oneOf, openObject, wholeNumber, withParts } from '../schema.ts';

/** A volume on a grid: x fastest, extents and spacing (mm) along x, y, z. */
export interface GridVolume {
  /** One value for each voxel, x fastest. */
  readonly data: ArrayLike<number>;
  /** Voxels along x, y, z. */
  readonly shape: readonly number[];
  /** Default: from the affine, else 1 mm. */
  readonly spacing?: readonly number[];
  /** Voxel to RAS millimetres, 4 x 4 row-major. Default: x to the right, y to the front, z up. */
  readonly affine?: readonly number[];
}

/** Axial: seen from the feet; coronal: from the front; sagittal: from the patient's left side. */
export type Plane = 'axial' | 'coronal' | 'sagittal';

export const planeSchema = oneOf('axial', 'coronal', 'sagittal');
export const volumeSchema = openObject({
  data: numbers,
  shape: v.array(wholeNumber(1), 'voxels along x, y, z'),
  spacing: v.optional(v.array(numberAbove(0), 'millimetres along x, y, z')),
  affine: v.optional(affine),
});

/** How the pixels of all slices of a plane lie in the volume's array. */
export interface View {
  /** Pixels across. */
  readonly columns: number;
  /** Pixels down. */
  readonly rows: number;
  /** Slices of the plane. */
  readonly slices: number;
  /** Millimetres from one column or row to the next. */
  readonly pixelWidth: number;
  /** Millimetres from one row to the next. */
  readonly pixelHeight: number;
  /** Index of the top left voxel of the first slice, and the steps from there. */
  readonly origin: number;
  /** From a voxel to that in the next column. */
  readonly columnStep: number;
  /** From a voxel to that in the next row. */
  readonly rowStep: number;
  /** From a voxel to that in the next slice. */
  readonly sliceStep: number;
  /** What lies at the left edge: the patient's right (R) or front (A). */
  readonly leftEdge: 'R' | 'A';
}

const viewSchema = withParts('what viewOf gives', 'columns', 'rows', 'slices');

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** For the world axes R, A, S: the voxel axis closest to it and its direction. */
function orientation(affine: readonly number[]): { axis: number; sign: number }[] {
  const norms = axisLengths(affine);
  const cosine = (world: number, axis: number): number => affine[world * 4 + axis]! / norms[axis]!;
  const score = (axes: readonly number[]): number =>
    axes.reduce((sum, axis, world) => sum + Math.abs(cosine(world, axis)), 0);
  const best = permutations.reduce((a, b) => (score(b) > score(a) ? b : a));
  return best.map((axis, world) => ({ axis, sign: cosine(world, axis) < 0 ? -1 : 1 }));
}

/** Spacing along x, y, z in millimetres; an axis without length counts 1, as everywhere. */
export function spacingOf({ spacing = [], affine = identity }: GridVolume): [number, number, number] {
  const [x, y, z] = axisLengths(affine);
  return [spacing[0] ?? x, spacing[1] ?? y, spacing[2] ?? z];
}

/**
 * The slices of a plane.
 * @throws InvalidVolume if the data do not fill the first three axes
 */
export function viewOf(volume: GridVolume, plane: Plane = 'axial'): View {
  assertOptions('viewOf', { volume: volumeSchema, plane: planeSchema }, { volume, plane });
  const [nx = 0, ny = 1, nz = 1] = volume.shape;
  const extents = [nx, ny, nz];
  if (volume.data.length !== nx * ny * nz)
    throw new InvalidVolume(
      `A picture needs one value per voxel: shape ${volume.shape.join(' x ')} asks for ${nx * ny * nz} values, ` +
        `got ${volume.data.length}. Pass one channel of one volume.`,
    );
  const strides = [1, nx, nx * ny];
  const spacing = spacingOf(volume);
  const [right, front, up] = orientation(volume.affine ?? identity) as [Axis, Axis, Axis];
  // Columns run towards the patient's left (or back), rows downwards or backwards, slices along R, A or S.
  const [column, row, slice, leftEdge] = (
    {
      axial: [right, front, up, 'R'],
      coronal: [right, up, front, 'R'],
      sagittal: [front, up, right, 'A'],
    } as const
  )[plane];
  const start = ({ axis, sign }: Axis, fromHigh: boolean): number =>
    fromHigh === sign > 0 ? (extents[axis]! - 1) * strides[axis]! : 0;
  return {
    columns: extents[column.axis]!,
    rows: extents[row.axis]!,
    slices: extents[slice.axis]!,
    pixelWidth: spacing[column.axis]!,
    pixelHeight: spacing[row.axis]!,
    origin: start(column, true) + start(row, true) + start(slice, false),
    columnStep: -column.sign * strides[column.axis]!,
    rowStep: -row.sign * strides[row.axis]!,
    sliceStep: slice.sign * strides[slice.axis]!,
    leftEdge,
  };
}

interface Axis {
  readonly axis: number;
  readonly sign: number;
}

/** One slice's values, row by row. */
export function sliceValues(data: ArrayLike<number>, view: View, slice: number): Float32Array {
  assertOptions(
    'sliceValues',
    { data: numbers, view: viewSchema, slice: wholeNumber() },
    { data, view, slice },
  );
  const out = new Float32Array(view.columns * view.rows);
  for (let row = 0; row < view.rows; row++) {
    let from = view.origin + slice * view.sliceStep + row * view.rowStep;
    for (let column = 0; column < view.columns; column++, from += view.columnStep)
      out[row * view.columns + column] = data[from]!;
  }
  return out;
}

/**
 * The slice that shows most: where the classes' fractions of their own volumes add up highest, so that
 * a small organ counts as much as a large one; the middle slice where there is no label.
 */
export function mostTelling(labels: ArrayLike<number>, view: View): number {
  assertOptions('mostTelling', { labels: numbers, view: viewSchema }, { labels, view });
  const perSlice: Map<number, number>[] = [];
  const totals = new Map<number, number>();
  for (let slice = 0; slice < view.slices; slice++) {
    const counts = new Map<number, number>();
    for (const label of sliceValues(labels, view, slice))
      if (label > 0) counts.set(label, (counts.get(label) ?? 0) + 1);
    for (const [label, count] of counts) totals.set(label, (totals.get(label) ?? 0) + count);
    perSlice.push(counts);
  }
  if (totals.size === 0) return Math.floor(view.slices / 2);
  const sums = perSlice.map((counts) =>
    [...counts].reduce((sum, [label, count]) => sum + count / totals.get(label)!, 0),
  );
  return sums.indexOf(Math.max(...sums));
}

/** The window from the 1st to the 99th percentile of the finite values (of at most about 200 000 of them). */
export function greyWindow(data: ArrayLike<number>): [low: number, high: number] {
  assertOptions('greyWindow', { data: numbers }, { data });
  const step = Math.max(1, Math.floor(data.length / 200_000)) | 1;
  const values: number[] = [];
  for (let at = 0; at < data.length; at += step) if (Number.isFinite(data[at])) values.push(data[at]!);
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return [0, 1];
  const [low, high] = [quantile(sorted, 0.01), quantile(sorted, 0.99)];
  return high > low ? [low, high] : [sorted[0]!, Math.max(sorted.at(-1)!, sorted[0]! + 1)];
}
