/** Axes of a volume permuted and flipped: a copy from one grid into another of the same voxels. */

/** Side of a tile of a transposition: 16 float32 are one cache line. */
const TILE: i32 = 16;

/**
 * Copies float32 voxels into a grid of `nx` x `ny` x `nz`, x fastest. Voxel (x, y, z) is read at
 * source[origin + x * sx + y * sy + z * sz]; strides count voxels and are negative along a flipped axis.
 */
export function reorient(
  source: usize,
  target: usize,
  nx: i32,
  ny: i32,
  nz: i32,
  origin: i32,
  sx: i32,
  sy: i32,
  sz: i32,
): void {
  const first = source + (<usize>origin << 2);
  if (sx == 1 || sx == -1) {
    let to = target;
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++, to += <usize>nx << 2) {
        const from = first + (<usize>(y * sy + z * sz) << 2);
        if (sx == 1) memory.copy(to, from, <usize>nx << 2);
        else reverse(from, to, nx);
      }
  } else if (sy == 1 || sy == -1) {
    for (let z = 0; z < nz; z++)
      transpose(first + (<usize>(z * sz) << 2), target + (<usize>(z * ny * nx) << 2), nx, ny, nx, sx, sy);
  } else {
    for (let y = 0; y < ny; y++)
      transpose(first + (<usize>(y * sy) << 2), target + (<usize>(y * nx) << 2), nx, nz, nx * ny, sx, sz);
  }
}

/** target[x] = source[-x] */
function reverse(source: usize, target: usize, n: i32): void {
  let x = 0;
  for (; x + 4 <= n; x += 4) {
    const v = v128.load(source - (<usize>(x + 3) << 2));
    v128.store(target + (<usize>x << 2), v128.shuffle<i32>(v, v, 3, 2, 1, 0));
  }
  for (; x < n; x++) store<f32>(target + (<usize>x << 2), load<f32>(source - (<usize>x << 2)));
}

/** target[x + a * pitch] = source[x * sx + a * sa], tile by tile, so that the lines of both sides stay in cache. */
function transpose(source: usize, target: usize, nx: i32, na: i32, pitch: i32, sx: i32, sa: i32): void {
  const step = <isize>sx << 2;
  for (let a0 = 0; a0 < na; a0 += TILE)
    for (let x0 = 0; x0 < nx; x0 += TILE) {
      const a1 = min(a0 + TILE, na);
      const length = <usize>min(TILE, nx - x0) << 2;
      for (let a = a0; a < a1; a++) {
        let from = source + (<usize>(x0 * sx + a * sa) << 2);
        let to = target + (<usize>(x0 + a * pitch) << 2);
        for (const end = to + length; to < end; to += 4, from += step) store<f32>(to, load<f32>(from));
      }
    }
}
