// Mean of each channel of each z-plane and the sum of squared deviations from it, in two passes so
// that nothing cancels; sums go in blocks, so that long ones keep their digits. LANES threads per plane and
// channel. Partials: [plane][channel].
// include "common/volume.wgsl"
// include "common/sum.wgsl"


const RAGGED: bool = true; // the width is no multiple of four

struct Params { width: u32, height: u32, rowQuads: u32, channels: u32, plane0: u32, startSource: u32 }

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let area = params.height * params.rowQuads;
  let base = (plane * params.channels + channel) * area - params.startSource;
  let count = f32(params.width * params.height);

  // Padding columns are zero, so the sum may include them.
  var total = vec4<f32>(0.0);
  for (var block = lane; block < area; block += 64u * LANES) {
    var part = vec4<f32>(0.0);
    for (var i = block; i < min(area, block + 64u * LANES); i += LANES) { part += toFloat(source[base + i]); }
    total += part;
  }
  let mean = sumLanes(LANES, local, vec2<f32>(dot(total, vec4<f32>(1.0)), 0.0)).x / count;

  var squares = vec4<f32>(0.0);
  for (var block = lane; block < area; block += 64u * LANES) {
    var part = vec4<f32>(0.0);
    for (var i = block; i < min(area, block + 64u * LANES); i += LANES) {
      var deviation = toFloat(source[base + i]) - mean;
      if (RAGGED) { deviation = inside(deviation, i % params.rowQuads, params.width); }
      part += deviation * deviation;
    }
    squares += part;
  }
  let spread = sumLanes(LANES, local, vec2<f32>(dot(squares, vec4<f32>(1.0)), 0.0)).x;
  if (lane == 0u && item < params.channels) { partials[plane * params.channels + channel] = vec2<f32>(mean, spread); }
}
