/**
 * Reads NIfTI-1 and NIfTI-2 (.nii or .hdr/.img, gzipped or not) as float32, as nibabel does. What the format
 * or nibabel leaves open is decided so:
 * - The affine is the sform if its code is above 0, else the qform if its code is, else nibabel's fallback:
 *   pixdim on the diagonal with x flipped and the middle voxel at the origin. qfac other than -1 counts 1,
 *   pixdim 0 counts 1, negative pixdim their absolute value; what is used and not finite is refused. It is in mm:
 *   metres and micrometres of xyzt_units are converted, which nibabel leaves to the caller; no unit counts as mm.
 * - Values are float32(float64(raw) * slope + intercept), rounded once. A slope that is 0 or not finite means
 *   no scaling; a slope with an intercept that is not finite is refused. Voxels that are not finite stay so.
 * - Byte order and version follow from sizeof_hdr; a file without "n+1", "ni1", "n+2" or "ni2" (also Analyze) is refused.
 * - A single file whose vox_offset is 0 has its voxels right after its header; offsets inside the header are
 *   refused. Extensions are skipped, bytes after the voxels left unread but for the first MiB; bitpix is not looked at, dim[0] to dim[7] are.
 * - The image of a pair lies beside its header under the same name, gzipped if the header is; any other place
 *   is given as `image`.
 * - 1-bit, float128, complex and RGB(A) voxels are refused by name, and so is a dimension of 0 voxels.
 */
