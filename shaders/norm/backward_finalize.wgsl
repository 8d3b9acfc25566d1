// Joins the planes' sums: the gradients of the norm's weight and bias (assigned), and the two means
// that backward_apply subtracts; of groups of channels the means are those of all, each weighted by its scale.
// LANES threads per channel.
// include "common/sum.wgsl"

const BATCH: bool = true;
const WEIGHTED: bool = true; // has a weight and a bias
const GROUPED: bool = false; // statistics are those of perGroup channels

struct Params { channels: u32, perGroup: u32, depth: u32, samples: u32, area: u32, biasOffset: u32 }

@group(0) @binding(0) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> means: array<vec2<f32>>;         // [sample][channel]
@group(0) @binding(3) var<storage, read_write> gradientWeightBias: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let stores = lane == 0u && item < params.channels;
  let area = f32(params.area);
  var all = vec2<f32>(0.0);
  for (var sample = 0u; sample < params.samples; sample++) {
    var sums = vec2<f32>(0.0);
    for (var i = lane; i < params.depth; i += LANES) {
      sums += partials[(sample * params.depth + i) * params.channels + channel];
    }
    let total = sumLanes(LANES, local, sums);
    all += total;
    if (GROUPED) {
      let channel0 = channel / params.perGroup * params.perGroup;
      let parts = params.depth * params.perGroup;
      var weighted = vec2<f32>(0.0);
      for (var i = lane; i < parts; i += LANES) {
        let other = channel0 + i % params.perGroup;
        weighted += scaleShifts[sample * params.channels + other].x
          * partials[(sample * params.depth + i / params.perGroup) * params.channels + other];
      }
      let mean = sumLanes(LANES, local, weighted) / (area * f32(parts));
      if (stores) { means[sample * params.channels + channel] = mean; }
    } else if (!BATCH && stores) {
      means[sample * params.channels + channel] = total / (area * f32(params.depth));
    }
  }
  if (!stores) { return; }
  if (BATCH) {
    let mean = all / (area * f32(params.depth * params.samples));
    for (var sample = 0u; sample < params.samples; sample++) { means[sample * params.channels + channel] = mean; }
  }
  if (WEIGHTED) {
    gradientWeightBias[channel] = all.y;
    gradientWeightBias[params.biasOffset + channel] = all.x;
  }
}
