// Gradient of the transposed convolution with respect to its weights; chunks (of source planes) and
// partials as in conv3/weight_gradient: [chunk][in][out][8].
// LANES threads per input channel; four output channels, eight taps each.
// include "common/volume.wgsl"
// include "common/sum.wgsl"

const NORM: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,  // source
  rowQuadsOut: u32, channelsOut: u32,                                 // gradient of the output
  plane0: u32, plane1: u32, chunk0: u32, chunkPlanes: u32,
  startSource: u32, startGradient: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> affine: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

// Eight taps (z, y, x) as two vectors.
struct Taps { front: vec4<f32>, back: vec4<f32> }

// The two taps along x of one source quad against the row of the gradient above it.
fn alongX(value: vec4<f32>, at: u32, second: bool) -> vec2<f32> {
  let a = toFloat(gradient[at]);
  let b = select(vec4<f32>(0.0), toFloat(gradient[at + select(0u, 1u, second)]), second);
  return vec2<f32>(dot(value, vec4<f32>(a.xz, b.xz)), dot(value, vec4<f32>(a.yw, b.yw)));
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
  let areaOut = 2u * params.height * params.rowQuadsOut;
  let at = ((chunk * params.channels + channel) * params.channelsOut + out0) * 2u;

  var sums = array<Taps, 4>();
  if (begin > chunk * params.chunkPlanes) {
    for (var i = 0u; i < 4u; i++) {
      let own = at + 2u * min(i, top);
      sums[i] = Taps(partials[own], partials[own + 1u]);
    }
  }
  for (var plane = begin; plane < end; plane++) {
    var scaleShift = vec2<f32>(1.0, 0.0);
    if (NORM) { scaleShift = affine[plane / params.depth * params.channels + channel]; }
    let base = (plane * params.channels + channel) * area - params.startSource;
    let upstream = (2u * plane * params.channelsOut + out0) * areaOut - params.startGradient;
    var whole = array<Taps, 4>(); // of the plane, in blocks, so that long sums keep their digits
    for (var block = lane; block < area; block += 64u * LANES) {
      var part = array<Taps, 4>();
      for (var v = block; v < min(area, block + 64u * LANES); v += LANES) {
        let q = v % params.rowQuads;
        var value = toFloat(source[base + v]);
        if (NORM) { value = inside(activate4(value, scaleShift, params.slope), q, params.width); }
        let second = 2u * q + 1u < params.rowQuadsOut;
        for (var i = 0u; i < 4u; i++) {
          let up = upstream + min(i, top) * areaOut + 2u * (v / params.rowQuads) * params.rowQuadsOut + 2u * q;
          let deeper = up + params.channelsOut * areaOut;
          part[i].front += vec4<f32>(alongX(value, up, second), alongX(value, up + params.rowQuadsOut, second));
          part[i].back += vec4<f32>(alongX(value, deeper, second), alongX(value, deeper + params.rowQuadsOut, second));
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
    partials[at + 2u * i] = sums[i].front;
    partials[at + 2u * i + 1u] = sums[i].back;
  }
}
