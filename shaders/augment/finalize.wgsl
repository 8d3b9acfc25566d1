// Joins the planes' statistics into those of each sample's channel: mean, standard deviation (population),
// least and largest value. One workgroup per channel and sample.
// include "common/sum.wgsl"

struct Params { channels: u32, depth: u32, area: u32 } // area: voxels in one plane

@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> statistics: array<vec4<f32>>; // [sample][channel]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let first = group.y * params.depth * params.channels + group.x;
  var means = 0.0;
  var extremes = vec2<f32>(-3e38);
  for (var i = local; i < params.depth; i += 64u) {
    let part = partials[first + i * params.channels];
    means += part.x;
    extremes = max(extremes, vec2<f32>(-part.z, part.w));
  }
  let mean = sum64(local, vec2<f32>(means, 0.0)).x / f32(params.depth);
  var spread = 0.0;
  for (var i = local; i < params.depth; i += 64u) {
    let part = partials[first + i * params.channels];
    spread += part.y + f32(params.area) * (part.x - mean) * (part.x - mean);
  }
  let variance = sum64(local, vec2<f32>(spread, 0.0)).x / f32(params.area * params.depth);
  extremes = maxLanes(64u, local, extremes);
  if (local == 0u) {
    statistics[group.y * params.channels + group.x] = vec4<f32>(mean, sqrt(variance), -extremes.x, extremes.y);
  }
}
