// Gradient of a 3×3×3 convolution with respect to its weights, for the input channels of one source, cut
// for GPUs: a workgroup owns a block of input by output channels and walks over the voxels of its part of
// the volume, a chunk of planes by a stripe of rows, block by block; the activated source with its halo and
// the output's gradient lie in workgroup memory. One thread: nine (y, x) taps of one input channel and one
// z tap, by four or eight output channels.
// With few input channels LANES threads share a pair of channels: each takes its own columns and sums by
// itself. Partials: [chunk][stripe][lane][out][in][27]; reduce/partials adds them. Each is summed plane by
// plane, and a dispatch that begins inside a chunk goes on from what the one before stored, so cutting a run
// into dispatches does not change a bit.
// include "common/volume.wgsl"
// include "common/nine_taps.wgsl"

const NORM: bool = false;
const INPUTS: u32 = 8u; // input channels of a workgroup
const LANES: u32 = 1u;
const GROUPS: u32 = 4u; // threads along the output channels,
const OUTS: u32 = 4u;   // each with so many: 4 or 8
const QUADS: u32 = 4u;  // a staged block along x,
const LINES: u32 = 2u;  // along y
const SPAN: u32 = 73u;  // quads between staged input channels, chosen against bank conflicts

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32,         // planes [plane0, plane1) of this dispatch
  chunk0: u32, chunkPlanes: u32,    // first chunk of this dispatch, planes in a chunk
  stripes: u32, stripeRows: u32,    // a multiple of LINES
  startSource: u32, startGradient: u32,
  slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> affine: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const threads = LANES * INPUTS * 3u * GROUPS;
const pitch = QUADS + 2u;
const rows = LINES + 2u;
const outputs = OUTS * GROUPS;

var<workgroup> staged: array<vec4<f32>, INPUTS * SPAN>;               // [in][z tap][y][x]
var<workgroup> stagedGradient: array<vec4<f32>, outputs * LINES * QUADS>; // [out][y][x]

// The block at (plane, y, q): zeros outside the sample.
fn stage(local: u32, plane: u32, y: u32, q: u32, in0: u32, out0: u32) {
  let z = plane % params.depth;
  let sample = plane / params.depth;
  for (var i = local; i < INPUTS * 3u * rows * pitch; i += threads) {
    let line = i / pitch;
    let own = line / (3u * rows);
    let dz = line / rows % 3u;
    // What lies before the volume wraps round to large numbers.
    let hereQ = q + i % pitch - 1u;
    let hereY = y + line % rows - 1u;
    let channel = in0 + own;
    var value = vec4<f32>(0.0);
    if (hereQ < params.rowQuads && hereY < params.height && z + dz - 1u < params.depth && channel < params.channels) {
      let row = ((plane + dz - 1u) * params.channels + channel) * params.height + hereY;
      value = toFloat(source[row * params.rowQuads + hereQ - params.startSource]);
      if (NORM) {
        let scaleShift = affine[sample * params.channels + channel];
        value = inside(activate4(value, scaleShift, params.slope), hereQ, params.width);
      }
    }
    staged[own * SPAN + i % (3u * rows * pitch)] = value;
  }
  for (var i = local; i < outputs * LINES * QUADS; i += threads) {
    let hereQ = q + i % QUADS;
    let hereY = y + i / QUADS % LINES;
    let channel = out0 + i / (QUADS * LINES);
    var value = vec4<f32>(0.0);
    if (hereQ < params.rowQuads && hereY < params.height && channel < params.channelsOut) {
      let line = (plane * params.channelsOut + channel) * params.height + hereY;
      value = toFloat(gradient[line * params.rowQuads + hereQ - params.startGradient]);
    }
    stagedGradient[i] = value;
  }
}

// A quad of x with its two neighbours.
struct Row { left: f32, middle: vec4<f32>, right: f32 }

// `at` is the quad to the left.
fn rowAt(at: u32) -> Row {
  return Row(staged[at].w, staged[at + 1u], staged[at + 2u].x);
}

// The three taps along x of one row against a quad of the gradient.
fn along(sum: vec3<f32>, row: Row, d: vec4<f32>) -> vec3<f32> {
  return sum + vec3<f32>(row.left, row.middle.xy) * d.x + row.middle.xyz * d.y
    + row.middle.yzw * d.z + vec3<f32>(row.middle.zw, row.right) * d.w;
}

