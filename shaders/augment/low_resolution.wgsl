// Simulated low resolution of the channels for which one was drawn: down to fewer voxels by the nearest, up
// again linearly, composed into one gather; along z, or along x and y. Assigns target where drawn.
// One thread: four voxels along x.
// include "common/volume.wgsl"
// include "common/augmentation.wgsl"

const ALONG_Z: bool = true;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,
  plane0: u32, startSource: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> channelDraws: array<ChannelDraw>;
@group(0) @binding(2) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(3) var<uniform> params: Params;

struct Pair { first: u32, second: u32, weight: f32 } // two source voxels and the second one's weight

// Which of `count` voxels make voxel `at` after a reduction to `reduced` of them.
fn pairAt(at: u32, count: u32, reduced: u32) -> Pair {
  let place = max((f32(at) + 0.5) * f32(reduced) / f32(count) - 0.5, 0.0);
  let low = u32(place);
  let high = min(low + 1u, reduced - 1u);
  return Pair(
    (2u * low + 1u) * count / (2u * reduced),
    (2u * high + 1u) * count / (2u * reduced),
    place - f32(low),
  );
}

fn voxel(row: u32, x: u32) -> f32 {
  return toFloat(source[row + x / 4u])[x % 4u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let draw = channelDraws[sample * params.channels + group.y].reduced;
  if (id.x >= area || draw.w == 0.0) { return; }
  let reduced = vec4<u32>(draw);
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  var value = vec4<f32>(0.0);
  if (ALONG_Z) {
    let z = pairAt(plane % params.depth, params.depth, reduced.z);
    let first = sample * params.depth;
    let low = ((first + z.first) * params.channels + group.y) * area + id.x - params.startSource;
    let high = ((first + z.second) * params.channels + group.y) * area + id.x - params.startSource;
    value = mix(toFloat(source[low]), toFloat(source[high]), z.weight);
  } else {
    let start = (plane * params.channels + group.y) * area - params.startSource;
    let rows = pairAt(y, params.height, reduced.y);
    let low = start + rows.first * params.rowQuads;
    let high = start + rows.second * params.rowQuads;
    for (var lane = 0u; lane < 4u; lane++) {
      let x = pairAt(min(4u * q + lane, params.width - 1u), params.width, reduced.x);
      let near = mix(voxel(low, x.first), voxel(low, x.second), x.weight);
      let far = mix(voxel(high, x.first), voxel(high, x.second), x.weight);
      value[lane] = mix(near, far, rows.weight);
    }
  }
  let index = (plane * params.channels + group.y) * area + id.x;
  target_[index - params.startTarget] = toQuad(inside(value, q, params.width));
}
