// Max-pool, or average-pool, of the activated source, windows as large as the strides; an odd last row, column or plane
// is left out.
// Assigns target. One thread: four output voxels along x.
// include "common/volume.wgsl"

const NORM: bool = false;
const AVERAGE: bool = false;
// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

struct Params {
  depth: u32, height: u32, rowQuads: u32, channels: u32,                   // source
  widthOut: u32, depthOut: u32, heightOut: u32, rowQuadsOut: u32,          // target
  plane0: u32, startSource: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(3) var<uniform> params: Params;

fn join(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  if (AVERAGE) { return a + b; }
  return max(a, b);
}

// The maxima, or sums, along x that make four output voxels.
fn alongX(index: u32, scaleShift: vec2<f32>, second: bool) -> vec4<f32> {
  var a = toFloat(source[index]);
  if (STRIDE_X == 1u) {
    if (NORM) { a = activate4(a, scaleShift, params.slope); }
    return a;
  }
  var b = toFloat(source[min(index + select(0u, 1u, second), arrayLength(&source) - 1u)]);
  if (NORM) {
    a = activate4(a, scaleShift, params.slope);
    b = activate4(b, scaleShift, params.slope);
  }
  return join(vec4<f32>(a.xz, b.xz), vec4<f32>(a.yw, b.yw));
}

fn alongRows(index: u32, scaleShift: vec2<f32>, second: bool) -> vec4<f32> {
  let first = alongX(index, scaleShift, second);
  if (STRIDE_Y == 1u) { return first; }
  return join(first, alongX(index + params.rowQuads, scaleShift, second));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= params.heightOut) { return; }
  let channel = group.y;
  let plane = params.plane0 + group.z;
  let sample = plane / params.depthOut;
  let planeIn = sample * params.depth + STRIDE_Z * (plane % params.depthOut);
  var scaleShift = vec2<f32>(1.0, 0.0);
  if (NORM) { scaleShift = scaleShifts[sample * params.channels + channel]; }

  let second = 2u * q + 1u < params.rowQuads;
  let area = params.height * params.rowQuads;
  let at = (planeIn * params.channels + channel) * area + STRIDE_Y * y * params.rowQuads + STRIDE_X * q - params.startSource;
  var pooled = alongRows(at, scaleShift, second);
  if (STRIDE_Z == 2u) { pooled = join(pooled, alongRows(at + params.channels * area, scaleShift, second)); }
  if (AVERAGE) { pooled /= f32(STRIDE_X * STRIDE_Y * STRIDE_Z); }
  let out = ((plane * params.channels + channel) * params.heightOut + y) * params.rowQuadsOut + q;
  target_[out - params.startTarget] = toQuad(inside(pooled, q, params.widthOut));
}
