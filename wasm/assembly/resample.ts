/**
 * Grids of another size: trilinear and nearest resampling. Grids are [channel][z][y][x] without gaps; sizes are given as
 * x, y, z.
 */

/** Trilinear sampling of one axis: dst voxel -> lower and upper src voxel and the weight of the upper one. */
// @ts-ignore: decorator
@inline
function position(index: i32, from: i32, to: i32): f64 {
  return max((<f64>index + 0.5) * (<f64>from / <f64>to) - 0.5, 0.0);
}

/** Bytes of scratch that resampleLinear needs: one source row as float64, and 16 bytes per target column. */
export function linearScratchBytes(fromX: i32, toX: i32): usize {
  return (<usize>fromX << 3) + (<usize>toX << 4);
}

/**
 * Trilinear, as PyTorch's F.interpolate with align_corners=False: src = (dst + 1/2) * from / to - 1/2, clamped at 0;
 * the upper neighbour is clamped at the last voxel. Float64 throughout, rounded to float32 once. No antialiasing.
 */
export function resampleLinear(
  source: usize, fromX: i32, fromY: i32, fromZ: i32,
  target: usize, toX: i32, toY: i32, toZ: i32,
  channels: i32, scratch: usize,
): void {
  const row = scratch;
  const columns = scratch + (<usize>fromX << 3);
  for (let x = 0; x < toX; x++) {
    const place = position(x, fromX, toX);
    const lower = min(<i32>place, fromX - 1);
    const entry = columns + (<usize>x << 4);
    store<i32>(entry, lower << 3);
    store<i32>(entry, min(lower + 1, fromX - 1) << 3, 4);
    store<f64>(entry, place - <f64>lower, 8);
  }
  const rowBytes = <usize>fromX << 2;
  const planeBytes = rowBytes * fromY;
  let out = target;
  for (let c = 0; c < channels; c++) {
    const volume = source + planeBytes * fromZ * c;
    for (let z = 0; z < toZ; z++) {
      const placeZ = position(z, fromZ, toZ);
      const z0 = min(<i32>placeZ, fromZ - 1);
      const wz = placeZ - <f64>z0;
      const plane0 = volume + planeBytes * z0;
      const plane1 = volume + planeBytes * min(z0 + 1, fromZ - 1);
      for (let y = 0; y < toY; y++) {
        const placeY = position(y, fromY, toY);
        const y0 = min(<i32>placeY, fromY - 1);
        const wy = placeY - <f64>y0;
        const row0 = rowBytes * y0;
        const row1 = rowBytes * min(y0 + 1, fromY - 1);
        blendRows(row, fromX, plane0 + row0, plane0 + row1, plane1 + row0, plane1 + row1, wy, wz);
        for (let x = 0; x < toX; x++, out += 4) {
          const entry = columns + (<usize>x << 4);
          const a = load<f64>(row + load<i32>(entry));
          const b = load<f64>(row + load<i32>(entry, 4));
          const w = load<f64>(entry, 8);
          store<f32>(out, <f32>((1 - w) * a + w * b));
        }
      }
    }
  }
}

/** row[x] = the bilinear mean of four float32 rows; `wy` weighs the second of each pair, `wz` the second pair. */
// @ts-ignore: decorator
@inline
function blendRows(row: usize, n: i32, p00: usize, p01: usize, p10: usize, p11: usize, wy: f64, wz: f64): void {
  const w00 = (1 - wz) * (1 - wy);
  const w01 = (1 - wz) * wy;
  const w10 = wz * (1 - wy);
  const w11 = wz * wy;
  let x: usize = 0;
  for (; x < <usize>(n & ~1); x += 2) {
    const at = x << 2;
    const low = f64x2.add(
      f64x2.mul(f64x2.splat(w00), f64x2.promote_low_f32x4(v128.load64_zero(p00 + at))),
      f64x2.mul(f64x2.splat(w01), f64x2.promote_low_f32x4(v128.load64_zero(p01 + at))),
    );
    const high = f64x2.add(
      f64x2.mul(f64x2.splat(w10), f64x2.promote_low_f32x4(v128.load64_zero(p10 + at))),
      f64x2.mul(f64x2.splat(w11), f64x2.promote_low_f32x4(v128.load64_zero(p11 + at))),
    );
    v128.store(row + (x << 3), f64x2.add(low, high));
  }
  if (n & 1) {
    const at = x << 2;
    const low = w00 * <f64>load<f32>(p00 + at) + w01 * <f64>load<f32>(p01 + at);
    const high = w10 * <f64>load<f32>(p10 + at) + w11 * <f64>load<f32>(p11 + at);
    store<f64>(row + (x << 3), low + high);
  }
}

