/** A contact sheet: one training sample as it is and as augmentation changes it, labels drawn on top. */
import type { Gpu } from '../gpu/device.ts';
import type { Size3 } from '../size.ts';
import { createPicture, drawPicture, type Picture } from '../report/raster.ts';
import { sliceGrid } from '../report/slices.ts';
import { greyWindow } from '../report/view.ts';
import { describeDraw, drawSample, type Augmentation } from '../train/augmentation.ts';
import { augmentSample } from '../train/augmenter.ts';

const [columns, rows] = [4, 4];

/**
 * The first channel of a sample, image [channel][z][y][x] and label [z][y][x] of `size` with a margin around it; drawn
 * as training with `seed` would.
 */
export async function augmentationSheet(
  gpu: Gpu,
  sample: Parameters<typeof augmentSample>[1],
  augmentation: Augmentation,
  { seed, spacing, labels }: { seed: number; spacing: Size3; labels: readonly string[] },
): Promise<Picture> {
  const { size, image, label } = sample;
  const voxels = size[0] * size[1] * size[2];
  const channels = image.length / label.length;
  const draws = Array.from({ length: columns * rows }, (_, position) =>
    position === 0
      ? { channels: Array.from({ length: channels }, () => ({})) }
      : drawSample(augmentation, { size, channels, seed, position: position - 1 }),
  );
  const results = await augmentSample(gpu, sample, draws);
  const window = greyWindow(image.subarray(0, label.length));
  const entries = results.map((result, index) => ({
    name: describeDraw(draws[index]!),
    image: { data: result.image.subarray(0, voxels), shape: size, spacing },
    truth: result.label.map((value) => (value === 255 ? 0 : value)),
  }));
  const strips = Array.from({ length: columns }, (_, column) => {
    const shown = entries.filter((_, index) => index % columns === column);
    return sliceGrid(shown, { labels, columns: ['truth'], panel: 320, window });
  });
  const width = Math.max(...strips.map((strip) => strip.width));
  const sheet = createPicture(width * columns, Math.max(...strips.map((strip) => strip.height)));
  strips.forEach((strip, column) => drawPicture(sheet, strip, column * width, 0));
  return sheet;
}
