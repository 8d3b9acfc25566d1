// Labels are bytes, four along x in each word, rows padded to whole words with 255; 255 and any other
// value from the number of classes on is ignored by the loss.
fn labelsOf(word: u32) -> vec4<u32> {
  return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}
