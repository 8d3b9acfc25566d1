// Gradient of the transposed convolution with respect to its (activated) input. Assigns target.
// One thread: four voxels along x, eight input channels.
// include "common/volume.wgsl"

// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

struct Params {
  width: u32, height: u32, rowQuads: u32, channels: u32,             // target: the input's gradient
  rowQuadsOut: u32, channelsOut: u32,                                // gradient of the output
  plane0: u32, startGradient: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>;
@group(0) @binding(1) var<storage, read> weights: array<f32>; // (in, out, z, y, x)
@group(0) @binding(2) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(3) var<uniform> params: Params;

fn weightsAlongX(index: u32) -> vec2<f32> {
  return vec2<f32>(weights[STRIDE_X * index], weights[STRIDE_X * index + STRIDE_X - 1u]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  if (y >= params.height) { return; }
  let in0 = group.y * 8u;
  let top = params.channels - 1u - in0; // channels beyond the last repeat it and are not stored
  let plane = params.plane0 + group.z;
  let areaOut = STRIDE_Y * params.height * params.rowQuadsOut;
  let second = 2u * q + 1u < params.rowQuadsOut;

  var sums = array<vec4<f32>, 8>();
  for (var channel = 0u; channel < params.channelsOut; channel++) {
    for (var tap = 0u; tap < STRIDE_Y * STRIDE_Z; tap++) {
      let planeOut = STRIDE_Z * plane + tap / STRIDE_Y;
      let at = (planeOut * params.channelsOut + channel) * areaOut
        + (STRIDE_Y * y + tap % STRIDE_Y) * params.rowQuadsOut + STRIDE_X * q - params.startGradient;
      let a = toFloat(gradient[at]);
      let b = select(vec4<f32>(0.0), toFloat(gradient[at + select(0u, 1u, second)]), second);
      let even = vec4<f32>(a.xz, b.xz);
      let odd = vec4<f32>(a.yw, b.yw);
      for (var i = 0u; i < 8u; i++) {
        let w = weightsAlongX(((in0 + min(i, top)) * params.channelsOut + channel) * (STRIDE_Y * STRIDE_Z) + tap);
        if (STRIDE_X == 1u) { sums[i] += a * w.x; } else { sums[i] += even * w.x + odd * w.y; }
      }
    }
  }
  for (var i = 0u; i < 8u; i++) {
    if (i > top) { break; }
    let line = (plane * params.channels + in0 + i) * params.height + y;
    target_[line * params.rowQuads + q - params.startTarget] = toQuad(inside(sums[i], q, params.width));
  }
}
