// Gradient of an activation without a norm: it overwrites the volume that was activated.
// One thread: four voxels along x.

struct Params { area: u32, channels: u32, plane0: u32, startSource: u32, startGradient: u32, slope: f32 }

@group(0) @binding(0) var<storage, read> gradient: array<Quad>; // of the activated volume
@group(0) @binding(1) var<storage, read_write> source: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  if (id.x >= params.area) { return; }
  let at = ((params.plane0 + group.z) * params.channels + group.y) * params.area + id.x;
  let y = toFloat(source[at - params.startSource]);
  let d = toFloat(gradient[at - params.startGradient]);
  source[at - params.startSource] = toQuad(select(d * params.slope, d, y > vec4<f32>(0.0)));
}
