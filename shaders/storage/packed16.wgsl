// Volumes in float16, packed in pairs for devices without the type: the same 8 bytes per quad.
alias Quad = vec2<u32>;

fn toFloat(quad: Quad) -> vec4<f32> { return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y)); }
// What rounds to more than 65504, the largest number, becomes infinite, whose bits are those of the largest and one more:
// drivers make of such numbers, and of infinity, what they like. NaN stays.
fn toQuad(value: vec4<f32>) -> Quad {
  let beyond = abs(value) >= vec4<f32>(65520.0);
  let held = select(value, sign(value) * 65504.0, beyond);
  let more = select(vec4<u32>(0u), vec4<u32>(1u, 65536u, 1u, 65536u), beyond);
  return vec2<u32>(pack2x16float(held.xy) + more.x + more.y, pack2x16float(held.zw) + more.z + more.w);
}
// The value that is read back: see f16.wgsl.
fn asStored(value: vec4<f32>) -> vec4<f32> { return quantizeToF16(value); }
// Voxel i of a quad is in this word, read so from it: by kernels that read one alone.
fn wordOf(i: u32) -> u32 { return i / 2u; }
fn voxelOf(word: u32, i: u32) -> f32 { return unpack2x16float(word)[i % 2u]; }
