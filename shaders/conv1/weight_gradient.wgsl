// Gradient of a 1×1×1 convolution with respect to its weights; chunks and partials as in
// conv3/weight_gradient: [chunk][out][in]. One thread: one input channel, eight output channels.
// include "common/volume.wgsl"

const NORM: bool = false;

struct Params {
  height: u32, depth: u32, rowQuads: u32, channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32, chunk0: u32, chunkPlanes: u32,
  startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> affine: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = id.x;
  if (channel >= params.channels) { return; }
  let out0 = group.y * 8u;
  let count = min(8u, params.channelsOut - out0);
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);
  let area = params.height * params.rowQuads;
  let at = (chunk * params.channelsOut + out0) * params.channels + channel;

  var sums = array<f32, 8>();
  if (begin > chunk * params.chunkPlanes) {
    for (var i = 0u; i < count; i++) { sums[i] = partials[at + i * params.channels]; }
  }
  for (var plane = begin; plane < end; plane++) {
    let sample = plane / params.depth;
    let base = (plane * params.channels + channel) * area - params.startSource;
    let upstream = (plane * params.channelsOut + out0) * area - params.startGradient;
    for (var y = 0u; y < params.height; y++) {
      var parts = array<f32, 8>(); // of one row, so that long sums keep their digits
      for (var v = y * params.rowQuads; v < (y + 1u) * params.rowQuads; v++) {
        // The gradient is zero in the padding columns.
        var value = toFloat(source[base + v]);
        if (NORM) { value = activate4(value, affine[sample * params.channels + channel], params.slope); }
        for (var i = 0u; i < count; i++) { parts[i] += dot(value, toFloat(gradient[upstream + i * area + v])); }
      }
      for (var i = 0u; i < count; i++) { sums[i] += parts[i]; }
    }
  }
  for (var i = 0u; i < count; i++) { partials[at + i * params.channels] = sums[i]; }
}
