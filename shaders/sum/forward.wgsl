// Sum of two volumes, each of which may be seen through a norm and an activation; of one input, a copy of it. Assigns
// target, or with ADD accumulates into it. One thread: four voxels along x.
// include "common/volume.wgsl"

const INPUTS: u32 = 2u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, plane0: u32,
  startA: u32, startB: u32, startTarget: u32, slopeA: f32, slopeB: f32,
}

@group(0) @binding(0) var<storage, read> sourceA: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShiftsA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<Quad>;
@group(0) @binding(3) var<storage, read> scaleShiftsB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let plane = params.plane0 + group.z;
  let entry = plane / params.depth * params.channels + group.y;
  let at = (plane * params.channels + group.y) * area + id.x;
  var sum = toFloat(sourceA[at - params.startA]);
  if (NORM_A) { sum = activate4(sum, scaleShiftsA[entry], params.slopeA); }
  if (INPUTS == 2u) {
    var value = toFloat(sourceB[at - params.startB]);
    if (NORM_B) { value = activate4(value, scaleShiftsB[entry], params.slopeB); }
    sum += value;
  }
  if (ADD) { sum += toFloat(target_[at - params.startTarget]); }
  target_[at - params.startTarget] = toQuad(inside(sum, id.x % params.rowQuads, params.width));
}
