// Running statistics as the batches of a step have moved them become the model's, if the step is applied.
// include "common/update.wgsl"

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> moved: array<f32>;
@group(0) @binding(1) var<storage, read> update: Update;
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.length || update.held != 0.0) { return; }
  statistics[id.x] = moved[id.x];
}
