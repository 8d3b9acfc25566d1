// 3×3×3 convolution as conv3/forward computes it, cut for adapters that run a workgroup's threads in
// the lanes of a CPU: the threads of a workgroup take different output channels of the same voxels, so
// what they read of the source is the same for all and loaded once. Assigns target.
// One thread: one output channel; four columns of four rows of a quad. Columns lie side by side along
// x, COLUMNS of them, and the rest in the planes behind, so that narrow volumes fill them too.
// include "common/volume.wgsl"

const INPUTS: u32 = 1u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const BIAS: bool = true;
const COLUMNS: u32 = 4u; // 4, 2 or 1
const RAGGED: bool = true; // the width is no multiple of four, and an input has a norm
const LANES: u32 = 8u;

struct Params {
  width: u32, height: u32, depth: u32, samples: u32, rowQuads: u32,
  channelsA: u32, channelsB: u32, channelsOut: u32,
  plane0: u32, plane1: u32,                   // planes of this dispatch
  startA: u32, startB: u32, startTarget: u32, // quads before each binding
  slopeA: f32, slopeB: f32,
}

@group(0) @binding(0) var<storage, read> sourceA: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> affineA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> affineB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<f32>; // [out block][in][27][8]
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// One row of the four columns, as the three taps along x see it.
struct Row { before: mat4x4<f32>, here: mat4x4<f32>, after: mat4x4<f32> }

// The source channel that is being read.
struct Place {
  second: bool,
  stride: u32,          // quads from one plane to the next
  scaleShift: mat4x2<f32>, // of the norm, per column
  exists: vec4<f32>,    // 0 for columns whose plane lies outside the volume
}

fn readQuad(place: Place, index: u32, column: u32) -> vec4<f32> {
  if (INPUTS == 2u && place.second) {
    let value = sourceB[index];
    if (NORM_B) { return activate4(value, place.scaleShift[column], params.slopeB); }
    return value;
  }
  let value = sourceA[index];
  if (NORM_A) { return activate4(value, place.scaleShift[column], params.slopeA); }
  return value;
}

// Reads beyond the row's ends, or beyond the binding, give some finite value that is masked here.
fn readRow(place: Place, at: u32, q: u32) -> Row {
  var here: mat4x4<f32>;
  var left: vec4<f32>;
  var right: vec4<f32>;
  for (var i = 0u; i < 4u; i++) {
    let index = at + i / COLUMNS * place.stride + i % COLUMNS;
    here[i] = readQuad(place, index, i);
    if (RAGGED) { here[i] = inside(here[i], q + i % COLUMNS, params.width); }
    if (COLUMNS < 4u) { here[i] *= place.exists[i]; }
    if (i % COLUMNS == 0u) { left[i] = select(0.0, readQuad(place, index - 1u, i).w, q > 0u); }
    if (i % COLUMNS == COLUMNS - 1u) { right[i] = readQuad(place, index + 1u, i).x; }
    if (COLUMNS < 4u) {
      left[i] *= place.exists[i];
      right[i] *= place.exists[i];
    }
  }
  for (var i = 0u; i < 4u; i++) {
    if (i % COLUMNS != 0u) { left[i] = here[(i + 3u) % 4u].w; }
    if (i % COLUMNS != COLUMNS - 1u) { right[i] = here[(i + 1u) % 4u].x; }
    right[i] = select(0.0, right[i], q + i % COLUMNS + 1u < params.rowQuads);
  }
  return Row(
    mat4x4<f32>(
      vec4<f32>(left.x, here[0].xyz), vec4<f32>(left.y, here[1].xyz),
      vec4<f32>(left.z, here[2].xyz), vec4<f32>(left.w, here[3].xyz)),
    here,
    mat4x4<f32>(
      vec4<f32>(here[0].yzw, right.x), vec4<f32>(here[1].yzw, right.y),
      vec4<f32>(here[2].yzw, right.z), vec4<f32>(here[3].yzw, right.w)),
  );
}

fn taps(row: Row, w: vec3<f32>) -> mat4x4<f32> {
  return row.before * w.x + row.here * w.y + row.after * w.z;
}

