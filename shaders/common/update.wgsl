// What becomes of a step: decided once, by optimizer/decide.wgsl, and obeyed by all that changes what training keeps.
// `outcome`, `applied` and `skipped` carry over from step to step.
struct Update {
  held: f32,        // 1 if nothing may change: the step is left out, or more of its batches follow
  outcome: f32,     // once all batches are in: 0 applied, 1 overflowed, 2 skipped, 3 halted
  applied: f32,     // steps applied so far
  skipped: f32,     // steps in a row that were skipped
  lossBroken: f32,  // 1 if the loss of one of the step's batches is not finite
  lossScale: f32,   // of this step
  norm: f32,        // of the gradients, without any scale
  factor: f32,      // of the gradients: clips them and undoes all scales
  correction1: f32, // these three by the steps that were applied before
  correction2: f32,
  averaging: f32,
}
