// Sum of each channel of each z-plane, for bias gradients; reduce/partials adds the planes.
// One workgroup per plane and channel. Partials: [plane][channel].
// include "common/sum.wgsl"

struct Params { area: u32, channels: u32, plane0: u32, startSource: u32 }

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let base = (plane * params.channels + group.x) * params.area - params.startSource;
  var total = vec4<f32>(0.0);
  for (var i = local; i < params.area; i += 64u) { total += source[base + i]; }
  let sum = sum64(local, vec2<f32>(dot(total, vec4<f32>(1.0)), 0.0)).x;
  if (local == 0u) { partials[plane * params.channels + group.x] = sum; }
}
