enable subgroups;
// 3×3×3 convolution as conv3/forward computes it, cut for adapters that run the sixteen threads of a subgroup in the lanes
// of one vector of a CPU. A workgroup is one subgroup, whose threads take different output channels of the same voxels:
// each reads one voxel of sixteen, with the norm in front of it, and hands it to the others. Reads one input of the two
// that the convolution may have: `add` puts the second's share on top of the first's. Assigns target, or accumulates into
// it.
// One thread: one output channel; four columns of eight rows of a quad. Columns lie side by side along x, COLUMNS of them,
// and the rest in the plane behind, so that rows which do not fill four waste less. One column after the other, so that
// its sums stay in registers. Where the channels that go out fill half the threads, the other half takes the plane behind:
// of four source planes each is read once for both, and those that a half has no taps for count nothing there.
// include "common/volume.wgsl"
// include "common/column.wgsl"

const COLUMNS: u32 = 4u; // 4 or 2
const PLANES: u32 = 1u;  // 2 where at most eight channels go out; with four columns

struct Params {
  width: u32, height: u32, depth: u32, samples: u32, rowQuads: u32,
  channels: u32, channelsOut: u32,
  channelsIn: u32, first: u32,                // of all inputs, and before this one
  plane0: u32, plane1: u32,                   // planes of this dispatch
  startSource: u32, startTarget: u32,         // quads before each binding
  slope: f32,
  normed: u32, biased: u32, add: u32,         // 1: yes, 0: no
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [out block][in][27][8]
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<uniform> params: Params;

// Sixteen voxels of each of ten rows, one to a thread, and what lies left and right of them: that of row i in thread i.
struct Rows {
  r0: f32, r1: f32, r2: f32, r3: f32, r4: f32, r5: f32, r6: f32, r7: f32, r8: f32, r9: f32,
  here: Ends,
  behind: Ends, // of columns in the plane behind
}
struct Ends { left: f32, right: f32 }

// Eight rows of a target column.
struct Sums {
  r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>, r4: vec4<f32>, r5: vec4<f32>, r6: vec4<f32>, r7: vec4<f32>,
}

// The nine taps of a plane, three along x in each row.
struct Taps { top: vec3<f32>, middle: vec3<f32>, bottom: vec3<f32> }

// The source plane that is being read.
struct Place {
  at: u32,         // its quad q of the row above the first
  norm: vec2<f32>, // of this thread's voxels
  row: u32,        // the first of the target's
}

// Voxel `i` of a quad. What is not there, or beyond the binding, is 0; its norm would not be.
fn readVoxel(at: u32, i: u32, norm: vec2<f32>, exists: bool) -> f32 {
  return select(0.0, activate1(voxelOf(source[at][wordOf(i)], i), norm, params.slope), exists);
}

// Whether the volume has the ith row, of which the one above `row` is the first.
fn isRow(row: u32, i: u32) -> bool {
  if (i == 0u) { return row > 0u; }
  return row + i <= params.height;
}

fn readRow(place: Place, i: u32, lane: u32, exists: bool) -> f32 {
  return readVoxel(place.at + i * params.rowQuads, lane % 4u, place.norm, exists & isRow(place.row, i));
}

// What lies left and right of a plane's columns, of this thread's row.
fn readEnds(here: u32, q: u32, norm: vec2<f32>, isThere: bool) -> Ends {
  var ends = Ends();
  if (q > 0u) { ends.left = readVoxel(here - 1u, 3u, norm, isThere); }
  if (q + COLUMNS < params.rowQuads) { ends.right = readVoxel(here + COLUMNS, 0u, norm, isThere); }
  return ends;
}

// The ith column of a row. What lies beside it is in the same vector or, of the first and last of a plane, was read apart.
// Threads to read from are literals, as WGSL demands.
fn columnOf(row: f32, i: u32, left: f32, right: f32) -> Column {
  var column = Column(left, vec4<f32>(), right);
  if (i == 0u) {
    column.here = vec4<f32>(
      subgroupBroadcast(row, 0u), subgroupBroadcast(row, 1u), subgroupBroadcast(row, 2u), subgroupBroadcast(row, 3u));
    column.right = subgroupBroadcast(row, 4u);
  }
  if (i == 1u) {
    column.left = subgroupBroadcast(row, 3u);
    column.here = vec4<f32>(
      subgroupBroadcast(row, 4u), subgroupBroadcast(row, 5u), subgroupBroadcast(row, 6u), subgroupBroadcast(row, 7u));
    if (COLUMNS == 4u) { column.right = subgroupBroadcast(row, 8u); }
  }
  if (i == 2u) {
    if (COLUMNS == 4u) { column.left = subgroupBroadcast(row, 7u); }
    column.here = vec4<f32>(
      subgroupBroadcast(row, 8u), subgroupBroadcast(row, 9u), subgroupBroadcast(row, 10u), subgroupBroadcast(row, 11u));
    column.right = subgroupBroadcast(row, 12u);
  }
  if (i == 3u) {
    column.left = subgroupBroadcast(row, 11u);
    column.here = vec4<f32>(
      subgroupBroadcast(row, 12u), subgroupBroadcast(row, 13u), subgroupBroadcast(row, 14u), subgroupBroadcast(row, 15u));
  }
  return column;
}

fn tapsAt(at: u32) -> vec3<f32> {
  return vec3<f32>(weights[at], weights[at + 8u], weights[at + 16u]);
}

fn alongRows(sum: vec4<f32>, above: Column, here: Column, below: Column, taps: Taps) -> vec4<f32> {
  return alongX(alongX(alongX(sum, above, taps.top), here, taps.middle), below, taps.bottom);
}

// Adds to the ith column what a source plane has for it.
fn addPlane(sums: Sums, rows: Rows, i: u32, taps: Taps) -> Sums {
  var ends = rows.here;
  if (i >= COLUMNS) { ends = rows.behind; }
  let c0 = columnOf(rows.r0, i, subgroupBroadcast(ends.left, 0u), subgroupBroadcast(ends.right, 0u));
  let c1 = columnOf(rows.r1, i, subgroupBroadcast(ends.left, 1u), subgroupBroadcast(ends.right, 1u));
  let c2 = columnOf(rows.r2, i, subgroupBroadcast(ends.left, 2u), subgroupBroadcast(ends.right, 2u));
  let c3 = columnOf(rows.r3, i, subgroupBroadcast(ends.left, 3u), subgroupBroadcast(ends.right, 3u));
  let c4 = columnOf(rows.r4, i, subgroupBroadcast(ends.left, 4u), subgroupBroadcast(ends.right, 4u));
  let c5 = columnOf(rows.r5, i, subgroupBroadcast(ends.left, 5u), subgroupBroadcast(ends.right, 5u));
  let c6 = columnOf(rows.r6, i, subgroupBroadcast(ends.left, 6u), subgroupBroadcast(ends.right, 6u));
  let c7 = columnOf(rows.r7, i, subgroupBroadcast(ends.left, 7u), subgroupBroadcast(ends.right, 7u));
  let c8 = columnOf(rows.r8, i, subgroupBroadcast(ends.left, 8u), subgroupBroadcast(ends.right, 8u));
  let c9 = columnOf(rows.r9, i, subgroupBroadcast(ends.left, 9u), subgroupBroadcast(ends.right, 9u));
  return Sums(
    alongRows(sums.r0, c0, c1, c2, taps), alongRows(sums.r1, c1, c2, c3, taps),
    alongRows(sums.r2, c2, c3, c4, taps), alongRows(sums.r3, c3, c4, c5, taps),
    alongRows(sums.r4, c4, c5, c6, taps), alongRows(sums.r5, c5, c6, c7, taps),
    alongRows(sums.r6, c6, c7, c8, taps), alongRows(sums.r7, c7, c8, c9, taps));
}

// No norm: the value itself, with slope 1. One kernel for both is compiled once.
fn normOf(plane: u32, channel: u32) -> vec2<f32> {
  if (params.normed == 0u) { return vec2<f32>(1.0, 0.0); }
  return scaleShifts[min(plane / params.depth, params.samples - 1u) * params.channels + channel];
}

fn storeQuad(value: vec4<f32>, i: u32, channel: u32, ownBias: f32, plane: u32, row: u32, q: u32) {
  let here = plane + i / COLUMNS;
  let column = q + i % COLUMNS;
  if (here >= params.plane1 || column >= params.rowQuads) { return; }
  var result = value + ownBias;
  let line = (here * params.channelsOut + channel) * params.height + row;
  let at = line * params.rowQuads + column - params.startTarget;
  if (params.add > 0u) { result += toFloat(target_[at]); }
  target_[at] = toQuad(inside(result, column, params.width));
}

// A row of the four columns: what lies side by side, one after the other.
fn store(c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>, channel: u32, ownBias: f32, plane: u32, row: u32, q: u32) {
  if (row >= params.height || channel >= params.channelsOut) { return; }
  storeQuad(c0, 0u, channel, ownBias, plane, row, q);
  storeQuad(c1, 1u, channel, ownBias, plane, row, q);
  storeQuad(c2, 2u, channel, ownBias, plane, row, q);
  storeQuad(c3, 3u, channel, ownBias, plane, row, q);
}

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local.x;
  let across = (params.rowQuads + COLUMNS - 1u) / COLUMNS;
  let q = group.y % across * COLUMNS;
  let y = group.y / across * 8u;
  let plane = params.plane0 + group.z * (4u / COLUMNS * PLANES);
  let threads = 16u / PLANES; // that take different channels of one plane
  let half = lane / threads;
  let channelOut = group.x * 16u + lane % threads; // neighbouring workgroups read the same voxels
  // The voxel of a row that this thread reads lies in this plane, from the first, and this column.
  let behind = lane / (4u * COLUMNS);
  let ownColumn = lane / 4u % COLUMNS;
  let inRow = 4u * (q + ownColumn) + lane % 4u < params.width;
  let onePlane = params.channels * params.height * params.rowQuads;
  let ownQuad = behind * onePlane + ownColumn;
  // It reads the ends of this row: of the volume?
  let isLine = (y + lane > 0u) & (y + lane <= params.height);

