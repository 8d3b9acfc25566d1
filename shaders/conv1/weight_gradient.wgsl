// Gradient of a 1×1×1 convolution with respect to its weights; chunks and partials as in
// conv3/weight_gradient: [chunk][out][in]. LANES threads per input channel; eight output channels each.
// include "common/volume.wgsl"
// include "common/sum.wgsl"

const NORM: bool = false;

struct Params {
  height: u32, depth: u32, rowQuads: u32, channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32, chunk0: u32, chunkPlanes: u32,
  startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let out0 = group.y * 8u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);
  let area = params.height * params.rowQuads;
  let at = (chunk * params.channelsOut + out0) * params.channels + channel;

  var sums = array<f32, 8>();
  if (begin > chunk * params.chunkPlanes) {
    for (var i = 0u; i < 8u; i++) { sums[i] = partials[at + min(i, top) * params.channels]; }
  }
  for (var plane = begin; plane < end; plane++) {
    let sample = plane / params.depth;
    let base = (plane * params.channels + channel) * area - params.startSource;
    let upstream = (plane * params.channelsOut + out0) * area - params.startGradient;
    var whole = array<f32, 8>(); // of the plane, in blocks, so that long sums keep their digits
    for (var block = lane; block < area; block += 64u * LANES) {
      var part = array<f32, 8>();
      for (var v = block; v < min(area, block + 64u * LANES); v += LANES) {
        // The gradient is zero in the padding columns.
        var value = toFloat(source[base + v]);
        if (NORM) { value = activate4(value, scaleShifts[sample * params.channels + channel], params.slope); }
        for (var i = 0u; i < 8u; i++) { part[i] += dot(value, toFloat(gradient[upstream + min(i, top) * area + v])); }
      }
      for (var i = 0u; i < 8u; i++) { whole[i] += part[i]; }
    }
    for (var i = 0u; i < 8u; i += 2u) {
      let total = sumLanes(LANES, local, vec2<f32>(whole[i], whole[i + 1u]));
      sums[i] += total.x;
      sums[i + 1u] += total.y;
    }
  }
  if (lane > 0u || item >= params.channels) { return; }
  for (var i = 0u; i <= min(top, 7u); i++) { partials[at + i * params.channels] = sums[i]; }
}
