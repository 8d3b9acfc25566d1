// Gradient of the loss with respect to the logits, which it overwrites; zero at ignored voxels.
// One thread: four voxels along x.
// include "common/labels.wgsl"

const CLASSES: u32 = 2u;

struct Params { area: u32, depth: u32, samples: u32, plane0: u32, startLogits: u32, startLabels: u32 }

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> classWeights: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> logits: array<Quad>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  if (id.x >= params.area) { return; }
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let label = labelsOf(labels[plane * params.area + id.x - params.startLabels]);
  let valid = label < vec4<u32>(CLASSES);
  let at = plane * CLASSES * params.area + id.x - params.startLogits;

  var p = array<vec4<f32>, CLASSES>();
  var top = toFloat(logits[at]);
  for (var c = 0u; c < CLASSES; c++) {
    p[c] = toFloat(logits[at + c * params.area]);
    top = max(top, p[c]);
  }
  var total = vec4<f32>(0.0);
  for (var c = 0u; c < CLASSES; c++) {
    p[c] = exp(p[c] - top);
    total += p[c];
  }
  var mean = vec4<f32>(0.0);   // Σ p · dL/dp
  var weight = vec4<f32>(0.0); // cross-entropy's weight of the true class
  for (var c = 0u; c < CLASSES; c++) {
    p[c] /= total;
    let g = select(vec4<f32>(0.0), vec4<f32>(1.0), label == vec4<u32>(c));
    let k = coefficients[sample * CLASSES + c];
    mean += p[c] * (k.x * g + k.y);
    weight += classWeights[CLASSES + c] * g;
  }
  weight *= coefficients[params.samples * CLASSES].x;
  for (var c = 0u; c < CLASSES; c++) {
    let g = select(vec4<f32>(0.0), vec4<f32>(1.0), label == vec4<u32>(c));
    let k = coefficients[sample * CLASSES + c];
    let d = p[c] * (k.x * g + k.y - mean) + weight * (p[c] - g);
    logits[at + c * params.area] = toQuad(select(vec4<f32>(0.0), d, valid));
  }
}
