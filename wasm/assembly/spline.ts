/** Cubic B-spline and linear resampling along one axis, as scipy.ndimage has them with mode "nearest". */

/** Lines that are worked on at once, so that neighbours in memory are read together. */
const LANES: i32 = 16;
/** Bytes of one sample of all these lines, in float64. */
const ROW: usize = 128;
/** Samples of the edge's value in front of each line and behind it. */
const EDGE: usize = 12;
/** Bytes per target sample: where its four rows begin, and their weights. */
const ENTRY: usize = 40;
/** Behind so many samples the filter's memory is below float64's precision. */
const MEMORY: i32 = 28;

/** Bytes of scratch that splineAxis needs. */
export function splineScratchBytes(n: i32, to: i32): usize {
  return (<usize>n + 2 * EDGE) * ROW + <usize>to * ENTRY + <usize>LANES * 8 + ROW;
}

/**
 * target[outer][to][inner] = source[outer][n][inner] at (i + 1/2) * n / to - 1/2 along the middle axis, or with the first
 * and the last samples of both on each other, float32 with float64 within: the edge's value beyond the ends; for order 3
 * the filter that makes the spline go through the samples, then the spline; for order 1 straight lines.
 */
export function splineAxis(
  source: usize, target: usize, outer: i32, n: i32, inner: i32, to: i32, order: i32, ends: bool, scratch: usize,
): void {
  const rows = scratch;
  const length = n + 2 * <i32>EDGE;
  const table = rows + <usize>length * ROW;
  const lines = table + <usize>to * ENTRY;
  const sum = lines + <usize>LANES * 8;
  fillTable(table, n, to, order, ends);
  const factor: f64 = order == 3 ? 6 : 1;
  const total = outer * inner;
  const step = <usize>inner << 2;
  for (let first = 0; first < total; first += LANES) {
    const count = min(LANES, total - first);
    for (let lane = 0; lane < LANES; lane++) {
      const line = first + min(lane, count - 1);
      const block = <usize>(line / inner);
      const place = <usize>(line % inner);
      const at = lines + (<usize>lane << 3);
      store<u32>(at, <u32>(source + ((block * n * inner + place) << 2)));
      store<u32>(at, <u32>(target + ((block * to * inner + place) << 2)), 4);
    }
    // Lines that lie side by side are read and written four at a time.
    const beside = first % inner + LANES <= inner;
    if (beside) {
      let from = <usize>load<u32>(lines);
      let row = rows + EDGE * ROW;
      const factors = f64x2.splat(factor);
      for (let i = 0; i < n; i++, from += step, row += ROW)
        for (let at: usize = 0; at < ROW; at += 32) {
          const four = v128.load(from + (at >> 1));
          const last = v128.shuffle<i32>(four, four, 2, 3, 2, 3);
          v128.store(row + at, f64x2.mul(factors, f64x2.promote_low_f32x4(four)));
          v128.store(row + at, f64x2.mul(factors, f64x2.promote_low_f32x4(last)), 16);
        }
    } else {
      for (let lane = 0; lane < LANES; lane++) {
        let from = <usize>load<u32>(lines + (<usize>lane << 3));
        let row = rows + EDGE * ROW + (<usize>lane << 3);
        for (let i = 0; i < n; i++, from += step, row += ROW) store<f64>(row, factor * <f64>load<f32>(from));
      }
    }
    const begin = rows + EDGE * ROW;
    const end = begin + <usize>(n - 1) * ROW;
    for (let i: usize = 0; i < EDGE; i++) {
      memory.copy(rows + i * ROW, begin, ROW);
      memory.copy(end + (i + 1) * ROW, end, ROW);
    }
    if (order == 3) filter(rows, length);
    for (let i = 0; i < to; i++) {
      const entry = table + <usize>i * ENTRY;
      const row = rows + load<u32>(entry);
      const w0 = f64x2.splat(load<f64>(entry, 8));
      const w1 = f64x2.splat(load<f64>(entry, 16));
      const w2 = f64x2.splat(load<f64>(entry, 24));
      const w3 = f64x2.splat(load<f64>(entry, 32));
      for (let at: usize = 0; at < ROW; at += 16) {
        const low = f64x2.add(f64x2.mul(w0, v128.load(row + at)), f64x2.mul(w1, v128.load(row + at, 128)));
        const high = f64x2.add(f64x2.mul(w2, v128.load(row + at, 256)), f64x2.mul(w3, v128.load(row + at, 384)));
        v128.store(sum + at, f64x2.add(low, high));
      }
      const offset = <usize>i * step;
      if (beside) {
        const to = <usize>load<u32>(lines, 4) + offset;
        for (let at: usize = 0; at < ROW; at += 32) {
          const low = f32x4.demote_f64x2_zero(v128.load(sum + at));
          const high = f32x4.demote_f64x2_zero(v128.load(sum + at, 16));
          v128.store(to + (at >> 1), v128.shuffle<i32>(low, high, 0, 1, 4, 5));
        }
        continue;
      }
      for (let lane = 0; lane < count; lane++) {
        const at = <usize>lane << 3;
        store<f32>(<usize>load<u32>(lines + at, 4) + offset, <f32>load<f64>(sum + at));
      }
    }
  }
}

