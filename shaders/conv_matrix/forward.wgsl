// Convolution with 1 to 3 taps and a stride of 1 or 2 along each axis, over one input or two that stand for their
// concatenation, on matrix units; with dilation a transposed one. An input may be the raw output of an earlier
// convolution: norm and activation are then applied as it is staged, and the zero halo is that of the activated volume.
// Operands are rounded to float16, sums are float32. With weights packed flipped and transposed this is also the gradient
// with respect to the input. Assigns target, or with ADD accumulates into it; with STATISTICS leaves those of what it
// stores, of each subgroup's runs, which lie in one plane.
// A workgroup brings a block of K channels into workgroup memory and multiplies from there, chunk after chunk of
// channels: a run of M voxels by K channels, for each tap from another voxel on, times K channels by N outputs. Each
// subgroup has its own runs, and OUTS times N outputs of them. A block lies within one sample. Of dilated pairs a
// workgroup has both outputs along x, and one along y and z.
// include "common/volume.wgsl"
// include "common/parts.wgsl"
// include "common/matrix_units.wgsl"

const RUN = M;
// include "common/halo_block.wgsl"

const INPUTS: u32 = 1u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const ADD: bool = false;
const STATISTICS: bool = false;
const RAGGED: bool = true;   // whether rows end inside a quad
const OUTS: u32 = 1u;        // tiles of N output channels of a workgroup
const SUBGROUPS: u32 = 4u;   // of a workgroup: a divisor of the block's runs

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  widthOut: u32, heightOut: u32, depthOut: u32, rowQuadsOut: u32,
  channelsA: u32, channelsB: u32, channelsOut: u32,
  plane0: u32, plane1: u32,                   // planes of this dispatch
  bound0: u32, bound1: u32,                   // planes of the source that are bound
  block0: u32,                                // first block of planes of places, PLANES each, within a sample
  startA: u32, startB: u32, startTarget: u32, // quads before each binding
  slopeA: f32, slopeB: f32,
  biased: u32, // 0: without bias
  tiles: u32, startParts: u32, // of the statistics
}

@group(0) @binding(0) var<storage, read> sourceA: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShiftsA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<Quad>;
@group(0) @binding(3) var<storage, read> scaleShiftsB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> operand: array<f16>; // [out tile][chunk][tap][out][in]
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

const threads = SUBGROUPS * SUBGROUP;
const own = RUNS * LINES * PLANES / SUBGROUPS; // runs of a subgroup

const dilations = DILATION_Y * DILATION_Z;
const runQuads = M * DILATION_X / 4u; // of a run, in the target
const sharers = SUBGROUPS / PLANES;   // subgroups whose runs lie in the same plane
const items = SUBGROUPS * N;          // output channels of subgroups, of which a thread has statistics

var<workgroup> results: array<f32, SUBGROUPS * DILATION_X * M * N>; // [subgroup][of a pair][out][x]

fn resultAt(subgroup: u32, out: u32, x: u32) -> u32 {
  return ((subgroup * DILATION_X + x % DILATION_X) * N + out) * M + x / DILATION_X;
}

fn resultOf(subgroup: u32, out: u32, x: u32) -> f32 { return results[resultAt(subgroup, out, x)]; }

// Of voxels: their number, the first of them, and sums of deviations from it and of their squares. As it is one of them, it
// is off their mean by no more than the root of their spread.
struct Part { count: f32, first: f32, sums: vec2<f32> }

// With the first voxels of a subgroup's run; each output channel begins elsewhere, as memory has banks.
fn extended(before: Part, subgroup: u32, out: u32, voxels: u32) -> Part {
  var part = before;
  if (part.count == 0.0) { part.first = resultOf(subgroup, out, 0u); }
  for (var i = 0u; i < 4u * runQuads; i++) {
    let x = (i + out) % (4u * runQuads);
    let deviation = resultOf(subgroup, out, x) - part.first;
    if (x < voxels) { part.sums += vec2<f32>(deviation, deviation * deviation); }
  }
  part.count += f32(voxels);
  return part;
}

fn stage(local: u32, corner: Corner, channel0: u32) {
  let area = params.height * params.rowQuads;
  for (var i = local; i < spots * K; i += threads) {
    let spot = spotOf(i % spots, corner);
    let channel = channel0 + i / spots;
    let second = INPUTS == 2u && channel >= params.channelsA;
    let count = select(params.channelsA, params.channelsB, second);
    let here = channel - select(0u, params.channelsA, second);
    let plane = corner.sample * params.depth + spot.z;
    var value = vec4<f32>(0.0);
    if (!spot.outside && here < count && plane >= params.bound0 && plane < params.bound1) {
      let at = (plane * count + here) * area + spot.y * params.rowQuads + spot.q;
      if (second) {
        value = toFloat(sourceB[at - params.startB]);
        if (NORM_B) { value = activate4(value, scaleShiftsB[corner.sample * count + here], params.slopeB); }
      } else {
        value = toFloat(sourceA[at - params.startA]);
        if (NORM_A) { value = activate4(value, scaleShiftsA[corner.sample * count + here], params.slopeA); }
      }
      if (RAGGED && (NORM_A || NORM_B)) { value = inside(value, spot.q, params.width); }
    }
    put(spot, i / spots, value);
  }
}

