// Volumes in float16 on devices that have it: a quad of four voxels is 8 bytes. Arithmetic stays float32.
enable f16;
alias Quad = vec4<f16>;

fn toFloat(quad: Quad) -> vec4<f32> { return vec4<f32>(quad); }
// What rounds to more than 65504, the largest number, made infinite: drivers may convert it to that one, by which
// trainings would not see that gradients overflow. Infinity and NaN stay.
fn overflowing(value: vec4<f32>) -> vec4<f32> {
  return select(value, value * 3e38, abs(value) >= vec4<f32>(65520.0));
}
fn toQuad(value: vec4<f32>) -> Quad { return vec4<f16>(overflowing(value)); }
// The value that is read back, to a last digit where a driver cuts off in place of rounding; compilers take
// toFloat(toQuad(value)) for the value itself.
fn asStored(value: vec4<f32>) -> vec4<f32> { return quantizeToF16(value); }
// Voxel i of a quad is in this word, read so from it: by kernels that read one alone.
fn wordOf(i: u32) -> u32 { return i; }
fn voxelOf(word: f16, i: u32) -> f32 { return f32(word); }