/**
 * One plane of a grid between two source planes: `above` weighs the second. A row or column of the target has 16 bytes
 * in its table: the two rows or columns of the source (int32) and the weight of the second (float64). Float64 within.
 * @param scratch 8 bytes per source column
 */
export function resamplePlane(
  first: usize, second: usize, above: f64, fromX: i32,
  rows: usize, toY: i32, columns: usize, toX: i32, target: usize, scratch: usize,
): void {
  const rowBytes = <usize>fromX << 2;
  let out = target;
  for (let y = 0; y < toY; y++) {
    const entry = rows + (<usize>y << 4);
    const low = <usize>load<i32>(entry) * rowBytes;
    const high = <usize>load<i32>(entry, 4) * rowBytes;
    blendRows(scratch, fromX, first + low, first + high, second + low, second + high, load<f64>(entry, 8), above);
    for (let x = 0; x < toX; x++, out += 4) {
      const column = columns + (<usize>x << 4);
      const a = load<f64>(scratch + (<usize>load<i32>(column) << 3));
      const b = load<f64>(scratch + (<usize>load<i32>(column, 4) << 3));
      const w = load<f64>(column, 8);
      store<f32>(out, <f32>((1 - w) * a + w * b));
    }
  }
}

/** Where values are above the best so far they become it, and the voxel's label (uint16) becomes `label`. */
export function keepBest(values: usize, best: usize, labels: usize, length: i32, label: i32): void {
  const marks = i16x8.splat(<i16>label);
  let i: usize = 0;
  for (; i < <usize>(length & ~7); i += 8) {
    const at = i << 2;
    const low = v128.load(values + at);
    const high = v128.load(values + at, 16);
    const isLow = f32x4.gt(low, v128.load(best + at));
    const isHigh = f32x4.gt(high, v128.load(best + at, 16));
    v128.store(best + at, v128.bitselect(low, v128.load(best + at), isLow));
    v128.store(best + at, v128.bitselect(high, v128.load(best + at, 16), isHigh), 16);
    const isBetter = i16x8.narrow_i32x4_s(isLow, isHigh);
    const place = labels + (i << 1);
    v128.store(place, v128.bitselect(marks, v128.load(place), isBetter));
  }
  for (; i < <usize>length; i++) {
    const value = load<f32>(values + (i << 2));
    if (!(value > load<f32>(best + (i << 2)))) continue;
    store<f32>(best + (i << 2), value);
    store<u16>(labels + (i << 1), <u16>label);
  }
}

/** Source voxel whose cell holds the centre of target voxel `index`: floor((index + 1/2) * from / to), in integers. */
// @ts-ignore: decorator
@inline
function centre(index: i32, from: i32, to: i32): i32 {
  return <i32>(((<i64>index * 2 + 1) * from) / (<i64>to * 2));
}

/** Nearest by the rule of `centre`; scratch holds 4 bytes per target column. */
function nearest<T>(
  source: usize, fromX: i32, fromY: i32, fromZ: i32,
  target: usize, toX: i32, toY: i32, toZ: i32,
  channels: i32, scratch: usize,
): void {
  for (let x = 0; x < toX; x++)
    store<i32>(scratch + (<usize>x << 2), centre(x, fromX, toX) * <i32>sizeof<T>());
  const rowBytes = <usize>fromX * sizeof<T>();
  let out = target;
  for (let c = 0; c < channels; c++)
    for (let z = 0; z < toZ; z++) {
      const plane = <usize>(c * fromZ + centre(z, fromZ, toZ)) * fromY;
      for (let y = 0; y < toY; y++) {
        const row = source + (plane + centre(y, fromY, toY)) * rowBytes;
        for (let x = 0; x < toX; x++, out += sizeof<T>())
          store<T>(out, load<T>(row + load<i32>(scratch + (<usize>x << 2))));
      }
    }
}

/** Nearest neighbour of bytes (labels), as PyTorch's "nearest-exact". */
export function resampleNearestU8(
  source: usize, fromX: i32, fromY: i32, fromZ: i32,
  target: usize, toX: i32, toY: i32, toZ: i32,
  channels: i32, scratch: usize,
): void {
  nearest<u8>(source, fromX, fromY, fromZ, target, toX, toY, toZ, channels, scratch);
}

/** Nearest neighbour of float32, as PyTorch's "nearest-exact". */
export function resampleNearestF32(
  source: usize, fromX: i32, fromY: i32, fromZ: i32,
  target: usize, toX: i32, toY: i32, toZ: i32,
  channels: i32, scratch: usize,
): void {
  nearest<u32>(source, fromX, fromY, fromZ, target, toX, toY, toZ, channels, scratch);
}
