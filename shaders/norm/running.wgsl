// Scale and shift of batch norm from its running statistics, the same for every sample: inference.

const WEIGHTED: bool = true; // has a weight and a bias; else 1 and 0 stand for them

struct Params { channels: u32, samples: u32, biasOffset: u32, varianceOffset: u32, epsilon: f32 }

@group(0) @binding(0) var<storage, read> weightBias: array<f32>;
@group(0) @binding(1) var<storage, read> running: array<f32>;
@group(0) @binding(2) var<storage, read_write> scaleShifts: array<vec2<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.channels * params.samples) { return; }
  let channel = id.x % params.channels;
  var weight = 1.0;
  var bias = 0.0;
  if (WEIGHTED) {
    weight = weightBias[channel];
    bias = weightBias[params.biasOffset + channel];
  }
  let scale = weight / sqrt(running[params.varianceOffset + channel] + params.epsilon);
  scaleShifts[id.x] = vec2<f32>(scale, bias - running[channel] * scale);
}
