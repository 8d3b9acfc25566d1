/**
 * Exact Euclidean distances to a set of voxels, in millimetres: one scan along x, then lower
 * envelopes of parabolas along y and z (Felzenszwalb and Huttenlocher 2012, "Distance transforms of
 * sampled functions"). Float64 throughout.
 */

type Triple = readonly [number, number, number];

/** Buffers that grow to the largest volume seen and are used again. */
export interface DistanceScratch {
  squares: Float64Array;
}

/** A place for `squaredDistances` to work in; pass the same one to every call. */
export const distanceScratch = (): DistanceScratch => ({ squares: new Float64Array(0) });

/** Buffers for one line; `count` is how many parabolas the envelope has. */
class Envelope {
  readonly heights: Float64Array;
  readonly result: Float64Array;
  private readonly centres: Int32Array;
  private readonly starts: Float64Array;

  constructor(
    private readonly length: number,
    private readonly weight: number,
  ) {
    this.heights = new Float64Array(length);
    this.result = new Float64Array(length);
    this.centres = new Int32Array(length);
    this.starts = new Float64Array(length + 1);
  }

  /** result[q] = min over p of heights[p] + weight (q - p)^2; infinite heights take no part. */
  run(): void {
    const { heights, result, centres, starts, length, weight } = this;
    let count = 0;
    for (let q = 0; q < length; q++) {
      const height = heights[q]!;
      if (height === Infinity) continue;
      const lifted = height + weight * q * q;
      let start = -Infinity;
      while (count > 0) {
        const p = centres[count - 1]!;
        start = (lifted - heights[p]! - weight * p * p) / (2 * weight * (q - p));
        if (start > starts[count - 1]!) break;
        count--;
        start = -Infinity;
      }
      centres[count] = q;
      starts[count] = start;
      count++;
    }
    if (count === 0) {
      result.fill(Infinity);
      return;
    }
    starts[count] = Infinity;
    let at = 0;
    for (let q = 0; q < length; q++) {
      while (starts[at + 1]! < q) at++;
      const p = centres[at]!;
      result[q] = heights[p]! + weight * (q - p) * (q - p);
    }
  }
}

/**
 * Squared distance in mm^2 from every voxel to the nearest voxel where `sites` is not 0; Infinity if
 * there is none. The result lies in the scratch and lasts until its next use.
 * @param sites one byte per voxel, x fastest
 * @param shape voxels along x, y, z
 * @param spacing millimetres along x, y, z
 * @param wanted if given, only voxels that are not 0 in it are sure to be computed
 */
export function squaredDistances(
  sites: Uint8Array,
  shape: Triple,
  spacing: Triple,
  options: { readonly wanted?: Uint8Array; readonly scratch?: DistanceScratch } = {},
): Float64Array {
  const [nx, ny, nz] = shape;
  const { wanted, scratch = distanceScratch() } = options;
  const size = nx * ny * nz;
  if (scratch.squares.length < size) scratch.squares = new Float64Array(size);
  const squares = scratch.squares.subarray(0, size);

  for (let row = 0; row < size; row += nx) scanRow(sites, squares, row, nx, spacing[0]);

  const alongY = new Envelope(ny, spacing[1] ** 2);
  for (let slice = 0; slice < size; slice += nx * ny)
    for (let x = 0; x < nx; x++) {
      for (let y = 0, at = slice + x; y < ny; y++, at += nx) alongY.heights[y] = squares[at]!;
      alongY.run();
      for (let y = 0, at = slice + x; y < ny; y++, at += nx) squares[at] = alongY.result[y]!;
    }

  const alongZ = new Envelope(nz, spacing[2] ** 2);
  const step = nx * ny;
  const isWanted = new Uint8Array(step);
  if (wanted)
    for (let at = 0, pixel = 0; at < size; at++, pixel = pixel + 1 === step ? 0 : pixel + 1)
      isWanted[pixel]! |= wanted[at]!;
  else isWanted.fill(1);
  for (let pixel = 0; pixel < step; pixel++) {
    if (isWanted[pixel] === 0) continue;
    for (let z = 0, at = pixel; z < nz; z++, at += step) alongZ.heights[z] = squares[at]!;
    alongZ.run();
    for (let z = 0, at = pixel; z < nz; z++, at += step) squares[at] = alongZ.result[z]!;
  }
  return squares;
}

/** Squared distance to the nearest site of the same row. */
function scanRow(sites: Uint8Array, squares: Float64Array, row: number, nx: number, spacing: number): void {
  let steps = Infinity;
  for (let at = row; at < row + nx; at++) {
    steps = sites[at] === 0 ? steps + 1 : 0;
    squares[at] = steps;
  }
  steps = Infinity;
  for (let at = row + nx - 1; at >= row; at--) {
    steps = sites[at] === 0 ? steps + 1 : 0;
    const least = Math.min(steps, squares[at]!) * spacing;
    squares[at] = least * least;
  }
}
