// What was drawn for a batch, written by the host before each step (src/ops/augment.ts).
struct SampleDraw {
  rowX: vec4<f32>,      // target voxel (x, y, z, 1) → source x, rows of a 3 × 4 matrix
  rowY: vec4<f32>,
  rowZ: vec4<f32>,
  geometry: u32,        // 0: none, 1: mirrored only, 2: any matrix
  noise: f32,           // standard deviation; 0 for none
  key0: u32,            // of the noise
  key1: u32,
}

struct ChannelDraw {
  sigma: vec4<f32>,     // of the blur along x, y, z in voxels; w is 0 for none
  reduced: vec4<f32>,   // voxels of the low resolution along x, y, z; w is 0 for none
  brightness: f32,      // factors and exponents are 1 for none
  contrast: f32,
  invertedGamma: f32,
  gamma: f32,
}

// Stages that need the statistics of a channel.
const contrastStage: u32 = 0u;
const invertedGammaStage: u32 = 1u;
const gammaStage: u32 = 2u;

// Factor or exponent of a stage; 1 where it was not drawn.
fn strengthOf(draw: ChannelDraw, stage: u32) -> f32 {
  if (stage == contrastStage) { return draw.contrast; }
  if (stage == invertedGammaStage) { return draw.invertedGamma; }
  return draw.gamma;
}

// The power of values brought to [0, 1], brought back; `statistics`: mean, standard deviation, least, largest.
fn gammaOf(value: vec4<f32>, statistics: vec4<f32>, exponent: f32, inverted: bool) -> vec4<f32> {
  let range = max(statistics.w - statistics.z, 1e-7);
  let origin = select(statistics.z, statistics.w, inverted);
  let direction = select(range, -range, inverted);
  let unit = clamp((value - origin) / direction, vec4<f32>(1e-12), vec4<f32>(1.0));
  return origin + direction * pow(unit, vec4<f32>(exponent));
}
