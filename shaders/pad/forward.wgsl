// A volume that goes on at the far ends with its last voxels. Assigns target. One thread: four voxels along x.
// include "common/volume.wgsl"

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, // source
  widthOut: u32, heightOut: u32, depthOut: u32, rowQuadsOut: u32,   // target
  plane0: u32, startSource: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= params.heightOut) { return; }
  let plane = params.plane0 + group.z;
  let below = plane / params.depthOut * params.depth + min(plane % params.depthOut, params.depth - 1u);
  let row = ((below * params.channels + group.y) * params.height + min(y, params.height - 1u)) * params.rowQuads
    - params.startSource;
  let last = params.width - 1u;
  let edge = toFloat(source[row + last / 4u])[last % 4u];
  var value = vec4<f32>(edge);
  if (q < params.rowQuads) {
    let own = vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(last);
    value = select(value, toFloat(source[row + q]), own);
  }
  let at = ((plane * params.channels + group.y) * params.heightOut + y) * params.rowQuadsOut + q;
  target_[at - params.startTarget] = toQuad(inside(value, q, params.widthOut));
}
