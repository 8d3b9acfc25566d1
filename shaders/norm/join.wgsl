// Joins the statistics of a plane's tiles, which the convolution in front of the norm left, into those of each channel
// (Chan et al.): the mean and the sum of squared deviations from it, as norm/statistics finds them in the volume; sums go
// in blocks, so that long ones keep their digits. LANES threads per plane and channel. Partials: [plane][channel].
// include "common/sum.wgsl"

struct Params { channels: u32, tiles: u32, plane0: u32, startParts: u32 }

@group(0) @binding(0) var<storage, read> parts: array<f32>; // [plane][channel][tile]: voxels, mean, squared deviations
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let plane = params.plane0 + group.z;
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let tiles = params.tiles;
  let base = (plane * params.channels + channel) * tiles * 3u - params.startParts;

  var total = vec2<f32>(0.0); // voxels, and their sum
  for (var block = lane; block < tiles; block += 64u * LANES) {
    var part = vec2<f32>(0.0);
    for (var i = block; i < min(tiles, block + 64u * LANES); i += LANES) {
      let count = parts[base + 3u * i];
      part += vec2<f32>(count, count * parts[base + 3u * i + 1u]);
    }
    total += part;
  }
  let all = sumLanes(LANES, local, total);
  let mean = all.y / all.x;

  var squares = 0.0;
  for (var block = lane; block < tiles; block += 64u * LANES) {
    var part = 0.0;
    for (var i = block; i < min(tiles, block + 64u * LANES); i += LANES) {
      let deviation = parts[base + 3u * i + 1u] - mean;
      part += parts[base + 3u * i + 2u] + parts[base + 3u * i] * deviation * deviation;
    }
    squares += part;
  }
  let spread = sumLanes(LANES, local, vec2<f32>(squares, 0.0)).x;
  if (lane == 0u && item < params.channels) { partials[plane * params.channels + channel] = vec2<f32>(mean, spread); }
}
