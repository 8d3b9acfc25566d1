// SGD with momentum (beta1), optionally Nesterov's, and weight decay, as PyTorch computes it. In place.
// include "common/step.wgsl"
// include "common/update.wgsl"

const NESTEROV: bool = true;

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read> update: Update;
@group(0) @binding(2) var<storage, read> step: Step;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length || update.held != 0.0) { return; }
  let theta = parameters[i];
  let g = gradients[i] * update.factor + step.weightDecay * theta;
  let v = step.beta1 * first[i] + g;
  first[i] = v;
  var change = v;
  if (NESTEROV) { change = g + step.beta1 * v; }
  parameters[i] = theta - step.learningRate * change;
}
