// Gradient of PReLU with respect to z, what it was applied to. Assigns target, or with ADD accumulates into it.
// One thread: four voxels along x.
// include "common/volume.wgsl"

const NORM: bool = false;
const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, plane0: u32,
  startSource: u32, startGradient: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> slope: array<f32>;
@group(0) @binding(3) var<storage, read> gradient: array<Quad>; // of the output
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let plane = params.plane0 + group.z;
  let at = (plane * params.channels + group.y) * area + id.x;
  var z = toFloat(source[at - params.startSource]);
  if (NORM) {
    let scaleShift = scaleShifts[plane / params.depth * params.channels + group.y];
    z = z * scaleShift.x + scaleShift.y;
  }
  let d = toFloat(gradient[at - params.startGradient]);
  var value = select(slope[0] * d, d, z > vec4<f32>(0.0));
  if (ADD) { value += toFloat(target_[at - params.startTarget]); }
  target_[at - params.startTarget] = toQuad(inside(value, id.x % params.rowQuads, params.width));
}
