// The label of the last region whose probability exceeds one half, as bytes: four voxels along x in a word.

const CLASSES: u32 = 2u;

struct Params { area: u32, plane0: u32, startLogits: u32, startLabels: u32 }

@group(0) @binding(0) var<storage, read> logits: array<Quad>;
@group(0) @binding(1) var<storage, read> regions: array<u32>; // [head][9]: the label that is written comes first
@group(0) @binding(2) var<storage, read_write> labels: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  if (id.x >= params.area) { return; }
  let plane = params.plane0 + group.z;
  let at = plane * CLASSES * params.area + id.x - params.startLogits;
  var label = vec4<u32>(0u);
  for (var c = 0u; c < CLASSES; c++) {
    let found = toFloat(logits[at + c * params.area]) > vec4<f32>(0.0);
    label = select(label, vec4<u32>(regions[9u * c]), found);
  }
  labels[plane * params.area + id.x - params.startLabels] =
    label.x | (label.y << 8u) | (label.z << 16u) | (label.w << 24u);
}
