// Mirror, rotation and scaling of image (trilinear) and labels (nearest) in one resampling, then
// noise and brightness. The source reaches beyond the image by a margin on both sides of each axis, whole quads
// along x; outside the source the image is 0 and the label 255. Where no geometry was drawn, voxels are copied.
// Assigns image and labels. One thread: four voxels along x of every channel.
// include "common/volume.wgsl"
// include "common/labels.wgsl"
// include "common/augmentation.wgsl"

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,
  sourceWidth: u32, sourceHeight: u32, sourceDepth: u32, sourceRowQuads: u32,
  marginX: u32, marginY: u32, marginZ: u32,
  plane0: u32, startSource: u32, startSourceLabels: u32, startImage: u32, startLabels: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> sourceLabels: array<u32>;
@group(0) @binding(2) var<storage, read> samples: array<SampleDraw>;
@group(0) @binding(3) var<storage, read> channelDraws: array<ChannelDraw>;
@group(0) @binding(4) var<storage, read_write> image: array<Quad>;
@group(0) @binding(5) var<storage, read_write> labels: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;

fn isInside(at: vec3<i32>) -> bool {
  let size = vec3<i32>(vec3<u32>(params.sourceWidth, params.sourceHeight, params.sourceDepth));
  return all(at >= vec3<i32>(0)) && all(at < size);
}

// Where a quad of the source lies in its binding; of the labels for one channel.
fn quadAt(sample: u32, channels: u32, channel: u32, z: u32, y: u32, q: u32) -> u32 {
  let row = ((sample * params.sourceDepth + z) * channels + channel) * params.sourceHeight + y;
  return row * params.sourceRowQuads + q;
}

fn voxel(sample: u32, channel: u32, at: vec3<i32>) -> f32 {
  if (!isInside(at)) { return 0.0; }
  let p = vec3<u32>(at);
  let index = quadAt(sample, params.channels, channel, p.z, p.y, p.x / 4u);
  return toFloat(source[index - params.startSource])[p.x % 4u];
}

fn label(sample: u32, at: vec3<i32>) -> u32 {
  if (!isInside(at)) { return 255u; }
  let p = vec3<u32>(at);
  let index = quadAt(sample, 1u, 0u, p.z, p.y, p.x / 4u);
  return labelsOf(sourceLabels[index - params.startSourceLabels])[p.x % 4u];
}

fn trilinear(sample: u32, channel: u32, at: vec3<f32>) -> f32 {
  let low = floor(at);
  let f = at - low;
  let p = vec3<i32>(low);
  var sum = 0.0;
  for (var corner = 0u; corner < 8u; corner++) {
    let offset = vec3<u32>(corner & 1u, (corner >> 1u) & 1u, corner >> 2u);
    let weight = select(1.0 - f, f, offset == vec3<u32>(1u));
    sum += weight.x * weight.y * weight.z * voxel(sample, channel, p + vec3<i32>(offset));
  }
  return sum;
}

// Jarzynski & Olano 2020, "Hash functions for GPU rendering": pcg4d.
fn pcg4d(counter: vec4<u32>) -> vec4<u32> {
  var v = counter * 1664525u + 1013904223u;
  for (var round = 0u; round < 2u; round++) {
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    if (round == 0u) { v ^= v >> vec4<u32>(16u); }
  }
  return v;
}

// Four standard normal numbers by Box and Muller.
fn normals(counter: vec4<u32>) -> vec4<f32> {
  let u = (vec4<f32>(pcg4d(counter) >> vec4<u32>(8u)) + 0.5) / 16777216.0;
  let radius = sqrt(max(vec2<f32>(0.0), -2.0 * log(u.xy)));
  let angle = 6.283185307179586 * (u.zw - 0.5);
  return vec4<f32>(radius * cos(angle), radius * sin(angle));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let area = params.height * params.rowQuads;
  if (id.x >= area) { return; }
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  let plane = params.plane0 + group.z;
  let sample = plane / params.depth;
  let z = plane % params.depth;
  let draw = samples[sample];

  let margin = vec3<u32>(params.marginX, params.marginY, params.marginZ);
  let isWhole = 4u * q + 4u <= params.width; // no lane lies beyond the row's end
  var at = array<vec3<f32>, 4>();
  for (var lane = 0u; lane < 4u; lane++) {
    let here = vec4<f32>(f32(4u * q + lane), f32(y), f32(z), 1.0);
    at[lane] = vec3<f32>(dot(draw.rowX, here), dot(draw.rowY, here), dot(draw.rowZ, here)) + vec3<f32>(margin);
  }
  let labelAt = plane * area + id.x;
  if (draw.geometry == 0u) {
    let index = quadAt(sample, 1u, 0u, z + margin.z, y + margin.y, q + margin.x / 4u);
    var word = sourceLabels[index - params.startSourceLabels];
    if (!isWhole) { word |= 0xffffffffu << (8u * (params.width - 4u * q)); }
    labels[labelAt - params.startLabels] = word;
  } else {
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane++) {
      var value = 255u;
      if (4u * q + lane < params.width) { value = label(sample, vec3<i32>(floor(at[lane] + 0.5))); }
      word |= value << (8u * lane);
    }
    labels[labelAt - params.startLabels] = word;
  }

  var noise = vec4<f32>(0.0); // the same in all channels
  if (draw.noise > 0.0) { noise = draw.noise * normals(vec4<u32>(id.x, z, draw.key0, draw.key1)); }
  for (var channel = 0u; channel < params.channels; channel++) {
    let index = (plane * params.channels + channel) * area + id.x;
    let brightness = channelDraws[sample * params.channels + channel].brightness;
    var value = vec4<f32>(0.0);
    if (draw.geometry == 0u) {
      let raw = quadAt(sample, params.channels, channel, z + margin.z, y + margin.y, q + margin.x / 4u);
      if (draw.noise == 0.0 && brightness == 1.0 && isWhole) {
        image[index - params.startImage] = source[raw - params.startSource];
        continue;
      }
      value = toFloat(source[raw - params.startSource]);
    } else {
      for (var lane = 0u; lane < 4u; lane++) {
        if (draw.geometry == 1u) { value[lane] = voxel(sample, channel, vec3<i32>(at[lane])); }
        else { value[lane] = trilinear(sample, channel, at[lane]); }
      }
    }
    if (draw.noise > 0.0) { value += noise; }
    if (brightness != 1.0) { value *= brightness; }
    image[index - params.startImage] = toQuad(inside(value, q, params.width));
  }
}
