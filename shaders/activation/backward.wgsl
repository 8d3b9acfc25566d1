// Gradient of an activation without a norm: it overwrites the volume that was activated.
// One thread: four voxels along x.
// include "common/volume.wgsl"

struct Params {
  width: u32, height: u32, rowQuads: u32, channels: u32, plane0: u32,
  startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>; // of the activated volume
@group(0) @binding(1) var<storage, read_write> source: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let at = ((params.plane0 + group.z) * params.channels + group.y) * area + id.x;
  let y = toFloat(source[at - params.startSource]);
  let d = toFloat(gradient[at - params.startGradient]);
  let dz = select(d * params.slope, d, y > vec4<f32>(0.0));
  source[at - params.startSource] = toQuad(inside(dz, id.x % params.rowQuads, params.width));
}
