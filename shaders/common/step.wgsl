// What changes from step to step, written by the host before each.
struct Step {
  learningRate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weightDecay: f32,
  maxNorm: f32,         // gradient clipping; huge for none
  gradientScale: f32,   // multiplies every gradient: 1 / accumulated batches
  accumulates: f32,     // 1 if gradients are added to those of the batches before, 0 for the first
  applies: f32,         // 1 if the step ends with this batch, 0 if more batches follow
  mostSkipped: f32,     // steps in a row that may be left out as not finite
  applied: f32,         // steps that were applied, as far as the host knew
  // By how many of the steps that were on their way then have been applied since:
  correction1: array<f32, 4>,   // 1 − β1ᵗ
  correction2: array<f32, 4>,   // √(1 − β2ᵗ)
  averaging: array<f32, 4>,     // 1 − decay of the running average of the weights
}
