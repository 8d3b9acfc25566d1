// Moves the running average of the weights towards them: average += (1 − decay) (weights − average). In place.
// include "common/update.wgsl"

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> update: Update;
@group(0) @binding(2) var<storage, read_write> average: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length || update.held != 0.0) { return; }
  average[i] += update.averaging * (weights[i] - average[i]);
}
