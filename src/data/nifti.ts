/**
 * Reads NIfTI-1 and NIfTI-2 (.nii or .hdr/.img, gzipped or not) as float32, as nibabel does. What the format
 * or nibabel leaves open is decided so:
 * - The affine is the sform if its code is above 0, else the qform if its code is, else nibabel's fallback:
 *   pixdim on the diagonal with x flipped and the middle voxel at the origin. qfac other than -1 counts 1,
 *   pixdim 0 counts 1, negative pixdim their absolute value. Units are kept but not applied, as in nibabel.
 * - Values are float32(float64(raw) * slope + intercept), rounded once. A slope that is 0 or not finite means
 *   no scaling; a slope with an intercept that is not finite is refused. Voxels that are not finite stay so.
 * - Byte order and version follow from sizeof_hdr; a file without "n+1", "ni1", "n+2" or "ni2" (also Analyze) is refused.
 * - A single file whose vox_offset is 0 has its voxels right after its header; offsets inside the header are
 *   refused. Extensions are skipped, bytes after the voxels ignored; bitpix is not looked at, dim[0] to dim[7] are.
 * - The image of a pair lies beside its header under the same name, gzipped if the header is; any other place
 *   is given as `image`.
 * - 1-bit, float128, complex and RGB(A) voxels are refused by name, and so is a dimension of 0 voxels.
 */
import { InvalidVolume } from '../errors.ts';
import { headerAffine } from './nifti-affine.ts';
import { datatypes, parseHeader, type NiftiHeader } from './nifti-header.ts';
import { readSource, sourceName, type Source } from './source.ts';
import { canonicalGrid, spacingOf, spatialShape, type Volume } from './volume.ts';
import { allocate, floats, wasm } from './wasm.ts';

export { writeNifti, type WritableVolume, type WriteOptions } from './nifti-write.ts';
export type { NiftiHeader } from './nifti-header.ts';

/** How to read. */
export interface ReadOptions {
  /** Turn the axes to right, anterior, superior (see toCanonical). Default: as stored. */
  readonly canonical?: boolean;
  /** The .img of a .hdr whose place does not follow from a path or URL. */
  readonly image?: Source;
}

/** Voxels decoded at a time, as far as whole planes allow. */
const chunk = 2 ** 16;

/**
 * Reads a NIfTI volume.
 * @throws InvalidVolume if the file is missing, is not NIfTI, is damaged or truncated, or holds voxels without
 *   one real value; OutOfMemory if one volume does not fit into 4 GiB
 */
export async function readNifti(source: Source, options: ReadOptions = {}): Promise<Volume> {
  const main = renamed(source, 'hdr') ?? source;
  const bytes = await readSource(main);
  const header = parseHeader(bytes, sourceName(main));
  if (!header.pair) return decodeVolume(bytes, header, sourceName(main), options.canonical);
  const image = options.image ?? renamed(main, 'img');
  if (image === undefined)
    throw new InvalidVolume(
      `${sourceName(main)} is the header of a .hdr/.img pair; give its .img file as the option "image".`,
    );
  const voxels = await readSource(image, 'give the image of the pair as the option "image"');
  return decodeVolume(voxels, header, sourceName(image), options.canonical);
}

/** The other file of a pair: a path or URL with its ending replaced; undefined if it has neither ending. */
function renamed<T extends Source>(source: T, ending: 'hdr' | 'img'): string | URL | undefined {
  if (typeof source !== 'string' && !(source instanceof URL)) return undefined;
  const name = typeof source === 'string' ? source : source.pathname;
  const match = /^(.*)\.(hdr|img)(\.gz)?$/is.exec(name);
  if (!match) return undefined;
  const other = `${match[1]}.${match[2] === match[2]!.toUpperCase() ? ending.toUpperCase() : ending}${match[3] ?? ''}`;
  return typeof source === 'string' ? other : Object.assign(new URL(source), { pathname: other });
}

function decodeVolume(bytes: Uint8Array, header: NiftiHeader, name: string, canonical = false): Volume {
  const { shape, datatype, voxOffset, bigEndian, slope, intercept } = header;
  const [type, size] = datatypes[datatype]!;
  const count = shape.reduce((a, b) => a * b, 1);
  const end = voxOffset + count * size;
  if (end > bytes.length)
    throw new InvalidVolume(
      `${name} is truncated or its header damaged: ${shape.join(' x ')} voxels of ${type} from byte ${voxOffset} ` +
        `need ${end} bytes, found ${bytes.length}.`,
    );
  const affine = headerAffine(header, shape, name);
  const source = { shape: [...shape], affine };
  const grid = canonical ? canonicalGrid(source) : undefined;
  const turn = grid && !grid.same ? grid : undefined;

  // Decoded piece by piece, which stays in the cache. A volume that is to be turned is put together in WASM memory,
  // unless its slices stay slices.
  const [nx, ny, nz] = spatialShape(shape);
  const plane = nx * ny;
  const block = turn ? plane * nz : count;
  const sliced = turn !== undefined && Math.abs(turn.strides[2]) === plane;
  const planes = Math.max(sliced ? 1 : 16, Math.floor(chunk / plane));
  const step = Math.min(block, turn ? planes * plane : chunk);
  const data = new Float32Array(count);
  const { decode, reorient, reset, memory } = wasm();
  reset();
  const target = turn ? allocate((sliced ? step : block) * 4) : 0;
  const decoded = allocate(step * 4);
  const raw = allocate(step * size);
  for (let start = 0; start < count; start += block) {
    for (let at = 0; at < block; at += step) {
      const voxels = Math.min(step, block - at);
      const from = voxOffset + (start + at) * size;
      new Uint8Array(memory.buffer).set(bytes.subarray(from, from + voxels * size), raw);
      decode(raw, decoded, voxels, datatype, bigEndian, slope, intercept);
      if (!turn) {
        data.set(floats(decoded, voxels), at);
        continue;
      }
      const first = !sliced ? 0 : turn.strides[2] > 0 ? at : block - at - voxels;
      const origin = turn.origin + (at / plane) * turn.strides[2] - first;
      reorient(decoded, target, nx, ny, voxels / plane, origin, ...turn.strides);
      if (sliced) data.set(floats(target, voxels), start + first);
    }
    if (turn && !sliced) data.set(floats(target, block), start);
  }
  const placed = turn ?? source;
  return { data, shape: placed.shape, affine: placed.affine, spacing: spacingOf(placed.affine), header };
}
