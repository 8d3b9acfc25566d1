// The global norm of the gradients and the factor that clips it: min(1, max / (norm + 1e-6)).
// clip: factor (with gradientScale), norm, 1 if the norm is not finite (then no parameter is touched).
// include "common/sum.wgsl"
// include "common/step.wgsl"

struct Params { stretches: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  var own = 0.0;
  for (var i = 0u; i < params.stretches; i++) { own += partials[i * 64u + local]; }
  let squares = sum64(local, vec2<f32>(own, 0.0)).x;
  if (local > 0u) { return; }
  let norm = sqrt(squares) * step.gradientScale;
  let broken = (bitcast<u32>(squares) & 0x7f800000u) == 0x7f800000u;
  clip[0] = min(1.0, step.maxNorm / (norm + 1e-6)) * step.gradientScale;
  clip[1] = norm;
  clip[2] = select(0.0, 1.0, broken);
}
