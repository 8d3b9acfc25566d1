// Sum of each channel of each z-plane, for bias gradients; reduce/partials adds the planes.
// LANES threads per plane and channel. Partials: [plane][channel].
// include "common/sum.wgsl"


struct Params { area: u32, channels: u32, plane0: u32, startSource: u32 }

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let base = (plane * params.channels + channel) * params.area - params.startSource;
  var total = vec4<f32>(0.0);
  for (var block = lane; block < params.area; block += 64u * LANES) {
    var part = vec4<f32>(0.0);
    for (var i = block; i < min(params.area, block + 64u * LANES); i += LANES) { part += toFloat(source[base + i]); }
    total += part;
  }
  let sum = sumLanes(LANES, local, vec2<f32>(dot(total, vec4<f32>(1.0)), 0.0)).x;
  if (lane == 0u && item < params.channels) { partials[plane * params.channels + channel] = sum; }
}
