// Moves the running average of the weights towards them: average += (1 − decay) (weights − average). In place.
// include "common/step.wgsl"

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> step: Step;
@group(0) @binding(3) var<storage, read_write> average: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length || clip[2] != 0.0) { return; }
  average[i] += step.averaging * (weights[i] - average[i]);
}
