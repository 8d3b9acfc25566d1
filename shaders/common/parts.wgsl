// Statistics of what a convolution stores, for the norm behind it: for each tile of each channel of each plane the number of
// its voxels, their mean and the sum of squared deviations from it, of the values as they are stored. For kernels with
// `parts` and, in `params`, `channelsOut`, `tiles` of a plane and `startParts`.

fn keepPart(plane: u32, channel: u32, tile: u32, count: f32, mean: f32, spread: f32) {
  if (channel >= params.channelsOut) { return; }
  let at = ((plane * params.channelsOut + channel) * params.tiles + tile) * 3u - params.startParts;
  parts[at] = count;
  parts[at + 1u] = mean;
  parts[at + 2u] = spread;
}
