// 3×3×3 convolution as conv3/forward computes it, cut for adapters that run a workgroup's threads in
// the lanes of a CPU: the threads of a workgroup take different output channels of the same voxels, so
// what they read of the source is the same for all and loaded once. Reads one input of the two that the
// convolution may have: `add` puts the second's share on top of the first's. Assigns target, or accumulates into it; with
// STATISTICS leaves those of what it stores.
// One thread: one output channel; four columns of four rows of a quad. Columns lie side by side along
// x, COLUMNS of them, and the rest in the plane behind, so that rows which do not fill four waste less.
// include "common/volume.wgsl"
// include "common/column.wgsl"
// include "common/parts.wgsl"

const NORM: bool = false;
const LANES: u32 = 8u; // threads of a workgroup
const COLUMNS: u32 = 4u; // 4 or 2
const RAGGED: bool = true; // the width is no multiple of four, and the input has a norm
const STATISTICS: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, samples: u32, rowQuads: u32,
  channels: u32, channelsOut: u32,
  channelsIn: u32, first: u32,                // of all inputs, and before this one
  plane0: u32, plane1: u32,                   // planes of this dispatch
  startSource: u32, startTarget: u32,         // quads before each binding
  slope: f32,
  biased: u32, add: u32,                      // 1: yes, 0: no
  tiles: u32, startParts: u32,                // of the statistics
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [out block][in][27][8]
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// The source channel that is being read.
struct Place {
  offsets: vec4<u32>,                        // of the columns, in quads
  n0: vec2<f32>, n1: vec2<f32>, n2: vec2<f32>, n3: vec2<f32>, // scale and shift per column
  m0: vec3<f32>, m1: vec3<f32>, m2: vec3<f32>, m3: vec3<f32>, // of RAGGED ones, see maskOf
}

fn readQuad(index: u32, norm: vec2<f32>) -> vec4<f32> {
  let value = toFloat(source[index]);
  if (NORM) { return activate4(value, norm, params.slope); }
  return value;
}

// One row of the four columns.
struct Row { c0: Column, c1: Column, c2: Column, c3: Column }

// 0 for the last three voxels of quad q that lie beyond the row's end. They are stored as 0, but their norm is not.
fn maskOf(q: u32) -> vec3<f32> {
  return select(vec3<f32>(0.0), vec3<f32>(1.0), vec3<u32>(4u * q) + vec3<u32>(1u, 2u, 3u) < vec3<u32>(params.width));
}

// `i` is the column's number. What is read beyond the row's last quad, or beyond the binding, only counts for outputs
// that are not stored, or is masked here. Inner neighbours are filled in by readRow.
fn readColumn(at: u32, norm: vec2<f32>, mask: vec3<f32>, i: u32, q: u32) -> Column {
  var column = Column(0.0, readQuad(at, norm), 0.0);
  let here = q + i % COLUMNS;
  if (RAGGED) { column.here *= vec4<f32>(1.0, mask); }
  if (i % COLUMNS == 0u) { column.left = select(0.0, readQuad(at - 1u, norm).w, here > 0u); }
  if (i % COLUMNS == COLUMNS - 1u) {
    column.right = select(0.0, readQuad(at + 1u, norm).x, here + 1u < params.rowQuads);
  }
  return column;
}

fn readRow(place: Place, at: u32, q: u32) -> Row {
  var c0 = readColumn(at + place.offsets.x, place.n0, place.m0, 0u, q);
  var c1 = readColumn(at + place.offsets.y, place.n1, place.m1, 1u, q);
  var c2 = readColumn(at + place.offsets.z, place.n2, place.m2, 2u, q);
  var c3 = readColumn(at + place.offsets.w, place.n3, place.m3, 3u, q);
  c0.right = select(0.0, c1.here.x, q + 1u < params.rowQuads);
  c1.left = c0.here.w;
  c2.right = select(0.0, c3.here.x, q + 2u % COLUMNS + 1u < params.rowQuads);
  c3.left = c2.here.w;
  if (COLUMNS == 4u) {
    c1.right = select(0.0, c2.here.x, q + 2u < params.rowQuads);
    c2.left = c1.here.w;
  }
  return Row(c0, c1, c2, c3);
}

