/**
 * NIfTI-1 and NIfTI-2 headers: what they say about voxels and places, checked before anything is allocated.
 * nifti-reader-js takes the fields apart; it is given the fixed part only, because it follows extension sizes
 * into the file without bounds.
 */
import { NIFTI1, NIFTI2 } from 'nifti-reader-js';
import { InvalidVolume } from '../errors.ts';

/** What a header says, and what is needed to write another volume on the same grid. */
export interface NiftiHeader {
  /** NIfTI-1 or NIfTI-2. */
  readonly version: 1 | 2;
  /** The file's byte order. */
  readonly bigEndian: boolean;
  /** Voxels lie in a second file (.hdr/.img). */
  readonly pair: boolean;
  /** Datatype code, one of `datatypes`. */
  readonly datatype: number;
  /** First byte of the voxels. */
  readonly voxOffset: number;
  /** Values are raw * slope + intercept; 1 and 0 where the header asks for no scaling. */
  readonly slope: number;
  /** See `slope`. */
  readonly intercept: number;
  /** dim[1] to dim[dim[0]]. */
  readonly shape: readonly number[];
  /** All eight as stored; the first is qfac. */
  readonly pixdim: readonly number[];
  /** What the quaternion's axes mean; 0 for no quaternion. */
  readonly qformCode: number;
  /** What the axes of `srow` mean; 0 for none. */
  readonly sformCode: number;
  /** quatern_b, c, d. */
  readonly quaternion: readonly [number, number, number];
  /** qoffset_x, y, z. */
  readonly qoffset: readonly [number, number, number];
  /** srow_x, y, z: 12 numbers. */
  readonly srow: readonly number[];
  /** Code of the units of lengths and of time, as stored. */
  readonly xyztUnits: number;
  /** Free text, of at most 80 characters. */
  readonly description: string;
  /** What the values mean, as a code of the format. */
  readonly intentCode: number;
  /** The same as text. */
  readonly intentName: string;
}

/** The datatypes that can be read, by code: name and bytes. */
export const datatypes: Readonly<Record<number, readonly [name: string, bytes: number]>> = {
  2: ['uint8', 1],
  4: ['int16', 2],
  8: ['int32', 4],
  16: ['float32', 4],
  64: ['float64', 8],
  256: ['int8', 1],
  512: ['uint16', 2],
  768: ['uint32', 4],
  1024: ['int64', 8],
  1280: ['uint64', 8],
};

const refused: Readonly<Record<number, string>> = {
  1: '1-bit binary',
  32: 'complex64',
  128: 'RGB',
  1536: 'float128',
  1792: 'complex128',
  2048: 'complex256',
  2304: 'RGBA',
};

const magicAt = { 1: [344, 348], 2: [4, 8] } as const;

/** Bytes that hold the longest header. */
export const headerBytes = 540;

/** What files begin with that are often found under the name of a volume, and what to do about it. */
const others: readonly (readonly [RegExp, string])[] = [
  [/^version https:\/\/git-lfs/, 'it is a pointer of Git LFS to it. Fetch the file with "git lfs pull".'],
  [
    /^\/annex\/objects\//,
    'it is a pointer of git-annex to it. Fetch the file with "git annex get" or "datalad get".',
  ],
  [/^\s*<(!doctype|html|\?xml)/i, 'it is a web page, as failed downloads leave. Download the file again.'],
  [/^[^]{128}DICM/, 'it is DICOM. Convert its series to NIfTI, with dcm2niix for example.'],
  [/^NRRD0/, 'it is NRRD. Convert it to NIfTI first, with SimpleITK for example.'],
  [/^ObjectType\s*=/, 'it is MetaImage. Convert it to NIfTI first, with SimpleITK for example.'],
  [/^PK\x03\x04/, 'it is a ZIP archive. Unpack it first.'],
  [/^\x89PNG|^\xff\xd8\xff|^II\*\0|^MM\0\*/, 'it is a picture. Stack the slices into a volume first.'],
  [/^\x93NUMPY/, 'it is an array of NumPy, which has no place in space. Save it with nibabel.'],
  [/^$/, 'it is empty (0 bytes). Copy or download it again.'],
  [/^\0+$/, 'it holds zeros only, as failed downloads leave. Copy or download it again.'],
];

/** What a file is that is not NIfTI, as far as its first bytes tell. */
function otherFormat(bytes: Uint8Array): string | undefined {
  const beginning = String.fromCharCode(...bytes.subarray(0, headerBytes));
  return others.find(([pattern]) => pattern.test(beginning))?.[1];
}

/**
 * The header at the start of a file.
 * @param bytes the file, or `headerBytes` of it
 * @param name what messages call the file
 * @throws InvalidVolume if it is not NIfTI, or says what cannot be
 */
