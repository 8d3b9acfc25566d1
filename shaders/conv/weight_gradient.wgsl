// Gradient of a convolution with 1 or 3 taps and a stride of 1 or 2 along each axis with respect to its weights, for the
// input channels of one source; chunks (of output planes) and partials as in conv3/weight_gradient: [chunk][out][in][taps].
// LANES threads share one input channel and one tap along z, side by side along x and y; each sums the taps along y and
// x of four output channels. After at most 64 quads of a thread the workgroup adds up its lanes in fixed order, so
// that long sums keep their digits: those of ROWS rows of taps at a time.
// include "common/volume.wgsl"
// include "common/conv_row.wgsl"

const LANES: u32 = 64u; // a power of two, 64 at most
const ROWS: u32 = 12u;  // of the 4 KERNEL_Y: all, or one, since SwiftShader's code clears their memory word by word

const FLAT: u32 = KERNEL_Y * KERNEL_X; // taps of one thread
const SUMS: u32 = ROWS * KERNEL_X;     // of one thread at a time
const ITEMS: u32 = 64u / LANES;        // channels and taps along z of a workgroup

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,      // source
  heightOut: u32, depthOut: u32, rowQuadsOut: u32, channelsOut: u32,      // gradient of the output
  plane0: u32, plane1: u32,       // planes [plane0, plane1) of this dispatch
  chunk0: u32, chunkPlanes: u32,  // first chunk of this dispatch, planes in a chunk
  startSource: u32, startGradient: u32,
  slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> shares: array<f32, 64u * SUMS>; // [sum][thread]

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let item = min(group.x * ITEMS + local / LANES, params.channels * KERNEL_Z - 1u); // those beyond store nothing
  let channel = item / KERNEL_Z;
  let dz = item % KERNEL_Z;
  let out0 = group.y * 4u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);
  let area = params.heightOut * params.rowQuadsOut;

  for (var plane = begin; plane < end; plane++) {
    let sample = plane / params.depthOut;
    var norm = vec2<f32>(1.0, 0.0);
    if (NORM) { norm = scaleShifts[sample * params.channels + channel]; }
    let z = seen(plane % params.depthOut, dz, KERNEL_Z, STRIDE_Z, 1u, params.depth);
    let lines = ((sample * params.depth + u32(z)) * params.channels + channel) * params.height;
    let upstream = (plane * params.channelsOut + out0) * area - params.startGradient;
    for (var block = 0u; block < area; block += 64u * LANES) {
      var sums = array<vec3<f32>, 4u * KERNEL_Y>();
      let last = select(0u, min(area, block + 64u * LANES), z >= 0);
      for (var v = block + lane; v < last; v += LANES) {
        let q = v % params.rowQuadsOut;
        let y = v / params.rowQuadsOut;
        let d0 = toFloat(gradient[upstream + v]);
        let d1 = toFloat(gradient[upstream + min(1u, top) * area + v]);
        let d2 = toFloat(gradient[upstream + min(2u, top) * area + v]);
        let d3 = toFloat(gradient[upstream + min(3u, top) * area + v]);
        for (var dy = 0u; dy < KERNEL_Y; dy++) {
          let line = seen(y, dy, KERNEL_Y, STRIDE_Y, 1u, params.height);
          if (line < 0) { continue; }
          let row = rowAt((lines + u32(line)) * params.rowQuads - params.startSource, q, norm);
          if (KERNEL_X == 1u) {
            sums[dy].x += dot(row.here, d0);
            sums[KERNEL_Y + dy].x += dot(row.here, d1);
            sums[2u * KERNEL_Y + dy].x += dot(row.here, d2);
            sums[3u * KERNEL_Y + dy].x += dot(row.here, d3);
          } else {
            sums[dy] += vec3<f32>(dot(row.before, d0), dot(row.here, d0), dot(row.after, d0));
            sums[KERNEL_Y + dy] += vec3<f32>(dot(row.before, d1), dot(row.here, d1), dot(row.after, d1));
            sums[2u * KERNEL_Y + dy] += vec3<f32>(dot(row.before, d2), dot(row.here, d2), dot(row.after, d2));
            sums[3u * KERNEL_Y + dy] += vec3<f32>(dot(row.before, d3), dot(row.here, d3), dot(row.after, d3));
          }
        }
      }
      for (var row0 = 0u; row0 < 4u * KERNEL_Y; row0 += ROWS) {
        workgroupBarrier();
        for (var i = 0u; i < ROWS; i++) {
          let row = sums[row0 + i];
          for (var dx = 0u; dx < KERNEL_X; dx++) { shares[(i * KERNEL_X + dx) * 64u + local] = row[dx]; }
        }
        workgroupBarrier();
        // A thread always adds the same numbers, in the order of the planes, wherever a dispatch begins.
        for (var i = local; i < SUMS * ITEMS; i += 64u) {
          let own = group.x * ITEMS + i / SUMS;
          let share = i % SUMS;
          let sum = row0 * KERNEL_X + share;
          if (own >= params.channels * KERNEL_Z || sum / FLAT > top) { continue; }
          let out = chunk * params.channelsOut + out0 + sum / FLAT;
          let at = (out * params.channels * KERNEL_Z + own) * FLAT + sum % FLAT;
          var total = 0.0;
          if (plane > chunk * params.chunkPlanes || block > 0u) { total = partials[at]; }
          for (var l = 0u; l < LANES; l++) { total += shares[share * 64u + i / SUMS * LANES + l]; }
          partials[at] = total;
        }
      }
    }
  }
}
