// What rounds to more than 65504, the largest number of float16, made infinite: drivers may convert it to that one, by
// which trainings would not see that gradients overflow. Infinity and NaN stay.
fn overflowing(value: vec4<f32>) -> vec4<f32> {
  return select(value, value * 3e38, abs(value) >= vec4<f32>(65520.0));
}
