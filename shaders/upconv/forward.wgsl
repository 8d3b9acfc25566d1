// Transposed convolution 2×2×2, stride 2: each source voxel makes a 2×2×2 block. The source is read
// through its norm and activation. Weights (in, out, 2, 2, 2). Assigns target.
// One thread: four target voxels along x, eight output channels.
// include "common/volume.wgsl"

const NORM: bool = false;
const BIAS: bool = true;

struct Params {
  depth: u32, height: u32, rowQuads: u32, channels: u32,             // source
  widthOut: u32, rowQuadsOut: u32, channelsOut: u32,                 // target
  plane0: u32, startSource: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> affine: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec2<f32>>; // pairs along x
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= params.height) { return; }
  let out0 = group.y * 8u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  // group.z counts target planes and, within each, the two parities of y.
  let plane = params.plane0 + group.z / 2u;
  let parityY = group.z % 2u;
  let parityZ = plane % 2u;
  let sample = plane / (2u * params.depth);
  let tap = parityZ * 2u + parityY;
  let area = params.height * params.rowQuads;
  let base = (plane / 2u * params.channels) * area + y * params.rowQuads + q / 2u - params.startSource;

  var sums = array<vec4<f32>, 8>();
  for (var channel = 0u; channel < params.channels; channel++) {
    var quad = toFloat(source[base + channel * area]);
    if (NORM) { quad = activate4(quad, affine[sample * params.channels + channel], params.slope); }
    let pair = select(quad.xy, quad.zw, q % 2u == 1u);
    for (var i = 0u; i < 8u; i++) {
      let w = weights[(channel * params.channelsOut + out0 + min(i, top)) * 4u + tap];
      sums[i] += vec4<f32>(pair.x * w, pair.y * w);
    }
  }
  for (var i = 0u; i < 8u; i++) {
    if (i > top) { break; }
    var value = sums[i];
    if (BIAS) { value += bias[out0 + i]; }
    let line = (plane * params.channelsOut + out0 + i) * 2u * params.height + 2u * y + parityY;
    target_[line * params.rowQuadsOut + q - params.startTarget] = toQuad(inside(value, q, params.widthOut));
  }
}
