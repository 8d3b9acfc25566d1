/** An image through a bundle: its transforms, its windows, and labels on the image's own grid. */
import { spatialShape } from '../../data/volume.ts';
import { InvalidOption } from '../../errors.ts';
import { argmax, labelsThrough, softmax } from '../../infer/probabilities.ts';
import type { Pipeline } from './pipeline.ts';
import { transformed, type PlacedImage } from './transforms.ts';
import { throughWindows, type OnProgress, type RunNetwork } from './windows.ts';

export interface MonaiSegmentation {
  /** [z][y][x] on the image's grid. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** [class][z][y][x] on the image's grid, where they were asked for. */
  readonly probabilities: Float32Array | undefined;
  /** [class][z][y][x] on that of the transformed image. */
  readonly logits: Float32Array;
  /** The network's input. */
  readonly image: PlacedImage;
}

/**
 * Probabilities come back to the image's own grid step by step, class by class, and there the largest counts; or labels
 * do, where the bundle says so.
 * @param network its numbers of channels and classes, and what gives its logits of a window
 * @throws InvalidOption for another number of channels
 */
export async function segmentAsBundle(
  source: PlacedImage,
  { transforms, windows, back: what }: Pipeline,
  network: {
    readonly inChannels: number;
    readonly classes: number;
    readonly run: RunNetwork;
    readonly onProgress?: OnProgress | undefined;
  },
  wanted: { readonly probabilities?: boolean } = {},
): Promise<MonaiSegmentation> {
  const { inChannels, classes, run, onProgress } = network;
  const [x, y, z] = spatialShape(source.shape);
  const channels = source.data.length / (x * y * z);
  if (channels !== inChannels)
    throw new InvalidOption(`the image has ${channels} channel(s); this bundle takes ${inChannels}`);
  const { image, back } = transformed(source, transforms);
  const logits = await throughWindows(image.data, spatialShape(image.shape), windows, run, onProgress);
  const brought = (values: Float32Array): Float32Array =>
    back.reduce<Float32Array>((found, step) => step(found), values);
  const probabilities = wanted.probabilities ? brought(softmax(logits, classes)) : undefined;
  if (what === 'labels') {
    const there: Float32Array = Float32Array.from(argmax(logits, classes));
    const labels = Uint8Array.from(back.reduce((found, step) => step(found, true), there));
    return { labels, probabilities, logits, image };
  }
  const labels = probabilities
    ? argmax(probabilities, classes)
    : labelsThrough(softmax(logits, classes), { classes }, brought);
  return { labels, probabilities, logits, image };
}
