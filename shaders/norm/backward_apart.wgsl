// The same as backward_apply where others read the volume in front of the norm, too: its gradient goes to a target of its
// own. Assigns target, or with ADD accumulates into it.
// include "common/volume.wgsl"
// include "common/norm_gradient.wgsl"

const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,
  plane0: u32, startSource: u32, startGradient: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>; // of the activated volume
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> saved: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> means: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> source: array<Quad>;
@group(0) @binding(5) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let plane = params.plane0 + group.z;
  let index = (plane * params.channels + group.y) * area + id.x;
  let entry = plane / params.depth * params.channels + group.y;
  let y = toFloat(source[index - params.startSource]);
  let da = toFloat(gradient[index - params.startGradient]);
  var dy = normGradient(y, da, scaleShifts[entry], saved[entry], means[entry], params.slope);
  if (ADD) { dy += toFloat(target_[index - params.startTarget]); }
  target_[index - params.startTarget] = toQuad(inside(dy, id.x % params.rowQuads, params.width));
}
