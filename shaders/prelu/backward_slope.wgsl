// Gradient of PReLU with respect to its slope: per plane and channel the sum of d · z where z ≤ 0; reduce/partials adds
// them up. LANES threads per plane and channel. Partials: [plane][channel].
// include "common/sum.wgsl"

const NORM: bool = false;

struct Params { area: u32, depth: u32, channels: u32, plane0: u32, startSource: u32, startGradient: u32 }

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>; // of the output: 0 in the padding columns
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let base = (plane * params.channels + channel) * params.area;
  var scaleShift = vec2<f32>(1.0, 0.0);
  if (NORM) { scaleShift = scaleShifts[plane / params.depth * params.channels + channel]; }

  var total = 0.0;
  for (var block = lane; block < params.area; block += 64u * LANES) {
    var part = 0.0; // sums go in blocks, so that long ones keep their digits
    for (var i = block; i < min(params.area, block + 64u * LANES); i += LANES) {
      let z = toFloat(source[base + i - params.startSource]) * scaleShift.x + scaleShift.y;
      part += dot(toFloat(gradient[base + i - params.startGradient]), min(z, vec4<f32>(0.0)));
    }
    total += part;
  }
  let sum = sumLanes(LANES, local, vec2<f32>(total, 0.0)).x;
  if (lane == 0u && item < params.channels) { partials[plane * params.channels + channel] = sum; }
}