// Nine taps against a quad of the gradient, `at` in the staged block.
fn add(sum: mat3x3<f32>, above: Row, here: Row, below: Row, at: u32) -> mat3x3<f32> {
  let d = stagedGradient[at];
  return mat3x3<f32>(along(sum[0], above, d), along(sum[1], here, d), along(sum[2], below, d));
}

@compute @workgroup_size(threads)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let own = local / LANES % INPUTS;
  let dz = local / (LANES * INPUTS) % 3u;
  let outs = local / (LANES * INPUTS * 3u) * OUTS; // first of this thread's in the block
  let inBlocks = (params.channels + INPUTS - 1u) / INPUTS;
  let in0 = group.x % inBlocks * INPUTS;
  let out0 = group.x / inBlocks * outputs;
  let stripe = group.y;
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);

  let channel = in0 + own;
  let out = out0 + outs;
  let stride = params.channels * 27u; // from one output channel's partials to the next
  let part = (chunk * params.stripes + stripe) * LANES + lane;
  let at = (part * params.channelsOut + out) * stride + channel * 27u + dz * 9u;
  var sum0 = mat3x3<f32>(); var sum1 = mat3x3<f32>(); var sum2 = mat3x3<f32>(); var sum3 = mat3x3<f32>();
  var sum4 = mat3x3<f32>(); var sum5 = mat3x3<f32>(); var sum6 = mat3x3<f32>(); var sum7 = mat3x3<f32>();
  if (begin > chunk * params.chunkPlanes && channel < params.channels) {
    sum0 = load9(out, at);
    sum1 = load9(out + 1u, at + stride);
    sum2 = load9(out + 2u, at + 2u * stride);
    sum3 = load9(out + 3u, at + 3u * stride);
    if (OUTS == 8u) {
      sum4 = load9(out + 4u, at + 4u * stride);
      sum5 = load9(out + 5u, at + 5u * stride);
      sum6 = load9(out + 6u, at + 6u * stride);
      sum7 = load9(out + 7u, at + 7u * stride);
    }
  }

  let lastRow = min((stripe + 1u) * params.stripeRows, params.height);
  for (var plane = begin; plane < end; plane++) {
    for (var y = stripe * params.stripeRows; y < lastRow; y += LINES) {
      for (var q = 0u; q < params.rowQuads; q += QUADS) {
        workgroupBarrier();
        stage(local, plane, y, q, in0, out0);
        workgroupBarrier();
        for (var column = lane; column < QUADS; column += LANES) {
          let corner = own * SPAN + dz * rows * pitch + column;
          var above = rowAt(corner);
          var here = rowAt(corner + pitch);
          for (var line = 0u; line < LINES; line++) {
            let below = rowAt(corner + (line + 2u) * pitch);
            let d = (outs * LINES + line) * QUADS + column;
            sum0 = add(sum0, above, here, below, d);
            sum1 = add(sum1, above, here, below, d + LINES * QUADS);
            sum2 = add(sum2, above, here, below, d + 2u * LINES * QUADS);
            sum3 = add(sum3, above, here, below, d + 3u * LINES * QUADS);
            if (OUTS == 8u) {
              sum4 = add(sum4, above, here, below, d + 4u * LINES * QUADS);
              sum5 = add(sum5, above, here, below, d + 5u * LINES * QUADS);
              sum6 = add(sum6, above, here, below, d + 6u * LINES * QUADS);
              sum7 = add(sum7, above, here, below, d + 7u * LINES * QUADS);
            }
            above = here;
            here = below;
          }
        }
      }
    }
  }

  if (channel >= params.channels) { return; }
  store9(out, at, sum0);
  store9(out + 1u, at + stride, sum1);
  store9(out + 2u, at + 2u * stride, sum2);
  store9(out + 3u, at + 3u * stride, sum3);
  if (OUTS == 8u) {
    store9(out + 4u, at + 4u * stride, sum4);
    store9(out + 5u, at + 5u * stride, sum5);
    store9(out + 6u, at + 6u * stride, sum6);
    store9(out + 7u, at + 7u * stride, sum7);
  }
}
