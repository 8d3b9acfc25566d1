// Per plane, of the channels for which the stage was drawn: mean, sum of squared deviations from it, least
// and largest value; with GAMMA of the values after the stage's power. LANES threads per plane and channel.
// Partials: [plane][channel].
// include "common/volume.wgsl"
// include "common/sum.wgsl"
// include "common/augmentation.wgsl"

const GAMMA: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, plane0: u32, startSource: u32, stage: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> channelDraws: array<ChannelDraw>;
@group(0) @binding(2) var<storage, read> before: array<vec4<f32>>; // of the whole channels, for GAMMA
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond see nothing and store nothing
  let entry = plane / params.depth * params.channels + channel;
  let strength = strengthOf(channelDraws[entry], params.stage);
  let area = select(0u, params.height * params.rowQuads, strength != 1.0 && item < params.channels);
  let base = (plane * params.channels + channel) * params.height * params.rowQuads - params.startSource;
  var whole = vec4<f32>(0.0);
  if (GAMMA) { whole = before[entry]; }

  var total = vec4<f32>(0.0);
  var extremes = vec2<f32>(-3e38); // −least, largest
  for (var i = lane; i < area; i += LANES) {
    let q = i % params.rowQuads;
    var value = toFloat(source[base + i]);
    if (GAMMA) { value = gammaOf(value, whole, strength, params.stage == invertedGammaStage); }
    total += inside(value, q, params.width);
    // Lanes beyond the row's end repeat its last voxel.
    let last = value[min(3u, params.width - 1u - 4u * q)];
    let seen = select(value, vec4<f32>(last), 4u * q + vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(params.width));
    let high = max(max(seen.x, seen.y), max(seen.z, seen.w));
    let low = min(min(seen.x, seen.y), min(seen.z, seen.w));
    extremes = max(extremes, vec2<f32>(-low, high));
  }
  let count = f32(params.width * params.height);
  let mean = sumLanes(LANES, local, vec2<f32>(dot(total, vec4<f32>(1.0)), 0.0)).x / count;

  var squares = vec4<f32>(0.0);
  for (var i = lane; i < area; i += LANES) {
    var value = toFloat(source[base + i]);
    if (GAMMA) { value = gammaOf(value, whole, strength, params.stage == invertedGammaStage); }
    let deviation = inside(value - mean, i % params.rowQuads, params.width);
    squares += deviation * deviation;
  }
  let spread = sumLanes(LANES, local, vec2<f32>(dot(squares, vec4<f32>(1.0)), 0.0)).x;
  extremes = maxLanes(LANES, local, extremes);
  if (lane == 0u && item < params.channels) {
    partials[plane * params.channels + channel] = vec4<f32>(mean, spread, -extremes.x, extremes.y);
  }
}
