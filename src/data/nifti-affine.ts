/** Voxel to millimetres as a header says it, and the quaternion that says it back. */
import { InvalidVolume } from '../errors.ts';
import type { NiftiHeader } from './nifti-header.ts';
import { spacingOf, type Grid } from './volume.ts';

/** What of a header places its voxels. */
export type Placement = Pick<
  NiftiHeader,
  'qformCode' | 'sformCode' | 'pixdim' | 'quaternion' | 'qoffset' | 'srow' | 'xyztUnits'
>;

/** Millimetres of the unit of length in xyzt_units: 1 is metres, 3 micrometres; 0, no unit, counts as mm. */
export const millimetresPerUnit = (xyztUnits: number): number => ({ 1: 1000, 3: 0.001 })[xyztUnits & 7] ?? 1;

/**
 * The affine of a header in mm, 16 numbers row-major: sform, else qform, else the fallback that nifti.ts describes.
 * @throws InvalidVolume if what places the voxels is not finite, or the qform is used and its quaternion is longer
 *   than 1
 */
export function headerAffine(header: Placement, shape: readonly number[], name = 'The file'): number[] {
  const unit = millimetresPerUnit(header.xyztUnits);
  return storedAffine(header, shape, name).map((value, at) => (at < 12 ? value * unit : value));
}

/** An affine in mm in the header's own unit, as programs take it that pass units over: nibabel does. */
export function affineAsWritten(affine: readonly number[], { xyztUnits }: Placement): number[] {
  const unit = millimetresPerUnit(xyztUnits);
  return affine.map((value, at) => (at < 12 ? value / unit : value));
}

/** In the header's own unit. */
function storedAffine(header: Placement, shape: readonly number[], name: string): number[] {
  if (header.sformCode > 0) return finite([...header.srow, 0, 0, 0, 1], 'sform', name);
  const used = header.qformCode > 0 ? 3 : Math.min(3, shape.length);
  const broken = header.pixdim.findIndex(
    (value, axis) => axis >= 1 && axis <= used && !Number.isFinite(value),
  );
  if (broken >= 0)
    throw new InvalidVolume(
      `${name} has pixdim[${broken}] = ${header.pixdim[broken]}; expected the size of a voxel in mm. Correct its ` +
        'header: its places follow from it, since it has no sform.',
    );
  const zooms = [1, 2, 3].map((axis) => Math.abs(header.pixdim[axis]!) || 1) as [number, number, number];
  if (header.qformCode > 0) return finite(qformAffine(header, zooms, name), 'qform', name);
  const affine = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  for (const axis of [0, 1, 2]) {
    const zoom = axis < shape.length ? zooms[axis]! * (axis === 0 ? -1 : 1) : 1;
    affine[5 * axis] = zoom;
    affine[4 * axis + 3] = (-((shape[axis] ?? 1) - 1) / 2) * zoom;
  }
  return affine;
}

function finite(affine: number[], form: 'sform' | 'qform', name: string): number[] {
  const broken = affine.findIndex((value) => !Number.isFinite(value));
  if (broken < 0) return affine;
  throw new InvalidVolume(
    `${name}: its affine has ${affine[broken]} in row ${Math.floor(broken / 4) + 1}, column ${(broken % 4) + 1}; ` +
      `expected finite numbers. Correct its ${form}.`,
  );
}

/** The grid of a file's voxels, as they are stored. @throws InvalidVolume as headerAffine */
export const gridOf = (header: NiftiHeader, name?: string): Grid => ({
  shape: [...header.shape],
  affine: headerAffine(header, header.shape, name),
});

function qformAffine({ quaternion, qoffset, pixdim }: Placement, zooms: number[], name: string): number[] {
  const [x, y, z] = quaternion;
  const square = 1 - (x * x + y * y + z * z);
  if (!(square > -3 * 2 ** -23))
    throw new InvalidVolume(
      `${name} has the quaternion (${quaternion.map((value) => Number(value.toPrecision(6))).join(', ')}), longer ` +
        'than 1; correct its qform.',
    );
  const w = Math.sqrt(Math.max(0, square));
  const s = 2 / (w * w + x * x + y * y + z * z);
  const turn = [
    [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
    [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
    [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
  ];
  const scale = [zooms[0]!, zooms[1]!, zooms[2]! * (pixdim[0] === -1 ? -1 : 1)];
  return [
    ...turn.flatMap((row, r) => [...row.map((value, c) => value * scale[c]!), qoffset[r]!]),
    0,
    0,
    0,
    1,
  ];
}

/**
 * The qform of an affine: quaternion (b, c, d), qfac and offset; undefined if its axes are not perpendicular,
 * which no qform can say.
 */
export function qformOf(
  affine: readonly number[],
): { quaternion: [number, number, number]; qfac: 1 | -1; qoffset: [number, number, number] } | undefined {
  const zooms = spacingOf(affine);
  const r = (row: number, column: number): number => affine[4 * row + column]! / zooms[column]!;
  const dot = (a: number, b: number): number => r(0, a) * r(0, b) + r(1, a) * r(1, b) + r(2, a) * r(2, b);
  if (![dot(0, 1), dot(0, 2), dot(1, 2)].every((value) => Math.abs(value) < 1e-5)) return undefined;
  const determinant =
    r(0, 0) * (r(1, 1) * r(2, 2) - r(1, 2) * r(2, 1)) -
    r(0, 1) * (r(1, 0) * r(2, 2) - r(1, 2) * r(2, 0)) +
    r(0, 2) * (r(1, 0) * r(2, 1) - r(1, 1) * r(2, 0));
  const qfac = determinant < 0 ? -1 : 1;
  const m = (row: number, column: number): number => r(row, column) * (column === 2 ? qfac : 1);
  // The largest of the four components is found from the diagonal, the others from it (nifti1_io's method).
  const squares = [
    1 + m(0, 0) + m(1, 1) + m(2, 2),
    1 + m(0, 0) - m(1, 1) - m(2, 2),
    1 - m(0, 0) + m(1, 1) - m(2, 2),
    1 - m(0, 0) - m(1, 1) + m(2, 2),
  ];
  const largest = squares.indexOf(Math.max(...squares));
  const root = Math.sqrt(squares[largest]!) / 2;
  const [xy, xz, yz] = [m(0, 1) + m(1, 0), m(0, 2) + m(2, 0), m(1, 2) + m(2, 1)];
  const [wx, wy, wz] = [m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1)];
  const other = (value: number): number => value / (4 * root);
  let [w, x, y, z] = [
    [root, other(wx), other(wy), other(wz)],
    [other(wx), root, other(xy), other(xz)],
    [other(wy), other(xy), root, other(yz)],
    [other(wz), other(xz), other(yz), root],
  ][largest] as [number, number, number, number];
  if (w < 0) [w, x, y, z] = [-w, -x, -y, -z];
  return { quaternion: [x, y, z], qfac, qoffset: [affine[3]!, affine[7]!, affine[11]!] };
}
