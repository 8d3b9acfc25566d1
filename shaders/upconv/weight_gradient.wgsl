// Gradient of the transposed convolution with respect to its weights; chunks (of source planes) and
// partials as in conv3/weight_gradient: [chunk][in][out][8].
// One thread: one input channel, one output channel of four, eight taps each.
// include "common/volume.wgsl"

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

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = id.x;
  if (channel >= params.channels) { return; }
  let out0 = group.y * 4u;
  let count = min(4u, params.channelsOut - out0);
  let chunk = params.chunk0 + group.z;
  let begin = max(chunk * params.chunkPlanes, params.plane0);
  let end = min((chunk + 1u) * params.chunkPlanes, params.plane1);
  let area = params.height * params.rowQuads;
  let areaOut = 2u * params.height * params.rowQuadsOut;
  let at = ((chunk * params.channels + channel) * params.channelsOut + out0) * 2u;

  var sums = array<Taps, 4>();
  if (begin > chunk * params.chunkPlanes) {
    for (var i = 0u; i < count; i++) { sums[i] = Taps(partials[at + 2u * i], partials[at + 2u * i + 1u]); }
  }
  for (var plane = begin; plane < end; plane++) {
    var scaleShift = vec2<f32>(1.0, 0.0);
    if (NORM) { scaleShift = affine[plane / params.depth * params.channels + channel]; }
    for (var y = 0u; y < params.height; y++) {
      var parts = array<Taps, 4>(); // of one row, so that long sums keep their digits
      for (var q = 0u; q < params.rowQuads; q++) {
        var value = toFloat(source[(plane * params.channels + channel) * area + y * params.rowQuads + q - params.startSource]);
        if (NORM) { value = inside(activate4(value, scaleShift, params.slope), q, params.width); }
        let second = 2u * q + 1u < params.rowQuadsOut;
        for (var i = 0u; i < count; i++) {
          let up = (2u * plane * params.channelsOut + out0 + i) * areaOut + 2u * y * params.rowQuadsOut + 2u * q - params.startGradient;
          let deeper = up + params.channelsOut * areaOut;
          parts[i].front += vec4<f32>(alongX(value, up, second), alongX(value, up + params.rowQuadsOut, second));
          parts[i].back += vec4<f32>(alongX(value, deeper, second), alongX(value, deeper + params.rowQuadsOut, second));
        }
      }
      for (var i = 0u; i < count; i++) {
        sums[i].front += parts[i].front;
        sums[i].back += parts[i].back;
      }
    }
  }
  for (var i = 0u; i < count; i++) {
    partials[at + 2u * i] = sums[i].front;
    partials[at + 2u * i + 1u] = sums[i].back;
  }
}
