// Gaussian blur of the channels for which one was drawn: along z, or along x and y. Taps beyond the volume are
// left out and the others weighted up. Assigns target where drawn. One thread: four voxels along x.
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

fn tap(distance: i32, sigma: f32) -> f32 {
  let d = f32(distance) / sigma;
  return exp(-0.5 * d * d);
}

fn alongZ(index: u32, z: u32, sigma: f32) -> vec4<f32> {
  let step = i32(params.channels * params.height * params.rowQuads);
  var sum = vec4<f32>(0.0);
  var weights = 0.0;
  for (var d = -3; d <= 3; d++) {
    let there = i32(z) + d;
    if (there < 0 || there >= i32(params.depth)) { continue; }
    let weight = tap(d, sigma);
    sum += weight * toFloat(source[u32(i32(index - params.startSource) + d * step)]);
    weights += weight;
  }
  return sum / weights;
}

// Rows are blurred along y into three neighbouring quads first, and these along x.
fn alongXY(index: u32, q: u32, y: u32, sigma: vec2<f32>) -> vec4<f32> {
  let at = i32(index - params.startSource);
  var left = vec4<f32>(0.0);
  var middle = vec4<f32>(0.0);
  var right = vec4<f32>(0.0);
  var weights = 0.0;
  for (var d = -3; d <= 3; d++) {
    let there = i32(y) + d;
    if (there < 0 || there >= i32(params.height)) { continue; }
    let weight = tap(d, sigma.y);
    let row = at + d * i32(params.rowQuads);
    if (q > 0u) { left += weight * toFloat(source[u32(row - 1)]); }
    middle += weight * toFloat(source[u32(row)]);
    if (q + 1u < params.rowQuads) { right += weight * toFloat(source[u32(row + 1)]); }
    weights += weight;
  }
  let w1 = tap(1, sigma.x);
  let w2 = tap(2, sigma.x);
  let w3 = tap(3, sigma.x);
  let sum = middle +
    w1 * (vec4<f32>(left.w, middle.xyz) + vec4<f32>(middle.yzw, right.x)) +
    w2 * (vec4<f32>(left.zw, middle.xy) + vec4<f32>(middle.zw, right.xy)) +
    w3 * (vec4<f32>(left.yzw, middle.x) + vec4<f32>(middle.w, right.xyz));
  // Padding columns are zero; their weights do not count.
  let x = vec4<i32>(i32(4u * q)) + vec4<i32>(0, 1, 2, 3);
  var across = vec4<f32>(0.0);
  for (var d = -3; d <= 3; d++) {
    let isThere = (x + d >= vec4<i32>(0)) & (x + d < vec4<i32>(i32(params.width)));
    across += select(vec4<f32>(0.0), vec4<f32>(tap(d, sigma.x)), isThere);
  }
  return sum / (weights * across);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  let plane = params.plane0 + group.z;
  let sigma = channelDraws[plane / params.depth * params.channels + group.y].sigma;
  if (id.x >= area || sigma.w == 0.0) { return; }
  let index = (plane * params.channels + group.y) * area + id.x;
  let q = id.x % params.rowQuads;
  var value = vec4<f32>(0.0);
  if (ALONG_Z) { value = alongZ(index, plane % params.depth, sigma.z); }
  else { value = alongXY(index, q, id.x / params.rowQuads, sigma.xy); }
  target_[index - params.startTarget] = toQuad(inside(value, q, params.width));
}
