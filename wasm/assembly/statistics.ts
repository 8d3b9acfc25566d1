/**
 * Statistics of float32 voxels in linear memory: count, minimum, maximum and sums over the finite ones, exact order
 * statistics, z-score and clipping in place. Sums are float64 and their order depends on the number of voxels only.
 */

const INFINITE: v128 = f32x4.splat(<f32>Infinity);

/** All ones in the lanes that hold finite values: v - v is 0 for these and NaN for all others. */
// @ts-ignore: decorator
@inline
function finiteLanes(v: v128): v128 {
  return f32x4.eq(f32x4.sub(v, v), f32x4.splat(0));
}

// @ts-ignore: decorator
@inline
function lowToF64(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

// @ts-ignore: decorator
@inline
function highToF64(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
}

// @ts-ignore: decorator
@inline
function lanesSum(a: v128, b: v128): f64 {
  const sum = f64x2.add(a, b);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/**
 * Writes four float64 to `out`: number of finite voxels, their minimum, maximum and sum. Without any finite voxel: 0,
 * Infinity, -Infinity, 0.
 */
export function sums(data: usize, length: i32, out: usize): void {
  const end = data + (<usize>length << 2);
  const body = data + (<usize>(length & ~3) << 2);
  let counts = i32x4.splat(0);
  let lowest = INFINITE;
  let highest = f32x4.neg(INFINITE);
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  for (let p = data; p < body; p += 16) {
    const v = v128.load(p);
    const finite = finiteLanes(v);
    counts = i32x4.sub(counts, finite);
    lowest = f32x4.pmin(lowest, v128.bitselect(v, INFINITE, finite));
    highest = f32x4.pmax(highest, v128.bitselect(v, f32x4.neg(INFINITE), finite));
    const kept = v128.and(v, finite);
    a = f64x2.add(a, lowToF64(kept));
    b = f64x2.add(b, highToF64(kept));
  }
  let count =
    i32x4.extract_lane(counts, 0) +
    i32x4.extract_lane(counts, 1) +
    i32x4.extract_lane(counts, 2) +
    i32x4.extract_lane(counts, 3);
  let low = min(
    min(f32x4.extract_lane(lowest, 0), f32x4.extract_lane(lowest, 1)),
    min(f32x4.extract_lane(lowest, 2), f32x4.extract_lane(lowest, 3)),
  );
  let high = max(
    max(f32x4.extract_lane(highest, 0), f32x4.extract_lane(highest, 1)),
    max(f32x4.extract_lane(highest, 2), f32x4.extract_lane(highest, 3)),
  );
  let sum = lanesSum(a, b);
  for (let p = body; p < end; p += 4) {
    const v = load<f32>(p);
    if (!isFinite(v)) continue;
    count++;
    low = min(low, v);
    high = max(high, v);
    sum += v;
  }
  store<f64>(out, count);
  store<f64>(out, low, 8);
  store<f64>(out, high, 16);
  store<f64>(out, sum, 24);
}

/** Sum of (v - mean)^2 over the finite voxels. */
export function squares(data: usize, length: i32, mean: f64): f64 {
  const end = data + (<usize>length << 2);
  const body = data + (<usize>(length & ~3) << 2);
  const means = f64x2.splat(mean);
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  for (let p = data; p < body; p += 16) {
    const v = v128.load(p);
    const finite = finiteLanes(v);
    const da = v128.and(f64x2.sub(lowToF64(v), means), i64x2.extend_low_i32x4_s(finite));
    const db = v128.and(f64x2.sub(highToF64(v), means), i64x2.extend_high_i32x4_s(finite));
    a = f64x2.add(a, f64x2.mul(da, da));
    b = f64x2.add(b, f64x2.mul(db, db));
  }
  let sum = lanesSum(a, b);
  for (let p = body; p < end; p += 4) {
    const v = load<f32>(p);
    if (isFinite(v)) sum += (<f64>v - mean) * (<f64>v - mean);
  }
  return sum;
}

/** In place: every voxel becomes float32((v - mean) / divisor), computed in float64 and rounded once. */
export function standardize(data: usize, length: i32, mean: f64, divisor: f64): void {
  const end = data + (<usize>length << 2);
  const body = data + (<usize>(length & ~3) << 2);
  const means = f64x2.splat(mean);
  const divisors = f64x2.splat(divisor);
  for (let p = data; p < body; p += 16) {
    const v = v128.load(p);
    const a = f32x4.demote_f64x2_zero(f64x2.div(f64x2.sub(lowToF64(v), means), divisors));
    const b = f32x4.demote_f64x2_zero(f64x2.div(f64x2.sub(highToF64(v), means), divisors));
    v128.store(p, v128.shuffle<i32>(a, b, 0, 1, 4, 5));
  }
  for (let p = body; p < end; p += 4) store<f32>(p, <f32>((<f64>load<f32>(p) - mean) / divisor));
}

/** In place: NaN and infinities become 0. */
export function zeroNonFinite(data: usize, length: i32): void {
  const end = data + (<usize>length << 2);
  for (let p = data; p < end; p += 4) if (!isFinite(load<f32>(p))) store<f32>(p, 0);
}

/** Unsigned number that orders as the float32 does (-0 before 0). */
// @ts-ignore: decorator
@inline
function sortKey(p: usize): u32 {
  const bits = load<u32>(p);
  return bits ^ (<u32>(<i32>bits >> 31) | 0x80000000);
}

/** Bytes of a table of 65536 counts. */
const TABLE: usize = 65536 * 4;

/**
 * For each of `count` ranks (uint32 from 0, at `ranks`) writes the float32 that stands there among the sorted voxels
 * to `out`. Radix selection on the two halves of the sort key: one pass for all upper halves, one for the lower halves
 * of each that is asked for. The voxels stay as they are and must be finite.
 * @param scratch 512 KiB
 */
export function orderStatistics(
  data: usize,
  length: i32,
  ranks: usize,
  count: i32,
  out: usize,
  scratch: usize,
): void {
  const upper = scratch;
  const lower = scratch + TABLE;
  const end = data + (<usize>length << 2);
  memory.fill(upper, 0, TABLE);
  for (let p = data; p < end; p += 4) increment(upper, sortKey(p) >> 16);

  let counted: u32 = u32.MAX_VALUE; // the upper half whose lower halves are in the table
  for (let i = 0; i < count; i++) {
    let rank = load<u32>(ranks + (<usize>i << 2));
    let high: u32 = 0;
    for (let n = load<u32>(upper); rank >= n; n = load<u32>(upper + (high << 2))) {
      rank -= n;
      high++;
    }
    if (high != counted) {
      memory.fill(lower, 0, TABLE);
      for (let p = data; p < end; p += 4) {
        const key = sortKey(p);
        if (key >> 16 == high) increment(lower, key & 0xffff);
      }
      counted = high;
    }
    let low: u32 = 0;
    for (let n = load<u32>(lower); rank >= n; n = load<u32>(lower + (low << 2))) {
      rank -= n;
      low++;
    }
    const key = (high << 16) | low;
    store<u32>(out + (<usize>i << 2), key ^ (<u32>(<i32>~key >> 31) | 0x80000000));
  }
}

// @ts-ignore: decorator
@inline
function increment(table: usize, index: u32): void {
  const entry = table + (index << 2);
  store<u32>(entry, load<u32>(entry) + 1);
}
