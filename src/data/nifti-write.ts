/** Writes volumes as single-file NIfTI, little-endian: on the grid of the file they came from, to the last bit. */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import { arrayFor, type VoxelArray } from './allocation.ts';
import { assertOptions, assertValue } from '../options.ts';
import { affine, flag, numbers, oneOf, openObject, wholeNumber } from '../schema.ts';
import { headerAffine, millimetresPerUnit, qformOf, type Placement } from './nifti-affine.ts';
import type { NiftiHeader } from './nifti-header.ts';
import { platform } from './source.ts';
import { spacingOf } from './volume.ts';

/** What can be written: a Volume, or any array with a shape and an affine. */
export interface WritableVolume {
  /** x fastest. */
  readonly data: ArrayLike<number>;
  /** x, y, z and possibly more. */
  readonly shape: readonly number[];
  /** 16 numbers row-major, voxel to mm. */
  readonly affine: readonly number[];
  /**
   * Header of the source. If its own affine equals `affine`, q- and sform are written as they were; else both
   * are made from `affine` under its codes. Units, description, intent and NIfTI version are kept.
   */
  readonly header?: NiftiHeader;
}

/** How to write. */
export interface WriteOptions {
  /**
   * Default: uint8 for a Uint8Array, int16 and uint16 for an Int16Array and a Uint16Array, else float32. Integers are
   * rounded, not scaled.
   */
  readonly datatype?: 'uint8' | 'int16' | 'uint16' | 'float32';
  /** Default: true. */
  readonly gzip?: boolean;
}

const types = {
  uint8: { code: 2, array: Uint8Array, low: 0, high: 255 },
  int16: { code: 4, array: Int16Array, low: -32768, high: 32767 },
  uint16: { code: 512, array: Uint16Array, low: 0, high: 65535 },
  float32: { code: 16, array: Float32Array, low: -Infinity, high: Infinity },
} as const;

const writeEntries = {
  datatype: v.optional(oneOf('uint8', 'int16', 'uint16', 'float32')),
  gzip: v.optional(flag),
} satisfies Record<keyof WriteOptions, unknown>;

const sizes = '1 to 7 whole numbers from 1 on';
const writable = openObject({
  data: numbers,
  shape: v.pipe(v.array(wholeNumber(1), sizes), v.minLength(1, sizes), v.maxLength(7, sizes)),
  affine,
});

/**
 * A volume as the bytes of a .nii.gz (or .nii) file.
 * @throws InvalidOption if data, shape and affine do not fit together, or a value is outside the datatype; OutOfMemory
 * @example
 * ```js
 * const bytes = await writeNifti({ data: new Float32Array(24), shape: [4, 3, 2], affine });
 * ```
 */
export async function writeNifti(
  volume: WritableVolume,
  options: WriteOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  assertValue('writeNifti', writable, volume);
  assertOptions('writeNifti', writeEntries, options);
  const { data, shape } = volume;
  const count = shape.reduce((a, b) => a * b, 1);
  if (data.length !== count)
    throw new InvalidOption(
      `writeNifti: data has ${data.length} values; give the ${count} of ${shape.join(' x ')} voxels`,
    );
  const type = options.datatype ?? defaultType(data);
  const { code, array } = types[type];
  const header = headerBytes(volume, code, array.BYTES_PER_ELEMENT);
  const file = encode(data, type, header.length, `the volume of ${shape.join(' x ')}`);
  file.set(header);
  return (options.gzip ?? true) ? platform().gzip(file) : file;
}

function defaultType(data: ArrayLike<number>): keyof typeof types {
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return 'uint8';
  if (data instanceof Uint16Array) return 'uint16';
  return data instanceof Int16Array ? 'int16' : 'float32';
}

/** A file with the voxels as little-endian bytes behind its first ones, a multiple of a voxel's. */
function encode(
  data: ArrayLike<number>,
  type: keyof typeof types,
  before: number,
  name: string,
): Uint8Array<ArrayBuffer> {
  const { array, low, high } = types[type];
  const width = array.BYTES_PER_ELEMENT;
  const file = arrayFor<VoxelArray>(array, before / width + data.length, name);
  const values = file.subarray(before / width);
  if (type === 'float32') values.set(data);
  else
    for (let i = 0; i < data.length; i++) {
      const value = Math.round(data[i]!);
      if (!(value >= low && value <= high))
        throw new InvalidOption(
          `Voxel ${i} is ${data[i]}, outside ${type} (${low} to ${high}); choose another datatype.`,
        );
      values[i] = value;
    }
  const bytes = new Uint8Array(file.buffer as ArrayBuffer);
  if (width > 1 && new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1)
    for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
  return bytes;
}

