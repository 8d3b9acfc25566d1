// Gradient of a 3×3×3 convolution with respect to its weights, for the input channels of one source.
// Planes are cut into chunks of fixed length; each thread sums one chunk's nine (y, x) taps for one
// input channel, one z tap and eight output channels, in the order of the voxels, into its partial.
// A dispatch that begins inside a chunk goes on from what the one before stored, so cutting a run
// into dispatches does not change a bit. Partials: [chunk][out][in][27]; reduce/partials adds them. A single
// chunk goes to its place in the gradient itself.
// include "common/volume.wgsl"
// include "common/nine_taps.wgsl"

const WORKGROUP: u32 = 48u;
const SHORT: bool = false; // as in forward.wgsl

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32,       // planes [plane0, plane1) of this dispatch
  chunk0: u32, chunkPlanes: u32,  // first chunk of this dispatch, planes in a chunk
  startSource: u32, startGradient: u32,
  stride: u32, offset: u32,       // from one output channel's partials to the next, and before the first
  slope: f32,
  normed: u32,                    // 1: yes, 0: no
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

struct Row { left: f32, middle: vec4<f32>, right: f32 }

fn readRow(line: u32, valid: bool, q: u32, norm: vec2<f32>) -> Row {
  let last = arrayLength(&source) - 1u;
  let index = line * params.rowQuads + q - params.startSource;
  var row: Row;
  row.left = toFloat(source[max(index, 1u) - 1u]).w;
  row.middle = toFloat(source[index]);
  row.right = toFloat(source[min(index + 1u, last)]).x;
  if (params.normed > 0u) { // not a constant: one kernel for both is compiled once
    row.left = activate1(row.left, norm, params.slope);
    row.middle = inside(activate4(row.middle, norm, params.slope), q, params.width);
    row.right = activate1(row.right, norm, params.slope);
  }
  row.left = select(0.0, row.left, valid && q > 0u);
  row.middle = select(vec4<f32>(0.0), row.middle, valid);
  row.right = select(0.0, row.right, valid && q + 1u < params.rowQuads);
  return row;
}

// The three taps along x of one row against a quad of the gradient.
fn taps(row: Row, d: vec4<f32>) -> vec3<f32> {
  return vec3<f32>(
    dot(vec4<f32>(row.left, row.middle.xyz), d),
    dot(row.middle, d),
    dot(vec4<f32>(row.middle.yzw, row.right), d),
  );
}

fn all9(r0: Row, r1: Row, r2: Row, d: vec4<f32>) -> mat3x3<f32> {
  return mat3x3<f32>(taps(r0, d), taps(r1, d), taps(r2, d));
}

// What the dispatch before has left of nine taps; 0 for output channels beyond the last.
fn load9(channelOut: u32, at: u32) -> mat3x3<f32> {
  if (channelOut >= params.channelsOut) { return mat3x3<f32>(); }
  return mat3x3<f32>(
    partials[at], partials[at + 1u], partials[at + 2u], partials[at + 3u], partials[at + 4u],
    partials[at + 5u], partials[at + 6u], partials[at + 7u], partials[at + 8u],
  );
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let item = group.x * WORKGROUP + local.x;
  if (item >= params.channels * 3u) { return; }
  let channel = item / 3u;
  let dz = item % 3u;
  let out0 = group.y * 8u;
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);

  let stride = params.stride;
  let at = (chunk * params.channelsOut + out0) * stride + params.offset + channel * 27u + dz * 9u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  var sums = array<mat3x3<f32>, 8>();
  if (begin > chunk * params.chunkPlanes) {
    if (SHORT) {
      for (var i = 0u; i < 8u; i++) { sums[i] = load9(out0 + i, at + i * stride); }
    } else {
      sums[0] = load9(out0, at);
      sums[1] = load9(out0 + 1u, at + stride);
      sums[2] = load9(out0 + 2u, at + 2u * stride);
      sums[3] = load9(out0 + 3u, at + 3u * stride);
      sums[4] = load9(out0 + 4u, at + 4u * stride);
      sums[5] = load9(out0 + 5u, at + 5u * stride);
      sums[6] = load9(out0 + 6u, at + 6u * stride);
      sums[7] = load9(out0 + 7u, at + 7u * stride);
    }
  }

  let area = params.height * params.rowQuads;
  for (var plane = begin; plane < end; plane++) {
    let z = plane % params.depth;
    if (z + dz == 0u || z + dz > params.depth) { continue; }
    var norm = vec2<f32>();
    if (params.normed > 0u) { norm = scaleShifts[plane / params.depth * params.channels + channel]; }
    let line = ((plane + dz - 1u) * params.channels + channel) * params.height;
    for (var q = 0u; q < params.rowQuads; q++) {
      var above = Row(0.0, vec4<f32>(0.0), 0.0);
      var here = readRow(line, true, q, norm);
      // Each column is summed by itself, so that long sums keep their digits.
      var parts = array<mat3x3<f32>, 8>();
      for (var y = 0u; y < params.height; y++) {
        let hasBelow = y + 1u < params.height;
        let below = readRow(line + select(0u, y + 1u, hasBelow), hasBelow, q, norm);
        let d = (plane * params.channelsOut + out0) * area + y * params.rowQuads + q - params.startGradient;
        parts[0] += all9(above, here, below, toFloat(gradient[d]));
        parts[1] += all9(above, here, below, toFloat(gradient[d + min(1u, top) * area]));
        parts[2] += all9(above, here, below, toFloat(gradient[d + min(2u, top) * area]));
        parts[3] += all9(above, here, below, toFloat(gradient[d + min(3u, top) * area]));
        parts[4] += all9(above, here, below, toFloat(gradient[d + min(4u, top) * area]));
        parts[5] += all9(above, here, below, toFloat(gradient[d + min(5u, top) * area]));
        parts[6] += all9(above, here, below, toFloat(gradient[d + min(6u, top) * area]));
        parts[7] += all9(above, here, below, toFloat(gradient[d + min(7u, top) * area]));
        above = here;
        here = below;
      }
      if (SHORT) {
        for (var i = 0u; i < 8u; i++) { sums[i] += parts[i]; }
        continue;
      }
      sums[0] += parts[0];
      sums[1] += parts[1];
      sums[2] += parts[2];
      sums[3] += parts[3];
      sums[4] += parts[4];
      sums[5] += parts[5];
      sums[6] += parts[6];
      sums[7] += parts[7];
    }
  }

  if (SHORT) {
    for (var i = 0u; i < 8u; i++) { store9(out0 + i, at + i * stride, sums[i]); }
    return;
  }
  store9(out0, at, sums[0]);
  store9(out0 + 1u, at + stride, sums[1]);
  store9(out0 + 2u, at + 2u * stride, sums[2]);
  store9(out0 + 3u, at + 3u * stride, sums[3]);
  store9(out0 + 4u, at + 4u * stride, sums[4]);
  store9(out0 + 5u, at + 5u * stride, sums[5]);
  store9(out0 + 6u, at + 6u * stride, sums[6]);
  store9(out0 + 7u, at + 7u * stride, sums[7]);
}
