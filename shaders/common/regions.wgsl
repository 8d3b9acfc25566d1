// To which heads a label belongs: the kernel binds `regions`, [head][8] words with one bit per label value.
fn belongs(head: u32, label: vec4<u32>) -> vec4<f32> {
  let at = vec4<u32>(8u * head) + label / vec4<u32>(32u);
  let words = vec4<u32>(regions[at.x], regions[at.y], regions[at.z], regions[at.w]);
  return vec4<f32>((words >> (label % vec4<u32>(32u))) & vec4<u32>(1u));
}
