/** An image through a bundle: its transforms, its windows, and labels on the image's own grid. */
import { spatialShape } from '../../data/volume.ts';
import { InvalidOption } from '../../errors.ts';
import { argmax, softmax } from '../../infer/probabilities.ts';
import type { Pipeline } from './pipeline.ts';
import { transformed, type PlacedImage } from './transforms.ts';
import { throughWindows, type OnProgress, type RunNetwork } from './windows.ts';

export interface MonaiSegmentation {
  /** [z][y][x] on the image's grid. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** [class][z][y][x] on the image's grid. */
  readonly probabilities: Float32Array;
  /** [class][z][y][x] on that of the transformed image. */
  readonly logits: Float32Array;
  /** The network's input. */
  readonly image: PlacedImage;
}

/**
 * Probabilities come back to the image's own grid step by step, and there the largest counts.
 * @param network its numbers of channels and classes, and what gives its logits of a window
 * @throws InvalidOption for another number of channels
 */
export async function segmentAsBundle(
  source: PlacedImage,
  { transforms, windows }: Pipeline,
  network: {
    readonly inChannels: number;
    readonly classes: number;
    readonly run: RunNetwork;
    readonly onProgress?: OnProgress | undefined;
  },
): Promise<MonaiSegmentation> {
  const { inChannels, classes, run, onProgress } = network;
  const [x, y, z] = spatialShape(source.shape);
  const channels = source.data.length / (x * y * z);
  if (channels !== inChannels)
    throw new InvalidOption(`the image has ${channels} channel(s); this bundle takes ${inChannels}`);
  const { image, back } = transformed(source, transforms);
  const logits = await throughWindows(image.data, spatialShape(image.shape), windows, run, onProgress);
  let probabilities: Float32Array = softmax(logits, classes);
  for (const step of back) probabilities = step(probabilities);
  return { labels: argmax(probabilities, classes), probabilities, logits, image };
}
