// What changes from step to step, written by the host before each.
struct Step {
  learningRate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weightDecay: f32,
  correction1: f32,     // 1 − β1ᵗ
  correction2: f32,     // √(1 − β2ᵗ)
  maxNorm: f32,         // gradient clipping; huge for none
  gradientScale: f32,   // multiplies every gradient: 1 / accumulated batches
  accumulates: f32,     // 1 if gradients are added to those of the batches before, 0 for the first
  applies: f32,         // 1 if the parameters are updated after this batch, 0 if more batches follow
  averaging: f32,       // 1 − decay of the running average of the weights
  halts: f32,           // 1 if no step is applied any more after one that is not finite
}
