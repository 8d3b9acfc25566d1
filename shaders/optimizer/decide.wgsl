// Decides what becomes of a step: the global norm of the gradients, the factor that clips it, min(1, max / (norm + 1e-6)),
// and whether the step is applied. One whose loss or gradients are not finite changes nothing:
// - with a finite loss and a loss scale above 1, gradients have overflowed: SCALING halves the scale, and only it changes;
// - else it is skipped, up to `mostSkipped` times in a row;
// - else training halts: no step is applied any more, whatever the host has sent since.
// Gradients come multiplied by lossScale[0]. SCALING doubles it after GROWTH applied steps in a row, counted in
// lossScale[1].
// include "common/sum.wgsl"
// include "common/step.wgsl"
// include "common/update.wgsl"

const SCALING: bool = false;
const GROWTH: f32 = 2000.0;
const APPLIED: f32 = 0.0;
const OVERFLOWED: f32 = 1.0;
const SKIPPED: f32 = 2.0;
const HALTED: f32 = 3.0;

struct Params { stretches: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> results: array<f32>; // the batch's loss first
@group(0) @binding(2) var<storage, read> step: Step;
@group(0) @binding(3) var<storage, read_write> update: Update;
@group(0) @binding(4) var<storage, read_write> lossScale: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn isFinite(value: f32) -> bool { return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u; }

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  var own = 0.0;
  for (var i = 0u; i < params.stretches; i++) { own += partials[i * 64u + local]; }
  let squares = sum64(local, vec2<f32>(own, 0.0)).x;
  if (local > 0u) { return; }
  let scale = lossScale[0];
  let unscale = step.gradientScale / scale;
  let norm = sqrt(squares) * unscale;
  let since = u32(clamp(update.applied - step.applied, 0.0, 3.0));
  let lossBroken = !isFinite(results[0]) || (step.accumulates != 0.0 && update.lossBroken != 0.0);
  update.lossBroken = select(0.0, 1.0, lossBroken);
  update.lossScale = scale;
  update.norm = norm;
  update.factor = min(1.0, step.maxNorm / (norm + 1e-6)) * unscale;
  update.correction1 = step.correction1[since];
  update.correction2 = step.correction2[since];
  update.averaging = step.averaging[since];
  update.held = 1.0;
  if (step.applies == 0.0) { return; }

  if (update.outcome == HALTED) { return; }
  if (!lossBroken && isFinite(squares)) {
    update.held = 0.0;
    update.outcome = APPLIED;
    update.applied += 1.0;
    update.skipped = 0.0;
    if (!SCALING) { return; }
    let streak = lossScale[1] + 1.0;
    let grows = streak >= GROWTH;
    lossScale[0] = select(scale, min(scale * 2.0, 16777216.0), grows);
    lossScale[1] = select(streak, 0.0, grows);
  } else if (!lossBroken && scale > 1.0) {
    update.outcome = OVERFLOWED;
    if (!SCALING) { return; }
    lossScale[0] = max(scale * 0.5, 1.0);
    lossScale[1] = 0.0;
  } else if (update.skipped < step.mostSkipped) {
    update.outcome = SKIPPED;
    update.skipped += 1.0;
  } else {
    update.outcome = HALTED;
  }
}
