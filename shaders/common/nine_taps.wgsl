// Stores nine (y, x) taps of a weight gradient's partial sums. For kernels with `partials` and `params.channelsOut`;
// output channels beyond the last are not stored.

fn store9(channelOut: u32, at: u32, value: mat3x3<f32>) {
  if (channelOut >= params.channelsOut) { return; }
  for (var i = 0u; i < 3u; i++) {
    partials[at + 3u * i] = value[i].x;
    partials[at + 3u * i + 1u] = value[i].y;
    partials[at + 3u * i + 2u] = value[i].z;
  }
}
