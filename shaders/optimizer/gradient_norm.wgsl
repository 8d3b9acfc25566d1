// Sum of squares of one stretch of the gradients: 64 workgroups, each over every 64th part of it.
// Partials: [stretch][64].
// include "common/sum.wgsl"

struct Params { length: u32, stretch: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  var total = 0.0;
  for (var i = group.x * 64u + local; i < params.length; i += 4096u) { total += gradients[i] * gradients[i]; }
  let sum = sum64(local, vec2<f32>(total, 0.0)).x;
  if (local == 0u) { partials[params.stretch * 64u + group.x] = sum; }
}
