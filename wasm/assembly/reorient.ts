/** Axes of a volume permuted and flipped: float32 voxels copied from one grid into another. */

/** Columns that are transposed together: one cache line of the source. */
const TILE: i32 = 16;

/**
 * target[origin + x * tx + y * ty + z * tz] = source(x, y, z), which has nx x ny x nz voxels with x fastest.
 * Strides count voxels, negative along a flipped axis; one of them is 1 or -1.
 */
export function reorient(
  source: usize, target: usize, nx: i32, ny: i32, nz: i32, origin: i32, tx: i32, ty: i32, tz: i32,
): void {
  const row = <usize>nx << 2;
  const plane = row * <usize>ny;
  if (tx == 1 || tx == -1) {
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++) {
        const from = source + <usize>z * plane + <usize>y * row;
        const to = target + (<usize>(origin + y * ty + z * tz) << 2);
        if (tx == 1) memory.copy(to, from, row);
        else reverse(from, to, nx);
      }
  } else if (ty == 1 || ty == -1) {
    for (let z = 0; z < nz; z++)
      transpose(source + <usize>z * plane, row, target + (<usize>(origin + z * tz) << 2), tx, nx, ny, ty < 0);
  } else {
    for (let y = 0; y < ny; y++)
      transpose(source + <usize>y * row, plane, target + (<usize>(origin + y * ty) << 2), tx, nx, nz, tz < 0);
  }
}

/** Writes `n` voxels backwards; `to` is where the first goes. */
function reverse(from: usize, to: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const four = v128.load(from);
    v128.store(to - 12, i8x16.shuffle(four, four, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    from += 16;
    to -= 16;
  }
  for (; i < n; i++) {
    store<f32>(to, load<f32>(from));
    from += 4;
    to -= 4;
  }
}

/**
 * Rows of nx voxels, `step` bytes apart, become columns: voxel x of row a goes to `target` + x * tx + a, or - a.
 */
function transpose(source: usize, step: usize, target: usize, tx: i32, nx: i32, rows: i32, backwards: bool): void {
  const column = <isize>tx << 2;
  const ahead: isize = backwards ? -4 : 4;
  const wholeRows = rows & ~3;
  for (let x0 = 0; x0 < nx; x0 += TILE) {
    const end = min(x0 + TILE, nx);
    const whole = x0 + ((end - x0) & ~3);
    for (let a = 0; a < wholeRows; a += 4) {
      const from = source + <usize>a * step;
      const to = target + <usize>(<isize>a * ahead) - (backwards ? 12 : 0);
      for (let x = x0; x < whole; x += 4) {
        // Backwards, the four rows change places, so that four voxels of a column still lie in order.
        const at = from + (<usize>x << 2);
        const r0 = v128.load(backwards ? at + 3 * step : at);
        const r1 = v128.load(backwards ? at + 2 * step : at + step);
        const r2 = v128.load(backwards ? at + step : at + 2 * step);
        const r3 = v128.load(backwards ? at : at + 3 * step);
        const a0 = i8x16.shuffle(r0, r1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        const a1 = i8x16.shuffle(r2, r3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        const b0 = i8x16.shuffle(r0, r1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
        const b1 = i8x16.shuffle(r2, r3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
        let out = to + <usize>(<isize>x * column);
        v128.store(out, i8x16.shuffle(a0, a1, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
        out += column;
        v128.store(out, i8x16.shuffle(a0, a1, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
        out += column;
        v128.store(out, i8x16.shuffle(b0, b1, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
        out += column;
        v128.store(out, i8x16.shuffle(b0, b1, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
      }
    }
    for (let a = 0; a < rows; a++)
      for (let x = a < wholeRows ? whole : x0; x < end; x++)
        store<f32>(
          target + <usize>(<isize>x * column + <isize>a * ahead),
          load<f32>(source + <usize>a * step + (<usize>x << 2)),
        );
  }
}
