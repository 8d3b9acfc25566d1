// Gradient of average-pool: each voxel of a window gets an equal share; those that pooling leaves out get 0. Assigns
// target, the gradient of the activated source, or with ADD accumulates into it. One thread: four source voxels along x.
// include "common/volume.wgsl"

const ADD: bool = false;
// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

struct Params {
  depth: u32, height: u32, rowQuads: u32, channels: u32,                   // source
  widthOut: u32, depthOut: u32, heightOut: u32, rowQuadsOut: u32,          // pooled
  plane0: u32, startGradient: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>; // of the pooled volume
@group(0) @binding(1) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  if (y >= params.height) { return; }
  let plane = params.plane0 + group.z;
  let z = plane % params.depth / STRIDE_Z;
  let quad = q / STRIDE_X;
  var value = vec4<f32>(0.0);
  if (z < params.depthOut && y / STRIDE_Y < params.heightOut && quad < params.rowQuadsOut) {
    let planeOut = plane / params.depth * params.depthOut + z;
    let line = (planeOut * params.channels + group.y) * params.heightOut + y / STRIDE_Y;
    value = toFloat(gradient[line * params.rowQuadsOut + quad - params.startGradient]);
    if (STRIDE_X == 2u) {
      let pair = select(value.xy, value.zw, q % 2u == 1u);
      value = pair.xxyy;
    }
    value = inside(value / f32(STRIDE_X * STRIDE_Y * STRIDE_Z), q, STRIDE_X * params.widthOut);
  }
  let at = ((plane * params.channels + group.y) * params.height + y) * params.rowQuads + q - params.startTarget;
  if (ADD) { value += toFloat(target_[at]); }
  target_[at] = toQuad(value);
}
