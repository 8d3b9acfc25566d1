// Gradient of a 3×3×3 convolution with respect to its weights, for the input channels of one source, cut
// for GPUs: a workgroup owns a block of input by output channels and a part of the volume, a chunk of planes by a
// stripe of rows. It walks along z through one column of blocks after the other; three planes of the activated
// source with its halo, and one of the output's gradient, lie in workgroup memory. One thread: nine (y, x) taps of
// one input channel and one z tap, by four or eight output channels.
// With few input channels LANES threads share a pair of channels: each takes its own columns and sums by
// itself. Assigns partials [chunk][stripe][lane][out][in][27]; reduce/partials adds them. A dispatch has whole
// chunks, of all blocks of channels or some, so cutting a run into dispatches does not change a bit.
// include "common/volume.wgsl"
// include "common/nine_taps.wgsl"

const NORM: bool = false;
const RAGGED: bool = true; // whether rows end inside a quad
const INPUTS: u32 = 8u; // input channels of a workgroup
const LANES: u32 = 1u;
const GROUPS: u32 = 4u; // threads along the output channels,
const OUTS: u32 = 4u;   // each with so many: 4 or 8
const QUADS: u32 = 4u;  // a staged block along x,
const LINES: u32 = 2u;  // along y
const SPAN: u32 = 25u;  // quads between staged input channels, chosen against bank conflicts

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channels: u32, channelsOut: u32,
  plane0: u32, plane1: u32,         // planes [plane0, plane1) of this dispatch
  readable: u32,                    // first plane of the source behind those bound
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

const threads = LANES * INPUTS * 3u * GROUPS;
const columns = QUADS + 2u;
const spots = (LINES + 2u) * columns; // staged quads of one channel of the source, no more than there are threads
const cells = LINES * QUADS;          // the same of the gradient
const outputs = OUTS * GROUPS;

var<workgroup> staged: array<vec4<f32>, 3u * INPUTS * SPAN>;   // [plane modulo 3][in][y][x]
var<workgroup> stagedGradient: array<vec4<f32>, outputs * cells>; // [out][y][x]

// One plane of the source from (y, q), zeros outside: a thread brings the same quad of several channels.
fn stage(local: u32, plane: u32, y: u32, q: u32, in0: u32, slot: u32) {
  let abreast = threads / spots;
  let spot = local % spots;
  // What lies before the volume wraps round to large numbers.
  let hereQ = q + spot % columns - 1u;
  let hereY = y + spot / columns - 1u;
  let outside = hereQ >= params.rowQuads || hereY >= params.height || plane >= params.readable;
  let area = params.height * params.rowQuads;
  let inPlane = hereY * params.rowQuads + hereQ - params.startSource;
  let entry0 = plane / params.depth * params.channels;
  var at = inPlane + (plane * params.channels + in0 + local / spots) * area;
  for (var own = local / spots; own < INPUTS; own += abreast) {
    var value = vec4<f32>(0.0);
    if (!outside && in0 + own < params.channels) {
      value = toFloat(source[at]);
      if (NORM) {
        value = activate4(value, scaleShifts[entry0 + in0 + own], params.slope);
        if (RAGGED) { value = inside(value, hereQ, params.width); }
      }
    }
    if (local < abreast * spots) { staged[(slot * INPUTS + own) * SPAN + spot] = value; }
    at += abreast * area;
  }
}

// The same of the gradient, without a halo.
fn stageGradient(local: u32, plane: u32, y: u32, q: u32, out0: u32) {
  let hereQ = q + local % QUADS;
  let hereY = y + local / QUADS % LINES;
  let outside = hereQ >= params.rowQuads || hereY >= params.height;
  let area = params.height * params.rowQuads;
  let inPlane = hereY * params.rowQuads + hereQ - params.startGradient;
  var at = inPlane + (plane * params.channelsOut + out0 + local / cells) * area;
  for (var own = local / cells; own < outputs; own += threads / cells) {
    var value = vec4<f32>(0.0);
    if (!outside && out0 + own < params.channelsOut) { value = toFloat(gradient[at]); }
    stagedGradient[own * cells + local % cells] = value;
    at += threads / cells * area;
  }
}

// A quad of x with its two neighbours.
struct Row { left: f32, middle: vec4<f32>, right: f32 }