/** Where the voxels lie, as the source's header says it if the affine is still that header's. */
function placement({ affine, shape, header }: WritableVolume): Placement {
  if (header) {
    const own = headerAffine(header, shape);
    if (own.every((value, i) => Object.is(value, affine[i]) || value === affine[i])) return header;
  }
  const qform = qformOf(affine);
  const spacing = spacingOf(affine);
  const code = Math.max(header?.sformCode ?? 0, header?.qformCode ?? 0) || 1;
  return {
    qformCode: qform ? header?.qformCode || code : 0,
    sformCode: header?.sformCode || code,
    pixdim: [
      qform?.qfac ?? 1,
      ...spacing,
      ...Array.from({ length: 4 }, (_, i) => header?.pixdim[4 + i] ?? 1),
    ],
    quaternion: qform?.quaternion ?? [0, 0, 0],
    qoffset: qform?.qoffset ?? [0, 0, 0],
    srow: affine.slice(0, 12),
    // In millimetres, whatever the source counted in; the unit of time stays.
    xyztUnits: header
      ? millimetresPerUnit(header.xyztUnits) === 1
        ? header.xyztUnits
        : (header.xyztUnits & ~7) | 2
      : 2,
  };
}

/** The header with its four bytes "no extension", in NIfTI-1 unless the source or a size above 32767 asks for 2. */
function headerBytes(volume: WritableVolume, datatype: number, voxelBytes: number): Uint8Array {
  const { shape, header } = volume;
  const wide = header?.version === 2 || shape.some((n) => n > 32767);
  const place = placement(volume);
  const view = new DataView(new ArrayBuffer(wide ? 544 : 352));
  const short = (at: number, value: number): void => view.setInt16(at, value, true);
  const int = (at: number, value: number): void => view.setInt32(at, value, true);
  const number = wide
    ? (at: number, value: number): void => view.setFloat64(at, value, true)
    : (at: number, value: number): void => view.setFloat32(at, value, true);
  const size = wide ? (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true) : short;
  const code = wide ? int : short;
  const step = wide ? 8 : 4;
  const numbers = (at: number, values: readonly number[]): void =>
    values.forEach((value, i) => number(at + i * step, value));
  const string = (at: number, length: number, value: string): void => {
    for (let i = 0; i < Math.min(length, value.length); i++) view.setUint8(at + i, value.charCodeAt(i) & 255);
  };
  const at = wide ? layout2 : layout1;

  int(0, wide ? 540 : 348);
  [shape.length, ...shape, ...new Array<number>(7 - shape.length).fill(1)].forEach((value, i) =>
    size(at.dim + i * (wide ? 8 : 2), value),
  );
  short(at.datatype, datatype);
  short(at.bitpix, 8 * voxelBytes);
  numbers(at.pixdim, place.pixdim);
  if (wide) size(at.offset, 544);
  else number(at.offset, 352);
  numbers(at.scaling, [1, 0]);
  code(at.qformCode, place.qformCode);
  code(at.qformCode + (wide ? 4 : 2), place.sformCode);
  numbers(at.quaternion, [...place.quaternion, ...place.qoffset]);
  numbers(at.srow, place.srow);
  if (wide) int(at.units, place.xyztUnits);
  else view.setUint8(at.units, place.xyztUnits);
  string(at.description, 79, header?.description ?? '');
  code(at.intentCode, header?.intentCode ?? 0);
  string(at.intentName, 15, header?.intentName ?? '');
  string(at.magic, 8, wide ? 'n+2\0\r\n\x1a\n' : 'n+1');
  return new Uint8Array(view.buffer);
}

const layout1 = {
  dim: 40,
  intentCode: 68,
  datatype: 70,
  bitpix: 72,
  pixdim: 76,
  offset: 108,
  scaling: 112,
  units: 123,
  description: 148,
  qformCode: 252,
  quaternion: 256,
  srow: 280,
  intentName: 328,
  magic: 344,
};

const layout2: typeof layout1 = {
  magic: 4,
  datatype: 12,
  bitpix: 14,
  dim: 16,
  pixdim: 104,
  offset: 168,
  scaling: 176,
  description: 240,
  qformCode: 344,
  quaternion: 352,
  srow: 400,
  units: 500,
  intentCode: 504,
  intentName: 508,
};
