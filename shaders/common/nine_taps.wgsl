// Nine (y, x) taps of a weight gradient's partial sums: what a dispatch goes on from, and leaves. For kernels
// with `partials` and `params.channelsOut`; output channels beyond the last are 0 and not stored.

fn load9(channelOut: u32, at: u32) -> mat3x3<f32> {
  if (channelOut >= params.channelsOut) { return mat3x3<f32>(); }
  return mat3x3<f32>(
    partials[at], partials[at + 1u], partials[at + 2u], partials[at + 3u], partials[at + 4u],
    partials[at + 5u], partials[at + 6u], partials[at + 7u], partials[at + 8u],
  );
}

fn store9(channelOut: u32, at: u32, value: mat3x3<f32>) {
  if (channelOut >= params.channelsOut) { return; }
  for (var i = 0u; i < 3u; i++) {
    partials[at + 3u * i] = value[i].x;
    partials[at + 3u * i + 1u] = value[i].y;
    partials[at + 3u * i + 2u] = value[i].z;
  }
}
