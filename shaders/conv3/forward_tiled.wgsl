// 3×3×3 convolution as conv3/forward computes it, cut for GPUs: a workgroup brings a block of one input channel,
// already activated and with its halo, into workgroup memory, and sums from there, channel after channel. Weights,
// the same for all threads, are read where they are. A block lies within one sample. Assigns target, or with ADD
// accumulates into it; with STATISTICS leaves those of what it stores.
// One thread: two tiles of four voxels along x by eight output channels, either two rows of the same
// channels (ROWS 2) or one row of sixteen channels (ROWS 1).
// include "common/volume.wgsl"
// include "common/eight_parts.wgsl"

const INPUTS: u32 = 1u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const ADD: bool = false;
const RAGGED: bool = true; // whether rows end inside a quad
const QUADS: u32 = 4u;     // a workgroup's threads along x,
const LINES: u32 = 4u;     // along y
const PLANES: u32 = 4u;    // and along z
const ROWS: u32 = 2u;      // rows of y of one thread
const PITCH: u32 = 6u;     // quads between staged rows: QUADS + 2 or more, chosen against bank conflicts

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channelsA: u32, channelsB: u32, channelsOut: u32,
  plane0: u32, plane1: u32,                   // planes of this dispatch
  readable: u32,                              // first plane behind those bound
  block0: u32,                                // first block of planes, of ceil(depth / PLANES) a sample
  startA: u32, startB: u32, startTarget: u32, // quads before each binding
  slopeA: f32, slopeB: f32,
  biased: u32, // 0: without bias
  tiles: u32, startParts: u32, // of the statistics
}

@group(0) @binding(0) var<storage, read> sourceA: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShiftsA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<Quad>;
@group(0) @binding(3) var<storage, read> scaleShiftsB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // [out block][in][27][8]
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

const threads = QUADS * LINES * PLANES;
const columns = QUADS + 2u;
const rows = ROWS * LINES + 2u;
const planes = PLANES + 2u;
const spots = columns * rows;    // staged quads of a plane, no more than there are threads
const layers = threads / spots;  // planes that are staged side by side
const blocks = 2u / ROWS;        // of eight output channels
const blockTaps = 27u * 2u;      // quads of weights of such a block and an input channel

var<workgroup> staged: array<vec4<f32>, planes * rows * PITCH>; // [z][y][x]; zero where nothing is staged

// What a thread stages of every channel: the same quad of every `layers`th plane of the block.
struct Share {
  q: u32, inPlane: u32,   // the quad in its row, and in its plane
  begin: u32, end: u32,   // planes of the block
  at: u32,                // where the quad stands in a staged plane
}

fn stage(share: Share, channel: u32, sample: u32, plane: u32) {
  let second = INPUTS == 2u && channel >= params.channelsA;
  let own = channel - select(0u, params.channelsA, second);
  let count = select(params.channelsA, params.channelsB, second);
  let slope = select(params.slopeA, params.slopeB, second);
  var scaleShift = vec2<f32>(1.0, 0.0);
  if (NORM_A && !second) { scaleShift = scaleShiftsA[sample * count + own]; }
  if (NORM_B && second) { scaleShift = scaleShiftsB[sample * count + own]; }
  let area = params.height * params.rowQuads;
  let start = share.inPlane + own * area - select(params.startA, params.startB, second);
  var at = start + (plane + share.begin) * count * area;
  var to = share.at + share.begin * (rows * PITCH);
  for (var layer = share.begin; layer < share.end; layer += layers) {
    var value: vec4<f32>;
    if (second) { value = toFloat(sourceB[at]); } else { value = toFloat(sourceA[at]); }
    if (select(NORM_A, NORM_B, second)) {
      value = activate4(value, scaleShift, slope);
      if (RAGGED) { value = inside(value, share.q, params.width); }
    }
    staged[to] = value;
    at += layers * count * area;
    to += layers * rows * PITCH;
  }
}

// A quad with the voxels before and after it.
struct Row { before: vec4<f32>, here: vec4<f32>, after: vec4<f32> }

fn rowOf(left: f32, here: vec4<f32>, right: f32) -> Row {
  return Row(vec4<f32>(left, here.xyz), here, vec4<f32>(here.yzw, right));
}

fn outer(voxels: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(voxels * w.x, voxels * w.y, voxels * w.z, voxels * w.w);
}

// Gives back what is stored.
fn storeQuad(voxels: vec4<f32>, plane: u32, channel: u32, y: u32, q: u32) -> vec4<f32> {
  if (channel >= params.channelsOut) { return voxels; }
  var value = voxels;
  if (params.biased > 0u) { value += bias[channel]; }
  if (RAGGED) { value = inside(value, q, params.width); }
  let line = (plane * params.channelsOut + channel) * params.height + y;
  let at = line * params.rowQuads + q - params.startTarget;
  if (ADD) { value += toFloat(target_[at]); }
  target_[at] = toQuad(value);
  return asStored(value);
}