import * as v from 'valibot';
import { InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { flag, withParts } from '../schema.ts';
import { arrayFor, memoryAhead } from './allocation.ts';
import type { ByteStream } from './byte-stream.ts';
import { turnedOnto } from './grid.ts';
import { headerAffine } from './nifti-affine.ts';
import { datatypes, headerBytes, parseHeader, type NiftiHeader } from './nifti-header.ts';
import { RunningStatistics } from './statistics.ts';
import {
  isFilePair,
  openSource,
  pairedPath,
  platform,
  sourceName,
  sourceSchema,
  type Source,
} from './source.ts';
import { canonicalGrid, spacingOf, spatialShape, type Grid, type Volume } from './volume.ts';
import { allocate, floats, wasm } from './wasm.ts';

export { writeNifti, type WritableVolume, type WriteOptions } from './nifti-write.ts';
export type { NiftiHeader } from './nifti-header.ts';

/** How to read. */
export interface ReadOptions {
  /** Turn the axes to right, anterior, superior (see toCanonical). Default: as stored. */
  readonly canonical?: boolean;
  /** Turn the axes to those of this grid instead, as nearly as the volume's place allows (see turnedOnto). */
  readonly onto?: Grid | undefined;
  /** Gather statistics of the voxels while decoding, which takes no time where gunzip is waited for. */
  readonly statistics?: boolean;
  /** The .img of a .hdr whose place does not follow from a path or URL. */
  readonly image?: Source;
}

const readEntries = {
  canonical: v.optional(flag),
  onto: v.optional(withParts('a grid of shape and affine', 'shape', 'affine')),
  statistics: v.optional(flag),
  image: v.optional(sourceSchema),
} satisfies Record<keyof ReadOptions, unknown>;

/** Voxels decoded at a time, as far as whole rows and slices allow. */
const chunk = 2 ** 16;

/** Bytes of voxels that must have come before a volume is allocated for which no length was announced. */
const proof = 2 ** 23;

/** Bytes behind the voxels that are still looked at: gzip says at its end whether it was damaged. */
const tail = 2 ** 20;

/**
 * Reads a NIfTI volume.
 * @throws InvalidVolume if the file is missing, is not NIfTI, is damaged or truncated, or holds voxels without
 *   one real value; OutOfMemory if one volume does not fit into 4 GiB; InvalidOption for what is no source
 * @example
 * ```js
 * const { data, shape, affine } = await readNifti('scan.nii.gz');
 * ```
 */
export async function readNifti(source: Source, options: ReadOptions = {}): Promise<Volume> {
  assertOptions('readNifti', readEntries, options);
  const main = renamed(source, 'hdr') ?? source;
  const single = await reading(main, undefined, async (bytes) => {
    const header = parseHeader(await bytes.peek(headerBytes), sourceName(main));
    return header.pair ? header : decodeVolume(bytes, header, sourceName(main), options);
  });
  if ('data' in single) return single;
  const image = options.image ?? (isFilePair(main) ? main.image : renamed(main, 'img'));
  if (image === undefined)
    throw new InvalidVolume(
      `${sourceName(main)} is the header of a .hdr/.img pair; give its .img file too (option "image").`,
    );
  return reading(image, 'give the image of the pair as the option "image"', (bytes) =>
    decodeVolume(bytes, single, sourceName(image), options),
  );
}

/**
 * The header alone, of a pair from its .hdr; no voxel is read.
 * @throws InvalidVolume as readNifti, for what a header can tell
 */
export async function readHeader(source: Source): Promise<NiftiHeader> {
  const main = renamed(source, 'hdr') ?? source;
  const bytes = await openSource(main);
  try {
    return parseHeader(await bytes.peek(headerBytes), sourceName(main));
  } finally {
    await bytes.close();
  }
}

/** What a file says with all that it says of its own damage; `read` takes what it needs, the rest is left unread. */
async function reading<T>(
  source: Source,
  remedy: string | undefined,
  read: (bytes: ByteStream) => Promise<T>,
): Promise<T> {
  const bytes = await openSource(source, remedy);
  try {
    const result = await read(bytes);
    await bytes.skip(tail);
    return result;
  } finally {
    await bytes.close();
  }
}

/** The other file of a pair: a path or URL with its ending replaced; undefined if it has neither ending. */
function renamed(source: Source, ending: 'hdr' | 'img'): string | URL | undefined {
  if (typeof source === 'string') return pairedPath(source, ending);
  const pathname = source instanceof URL ? pairedPath(source.pathname, ending) : undefined;
  return pathname === undefined ? undefined : Object.assign(new URL(source as URL), { pathname });
}

/** Decodes voxels as they arrive. */
async function decodeVolume(
  bytes: ByteStream,
  header: NiftiHeader,
  name: string,
  { canonical = false, onto, statistics = false }: ReadOptions,
): Promise<Volume> {
  const { shape, datatype, voxOffset, bigEndian, slope, intercept } = header;
  const [type, size] = datatypes[datatype]!;
  const count = shape.reduce((a, b) => a * b, 1);
  const end = voxOffset + count * size;
  const { most, announced } = bytes.expected;
  const requireBytes = (found: number, about = ''): void => {
    if (end > found)
      throw new InvalidVolume(
        `${name} is truncated or its header damaged: ${shape.join(' x ')} voxels of ${type} from byte ${voxOffset} ` +
          `need ${end} bytes, found ${about}${found}; copy or download it again.`,
      );
  };
  requireBytes(most, most === announced ? '' : 'at most ');
  const affine = headerAffine(header, shape, name);
  const before = await bytes.skip(voxOffset);
  if (end > announced) {
    // A file of some length, full of zeros, may well hold `most`; what comes from elsewhere may promise anything.
    const wanted = most === Infinity ? count * size : Math.min(count * size, proof);
    const held = await bytes.hold(wanted);
    if (held < wanted) requireBytes(before + held);
  }
  const source = { shape: [...shape], affine };
  const turned = onto ? turnedOnto(source, onto) : canonical ? canonicalGrid(source) : undefined;
  const turn = turned?.same === false ? turned : undefined;
  const [nx, ny, depth] = spatialShape(shape);
  const plane = nx * ny;
  const nz = turn ? depth : count / plane;
  const { origin, strides } = turn ?? { origin: 0, strides: [1, nx, plane] as const };
  const [sx, sy, sz] = strides;
  const data = arrayFor(Float32Array, count, name);
  const { decode, reorient, reset, memory } = wasm();
  const running = statistics ? new RunningStatistics() : undefined;

  /** Raw voxels as float32 in WASM memory, behind a block of as many bytes. */
  const decoded = (raw: readonly Uint8Array[], voxels: number): readonly [block: number, floats: number] => {
    reset(); // others may have used the memory meanwhile
    const [block, target] = [allocate(voxels * Math.max(4, size)), allocate(voxels * 4)];
    const all = new Uint8Array(memory.buffer);
    raw.forEach((part, i) => all.set(part, block + i * part.length));
    decode(block, target, voxels, datatype, bigEndian, slope, intercept);
    return [block, target];
  };

  type Range = readonly [from: number, count: number];
  /** Decodes and turns some rows of some slices, which are a run of the result. */
  const place = (raw: readonly Uint8Array[], start: number, [y, rows]: Range, [z, slices]: Range): void => {
    const voxels = nx * rows * slices;
    const [target, values] = decoded(raw, voxels);
    if (sliced) running?.add(values, voxels);
    const corner = origin + y * sy + z * sz;
    const before = Math.min(0, sx * (nx - 1)) + Math.min(0, sy * (rows - 1)) + Math.min(0, sz * (slices - 1));
    reorient(values, target, nx, rows, slices, -before, sx, sy, sz);
    data.set(floats(target, voxels), start + corner + before);
  };

  // Boxes of `chunk` voxels stay in the cache. Where slices stay slices they are placed as they arrive; otherwise,
  // when all slices are there, by the rows that become slices, or, where columns do, all at once.
  const sliced = Math.abs(sz) === plane;
  const slices = sliced ? Math.max(1, Math.floor(chunk / plane)) : 1;
  const rows = Math.abs(sy) === nx * nz ? Math.max(1, Math.floor(chunk / (nx * nz))) : ny;
  const { touch } = platform();
  const own = touch && memoryAhead(data, touch, sliced && sz < 0 ? -1 : 1);
  for (let start = 0; start < count; start += plane * nz) {
    const arrived: Uint8Array[] = [];
    for (let z = 0; z < nz; z += slices) {
      const now = Math.min(slices, nz - z);
      const raw = await bytes.take(now * plane * size);
      if (raw.length < now * plane * size) requireBytes(voxOffset + (start + z * plane) * size + raw.length);
      if (sliced) {
        const at = sz > 0 ? z : nz - z - now;
        await own?.(start + at * plane, start + (at + now) * plane);
        place([raw], start, [0, ny], [z, now]);
      } else {
        arrived.push(raw);
        // While gunzip works on: the statistics, and the system gives memory.
        running?.add(decoded([raw], plane)[1], plane);
        await own?.(start + z * plane, start + (z + 1) * plane);
        data.fill(0, start + z * plane, start + (z + 1) * plane);
      }
    }
    for (let y = 0; y < ny && !sliced; y += rows) {
      const now = Math.min(rows, ny - y);
      const parts = arrived.map((raw) => raw.subarray(y * nx * size, (y + now) * nx * size));
      place(parts, start, [y, now], [0, nz]);
    }
  }
  const placed = turn ?? source;
  return {
    data,
    shape: placed.shape,
    affine: placed.affine,
    spacing: spacingOf(placed.affine),
    ...(running && { statistics: running.statistics }),
    header,
  };
}
