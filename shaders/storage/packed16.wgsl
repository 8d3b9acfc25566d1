// Volumes in float16, packed in pairs for devices without the type: the same 8 bytes per quad.
// include "common/overflow.wgsl"
alias Quad = vec2<u32>;

fn toFloat(quad: Quad) -> vec4<f32> { return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y)); }
fn toQuad(value: vec4<f32>) -> Quad {
  let numbers = overflowing(value);
  return vec2<u32>(pack2x16float(numbers.xy), pack2x16float(numbers.zw));
}
// The value that is read back: see f16.wgsl.
fn asStored(value: vec4<f32>) -> vec4<f32> { return quantizeToF16(value); }
// Voxel i of a quad is in this word, read so from it: by kernels that read one alone.
fn wordOf(i: u32) -> u32 { return i / 2u; }
fn voxelOf(word: u32, i: u32) -> f32 { return unpack2x16float(word)[i % 2u]; }
