// Statistics as in parts.wgsl, for kernels whose threads have quads of eight channels, and two vectors of `staged` each.
// include "common/parts.wgsl"

const STATISTICS: bool = false;

// A number of each of eight channels.
struct Eight { low: vec4<f32>, high: vec4<f32> }

// Which voxels of quad q lie inside the volume.
fn validOf(q: u32, width: u32, exists: bool) -> vec4<bool> {
  return vec4<bool>(exists) & (vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(width));
}

fn sumsOf(voxels: mat4x4<f32>, valid: vec4<bool>) -> vec4<f32> {
  let zero = vec4<f32>(0.0);
  return select(zero, vec4<f32>(1.0), valid) * mat4x4<f32>(
    select(zero, voxels[0], valid), select(zero, voxels[1], valid),
    select(zero, voxels[2], valid), select(zero, voxels[3], valid));
}

fn squaresOf(voxels: mat4x4<f32>, mean: vec4<f32>, valid: vec4<bool>) -> vec4<f32> {
  let zero = vec4<f32>(0.0);
  let a = select(zero, voxels[0] - mean.x, valid);
  let b = select(zero, voxels[1] - mean.y, valid);
  let c = select(zero, voxels[2] - mean.z, valid);
  let d = select(zero, voxels[3] - mean.w, valid);
  return vec4<f32>(dot(a, a), dot(b, b), dot(c, c), dot(d, d));
}

// Sums over each `lanes` threads, a power of two, in a fixed tree; each of them gets the result.
fn total(local: u32, lanes: u32, value: Eight) -> Eight {
  workgroupBarrier();
  staged[2u * local] = value.low;
  staged[2u * local + 1u] = value.high;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local % lanes < half) {
      staged[2u * local] += staged[2u * (local + half)];
      staged[2u * local + 1u] += staged[2u * (local + half) + 1u];
    }
  }
  workgroupBarrier();
  let first = local / lanes * lanes;
  return Eight(staged[2u * first], staged[2u * first + 1u]);
}

// Which part it is, how many voxels it has, and whether it is kept.
struct Tile { plane: u32, channel: u32, number: u32, count: f32, keep: bool }

// Leaves statistics of what each `lanes` threads have stored.
fn keepEight(local: u32, lanes: u32, tile: Tile, low: mat4x4<f32>, high: mat4x4<f32>, valid: vec4<bool>) {
  let sums = total(local, lanes, Eight(sumsOf(low, valid), sumsOf(high, valid)));
  let count = max(tile.count, 1.0); // of rows beyond the volume: 0
  let mean = Eight(sums.low / count, sums.high / count);
  let spread = total(local, lanes, Eight(squaresOf(low, mean.low, valid), squaresOf(high, mean.high, valid)));
  if (!tile.keep || local % lanes != 0u) { return; }
  for (var c = 0u; c < 4u; c++) {
    keepPart(tile.plane, tile.channel + c, tile.number, tile.count, mean.low[c], spread.low[c]);
    keepPart(tile.plane, tile.channel + 4u + c, tile.number, tile.count, mean.high[c], spread.high[c]);
  }
}
