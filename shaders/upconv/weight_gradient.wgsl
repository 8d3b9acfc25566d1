// Gradient of the transposed convolution with respect to its weights; chunks (of source planes) and
// partials as in conv3/weight_gradient: [chunk][in][out][taps].
// LANES threads per input channel; four output channels, eight taps each at most.
// include "common/volume.wgsl"
// include "common/sum.wgsl"

const NORM: bool = false;
// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

const TAPS: u32 = STRIDE_X * STRIDE_Y * STRIDE_Z;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,  // source
  rowQuadsOut: u32, channelsOut: u32,                                 // gradient of the output
  plane0: u32, plane1: u32, chunk0: u32, chunkPlanes: u32,
  startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Taps (y, x) of both planes; those that the strides do not have stay 0.
struct Taps { front: vec4<f32>, back: vec4<f32> }

// The two taps along x of one source quad against the row of the gradient above it.
fn alongX(value: vec4<f32>, at: u32, second: bool) -> vec2<f32> {
  let a = toFloat(gradient[at]);
  if (STRIDE_X == 1u) { return vec2<f32>(dot(value, a), 0.0); }
  let b = select(vec4<f32>(0.0), toFloat(gradient[at + select(0u, 1u, second)]), second);
  return vec2<f32>(dot(value, vec4<f32>(a.xz, b.xz)), dot(value, vec4<f32>(a.yw, b.yw)));
}

fn alongRows(value: vec4<f32>, at: u32, second: bool) -> vec4<f32> {
  let first = alongX(value, at, second);
  if (STRIDE_Y == 1u) { return vec4<f32>(first, 0.0, 0.0); }
  return vec4<f32>(first, alongX(value, at + params.rowQuadsOut, second));
}

// Where the taps of one pair of channels stand in `front` and `back`: (z, y, x) counted as the strides have it.
fn tapOf(taps: Taps, tap: u32) -> f32 {
  let row = tap / STRIDE_X;
  let place = row % STRIDE_Y * 2u + tap % STRIDE_X;
  if (row / STRIDE_Y == 0u) { return taps.front[place]; }
  return taps.back[place];
}

fn withTap(before: Taps, tap: u32, value: f32) -> Taps {
  var taps = before;
  let row = tap / STRIDE_X;
  let place = row % STRIDE_Y * 2u + tap % STRIDE_X;
  if (row / STRIDE_Y == 0u) { taps.front[place] = value; } else { taps.back[place] = value; }
  return taps;
}

fn sumTaps(local: u32, taps: Taps) -> Taps {
  return Taps(
    vec4<f32>(sumLanes(LANES, local, taps.front.xy), sumLanes(LANES, local, taps.front.zw)),
    vec4<f32>(sumLanes(LANES, local, taps.back.xy), sumLanes(LANES, local, taps.back.zw)),
  );
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % LANES;
  let item = group.x * (GROUP / LANES) + local / LANES;
  let channel = min(item, params.channels - 1u); // threads beyond repeat the last and store nothing
  let out0 = group.y * 4u;
  let top = params.channelsOut - 1u - out0; // channels beyond the last repeat it and are not stored
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);
  let area = params.height * params.rowQuads;
  let areaOut = STRIDE_Y * params.height * params.rowQuadsOut;
  let at = ((chunk * params.channels + channel) * params.channelsOut + out0) * TAPS;

  var sums = array<Taps, 4>();
  if (begin > chunk * params.chunkPlanes) {
    for (var i = 0u; i < 4u; i++) {
      for (var tap = 0u; tap < TAPS; tap++) {
        sums[i] = withTap(sums[i], tap, partials[at + TAPS * min(i, top) + tap]);
      }
    }
  }
  for (var plane = begin; plane < end; plane++) {
    var scaleShift = vec2<f32>(1.0, 0.0);
    if (NORM) { scaleShift = scaleShifts[plane / params.depth * params.channels + channel]; }
    let base = (plane * params.channels + channel) * area - params.startSource;
    let upstream = (STRIDE_Z * plane * params.channelsOut + out0) * areaOut - params.startGradient;
    var whole = array<Taps, 4>(); // of the plane, in blocks, so that long sums keep their digits
    for (var block = lane; block < area; block += 64u * LANES) {
      var part = array<Taps, 4>();
      for (var v = block; v < min(area, block + 64u * LANES); v += LANES) {
        let q = v % params.rowQuads;
        var value = toFloat(source[base + v]);
        if (NORM) { value = inside(activate4(value, scaleShift, params.slope), q, params.width); }
        let second = 2u * q + 1u < params.rowQuadsOut;
        for (var i = 0u; i < 4u; i++) {
          let up = upstream + min(i, top) * areaOut + STRIDE_Y * (v / params.rowQuads) * params.rowQuadsOut + STRIDE_X * q;
          let deeper = up + params.channelsOut * areaOut;
          part[i].front += alongRows(value, up, second);
          if (STRIDE_Z == 2u) { part[i].back += alongRows(value, deeper, second); }
        }
      }
      for (var i = 0u; i < 4u; i++) {
        whole[i].front += part[i].front;
        whole[i].back += part[i].back;
      }
    }
    for (var i = 0u; i < 4u; i++) {
      let total = sumTaps(local, whole[i]);
      sums[i].front += total.front;
      sums[i].back += total.back;
    }
  }
  if (lane > 0u || item >= params.channels) { return; }
  for (var i = 0u; i <= min(top, 3u); i++) {
    for (var tap = 0u; tap < TAPS; tap++) { partials[at + TAPS * i + tap] = tapOf(sums[i], tap); }
  }
}
