// Gradient of upsample/forward: along each axis input k gave 1/4, 3/4, 3/4 and 1/4 to outputs 2k − 1 to 2k + 2, those
// beyond the ends being the outer ones. Assigns target, or with ADD accumulates into it. One thread: four voxels of the
// source along x.
// include "common/volume.wgsl"

const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, // source
  rowQuadsOut: u32, plane0: u32, startGradient: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>; // of the output
@group(0) @binding(1) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

fn held(tap: u32, at: u32, length: u32) -> u32 { return min(max(2u * at + tap, 1u) - 1u, 2u * length - 1u); }

fn share(tap: u32) -> f32 { return select(0.75, 0.25, tap == 0u || tap == 3u); }

fn voxel(row: u32, x: u32) -> f32 { return toFloat(gradient[row + x / 4u])[x % 4u]; }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  if (y >= params.height) { return; }
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let z = plane % params.depth;
  var value = vec4<f32>(0.0);
  for (var dz = 0u; dz < 4u; dz++) {
    let k = sample * 2u * params.depth + held(dz, z, params.depth);
    for (var dy = 0u; dy < 4u; dy++) {
      let j = held(dy, y, params.height);
      let row = ((k * params.channels + group.y) * 2u * params.height + j) * params.rowQuadsOut - params.startGradient;
      var sum = vec4<f32>(0.0);
      for (var lane = 0u; lane < 4u; lane++) {
        let x = min(4u * q + lane, params.width - 1u);
        for (var dx = 0u; dx < 4u; dx++) { sum[lane] += share(dx) * voxel(row, held(dx, x, params.width)); }
      }
      value += share(dz) * share(dy) * sum;
    }
  }
  let at = ((plane * params.channels + group.y) * params.height + y) * params.rowQuads + q - params.startTarget;
  value = inside(value, q, params.width);
  if (ADD) { value += toFloat(target_[at]); }
  target_[at] = toQuad(value);
}