// Gives back what is stored.
fn store(value: vec4<f32>, plane: u32, channel: u32, y: u32, q: u32) -> vec4<f32> {
  if (channel >= params.channelsOut || y >= params.heightOut || q >= params.rowQuadsOut) { return value; }
  var result = value;
  if (params.biased > 0u) { result += bias[channel]; }
  if (RAGGED) { result = inside(result, q, params.widthOut); }
  let line = (plane * params.channelsOut + channel) * params.heightOut + y;
  let at = line * params.rowQuadsOut + q - params.startTarget;
  if (ADD) { result += toFloat(target_[at]); }
  target_[at] = toQuad(result);
  return asStored(result);
}

@compute @workgroup_size(threads)
fn main(
  @builtin(local_invocation_index) local: u32,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
) {
  let across = (params.rowQuadsOut + RUNS * runQuads - 1u) / (RUNS * runQuads);
  let deep = (params.depthOut + PLANES * DILATION_Z - 1u) / (PLANES * DILATION_Z);
  let block = params.block0 + group.z;
  let corner = Corner(
    group.x % across * (RUNS * M / 4u), group.x / across * LINES, block % deep * PLANES, block / deep);
  let channels = params.channelsA + params.channelsB;
  let chunks = (channels + K - 1u) / K;
  let tile0 = group.y / dilations * OUTS;
  let ofPair = vec3<u32>(0u, group.y % DILATION_Y, group.y / DILATION_Y % DILATION_Z);
  let lastTile = (params.channelsOut - 1u) / N;

  var sums: array<array<Result, OUTS * DILATION_X>, own>;
  for (var chunk = 0u; chunk < chunks; chunk++) {
    workgroupBarrier();
    stage(local, corner, chunk * K);
    workgroupBarrier();
    for (var tap = 0u; tap < taps; tap++) {
      let met = metBy(tap);
      if (any(met.yz != ofPair.yz)) { continue; }
      var weights: array<Right, OUTS>;
      for (var i = 0u; i < OUTS; i++) {
        let tile = min(tile0 + i, lastTile); // sums beyond the last tile are not stored
        let at = ((tile * chunks + chunk) * taps + tap) * (K * N);
        weights[i] = operandRight(at, K);
      }
      for (var j = 0u; j < own; j++) {
        let run = subgroup * own + j;
        let at = seenAt(run % RUNS, run / RUNS % LINES, run / (RUNS * LINES), tap);
        let voxels = stagedLeft(at, STRIDE_X * PITCH);
        for (var i = 0u; i < OUTS * DILATION_X; i++) {
          if (i % DILATION_X == met.x) { sums[j][i] = multiplyAdd(voxels, weights[i / DILATION_X], sums[j][i]); }
        }
      }
    }
  }

  for (var i = 0u; i < OUTS; i++) {
    var found = array<Part, (items + threads - 1u) / threads>();
    for (var j = 0u; j < own; j++) {
      workgroupBarrier();
      for (var x = 0u; x < DILATION_X; x++) {
        layOut((subgroup * DILATION_X + x) * (M * N), sums[j][i * DILATION_X + x]);
      }
      workgroupBarrier();
      for (var at = local; at < SUBGROUPS * N * runQuads; at += threads) {
        let by = at / (N * runQuads);
        let run = by * own + j;
        let z = (corner.z + run / (RUNS * LINES)) * DILATION_Z + ofPair.z;
        let plane = corner.sample * params.depthOut + z;
        if (z >= params.depthOut || plane < params.plane0 || plane >= params.plane1) { continue; }
        let out = at / runQuads % N;
        let x = at % runQuads * 4u;
        let value = vec4<f32>(
          resultOf(by, out, x), resultOf(by, out, x + 1u), resultOf(by, out, x + 2u), resultOf(by, out, x + 3u));
        let y = (corner.y + run / RUNS % LINES) * DILATION_Y + ofPair.y;
        let q = corner.q * DILATION_X + run % RUNS * runQuads + at % runQuads;
        let stored = store(value, plane, (tile0 + i) * N + out, y, q);
        if (STATISTICS) {
          for (var c = 0u; c < 4u; c++) { results[resultAt(by, out, x + c)] = stored[c]; }
        }
      }
      if (STATISTICS) {
        workgroupBarrier();
        for (var at = local; at < items; at += threads) {
          let run = at / N * own + j;
          let y = (corner.y + run / RUNS % LINES) * DILATION_Y + ofPair.y;
          let x = 4u * (corner.q * DILATION_X + run % RUNS * runQuads);
          let voxels = select(0u, min(max(params.widthOut, x) - x, 4u * runQuads), y < params.heightOut);
          found[at / threads] = extended(found[at / threads], at / N, at % N, voxels);
        }
      }
    }
    if (STATISTICS) {
      for (var at = local; at < items; at += threads) {
        let by = at / N;
        let z = (corner.z + by / sharers) * DILATION_Z + ofPair.z;
        let plane = corner.sample * params.depthOut + z;
        if (z >= params.depthOut || plane < params.plane0 || plane >= params.plane1) { continue; }
        let part = found[at / threads];
        let tile = (group.x * DILATION_Y + ofPair.y) * sharers + by % sharers;
        let mean = part.sums.x / max(part.count, 1.0);
        let spread = max(part.sums.y - mean * part.sums.x, 0.0);
        let whole = select(0.0, part.first + mean, part.count > 0.0);
        keepPart(plane, (tile0 + i) * N + at % N, tile, part.count, whole, spread);
      }
    }
  }
}
