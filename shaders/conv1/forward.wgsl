// 1×1×1 convolution; norm and activation of the source are applied as it is read. With the strides
// of the weights exchanged it is also the gradient with respect to the input. Assigns target, or with
// ADD accumulates into it.
// One thread: four voxels along x, eight output channels.
// include "common/volume.wgsl"

const NORM: bool = false;
const BIAS: bool = true;
const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, channelsOut: u32,
  strideOut: u32, strideIn: u32, // of the weights
  plane0: u32, startSource: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let q = id.x % params.rowQuads;
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let out0 = group.y * 8u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored

  var sums = array<vec4<f32>, 8>();
  for (var channel = 0u; channel < params.channels; channel++) {
    var value = toFloat(source[(plane * params.channels + channel) * area + id.x - params.startSource]);
    if (NORM) { value = activate4(value, scaleShifts[sample * params.channels + channel], params.slope); }
    for (var i = 0u; i < 8u; i++) {
      sums[i] += value * weights[(out0 + min(i, top)) * params.strideOut + channel * params.strideIn];
    }
  }
  for (var i = 0u; i < 8u; i++) {
    if (i > top) { break; }
    var value = sums[i];
    if (BIAS) { value += bias[out0 + i]; }
    let at = (plane * params.channelsOut + out0 + i) * area + id.x - params.startTarget;
    if (ADD) { value += toFloat(target_[at]); }
    target_[at] = toQuad(inside(value, q, params.width));
  }
}
