// Adds a batch's gradients to those of the batches before it, or begins with them. In place.
// include "common/step.wgsl"

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length) { return; }
  sum[i] = select(gradients[i], sum[i] + gradients[i], step.accumulates != 0.0);
}
