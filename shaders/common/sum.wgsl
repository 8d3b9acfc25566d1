// Sums over threads of a workgroup in a fixed tree; every thread gets the result.

const LANES: u32 = 64u;            // threads that share a channel's sum: 64 or 1
const GROUP: u32 = max(LANES, 8u); // threads of a workgroup that sums channels: LANES, or several with a channel each

var<workgroup> scratch: array<vec2<f32>, 64>;

fn sum64(local: u32, value: vec2<f32>) -> vec2<f32> {
  workgroupBarrier();
  scratch[local] = value;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { scratch[local] += scratch[local + half]; }
  }
  workgroupBarrier();
  return scratch[0];
}

// The same where only LANES threads share a sum: 64, or 1 that has it already.
fn sumLanes(lanes: u32, local: u32, value: vec2<f32>) -> vec2<f32> {
  if (lanes == 1u) { return value; }
  return sum64(local, value);
}

// Maxima in the same way.
fn maxLanes(lanes: u32, local: u32, value: vec2<f32>) -> vec2<f32> {
  if (lanes == 1u) { return value; }
  workgroupBarrier();
  scratch[local] = value;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { scratch[local] = max(scratch[local], scratch[local + half]); }
  }
  workgroupBarrier();
  return scratch[0];
}
