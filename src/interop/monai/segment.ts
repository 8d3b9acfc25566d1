/** An image through a bundle: its transforms, its windows, and labels on the image's own grid. */
import { spatialShape } from '../../data/volume.ts';
import { InvalidOption } from '../../errors.ts';
import { argmax, labelsThrough, softmax } from '../../infer/probabilities.ts';
import type { Pipeline } from './pipeline.ts';
import { transformed, type PlacedImage } from './transforms.ts';
import { planesThrough, throughWindows, type OnProgress, type RunNetwork } from './windows.ts';

export interface MonaiSegmentation {
  /** [z][y][x] on the image's grid. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** [class][z][y][x] on the image's grid, where they were asked for. */
  readonly probabilities: Float32Array | undefined;
  /** [class][z][y][x] on that of the transformed image, where labels are not made of them plane by plane. */
  readonly logits?: Float32Array;
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
  const shape = spatialShape(image.shape);
  const brought = (values: Float32Array): Float32Array =>
    back.reduce<Float32Array>((found, step) => step(found), values);
  const labelsBack = (there: Uint8Array): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(back.reduce<Float32Array>((found, step) => step(found, true), Float32Array.from(there)));
  if (what === 'labels' && windows.size && !wanted.probabilities) {
    const there = new Uint8Array(shape[0] * shape[1] * shape[2]);
    let at = 0;
    const planes = planesThrough(image.data, shape, { ...windows, size: windows.size }, run, onProgress);
    for await (const plane of planes) {
      there.set(argmax(plane, classes), at);
      at += plane.length / classes;
    }
    return { labels: labelsBack(there), probabilities: undefined, image };
  }
  const logits = await throughWindows(image.data, shape, windows, run, onProgress);
  const probabilities = wanted.probabilities ? brought(softmax(logits, classes)) : undefined;
  if (what === 'labels') return { labels: labelsBack(argmax(logits, classes)), probabilities, logits, image };
  const labels = probabilities
    ? argmax(probabilities, classes)
    : labelsThrough(softmax(logits, classes), { classes }, brought);
  return { labels, probabilities, logits, image };
}