fn store(values: mat4x4<f32>, channel: u32, plane: u32, row: u32, q: u32) {
  if (row >= params.height || channel >= params.channelsOut) { return; }
  for (var i = 0u; i < 4u; i++) {
    let here = plane + i / COLUMNS;
    let column = q + i % COLUMNS;
    if (here >= params.plane1 || column >= params.rowQuads) { continue; }
    var value = values[i];
    if (BIAS) { value += bias[channel]; }
    let line = (here * params.channelsOut + channel) * params.height + row;
    target_[line * params.rowQuads + column - params.startTarget] = inside(value, column, params.width);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let across = (params.rowQuads + COLUMNS - 1u) / COLUMNS;
  let q = group.x % across * COLUMNS;
  let y = group.x / across * 4u;
  let plane = params.plane0 + group.z * (4u / COLUMNS);
  let channelOut = group.y * LANES + local.x;
  let channels = params.channelsA + params.channelsB;

  var out0 = mat4x4<f32>();
  var out1 = mat4x4<f32>();
  var out2 = mat4x4<f32>();
  var out3 = mat4x4<f32>();
  // Rows outside the volume take part with weight 0.
  let above = select(0.0, 1.0, y > 0u);
  let in1 = select(0.0, 1.0, y + 1u < params.height);
  let in2 = select(0.0, 1.0, y + 2u < params.height);
  let in3 = select(0.0, 1.0, y + 3u < params.height);
  let below = select(0.0, 1.0, y + 4u < params.height);
  for (var channel = 0u; channel < channels; channel++) {
    var own = channel;
    var ownChannels = params.channelsA;
    var start = params.startA;
    var place = Place(false, 0u, mat4x2<f32>(), vec4<f32>(1.0));
    if (INPUTS == 2u && channel >= params.channelsA) {
      place.second = true;
      own = channel - params.channelsA;
      ownChannels = params.channelsB;
      start = params.startB;
    }
    place.stride = ownChannels * params.height * params.rowQuads;
    for (var i = 0u; i < 4u; i++) {
      let sample = min((plane + i / COLUMNS) / params.depth, params.samples - 1u);
      if (INPUTS == 2u && place.second) {
        if (NORM_B) { place.scaleShift[i] = affineB[sample * params.channelsB + own]; }
      } else if (NORM_A) {
        place.scaleShift[i] = affineA[sample * params.channelsA + own];
      }
    }
    for (var dz = 0u; dz < 3u; dz++) {
      if (COLUMNS == 4u) {
        if (plane % params.depth + dz == 0u || plane % params.depth + dz > params.depth) { continue; }
      } else {
        for (var i = 0u; i < 4u; i++) {
          let z = (plane + i / COLUMNS) % params.depth + dz;
          place.exists[i] = select(0.0, 1.0, z > 0u && z <= params.depth);
        }
      }
      let w = ((channelOut / 8u * channels + channel) * 27u + dz * 9u) * 8u + channelOut % 8u;
      let top = vec3<f32>(weights[w], weights[w + 8u], weights[w + 16u]);
      let middle = vec3<f32>(weights[w + 24u], weights[w + 32u], weights[w + 40u]);
      let bottom = vec3<f32>(weights[w + 48u], weights[w + 56u], weights[w + 64u]);
      let at = (((plane + dz - 1u) * ownChannels + own) * params.height + y) * params.rowQuads + q - start;

      var row = readRow(place, at - params.rowQuads, q);
      out0 += taps(row, top * above);
      row = readRow(place, at, q);
      out0 += taps(row, middle);
      out1 += taps(row, top);
      row = readRow(place, at + params.rowQuads, q);
      out0 += taps(row, bottom * in1);
      out1 += taps(row, middle * in1);
      out2 += taps(row, top * in1);
      row = readRow(place, at + 2u * params.rowQuads, q);
      out1 += taps(row, bottom * in2);
      out2 += taps(row, middle * in2);
      out3 += taps(row, top * in2);
      row = readRow(place, at + 3u * params.rowQuads, q);
      out2 += taps(row, bottom * in3);
      out3 += taps(row, middle * in3);
      row = readRow(place, at + 4u * params.rowQuads, q);
      out3 += taps(row, bottom * below);
    }
  }
  store(out0, channelOut, plane, y, q);
  store(out1, channelOut, plane, y + 1u, q);
  store(out2, channelOut, plane, y + 2u, q);
  store(out3, channelOut, plane, y + 3u, q);
}
