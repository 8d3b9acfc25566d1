// Contrast around the mean, kept within the channel's range; or the power of gamma, brought back to the mean
// and standard deviation before it. In place, in the channels for which the stage was drawn.
// One thread: four voxels along x.
// include "common/volume.wgsl"
// include "common/augmentation.wgsl"

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, plane0: u32, startImage: u32, stage: u32,
}

@group(0) @binding(0) var<storage, read> channelDraws: array<ChannelDraw>;
@group(0) @binding(1) var<storage, read> before: array<vec4<f32>>;  // statistics of the channel as it is
@group(0) @binding(2) var<storage, read> after: array<vec4<f32>>;   // and after the power of gamma
@group(0) @binding(3) var<storage, read_write> image: array<Quad>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  let plane = params.plane0 + group.z;
  let entry = plane / params.depth * params.channels + group.y;
  let strength = strengthOf(channelDraws[entry], params.stage);
  if (id.x >= area || strength == 1.0) { return; }
  let index = (plane * params.channels + group.y) * area + id.x - params.startImage;
  let was = before[entry];
  var value = toFloat(image[index]);
  if (params.stage == contrastStage) {
    value = clamp((value - was.x) * strength + was.x, vec4<f32>(was.z), vec4<f32>(was.w));
  } else {
    let now = after[entry];
    let power = gammaOf(value, was, strength, params.stage == invertedGammaStage);
    value = (power - now.x) * (was.y / max(now.y, 1e-7)) + was.x;
  }
  image[index] = toQuad(inside(value, id.x % params.rowQuads, params.width));
}
