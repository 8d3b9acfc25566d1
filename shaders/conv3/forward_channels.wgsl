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
const LANES: u32 = 8u;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
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

// A source volume as this thread reads it.
struct Place { second: bool, channel: u32, channels: u32, start: u32 }

fn stored(place: Place, index: u32) -> vec4<f32> {
  if (INPUTS == 2u && place.second) { return sourceB[min(index, arrayLength(&sourceB) - 1u)]; }
  return sourceA[min(index, arrayLength(&sourceA) - 1u)];
}

// The quad at q, or zeros outside the volume.
fn quad(place: Place, plane: u32, inDepth: bool, row: u32, q: u32) -> vec4<f32> {
  let exists = inDepth && row < params.height && q < params.rowQuads;
  let line = (plane * place.channels + place.channel) * params.height + row;
  var value = stored(place, select(place.start, line * params.rowQuads + q, exists) - place.start);
  if (INPUTS == 2u && place.second) {
    if (NORM_B) { value = inside(activate4(value, affineB[plane / params.depth * params.channelsB + place.channel], params.slopeB), q, params.width); }
  } else if (NORM_A) {
    value = inside(activate4(value, affineA[plane / params.depth * params.channelsA + place.channel], params.slopeA), q, params.width);
  }
  return select(vec4<f32>(0.0), value, exists);
}

// One row of the four columns, as the three taps along x see it.
struct Row { before: mat4x4<f32>, here: mat4x4<f32>, after: mat4x4<f32> }

fn readRow(place: Place, plane: u32, inDepth: vec4<bool>, row: u32, q: u32) -> Row {
  var here: mat4x4<f32>;
  var left: vec4<f32>;
  var right: vec4<f32>;
  for (var i = 0u; i < 4u; i++) {
    here[i] = quad(place, plane + i / COLUMNS, inDepth[i], row, q + i % COLUMNS);
  }
  for (var i = 0u; i < 4u; i++) {
    if (i % COLUMNS == 0u) {
      left[i] = quad(place, plane + i / COLUMNS, inDepth[i], row, q - 1u).w;
    } else {
      left[i] = here[(i + 3u) % 4u].w;
    }
    if (i % COLUMNS == COLUMNS - 1u) {
      right[i] = quad(place, plane + i / COLUMNS, inDepth[i], row, q + COLUMNS).x;
    } else {
      right[i] = here[(i + 1u) % 4u].x;
    }
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
  for (var channel = 0u; channel < channels; channel++) {
    var place = Place(false, channel, params.channelsA, params.startA);
    if (INPUTS == 2u && channel >= params.channelsA) {
      place = Place(true, channel - params.channelsA, params.channelsB, params.startB);
    }
    for (var dz = 0u; dz < 3u; dz++) {
      var inDepth: vec4<bool>;
      for (var i = 0u; i < 4u; i++) {
        let z = (plane + i / COLUMNS) % params.depth + dz;
        inDepth[i] = z > 0u && z <= params.depth && plane + i / COLUMNS < params.plane1;
      }
      let at = ((channelOut / 8u * channels + channel) * 27u + dz * 9u) * 8u + channelOut % 8u;
      let top = vec3<f32>(weights[at], weights[at + 8u], weights[at + 16u]);
      let middle = vec3<f32>(weights[at + 24u], weights[at + 32u], weights[at + 40u]);
      let bottom = vec3<f32>(weights[at + 48u], weights[at + 56u], weights[at + 64u]);
      let behind = plane + dz - 1u;
      var row = readRow(place, behind, inDepth, y - 1u, q);
      out0 += taps(row, top);
      row = readRow(place, behind, inDepth, y, q);
      out0 += taps(row, middle);
      out1 += taps(row, top);
      row = readRow(place, behind, inDepth, y + 1u, q);
      out0 += taps(row, bottom);
      out1 += taps(row, middle);
      out2 += taps(row, top);
      row = readRow(place, behind, inDepth, y + 2u, q);
      out1 += taps(row, bottom);
      out2 += taps(row, middle);
      out3 += taps(row, top);
      row = readRow(place, behind, inDepth, y + 3u, q);
      out2 += taps(row, bottom);
      out3 += taps(row, middle);
      row = readRow(place, behind, inDepth, y + 4u, q);
      out3 += taps(row, bottom);
    }
  }
  store(out0, channelOut, plane, y, q);
  store(out1, channelOut, plane, y + 1u, q);
  store(out2, channelOut, plane, y + 2u, q);
  store(out3, channelOut, plane, y + 3u, q);
}
