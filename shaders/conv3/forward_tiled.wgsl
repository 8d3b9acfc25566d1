// 3×3×3 convolution as conv3/forward computes it, cut for GPUs: a workgroup brings a block of the source,
// already activated and with its halo, into workgroup memory, a few input channels at a time, together with
// the weights of these channels, and sums from there. Assigns target.
// One thread: two tiles of four voxels along x by eight output channels, either two rows of the same
// channels (ROWS 2) or one row of sixteen channels (ROWS 1).
// include "common/volume.wgsl"

const INPUTS: u32 = 1u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const QUADS: u32 = 4u;    // a workgroup's threads along x,
const LINES: u32 = 4u;    // along y
const PLANES: u32 = 4u;   // and along z
const ROWS: u32 = 2u;     // rows of y of one thread
const CHANNELS: u32 = 1u; // input channels that are staged at a time
const PITCH: u32 = 6u;    // quads between staged rows: QUADS + 2 or more, chosen against bank conflicts

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channelsA: u32, channelsB: u32, channelsOut: u32,
  plane0: u32, plane1: u32,                   // planes of this dispatch
  readable: u32,                              // first plane behind those bound
  startA: u32, startB: u32, startTarget: u32, // quads before each binding
  slopeA: f32, slopeB: f32,
  biased: u32, // 0: without bias
}

@group(0) @binding(0) var<storage, read> sourceA: array<Quad>;
@group(0) @binding(1) var<storage, read> affineA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<Quad>;
@group(0) @binding(3) var<storage, read> affineB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // [out block][in][27][8]
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(7) var<uniform> params: Params;

const threads = QUADS * LINES * PLANES;
const rows = ROWS * LINES + 2u;
const planes = PLANES + 2u;
const blocks = 2u / ROWS;        // of eight output channels
const beside = 2u * (blocks - 1u); // quads of taps between the first tile's and the second's

var<workgroup> staged: array<vec4<f32>, CHANNELS * planes * rows * PITCH>; // [channel][z][y][x]
var<workgroup> taps: array<vec4<f32>, CHANNELS * 27u * blocks * 2u>;       // [channel][27][out]

// A quad of the source, activated.
fn activated(channel: u32, plane: u32, y: u32, q: u32) -> vec4<f32> {
  let sample = plane / params.depth;
  if (INPUTS == 1u || channel < params.channelsA) {
    let line = (plane * params.channelsA + channel) * params.height + y;
    let value = toFloat(sourceA[line * params.rowQuads + q - params.startA]);
    if (!NORM_A) { return value; }
    return inside(activate4(value, affineA[sample * params.channelsA + channel], params.slopeA), q, params.width);
  }
  let own = channel - params.channelsA;
  let line = (plane * params.channelsB + own) * params.height + y;
  let value = toFloat(sourceB[line * params.rowQuads + q - params.startB]);
  if (!NORM_B) { return value; }
  return inside(activate4(value, affineB[sample * params.channelsB + own], params.slopeB), q, params.width);
}

// Channels [first, first + count) of the block at (plane, y, q), a halo of one around it; zeros outside.
fn stage(local: u32, first: u32, count: u32, plane: u32, y: u32, q: u32) {
  for (var i = local; i < count * planes * rows * (QUADS + 2u); i += threads) {
    let column = i % (QUADS + 2u);
    let line = i / (QUADS + 2u);
    // What lies before the volume wraps round to large numbers.
    let hereQ = q + column - 1u;
    let hereY = y + line % rows - 1u;
    let herePlane = plane + line / rows % planes - 1u;
    var value = vec4<f32>(0.0);
    if (hereQ < params.rowQuads && hereY < params.height && herePlane < params.readable) {
      value = activated(first + line / (rows * planes), herePlane, hereY, hereQ);
    }
    staged[line * PITCH + column] = value;
  }
}

fn stageTaps(local: u32, first: u32, count: u32, block: u32) {
  let channels = params.channelsA + params.channelsB;
  let last = (params.channelsOut - 1u) / 8u;
  for (var i = local; i < count * 27u * blocks * 2u; i += threads) {
    let half = i % 2u;
    let own = min(block + i / 2u % blocks, last); // sums beyond the last block are not stored
    taps[i] = weights[((own * channels + first) * 27u + i / (2u * blocks)) * 2u + half];
  }
}

// A quad with the voxels before and after it.
struct Row { before: vec4<f32>, here: vec4<f32>, after: vec4<f32> }

