// Gradient of a convolution with 1 to 3 taps and a stride of 1 or 2 along each axis with respect to its weights, for the
// input channels of one source, on matrix units. Operands are rounded to float16, sums are float32. Of a transposed
// convolution, source and gradient change places.
// A workgroup owns N input channels by OUTS times M output channels and a part of the volume, a chunk of planes by a
// stripe of rows. It brings one block after the other into workgroup memory, of the activated source with its halo and
// of the output's gradient, and multiplies M output channels by K voxels with, for each tap, K voxels by N input
// channels. Each subgroup has its own taps and, where these are few, its own runs of voxels. Assigns partials
// [chunk][stripe][lane][out][in][tap]; reduce/partials adds them. A dispatch has whole chunks, of all blocks of channels
// or some, so cutting a run into dispatches does not change a bit.
// include "common/volume.wgsl"
// include "common/matrix_units.wgsl"

const RUN = K;
// include "common/halo_block.wgsl"

const NORM: bool = false;          // of the source
const NORM_GRADIENT: bool = false; // of what stands for the gradient
const RAGGED: bool = true;         // whether rows end inside a quad
const OUTS: u32 = 1u;              // tiles of M output channels of a workgroup
const SHARES: u32 = 9u;            // subgroups that share the taps: a divisor of these
const LANES: u32 = 1u;             // subgroups of the same taps, which share the runs: a divisor of these

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  widthOut: u32, heightOut: u32, depthOut: u32, rowQuadsOut: u32,
  channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32,         // planes [plane0, plane1) of this dispatch
  chunk0: u32, chunkPlanes: u32,    // first chunk of this dispatch, planes in a chunk
  stripes: u32, stripeRows: u32,    // a multiple of LINES
  block0: u32,                      // first block of channels of this dispatch
  startSource: u32, startGradient: u32,
  slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const subgroups = SHARES * LANES;
const threads = subgroups * SUBGROUP;
const own = taps / SHARES; // taps of a subgroup
const outputs = OUTS * M;
const cells = RUNS * K * LINES * PLANES; // voxels of a block
const span = cells + 8u;                 // halves from one output channel to the next

var<workgroup> operand: array<f16, outputs * span>;    // [out][z][y][x]
var<workgroup> results: array<f32, subgroups * M * N>; // [subgroup][in][out]

fn stage(local: u32, corner: Corner, in0: u32, count: u32) {
  let area = params.height * params.rowQuads;
  let last = (corner.z + count - 1u) * STRIDE_Z + KERNEL_Z / 2u; // planes behind it may not be bound
  for (var i = local; i < spots * N; i += threads) {
    let spot = spotOf(i % spots, corner);
    let channel = in0 + i / spots;
    var value = vec4<f32>(0.0);
    if (!spot.outside && spot.z <= last && channel < params.channels) {
      let plane = corner.sample * params.depth + spot.z;
      let at = (plane * params.channels + channel) * area + spot.y * params.rowQuads + spot.q;
      value = toFloat(source[at - params.startSource]);
      if (NORM) {
        value = activate4(value, scaleShifts[corner.sample * params.channels + channel], params.slope);
        if (RAGGED) { value = inside(value, spot.q, params.width); }
      }
    }
    put(spot, i / spots, value);
  }
}

// The same of the gradient, without a halo: rows below `lastRow` and so many planes.
fn stageGradient(local: u32, corner: Corner, out0: u32, lastRow: u32, count: u32) {
  let area = params.heightOut * params.rowQuadsOut;
  for (var i = local; i < outputs * cells / 4u; i += threads) {
    let q = corner.q + i % (RUNS * K / 4u);
    let y = corner.y + i / (RUNS * K / 4u) % LINES;
    let z = i / (RUNS * K * LINES / 4u) % PLANES;
    let channel = out0 + i / (cells / 4u);
    var value = vec4<f32>(0.0);
    if (q < params.rowQuadsOut && y < lastRow && z < count && channel < params.channelsOut) {
      let plane = corner.sample * params.depthOut + corner.z + z;
      let at = (plane * params.channelsOut + channel) * area + y * params.rowQuadsOut + q;
      value = toFloat(gradient[at - params.startGradient]);
      if (NORM_GRADIENT) {
        value = activate4(value, scaleShifts[corner.sample * params.channelsOut + channel], params.slope);
        if (RAGGED) { value = inside(value, q, params.widthOut); }
      }
    }
    let halves = toHalves(value, !OVERFLOWS);
    let to = i / (cells / 4u) * span + i % (cells / 4u) * 4u;
    for (var j = 0u; j < 4u; j++) { operand[to + j] = halves[j]; }
  }
}

@compute @workgroup_size(threads)
fn main(
  @builtin(local_invocation_index) local: u32,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
) {
  let inTiles = (params.channels + N - 1u) / N;
  let block = params.block0 + group.x;
  let in0 = block % inTiles * N;
  let out0 = block / inTiles * outputs;
  let stripe = group.y;
  let chunk = params.chunk0 + group.z;
  let begin = chunk * params.chunkPlanes;
  let end = min(begin + params.chunkPlanes, params.plane1);
  let share = subgroup % SHARES;
  let lane = subgroup / SHARES;
  let lastRow = min((stripe + 1u) * params.stripeRows, params.heightOut);

  var sums: array<array<Result, OUTS>, own>;
  for (var plane = begin; plane < end;) {
    let z = plane % params.depthOut;
    let count = min(PLANES, min(end - plane, params.depthOut - z)); // a block lies within one sample
    for (var y = stripe * params.stripeRows; y < lastRow; y += LINES) {
      for (var q = 0u; q < params.rowQuadsOut; q += RUNS * K / 4u) {
        let corner = Corner(q, y, z, plane / params.depthOut);
        workgroupBarrier();
        stage(local, corner, in0, count);
        stageGradient(local, corner, out0, lastRow, count);
        workgroupBarrier();
        for (var first = 0u; first < RUNS * LINES * PLANES; first += LANES) {
          let run = first + lane;
          var gradients: array<Left, OUTS>;
          for (var i = 0u; i < OUTS; i++) { gradients[i] = operandLeft(i * M * span + run * K, span); }
          for (var j = 0u; j < own; j++) {
            let at = seenAt(run % RUNS, run / RUNS % LINES, run / (RUNS * LINES), share * own + j);
            let voxels = stagedRight(at, STRIDE_X * PITCH);
            for (var i = 0u; i < OUTS; i++) { sums[j][i] = multiplyAdd(gradients[i], voxels, sums[j][i]); }
          }
        }
      }
    }
    plane += count;
  }

  let part = (chunk * params.stripes + stripe) * LANES;
  for (var j = 0u; j < own; j++) {
    for (var i = 0u; i < OUTS; i++) {
      workgroupBarrier();
      layOut(subgroup * (M * N), sums[j][i]);
      workgroupBarrier();
      for (var at = local; at < subgroups * M * N; at += threads) {
        let channel = in0 + at / M % N;
        let out = out0 + i * M + at % M;
        let by = at / (M * N);
        let tap = by % SHARES * own + j;
        if (channel < params.channels && out < params.channelsOut) {
          let row = (part + by / SHARES) * params.channelsOut + out;
          partials[(row * params.channels + channel) * taps + tap] = results[at];
        }
      }
    }
  }
}