// Four columns of one target row.
struct Sums { s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32> }

// Three taps along x: of the first two columns and of the others, which may lie in the plane behind.
struct Taps { here: vec3<f32>, behind: vec3<f32> }

// Three weights, eight apart. Planes outside the volume take part with weight 0.
fn tapsAt(at: u32, exists: vec2<f32>) -> Taps {
  let w = vec3<f32>(weights[at], weights[at + 8u], weights[at + 16u]);
  if (COLUMNS == 4u) { return Taps(w, w); }
  return Taps(w * exists.x, w * exists.y);
}

fn times(taps: Taps, factor: f32) -> Taps {
  return Taps(taps.here * factor, taps.behind * factor);
}

fn add(sums: Sums, row: Row, taps: Taps) -> Sums {
  return Sums(
    alongX(sums.s0, row.c0, taps.here), alongX(sums.s1, row.c1, taps.here),
    alongX(sums.s2, row.c2, taps.behind), alongX(sums.s3, row.c3, taps.behind));
}

fn normOf(plane: u32, channel: u32) -> vec2<f32> {
  if (NORM) { return scaleShifts[min(plane / params.depth, params.samples - 1u) * params.channels + channel]; }
  return vec2<f32>(1.0, 0.0);
}

// Gives back what is stored; 0 for what is not.
fn storeQuad(value: vec4<f32>, i: u32, channel: u32, plane: u32, row: u32, q: u32) -> vec4<f32> {
  let here = plane + i / COLUMNS;
  let column = q + i % COLUMNS;
  if (here >= params.plane1 || column >= params.rowQuads) { return vec4<f32>(0.0); }
  var result = value;
  if (params.biased > 0u) { result += bias[channel]; }
  let line = (here * params.channelsOut + channel) * params.height + row;
  let at = line * params.rowQuads + column - params.startTarget;
  if (params.add > 0u) { result += toFloat(target_[at]); }
  result = inside(result, column, params.width);
  target_[at] = toQuad(result);
  return asStored(result);
}

fn store(sums: Sums, channel: u32, plane: u32, row: u32, q: u32) -> Sums {
  if (row >= params.height || channel >= params.channelsOut) { return Sums(); }
  return Sums(
    storeQuad(sums.s0, 0u, channel, plane, row, q), storeQuad(sums.s1, 1u, channel, plane, row, q),
    storeQuad(sums.s2, 2u, channel, plane, row, q), storeQuad(sums.s3, 3u, channel, plane, row, q));
}

// Columns of the ith plane of a thread: as they are, and squares of how far they are off a mean.
fn inPlane(row: Sums, i: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  if (i == 0u) { sum += row.s0; }
  if (i == 1u / COLUMNS) { sum += row.s1; }
  if (i == 2u / COLUMNS) { sum += row.s2; }
  if (i == 3u / COLUMNS) { sum += row.s3; }
  return sum;
}

fn squares(value: vec4<f32>, mean: f32, column: u32) -> vec4<f32> {
  let off = inside(value - mean, column, params.width);
  return off * off;
}