fn store(voxels: mat4x4<f32>, plane: u32, channel: u32, y: u32, q: u32) -> mat4x4<f32> {
  if (y >= params.height || q >= params.rowQuads) { return voxels; }
  return mat4x4<f32>(
    storeQuad(voxels[0], plane, channel, y, q), storeQuad(voxels[1], plane, channel + 1u, y, q),
    storeQuad(voxels[2], plane, channel + 2u, y, q), storeQuad(voxels[3], plane, channel + 3u, y, q));
}

@compute @workgroup_size(threads)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let across = (params.rowQuads + QUADS - 1u) / QUADS;
  let blockQ = group.x % across * QUADS;
  let blockY = group.x / across * (ROWS * LINES);
  let deep = (params.depth + PLANES - 1u) / PLANES;
  let sample = (params.block0 + group.z) / deep;
  let blockZ = (params.block0 + group.z) % deep * PLANES;
  let channels = params.channelsA + params.channelsB;
  let block = group.y * blocks;
  let last = (params.channelsOut - 1u) / 8u;
  let blockB = min(block + blocks - 1u, last); // sums beyond the last block are not stored

  // What lies before the volume wraps round to large numbers.
  let haloPlane = sample * params.depth + blockZ - 1u;
  let column = local % columns;
  let line = local / columns % rows;
  var share = Share(blockQ + column - 1u, 0u, local / spots, planes, line * PITCH + column);
  let y = blockY + line - 1u;
  share.inPlane = y * params.rowQuads + share.q;
  // Beyond the sample and the volume nothing is staged: workgroup memory begins with zeros.
  if (blockZ == 0u && share.begin == 0u) { share.begin = layers; }
  share.end = min(share.end, min(params.depth + 1u - blockZ, params.readable - haloPlane));
  if (local >= layers * spots || share.q >= params.rowQuads || y >= params.height) { share.end = 0u; }

  let ownQ = local % QUADS;
  let ownY = local / QUADS % LINES * ROWS;
  let ownPlane = local / (QUADS * LINES);
  let corner = (ownPlane * rows + ownY) * PITCH + ownQ;
  var low = mat4x4<f32>();
  var high = mat4x4<f32>();
  var lowB = mat4x4<f32>(); // of the second tile
  var highB = mat4x4<f32>();
  for (var channel = 0u; channel < channels; channel++) {
    let tapsA = (block * channels + channel) * blockTaps;
    let tapsB = (blockB * channels + channel) * blockTaps;
    workgroupBarrier();
    stage(share, channel, sample, haloPlane);
    workgroupBarrier();
    for (var dz = 0u; dz < 3u; dz++) {
      let first = corner + dz * (rows * PITCH);
      var other = rowOf(staged[first].w, staged[first + 1u], staged[first + 2u].x); // of the second tile
      for (var dy = 0u; dy < 3u; dy++) {
        var row = other;
        let at = first + (dy + ROWS - 1u) * PITCH;
        other = rowOf(staged[at].w, staged[at + 1u], staged[at + 2u].x);
        if (ROWS == 1u) { row = other; }
        let a = tapsA + (dz * 3u + dy) * 6u;
        let b = tapsB + (dz * 3u + dy) * 6u;
        low += outer(row.before, weights[a]);
        high += outer(row.before, weights[a + 1u]);
        lowB += outer(other.before, weights[b]);
        highB += outer(other.before, weights[b + 1u]);
        low += outer(row.here, weights[a + 2u]);
        high += outer(row.here, weights[a + 3u]);
        lowB += outer(other.here, weights[b + 2u]);
        highB += outer(other.here, weights[b + 3u]);
        low += outer(row.after, weights[a + 4u]);
        high += outer(row.after, weights[a + 5u]);
        lowB += outer(other.after, weights[b + 4u]);
        highB += outer(other.after, weights[b + 5u]);
      }
    }
  }

  let plane = haloPlane + 1u + ownPlane;
  let exists = blockZ + ownPlane < params.depth && plane >= params.plane0 && plane < params.plane1;
  let channel = block * 8u;
  let q = blockQ + ownQ;
  let lineA = blockY + ownY;
  let lineB = lineA + ROWS - 1u;
  let channelB = channel + (blocks - 1u) * 8u;
  if (exists) {
    low = store(low, plane, channel, lineA, q);
    high = store(high, plane, channel + 4u, lineA, q);
    lowB = store(lowB, plane, channelB, lineB, q);
    highB = store(highB, plane, channelB + 4u, lineB, q);
  }
  if (STATISTICS) {
    // Each plane of the block by itself; with two rows of the same channels, each of these.
    let wide = min(4u * QUADS, params.width - 4u * blockQ);
    let tall = min(ROWS * LINES, params.height - blockY);
    let number = group.x * ROWS;
    let tile = Tile(plane, channel, number, f32(wide * ((tall + ROWS - 1u) / ROWS)), exists);
    keepEight(local, QUADS * LINES, tile, low, high, validOf(q, params.width, lineA < params.height));
    let tileB = Tile(plane, channelB, number + ROWS - 1u, f32(wide * (tall / ROWS)), exists);
    keepEight(local, QUADS * LINES, tileB, lowB, highB, validOf(q, params.width, lineB < params.height));
  }
}