export function parseHeader(bytes: Uint8Array, name: string): NiftiHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length >= 4 ? [view.getInt32(0, true), view.getInt32(0, false)] : [];
  const version = size.includes(348) ? 1 : size.includes(540) ? 2 : undefined;
  const length = version === 2 ? 540 : 348;
  const magic =
    version && bytes.length >= length ? String.fromCharCode(...bytes.subarray(...magicAt[version])) : '';
  if (!version || !/^(n\+|ni)[12]\0/.test(magic) || Number(magic[2]) !== version) {
    const cut = `it ends after ${bytes.length} bytes of its header. Copy or download it again.`;
    const analyze =
      'it is Analyze 7.5, which does not tell left from right. Convert it to NIfTI, with the software that wrote it.';
    const generic =
      `its first ${bytes.length} bytes are no NIfTI-1 or NIfTI-2 header (.nii, .nii.gz, or .hdr with .img). Convert it ` +
      'to NIfTI first.';
    const found =
      otherFormat(bytes) ??
      (version && bytes.length < length ? cut : version === 1 && /^\0/.test(magic) ? analyze : generic);
    throw new InvalidVolume(`${name} is not a NIfTI file: ${found}`);
  }
  const littleEndian = size[0] === length;
  const fields = version === 1 ? new NIFTI1() : new NIFTI2();
  fields.readHeader(new Uint8Array(bytes.subarray(0, length)).buffer);

  const number = (at1: number, at2: number): number =>
    version === 1 ? view.getFloat32(at1, littleEndian) : view.getFloat64(at2, littleEndian);
  const step = version === 1 ? 4 : 8;
  const wide = (at: number): number => Number(view.getBigInt64(at, littleEndian));
  const dims = version === 1 ? fields.dims : Array.from({ length: 8 }, (_, i) => wide(16 + 8 * i));
  // What stands behind the first 0 is left over from something else.
  const textAt = (at: number, length: number): string =>
    String.fromCharCode(...bytes.subarray(at, at + length)).replace(/\0.*$/s, '');
  const pair = magic.startsWith('ni');
  requireDatatype(fields.datatypeCode, name);
  const [slope, intercept] = scaling(fields.scl_slope, fields.scl_inter, name);
  return {
    version,
    bigEndian: !littleEndian,
    pair,
    datatype: fields.datatypeCode,
    voxOffset: offset(version === 1 ? fields.vox_offset : wide(168), pair, length + 4, name),
    slope,
    intercept,
    shape: shapeOf(dims, version === 1 ? view.getInt32(144, littleEndian) : 0, name),
    pixdim: fields.pixDims,
    qformCode: fields.qform_code,
    sformCode: fields.sform_code,
    quaternion: [fields.quatern_b, fields.quatern_c, fields.quatern_d],
    qoffset: [fields.qoffset_x, fields.qoffset_y, fields.qoffset_z],
    srow: Array.from({ length: 12 }, (_, i) => number(280 + i * step, 400 + i * step)),
    xyztUnits: fields.xyzt_units,
    description: textAt(version === 1 ? 148 : 240, 80),
    intentCode: fields.intent_code,
    intentName: textAt(version === 1 ? 328 : 508, 16),
  };
}

function requireDatatype(code: number, name: string): void {
  if (datatypes[code]) return;
  const kind = refused[code];
  throw new InvalidVolume(
    kind
      ? `${name} holds ${kind} voxels (datatype ${code}); convert it to an integer or float type.`
      : `${name} has the unknown datatype ${code}; its header is damaged.`,
  );
}

/** As nibabel: a slope that is 0 or not finite means no scaling; a slope with a broken intercept is an error. */
function scaling(slope: number, intercept: number, name: string): [slope: number, intercept: number] {
  if (slope === 0 || !Number.isFinite(slope)) return [1, 0];
  if (!Number.isFinite(intercept))
    throw new InvalidVolume(`${name} has scl_slope ${slope} but scl_inter ${intercept}; correct its header.`);
  return [slope, intercept];
}

/** 0 in a single file means "after the header"; other offsets inside the header are refused. */
function offset(found: number, pair: boolean, least: number, name: string): number {
  if (found === 0) return pair ? 0 : least;
  if (!(found >= (pair ? 0 : least)) || !Number.isSafeInteger(Math.trunc(found)))
    throw new InvalidVolume(
      `${name} says that its voxels start at byte ${found}; expected ${pair ? 0 : least} or more.`,
    );
  return Math.trunc(found);
}

/** The shape, with FreeSurfer's two ways to store surfaces of more than 32767 vertices in NIfTI-1. */
function shapeOf(dims: readonly number[], glmin: number, name: string): number[] {
  const rank = dims[0]!;
  const shape = rank >= 1 && rank <= 7 ? dims.slice(1, rank + 1) : [];
  const first = shape.slice(0, 3).join();
  if (first === '-1,1,1' && glmin > 0) shape[0] = glmin;
  else if (first === '27307,1,6') shape.splice(0, 3, 163842, 1, 1);
  const bytes = shape.reduce((a, b) => a * b, 8);
  if (shape.length === 0 || shape.some((n) => !(n >= 1)) || !Number.isSafeInteger(bytes))
    throw new InvalidVolume(
      `${name} has dim = [${dims.join(', ')}]; expected 1 to 7 dimensions of at least 1 voxel. ` +
        'Its header is damaged.',
    );
  return shape;
}
