// Gradient of the loss of regions with respect to the logits, which it overwrites; zero at ignored voxels.
// One thread: four voxels along x.
// include "common/labels.wgsl"
// include "common/regions.wgsl"

const CLASSES: u32 = 2u;

struct Params { area: u32, depth: u32, samples: u32, plane0: u32, startLogits: u32, startLabels: u32 }

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> regions: array<u32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> logits: array<Quad>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  if (id.x >= params.area) { return; }
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let label = labelsOf(labels[plane * params.area + id.x - params.startLabels]);
  let valid = label < vec4<u32>(255u);
  let at = plane * CLASSES * params.area + id.x - params.startLogits;
  let entropy = coefficients[params.samples * CLASSES].x;
  for (var c = 0u; c < CLASSES; c++) {
    let p = 1.0 / (1.0 + exp(-toFloat(logits[at + c * params.area])));
    let g = belongs(c, label);
    let k = coefficients[sample * CLASSES + c];
    let d = p * (1.0 - p) * (k.x * g + k.y) + entropy * (p - g);
    logits[at + c * params.area] = toQuad(select(vec4<f32>(0.0), d, valid));
  }
}
