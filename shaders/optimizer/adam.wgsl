// Adam (Kingma & Ba) as PyTorch computes it; DECOUPLED makes it AdamW. Updates in place.
// include "common/step.wgsl"
// include "common/update.wgsl"

const DECOUPLED: bool = false;

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read> update: Update;
@group(0) @binding(2) var<storage, read> step: Step;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<f32>;
@group(0) @binding(5) var<storage, read_write> second: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length || update.held != 0.0) { return; }
  var theta = parameters[i];
  var g = gradients[i] * update.factor;
  if (DECOUPLED) {
    theta -= step.learningRate * step.weightDecay * theta;
  } else {
    g += step.weightDecay * theta;
  }
  let m = step.beta1 * first[i] + (1.0 - step.beta1) * g;
  let v = step.beta2 * second[i] + (1.0 - step.beta2) * g * g;
  first[i] = m;
  second[i] = v;
  parameters[i] = theta - step.learningRate / update.correction1 * m / (sqrt(v) / update.correction2 + step.epsilon);
}