  var s0 = Sums();
  var s1 = Sums();
  var s2 = Sums();
  var s3 = Sums();
  for (var channel = 0u; channel < params.channels; channel++) {
    for (var step = 0u; step < 2u + PLANES; step++) {
      // The taps of both planes that this source plane meets.
      let dz = vec2<u32>(step, step + 1u - PLANES);
      let z = vec2<u32>(plane, plane + 1u) % params.depth + dz;
      var inDepth = (z > vec2<u32>(0u)) & (z <= vec2<u32>(params.depth));
      if (PLANES == 2u) { inDepth &= (dz < vec2<u32>(3u)) & (plane + vec2<u32>(0u, 1u) < vec2<u32>(params.plane1)); }
      if (!inDepth.x && (COLUMNS * PLANES == 4u || !inDepth.y)) { continue; }
      let isThere = inDepth.x | ((PLANES == 2u) & inDepth.y);
      let ownTaps = min(select(dz.x, dz.y, half > 0u), 2u) * 9u;
      let w = ((channelOut / 8u * params.channelsIn + params.first + channel) * 27u + ownTaps) * 8u + channelOut % 8u;
      let norm = normOf(plane + (PLANES - 1u) * (step - 1u), channel);
      var ownNorm = norm;
      var normBehind = norm;
      if (COLUMNS == 2u) {
        normBehind = normOf(plane + 1u, channel);
        ownNorm = select(norm, normBehind, behind > 0u);
      }
      var taps = Taps(tapsAt(w), tapsAt(w + 24u), tapsAt(w + 48u));
      if (PLANES == 2u && !select(inDepth.x, inDepth.y, half > 0u)) { taps = Taps(); }
      let line = ((plane + step - 1u) * params.channels + channel) * params.height + y;
      let at = (line - 1u) * params.rowQuads + q - params.startSource;
      let place = Place(at + ownQuad, ownNorm, y);
      let exists = inRow & select(isThere, inDepth.y, behind > 0u);
      var rows: Rows;
      rows.r0 = readRow(place, 0u, lane, exists);
      rows.r1 = readRow(place, 1u, lane, exists);
      rows.r2 = readRow(place, 2u, lane, exists);
      rows.r3 = readRow(place, 3u, lane, exists);
      rows.r4 = readRow(place, 4u, lane, exists);
      rows.r5 = readRow(place, 5u, lane, exists);
      rows.r6 = readRow(place, 6u, lane, exists);
      rows.r7 = readRow(place, 7u, lane, exists);
      rows.r8 = readRow(place, 8u, lane, exists);
      rows.r9 = readRow(place, 9u, lane, exists);
      let end = at + lane * params.rowQuads;
      rows.here = readEnds(end, q, norm, isLine & isThere);
      if (COLUMNS == 2u) { rows.behind = readEnds(end + onePlane, q, normBehind, isLine & inDepth.y); }
      s0 = addPlane(s0, rows, 0u, taps);
      s1 = addPlane(s1, rows, 1u, taps);
      s2 = addPlane(s2, rows, 2u, taps);
      s3 = addPlane(s3, rows, 3u, taps);
    }
  }
  var ownBias = 0.0;
  if (params.biased > 0u) { ownBias = bias[channelOut]; }
  store(s0.r0, s1.r0, s2.r0, s3.r0, channelOut, ownBias, plane + half, y, q);
  store(s0.r1, s1.r1, s2.r1, s3.r1, channelOut, ownBias, plane + half, y + 1u, q);
  store(s0.r2, s1.r2, s2.r2, s3.r2, channelOut, ownBias, plane + half, y + 2u, q);
  store(s0.r3, s1.r3, s2.r3, s3.r3, channelOut, ownBias, plane + half, y + 3u, q);
  store(s0.r4, s1.r4, s2.r4, s3.r4, channelOut, ownBias, plane + half, y + 4u, q);
  store(s0.r5, s1.r5, s2.r5, s3.r5, channelOut, ownBias, plane + half, y + 5u, q);
  store(s0.r6, s1.r6, s2.r6, s3.r6, channelOut, ownBias, plane + half, y + 6u, q);
  store(s0.r7, s1.r7, s2.r7, s3.r7, channelOut, ownBias, plane + half, y + 7u, q);
}