// `at` is the quad to the left.
fn rowAt(at: u32) -> Row {
  let here = staged[at + 1u];
  return Row(vec4<f32>(staged[at].w, here.xyz), here, vec4<f32>(here.yzw, staged[at + 2u].x));
}

fn outer(voxels: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(voxels * w.x, voxels * w.y, voxels * w.z, voxels * w.w);
}

fn storeQuad(voxels: vec4<f32>, plane: u32, channel: u32, y: u32, q: u32) {
  if (channel >= params.channelsOut) { return; }
  var value = voxels;
  if (params.biased > 0u) { value += bias[channel]; }
  let line = (plane * params.channelsOut + channel) * params.height + y;
  target_[line * params.rowQuads + q - params.startTarget] = toQuad(inside(value, q, params.width));
}

fn store(low: mat4x4<f32>, high: mat4x4<f32>, plane: u32, channel: u32, y: u32, q: u32) {
  if (plane >= params.plane1 || y >= params.height || q >= params.rowQuads) { return; }
  storeQuad(low[0], plane, channel, y, q);
  storeQuad(low[1], plane, channel + 1u, y, q);
  storeQuad(low[2], plane, channel + 2u, y, q);
  storeQuad(low[3], plane, channel + 3u, y, q);
  storeQuad(high[0], plane, channel + 4u, y, q);
  storeQuad(high[1], plane, channel + 5u, y, q);
  storeQuad(high[2], plane, channel + 6u, y, q);
  storeQuad(high[3], plane, channel + 7u, y, q);
}

@compute @workgroup_size(threads)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let across = (params.rowQuads + QUADS - 1u) / QUADS;
  let blockQ = group.x % across * QUADS;
  let blockY = group.x / across * (ROWS * LINES);
  let blockPlane = params.plane0 + group.z * PLANES;
  let block = group.y * blocks;
  let ownQ = local % QUADS;
  let ownY = local / QUADS % LINES * ROWS;
  let ownPlane = local / (QUADS * LINES);
  let z = (blockPlane + ownPlane) % params.depth;
  let channels = params.channelsA + params.channelsB;

  var low = mat4x4<f32>();
  var high = mat4x4<f32>();
  var low2 = mat4x4<f32>(); // of the second tile
  var high2 = mat4x4<f32>();
  for (var first = 0u; first < channels; first += CHANNELS) {
    let count = min(CHANNELS, channels - first);
    workgroupBarrier();
    stage(local, first, count, blockPlane, blockY, blockQ);
    stageTaps(local, first, count, block);
    workgroupBarrier();
    for (var i = 0u; i < count * 3u; i++) {
      let dz = i % 3u;
      if (z + dz == 0u || z + dz > params.depth) { continue; } // there may lie another sample
      let at = ((i / 3u * planes + ownPlane + dz) * rows + ownY) * PITCH + ownQ;
      var other = rowAt(at); // of the second tile
      for (var dy = 0u; dy < 3u; dy++) {
        var row = other;
        other = rowAt(at + (dy + ROWS - 1u) * PITCH);
        if (ROWS == 1u) { row = other; }
        let w = (i * 3u + dy) * 6u * blocks;
        low += outer(row.before, taps[w]);
        high += outer(row.before, taps[w + 1u]);
        low2 += outer(other.before, taps[w + beside]);
        high2 += outer(other.before, taps[w + beside + 1u]);
        low += outer(row.here, taps[w + 2u * blocks]);
        high += outer(row.here, taps[w + 2u * blocks + 1u]);
        low2 += outer(other.here, taps[w + 2u * blocks + beside]);
        high2 += outer(other.here, taps[w + 2u * blocks + beside + 1u]);
        low += outer(row.after, taps[w + 4u * blocks]);
        high += outer(row.after, taps[w + 4u * blocks + 1u]);
        low2 += outer(other.after, taps[w + 4u * blocks + beside]);
        high2 += outer(other.after, taps[w + 4u * blocks + beside + 1u]);
      }
    }
  }

  let plane = blockPlane + ownPlane;
  let channel = block * 8u;
  store(low, high, plane, channel, blockY + ownY, blockQ + ownQ);
  if (ROWS == 2u) {
    store(low2, high2, plane, channel, blockY + ownY + 1u, blockQ + ownQ);
  } else {
    store(low2, high2, plane, channel + 8u, blockY + ownY, blockQ + ownQ);
  }
}
