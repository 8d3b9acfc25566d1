// Transposed convolution, kernel as large as the strides: each source voxel makes a block of 2×2×2 voxels at most. The
// source is read through its norm and activation. Weights (in, out, z, y, x). Assigns target.
// One thread: what four source voxels along x make in one row of the target, eight output channels.
// include "common/volume.wgsl"

const NORM: bool = false;
const BIAS: bool = true;
// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

struct Params {
  depth: u32, height: u32, rowQuads: u32, channels: u32,             // source
  widthOut: u32, rowQuadsOut: u32, channelsOut: u32,                 // target
  plane0: u32, startSource: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

fn weightsAlongX(index: u32) -> vec2<f32> {
  return vec2<f32>(weights[STRIDE_X * index], weights[STRIDE_X * index + STRIDE_X - 1u]);
}

fn store(sum: vec4<f32>, channel: u32, line: u32, q: u32) {
  var value = sum;
  if (BIAS) { value += bias[channel]; }
  target_[line * params.rowQuadsOut + q - params.startTarget] = toQuad(inside(value, q, params.widthOut));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  if (y >= params.height) { return; }
  let out0 = group.y * 8u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  // group.z counts target planes and, within each, the places of y in its block.
  let plane = params.plane0 + group.z / STRIDE_Y;
  let placeY = group.z % STRIDE_Y;
  let placeZ = plane % STRIDE_Z;
  let sample = plane / (STRIDE_Z * params.depth);
  let tap = placeZ * STRIDE_Y + placeY;
  let area = params.height * params.rowQuads;
  let base = (plane / STRIDE_Z * params.channels) * area + y * params.rowQuads + q - params.startSource;

  var left = array<vec4<f32>, 8>();
  var right = array<vec4<f32>, 8>(); // with a stride of 2, the quad behind it
  for (var channel = 0u; channel < params.channels; channel++) {
    var quad = toFloat(source[base + channel * area]);
    if (NORM) { quad = activate4(quad, scaleShifts[sample * params.channels + channel], params.slope); }
    for (var i = 0u; i < 8u; i++) {
      let w = weightsAlongX((channel * params.channelsOut + out0 + min(i, top)) * (STRIDE_Y * STRIDE_Z) + tap);
      if (STRIDE_X == 1u) {
        left[i] += quad * w.x;
      } else {
        left[i] += quad.xxyy * w.xyxy;
        right[i] += quad.zzww * w.xyxy;
      }
    }
  }
  for (var i = 0u; i < 8u; i++) {
    if (i > top) { break; }
    let channel = out0 + i;
    let line = (plane * params.channelsOut + channel) * STRIDE_Y * params.height + STRIDE_Y * y + placeY;
    store(left[i], channel, line, STRIDE_X * q);
    if (STRIDE_X == 2u && 2u * q + 1u < params.rowQuadsOut) { store(right[i], channel, line, 2u * q + 1u); }
  }
}
