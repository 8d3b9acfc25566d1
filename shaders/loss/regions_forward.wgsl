// Sigmoids of heads that each decide on a region, and the sums that Dice and binary cross-entropy need, per z-plane: for
// each head Σ p·g, Σ p and Σ g, then the sum of all binary cross-entropies and the number of voxels. Voxels of label 255
// take no part. One workgroup per plane. Partials: [plane][3·CLASSES + 2].
// include "common/labels.wgsl"
// include "common/regions.wgsl"
// include "common/sum.wgsl"

const CLASSES: u32 = 2u;

struct Params { area: u32, plane0: u32, startLogits: u32, startLabels: u32 } // startLogits in quads, startLabels in words

@group(0) @binding(0) var<storage, read> logits: array<Quad>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> regions: array<u32>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  var overlap = array<f32, CLASSES>();
  var predicted = array<f32, CLASSES>();
  var truth = array<f32, CLASSES>();
  var entropy = vec2<f32>(0.0);

  for (var i = local; i < params.area; i += 64u) {
    let label = labelsOf(labels[plane * params.area + i - params.startLabels]);
    let valid = select(vec4<f32>(0.0), vec4<f32>(1.0), label < vec4<u32>(255u));
    let at = plane * CLASSES * params.area + i - params.startLogits;
    entropy.y += dot(valid, vec4<f32>(1.0));
    for (var c = 0u; c < CLASSES; c++) {
      let z = toFloat(logits[at + c * params.area]);
      let p = 1.0 / (1.0 + exp(-z));
      let g = belongs(c, label) * valid;
      overlap[c] += dot(p, g);
      predicted[c] += dot(p, valid);
      truth[c] += dot(g, vec4<f32>(1.0));
      entropy.x += dot(max(z, vec4<f32>(0.0)) - z * g + log(1.0 + exp(-abs(z))), valid);
    }
  }

  let out = plane * (3u * CLASSES + 2u);
  for (var c = 0u; c < CLASSES; c++) {
    let pair = sum64(local, vec2<f32>(overlap[c], predicted[c]));
    let count = sum64(local, vec2<f32>(truth[c], 0.0));
    if (local == 0u) {
      partials[out + 3u * c] = pair.x;
      partials[out + 3u * c + 1u] = pair.y;
      partials[out + 3u * c + 2u] = count.x;
    }
  }
  let both = sum64(local, entropy);
  if (local == 0u) {
    partials[out + 3u * CLASSES] = both.x;
    partials[out + 3u * CLASSES + 1u] = both.y;
  }
}