fn squaresInPlane(row: Sums, i: u32, mean: f32, q: u32) -> vec4<f32> {
  let all = Sums(
    squares(row.s0, mean, q), squares(row.s1, mean, q + 1u % COLUMNS),
    squares(row.s2, mean, q + 2u % COLUMNS), squares(row.s3, mean, q + 3u % COLUMNS));
  return inPlane(all, i);
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let across = (params.rowQuads + COLUMNS - 1u) / COLUMNS;
  let q = group.y % across * COLUMNS;
  let y = group.y / across * 4u;
  let plane = params.plane0 + group.z * (4u / COLUMNS);
  let channelOut = group.x * LANES + local.x; // neighbouring workgroups read the same voxels

  var out0 = Sums();
  var out1 = Sums();
  var out2 = Sums();
  var out3 = Sums();
  // Rows outside the volume take part with weight 0.
  let above = select(0.0, 1.0, y > 0u);
  let in1 = select(0.0, 1.0, y + 1u < params.height);
  let in2 = select(0.0, 1.0, y + 2u < params.height);
  let in3 = select(0.0, 1.0, y + 3u < params.height);
  let below = select(0.0, 1.0, y + 4u < params.height);
  let stride = params.channels * params.height * params.rowQuads;
  let m0 = maskOf(q);
  let m1 = maskOf(q + 1u % COLUMNS);
  let m2 = maskOf(q + 2u % COLUMNS);
  let m3 = maskOf(q + 3u % COLUMNS);
  for (var channel = 0u; channel < params.channels; channel++) {
    var place: Place;
    place.offsets = vec4<u32>(0u, 1u / COLUMNS * stride + 1u % COLUMNS, 2u / COLUMNS * stride + 2u % COLUMNS, 3u / COLUMNS * stride + 3u % COLUMNS);
    if (RAGGED) {
      place.m0 = m0;
      place.m1 = m1;
      place.m2 = m2;
      place.m3 = m3;
    }
    place.n0 = normOf(plane, channel);
    place.n1 = normOf(plane + 1u / COLUMNS, channel);
    place.n2 = normOf(plane + 2u / COLUMNS, channel);
    place.n3 = normOf(plane + 3u / COLUMNS, channel);
    for (var dz = 0u; dz < 3u; dz++) {
      let z = vec2<u32>(plane, plane + 1u) % params.depth + dz;
      let inDepth = (z > vec2<u32>(0u)) & (z <= vec2<u32>(params.depth));
      if (!inDepth.x && (COLUMNS == 4u || !inDepth.y)) { continue; }
      let exists = select(vec2<f32>(0.0), vec2<f32>(1.0), inDepth);
      let w = ((channelOut / 8u * params.channelsIn + params.first + channel) * 27u + dz * 9u) * 8u + channelOut % 8u;
      let top = tapsAt(w, exists);
      let middle = tapsAt(w + 24u, exists);
      let bottom = tapsAt(w + 48u, exists);
      let at = (((plane + dz - 1u) * params.channels + channel) * params.height + y) * params.rowQuads + q - params.startSource;

      var row = readRow(place, at - params.rowQuads, q);
      out0 = add(out0, row, times(top, above));
      row = readRow(place, at, q);
      out0 = add(out0, row, middle);
      out1 = add(out1, row, top);
      row = readRow(place, at + params.rowQuads, q);
      out0 = add(out0, row, times(bottom, in1));
      out1 = add(out1, row, times(middle, in1));
      out2 = add(out2, row, times(top, in1));
      row = readRow(place, at + 2u * params.rowQuads, q);
      out1 = add(out1, row, times(bottom, in2));
      out2 = add(out2, row, times(middle, in2));
      out3 = add(out3, row, times(top, in2));
      row = readRow(place, at + 3u * params.rowQuads, q);
      out2 = add(out2, row, times(bottom, in3));
      out3 = add(out3, row, times(middle, in3));
      row = readRow(place, at + 4u * params.rowQuads, q);
      out3 = add(out3, row, times(bottom, below));
    }
  }
  out0 = store(out0, channelOut, plane, y, q);
  out1 = store(out1, channelOut, plane, y + 1u, q);
  out2 = store(out2, channelOut, plane, y + 2u, q);
  out3 = store(out3, channelOut, plane, y + 3u, q);
  if (!STATISTICS) { return; }
  let count = f32(min(4u * COLUMNS, params.width - 4u * q) * min(4u, params.height - y));
  for (var i = 0u; i < 4u / COLUMNS; i++) {
    if (plane + i >= params.plane1) { break; }
    let sum = inPlane(out0, i) + inPlane(out1, i) + inPlane(out2, i) + inPlane(out3, i);
    let mean = dot(sum, vec4<f32>(1.0)) / count;
    var spread = squaresInPlane(out0, i, mean, q);
    if (in1 > 0.0) { spread += squaresInPlane(out1, i, mean, q); }
    if (in2 > 0.0) { spread += squaresInPlane(out2, i, mean, q); }
    if (in3 > 0.0) { spread += squaresInPlane(out3, i, mean, q); }
    keepPart(plane + i, channelOut, group.y, count, mean, dot(spread, vec4<f32>(1.0)));
  }
}
