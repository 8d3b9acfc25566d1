// First half of the backward pass of norm + activation: per plane and channel Σ dz and Σ dz·x̂, with
// dz the gradient in front of the activation. LANES threads per plane and channel.
// include "common/volume.wgsl"
// include "common/sum.wgsl"


struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,
  plane0: u32, startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;    // convolution output y
@group(0) @binding(1) var<storage, read> gradient: array<Quad>;  // of the activated volume
@group(0) @binding(2) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> saved: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let area = params.height * params.rowQuads;
  let base = (plane * params.channels + channel) * area;
  let sample = plane / params.depth;
  let scaleShift = scaleShifts[sample * params.channels + channel];
  let meanInverse = saved[sample * params.channels + channel];

  // The gradient is zero in the padding columns.
  var sums = vec2<f32>(0.0);
  for (var block = lane; block < area; block += 64u * LANES) {
    var part = vec2<f32>(0.0); // sums go in blocks, so that long ones keep their digits
    for (var i = block; i < min(area, block + 64u * LANES); i += LANES) {
      let y = toFloat(source[base + i - params.startSource]);
      let da = toFloat(gradient[base + i - params.startGradient]);
      let dz = select(da * params.slope, da, y * scaleShift.x + scaleShift.y > vec4<f32>(0.0));
      part += vec2<f32>(dot(dz, vec4<f32>(1.0)), dot(dz, (y - meanInverse.x) * meanInverse.y));
    }
    sums += part;
  }
  let total = sumLanes(LANES, local, sums);
  if (lane == 0u && item < params.channels) { partials[plane * params.channels + channel] = total; }
}