/** The weights of the four samples around each target sample. */
function fillTable(table: usize, n: i32, to: i32, order: i32, ends: bool): void {
  const ratio = to > 1 ? <f64>(n - 1) / <f64>(to - 1) : 0;
  for (let i = 0; i < to; i++) {
    const place = ends ? min(<f64>i * ratio, <f64>(n - 1)) : (<f64>i + 0.5) * <f64>n / <f64>to - 0.5;
    const whole = Math.floor(place);
    const t = place - whole;
    const u = 1 - t;
    const entry = table + <usize>i * ENTRY;
    const cubic = order == 3;
    store<u32>(entry, <u32>((<i32>whole + <i32>EDGE - 1) * <i32>ROW));
    store<f64>(entry, cubic ? u * u * u / 6 : 0, 8);
    store<f64>(entry, cubic ? (4 - 6 * t * t + 3 * t * t * t) / 6 : u, 16);
    store<f64>(entry, cubic ? (4 - 6 * u * u + 3 * u * u * u) / 6 : t, 24);
    store<f64>(entry, cubic ? t * t * t / 6 : 0, 32);
  }
}

/** Samples, times 6, to coefficients of the spline: forwards, then backwards, mirrored at the ends. */
function filter(rows: usize, length: i32): void {
  const pole = Math.sqrt(3.0) - 2;
  const poles = f64x2.splat(pole);
  const last = rows + <usize>(length - 1) * ROW;
  const end = f64x2.splat(pole / (pole - 1));
  for (let at: usize = 0; at < ROW; at += 16) {
    let power = pole;
    let begun = f64x2.splat(0);
    const known = min(length, MEMORY);
    for (let i = 0; i < known; i++) {
      begun = f64x2.add(begun, f64x2.mul(f64x2.splat(power), v128.load(rows + <usize>i * ROW + at)));
      power *= pole;
    }
    v128.store(rows + at, f64x2.add(begun, v128.load(rows + at)));
  }
  for (let row = rows + ROW; row <= last; row += ROW)
    for (let at: usize = 0; at < ROW; at += 16)
      v128.store(row + at, f64x2.add(v128.load(row + at), f64x2.mul(poles, v128.load(row + at - ROW))));
  for (let at: usize = 0; at < ROW; at += 16)
    v128.store(last + at, f64x2.mul(end, v128.load(last + at)));
  for (let row = last - ROW; row >= rows; row -= ROW)
    for (let at: usize = 0; at < ROW; at += 16)
      v128.store(row + at, f64x2.mul(poles, f64x2.sub(v128.load(row + at, 128), v128.load(row + at))));
}
