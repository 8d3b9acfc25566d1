// Joins the planes' statistics (Chan et al.) into mean and variance: over the whole batch (batch norm)
// per sample (instance norm), or per sample and group of neighbouring channels (group norm). Writes scale and shift for the next kernel's prologue, mean and
// 1/σ for the backward pass, and moves the running statistics of batch norm, unless those of the batch are not finite.
// LANES threads per channel and statistics group.
// include "common/sum.wgsl"

const BATCH: bool = true;
const WEIGHTED: bool = true; // has a weight and a bias; else 1 and 0 stand for them
const GROUPED: bool = false; // statistics are those of perGroup channels

struct Params {
  channels: u32, perGroup: u32, depth: u32, samples: u32,
  area: u32,        // voxels in one plane
  biasOffset: u32,  // of the shift within weightBias
  varianceOffset: u32,
  epsilon: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> weightBias: array<f32>;
@group(0) @binding(2) var<storage, read_write> scaleShifts: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> saved: array<vec2<f32>>; // mean, 1/σ
@group(0) @binding(4) var<storage, read_write> running: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  var first = group.y * params.depth;
  var planes = params.depth;
  if (BATCH) {
    first = 0u;
    planes = params.depth * params.samples;
  }
  let alike = select(1u, params.perGroup, GROUPED);
  let channel0 = channel / alike * alike;
  let parts = planes * alike;
  var means = 0.0;
  for (var i = lane; i < parts; i += LANES) {
    means += partials[(first + i / alike) * params.channels + channel0 + i % alike].x;
  }
  let mean = sumLanes(LANES, local, vec2<f32>(means, 0.0)).x / f32(parts);

  let area = f32(params.area);
  var spread = 0.0;
  for (var i = lane; i < parts; i += LANES) {
    let part = partials[(first + i / alike) * params.channels + channel0 + i % alike];
    spread += part.y + area * (part.x - mean) * (part.x - mean);
  }
  let total = sumLanes(LANES, local, vec2<f32>(spread, 0.0)).x;
  if (lane > 0u || item >= params.channels) { return; }

  let count = area * f32(parts);
  let variance = total / count;
  let inverse = 1.0 / sqrt(variance + params.epsilon);
  var scale = inverse;
  var shift = -mean * inverse;
  if (WEIGHTED) {
    scale = weightBias[channel] * inverse;
    shift = weightBias[params.biasOffset + channel] - mean * scale;
  }
  var begin = group.y;
  var end = group.y + 1u;
  if (BATCH) {
    begin = 0u;
    end = params.samples;
    if ((bitcast<u32>(total) & 0x7f800000u) != 0x7f800000u) {
      let keep = 1.0 - params.momentum;
      running[channel] = keep * running[channel] + params.momentum * mean;
      let v = params.varianceOffset + channel;
      running[v] = keep * running[v] + params.momentum * total / max(count - 1.0, 1.0);
    }
  }
  for (var sample = begin; sample < end; sample++) {
    scaleShifts[sample * params.channels + channel] = vec2<f32>(scale, shift);
    saved[sample * params.channels + channel] = vec2<f32>(mean, inverse);
  }
}
