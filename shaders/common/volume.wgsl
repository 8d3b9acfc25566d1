// A stored volume is [sample][z][channel][y][x], float32, each row of x padded with zeros to whole
// quads of four. `plane` counts z over all samples, so a range of planes is one contiguous binding.

// What a convolution sees of a stored value: scale and shift of the norm in front of it, then the
// (leaky) rectifier. slope is 0 for ReLU and 1 for no activation.
fn activate4(value: vec4<f32>, scaleShift: vec2<f32>, slope: f32) -> vec4<f32> {
  let z = value * scaleShift.x + scaleShift.y;
  return max(z, z * slope);
}

fn activate1(value: f32, scaleShift: vec2<f32>, slope: f32) -> f32 {
  let z = value * scaleShift.x + scaleShift.y;
  return max(z, z * slope);
}

// Zeroes the lanes of quad q that lie beyond the row's end.
fn inside(value: vec4<f32>, q: u32, width: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), value, vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(width));
}
