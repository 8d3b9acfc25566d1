// Gradient of the volume y in front of a norm and an activation, from that behind them:
// dy = γ/σ · (dz − mean(dz) − x̂ · mean(dz·x̂)). For kernels with volume.wgsl.

const GROUPED: bool = false; // the means are those of dz weighted by γ/σ, of all channels of a group

fn normGradient(
  y: vec4<f32>, da: vec4<f32>, scaleShift: vec2<f32>, meanInverse: vec2<f32>, mean: vec2<f32>, slope: f32,
) -> vec4<f32> {
  let dz = select(da * slope, da, y * scaleShift.x + scaleShift.y > vec4<f32>(0.0));
  let normalised = (y - meanInverse.x) * meanInverse.y;
  if (GROUPED) { return scaleShift.x * dz - mean.x - normalised * mean.y; }
  return scaleShift.x * (dz - mean.x - normalised * mean.y);
}
