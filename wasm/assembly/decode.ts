/**
 * Voxels of every real NIfTI type and either byte order to float32: value = f32(f64(raw) * slope + intercept),
 * computed in float64 and rounded once. Datatype codes are those of the NIfTI header.
 */

/** Raw value `i` at `source` as float64; T is the type stored. */
// @ts-ignore: decorators are AssemblyScript's
@inline
function raw<T>(source: usize, i: usize, swap: bool): f64 {
  const at = source + i * sizeof<T>();
  if (sizeof<T>() == 1) return <f64>load<T>(at);
  if (!swap) return <f64>load<T>(at);
  if (sizeof<T>() == 2) return <f64>bswap<T>(load<T>(at));
  if (sizeof<T>() == 4) {
    const bits = bswap<u32>(load<u32>(at));
    return isFloat<T>() ? <f64>reinterpret<f32>(bits) : <f64>(<T>bits);
  }
  const bits = bswap<u64>(load<u64>(at));
  return isFloat<T>() ? reinterpret<f64>(bits) : <f64>(<T>bits);
}

// @ts-ignore: decorators are AssemblyScript's
@inline
function convert<T>(source: usize, target: usize, count: usize, swap: bool, slope: f64, intercept: f64): void {
  if (slope == 1 && intercept == 0) {
    for (let i: usize = 0; i < count; i++) store<f32>(target + (i << 2), <f32>raw<T>(source, i, swap));
    return;
  }
  for (let i: usize = 0; i < count; i++)
    store<f32>(target + (i << 2), <f32>(raw<T>(source, i, swap) * slope + intercept));
}

/** Little-endian int16, eight voxels at a time. */
function convertInt16(source: usize, target: usize, count: usize, slope: f64, intercept: f64): void {
  const whole = count & ~7;
  if (slope == 1 && intercept == 0) {
    for (let i: usize = 0; i < whole; i += 8) {
      const voxels = v128.load(source + (i << 1));
      const at = target + (i << 2);
      v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(voxels)));
      v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(voxels)), 16);
    }
  } else {
    const slopes = f64x2.splat(slope);
    const intercepts = f64x2.splat(intercept);
    for (let i: usize = 0; i < whole; i += 8) {
      const voxels = v128.load(source + (i << 1));
      const at = target + (i << 2);
      v128.store(at, scaled(i32x4.extend_low_i16x8_s(voxels), slopes, intercepts));
      v128.store(at, scaled(i32x4.extend_high_i16x8_s(voxels), slopes, intercepts), 16);
    }
  }
  convert<i16>(source + (whole << 1), target + (whole << 2), count - whole, false, slope, intercept);
}

/** Four int32 lanes to float32, through float64. */
// @ts-ignore: decorators are AssemblyScript's
@inline
function scaled(voxels: v128, slopes: v128, intercepts: v128): v128 {
  const upper = i8x16.shuffle(voxels, voxels, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  const low = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_s(voxels), slopes), intercepts);
  const high = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_s(upper), slopes), intercepts);
  return i8x16.shuffle(
    f32x4.demote_f64x2_zero(low),
    f32x4.demote_f64x2_zero(high),
    0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, // prettier-ignore
  );
}

/**
 * Decodes `count` voxels at `source` into float32 at `target`.
 * @returns false for a datatype that is not one of the ten real ones
 */
export function decode(
  source: usize,
  target: usize,
  count: usize,
  datatype: i32,
  bigEndian: bool,
  slope: f64,
  intercept: f64,
): bool {
  switch (datatype) {
    case 2:
      convert<u8>(source, target, count, false, slope, intercept);
      return true;
    case 256:
      convert<i8>(source, target, count, false, slope, intercept);
      return true;
    case 4:
      if (bigEndian) convert<i16>(source, target, count, true, slope, intercept);
      else convertInt16(source, target, count, slope, intercept);
      return true;
    case 512:
      convert<u16>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 8:
      convert<i32>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 768:
      convert<u32>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 1024:
      convert<i64>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 1280:
      convert<u64>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 16:
      convert<f32>(source, target, count, bigEndian, slope, intercept);
      return true;
    case 64:
      convert<f64>(source, target, count, bigEndian, slope, intercept);
      return true;
    default:
      return false;
  }
}
