// To which heads a label belongs: the kernel binds `regions`, [head][9] words: the label that is written where the head
// says yes, then one bit per label value.
fn belongs(head: u32, label: vec4<u32>) -> vec4<f32> {
  let at = vec4<u32>(9u * head + 1u) + label / vec4<u32>(32u);
  let words = vec4<u32>(regions[at.x], regions[at.y], regions[at.z], regions[at.w]);
  return vec4<f32>((words >> (label % vec4<u32>(32u))) & vec4<u32>(1u));
}