// The three taps along x of one row against a quad of the gradient.
fn along(sum: vec3<f32>, row: Row, d: vec4<f32>) -> vec3<f32> {
  return sum + vec3<f32>(row.left, row.middle.xy) * d.x + row.middle.xyz * d.y
    + row.middle.yzw * d.z + vec3<f32>(row.middle.zw, row.right) * d.w;
}

// Nine taps against a quad of the gradient.
fn add(sum: mat3x3<f32>, above: Row, here: Row, below: Row, d: vec4<f32>) -> mat3x3<f32> {
  return mat3x3<f32>(along(sum[0], above, d), along(sum[1], here, d), along(sum[2], below, d));
}

@compute @workgroup_size(threads)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let own = local / LANES % INPUTS;
  let dz = local / (LANES * INPUTS) % 3u;
  let outs = local / (LANES * INPUTS * 3u) * OUTS; // first of this thread's in the block
  let inBlocks = (params.channels + INPUTS - 1u) / INPUTS;
  let block = params.block0 + group.x;
  let in0 = block % inBlocks * INPUTS;
  let out0 = block / inBlocks * outputs;
  let stripe = group.y;
  let chunk = params.chunk0 + group.z;
  let begin = chunk * params.chunkPlanes;
  let end = min(begin + params.chunkPlanes, params.plane1);

  var sum0 = mat3x3<f32>(); var sum1 = mat3x3<f32>(); var sum2 = mat3x3<f32>(); var sum3 = mat3x3<f32>();
  var sum4 = mat3x3<f32>(); var sum5 = mat3x3<f32>(); var sum6 = mat3x3<f32>(); var sum7 = mat3x3<f32>();
  let lastRow = min((stripe + 1u) * params.stripeRows, params.height);
  for (var y = stripe * params.stripeRows; y < lastRow; y += LINES) {
    for (var q = 0u; q < params.rowQuads; q += QUADS) {
      // Two steps ahead of the first plane, as two planes must lie there before the third is staged.
      for (var step = 0u; step < end + 2u - begin; step++) {
        let plane = begin + step - 2u;
        workgroupBarrier();
        stage(local, plane + 1u, y, q, in0, step % 3u);
        if (step < 2u) { continue; }
        stageGradient(local, plane, y, q, out0);
        workgroupBarrier();
        let z = plane % params.depth;
        if (z + dz > 0u && z + dz <= params.depth) { // else there may lie another sample
          let corner = ((step + 1u + dz) % 3u * INPUTS + own) * SPAN + lane;
          for (var column = 0u; column < QUADS; column += LANES) {
            let first = corner + column;
            var above = Row(staged[first].w, staged[first + 1u], staged[first + 2u].x);
            let second = first + columns;
            var here = Row(staged[second].w, staged[second + 1u], staged[second + 2u].x);
            for (var line = 0u; line < LINES; line++) {
              let third = second + (line + 1u) * columns;
              let below = Row(staged[third].w, staged[third + 1u], staged[third + 2u].x);
              let d = outs * cells + line * QUADS + column + lane;
              sum0 = add(sum0, above, here, below, stagedGradient[d]);
              sum1 = add(sum1, above, here, below, stagedGradient[d + cells]);
              sum2 = add(sum2, above, here, below, stagedGradient[d + 2u * cells]);
              sum3 = add(sum3, above, here, below, stagedGradient[d + 3u * cells]);
              if (OUTS == 8u) {
                sum4 = add(sum4, above, here, below, stagedGradient[d + 4u * cells]);
                sum5 = add(sum5, above, here, below, stagedGradient[d + 5u * cells]);
                sum6 = add(sum6, above, here, below, stagedGradient[d + 6u * cells]);
                sum7 = add(sum7, above, here, below, stagedGradient[d + 7u * cells]);
              }
              above = here;
              here = below;
            }
          }
        }
      }
    }
  }

  let channel = in0 + own;
  if (channel >= params.channels) { return; }
  let out = out0 + outs;
  let stride = params.channels * 27u; // from one output channel's partials to the next
  let part = (chunk * params.stripes + stripe) * LANES + lane;
  let at = (part * params.channelsOut + out) * stride + channel * 27u + dz * 9u;
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
