// The global norm of the gradients and the factor that clips it: min(1, max / (norm + 1e-6)).
// Gradients come multiplied by lossScale[0]. SCALING adapts it: it is halved after a step whose gradients
// are not finite, and doubled after GROWTH good steps in a row, counted in lossScale[1].
// clip: factor (it undoes all scales), norm, 1 if no parameter may be touched, 1 if the norm is not finite,
// the loss scale of this step. Before the dispatch it holds what the step before has left.
// include "common/sum.wgsl"
// include "common/step.wgsl"

const SCALING: bool = false;
const GROWTH: f32 = 2000.0;

struct Params { stretches: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;
@group(0) @binding(3) var<storage, read_write> lossScale: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  var own = 0.0;
  for (var i = 0u; i < params.stretches; i++) { own += partials[i * 64u + local]; }
  let squares = sum64(local, vec2<f32>(own, 0.0)).x;
  if (local > 0u) { return; }
  let scale = lossScale[0];
  let unscale = step.gradientScale / scale;
  let norm = sqrt(squares) * unscale;
  // A loss scale above 1 may be the reason, and is lowered; else the steps that the host has sent since must not count.
  let halted = step.halts != 0.0 && clip[3] != 0.0 && clip[4] <= 1.0;
  let broken = halted || (bitcast<u32>(squares) & 0x7f800000u) == 0x7f800000u;
  clip[0] = min(1.0, step.maxNorm / (norm + 1e-6)) * unscale;
  clip[1] = norm;
  clip[2] = select(0.0, 1.0, broken || step.applies == 0.0);
  clip[3] = select(0.0, 1.0, broken);
  clip[4] = scale;
  if (!SCALING || step.applies == 0.0) { return; }
  let streak = select(lossScale[1] + 1.0, 0.0, broken);
  let grows = streak >= GROWTH;
  lossScale[0] = select(select(scale, min(scale * 2.0, 16777216.0), grows), max(scale * 0.5, 1.0), broken);
  lossScale[1] = select(streak, 0.0, grows);
}
