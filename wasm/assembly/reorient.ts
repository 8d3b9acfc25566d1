/** Axes of a volume permuted and flipped: a copy from one grid into another of the same voxels. */

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
  let to = target;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      let from = source + ((<usize>(origin + y * sy + z * sz)) << 2);
      if (sx == 1) {
        memory.copy(to, from, <usize>nx << 2);
        to += <usize>nx << 2;
        continue;
      }
      const step = <isize>sx << 2;
      for (let x = 0; x < nx; x++) {
        store<f32>(to, load<f32>(from));
        to += 4;
        from += step;
      }
    }
  }
}
