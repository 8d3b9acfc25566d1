// Gradient of max-pool: the winner is found again from the source; of equal values the first in
// z, y, x order gets the gradient. ACCUMULATES into target, the gradient of the activated source.
// One thread: four output voxels along x and the source voxels under them, 8×2×2 at most, which it owns.
// include "common/volume.wgsl"

const NORM: bool = false;
// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

const ROWS: u32 = STRIDE_Y * STRIDE_Z; // of the source, for one of the output

struct Params {
  depth: u32, height: u32, rowQuads: u32, channels: u32,                   // source
  widthOut: u32, depthOut: u32, heightOut: u32, rowQuadsOut: u32,          // pooled
  plane0: u32, startSource: u32, startGradient: u32, startTarget: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<Quad>; // of the pooled volume
@group(0) @binding(3) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= params.heightOut) { return; }
  let channel = group.y;
  let plane = params.plane0 + group.z;
  let sample = plane / params.depthOut;
  let planeIn = sample * params.depth + STRIDE_Z * (plane % params.depthOut);
  var scaleShift = vec2<f32>(1.0, 0.0);
  if (NORM) { scaleShift = scaleShifts[sample * params.channels + channel]; }

  let second = 2u * q + 1u < params.rowQuads;
  let area = params.height * params.rowQuads;
  let line = (planeIn * params.channels + channel) * area + STRIDE_Y * y * params.rowQuads + STRIDE_X * q;
  let upstream = toFloat(gradient[((plane * params.channels + channel) * params.heightOut + y) * params.rowQuadsOut + q - params.startGradient]);

  var best = vec4<f32>(0.0);
  var winner = vec4<u32>(0u); // 0 to 7: z, y, x of the maximum
  for (var row = 0u; row < ROWS; row++) {
    let at = line + row / STRIDE_Y * params.channels * area + row % STRIDE_Y * params.rowQuads - params.startSource;
    var a = toFloat(source[at]);
    if (NORM) { a = activate4(a, scaleShift, params.slope); }
    if (STRIDE_X == 1u) {
      let takes = (a > best) | vec4<bool>(row == 0u);
      best = select(best, a, takes);
      winner = select(winner, vec4<u32>(row * 2u), takes);
      continue;
    }
    var b = toFloat(source[at + select(0u, 1u, second)]);
    if (NORM) { b = activate4(b, scaleShift, params.slope); }
    let even = vec4<f32>(a.xz, b.xz);
    let odd = vec4<f32>(a.yw, b.yw);
    let takesEven = (even > best) | vec4<bool>(row == 0u);
    best = select(best, even, takesEven);
    winner = select(winner, vec4<u32>(row * 2u), takesEven);
    let takesOdd = odd > best;
    best = select(best, odd, takesOdd);
    winner = select(winner, vec4<u32>(row * 2u + 1u), takesOdd);
  }
  for (var row = 0u; row < ROWS; row++) {
    let at = line + row / STRIDE_Y * params.channels * area + row % STRIDE_Y * params.rowQuads - params.startTarget;
    let even = select(vec4<f32>(0.0), upstream, winner == vec4<u32>(row * 2u));
    if (STRIDE_X == 1u) {
      target_[at] = toQuad(toFloat(target_[at]) + even);
      continue;
    }
    let odd = select(vec4<f32>(0.0), upstream, winner == vec4<u32>(row * 2u + 1u));
    target_[at] = toQuad(toFloat(target_[at]) + vec4<f32>(even.x, odd.x, even.y, odd.y));
    if (second) { target_[at + 1u] = toQuad(toFloat(target_[at + 1u]) + vec4<f32>(even.z, odd.z, even.w, odd.w)); }
  }
}
