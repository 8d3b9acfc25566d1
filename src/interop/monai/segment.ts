/** An image through a bundle: its transforms, its windows, and labels on the image's own grid. */
import { filled } from '../../data/allocation.ts';
import { spatialShape } from '../../data/volume.ts';
import { InvalidOption } from '../../errors.ts';
import { argmax, labelsThrough, softmax } from '../../infer/probabilities.ts';
import type { Size3 } from '../../size.ts';
import { linearTable, PlaneReducer } from '../nnunet/pipeline/labels-of-planes.ts';
import { withKept, type KeptComponents } from './components.ts';
import type { Pipeline } from './pipeline.ts';
import { transformed, type Back, type PlacedImage } from './transforms.ts';
import { planesThrough, throughWindows, type OnProgress, type RunNetwork } from './windows.ts';

export interface MonaiSegmentation {
  /** [z][y][x] on the image's grid; of channels that overlap [class][z][y][x] of 0 and 1. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** [class][z][y][x] on the image's grid, where they were asked for. */
  readonly probabilities: Float32Array | undefined;
  /** [class][z][y][x] on that of the transformed image, where labels are not made of them plane by plane. */
  readonly logits?: Float32Array;
  /** The network's input. */
  readonly image: PlacedImage;
}

/**
 * Probabilities come back to the image's own grid step by step, class by class, and decide there; or labels do, where
 * the bundle says so.
 * @param network its numbers of channels and classes, and what gives its logits of a window
 * @throws InvalidOption for another number of channels
 */
export async function segmentAsBundle(
  source: PlacedImage,
  { transforms, windows, back: what, threshold, components = [] }: Pipeline,
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
  /** Maps of labels: one, or one per channel. */
  const maps = threshold === undefined ? 1 : classes;
  const probabilitiesOf = (logits: Float32Array): Float32Array =>
    threshold === undefined ? softmax(logits, classes) : sigmoid(logits);
  const decided = (logits: Float32Array): Uint8Array<ArrayBuffer> =>
    threshold === undefined ? argmax(logits, classes) : reaching(sigmoid(logits), threshold);
  const cleaned = (labels: Uint8Array<ArrayBuffer>, grid: KeptComponents['grid'], size: Size3) =>
    components
      .filter((step) => step.grid === grid)
      .reduce((found, step) => withKept(found, size, maps, step), labels);
  /** By the nearest voxels, through all steps or those behind the first. */
  const labelsBack = (there: Uint8Array<ArrayBuffer>, steps = back): Uint8Array<ArrayBuffer> => {
    const here = new Uint8Array(maps * x * y * z);
    for (let map = 0; map < maps; map++) {
      const own = Float32Array.from(partOf(there, map, maps));
      here.set(
        steps.reduce<Float32Array>((found, step) => step(found, true), own),
        map * x * y * z,
      );
    }
    return cleaned(here, 'image', [x, y, z]);
  };
  if (windows.size && !wanted.probabilities) {
    const planes = planesThrough(image.data, shape, { ...windows, size: windows.size }, run, onProgress);
    if (what === 'labels') {
      const there = await stackedLabels(planes, decided, maps, shape);
      return { labels: labelsBack(cleaned(there, 'network', shape)), probabilities: undefined, image };
    }
    // Steps behind the first may move voxels only: by then these are labels.
    const first = back[0]?.resampling;
    const others = first ? back.slice(1) : back;
    if (!others.some((step) => step.resampling)) {
      const brought = planesBack(planes, first, shape, { classes, threshold });
      const there = await stackedLabels(brought, (plane) => plane, maps, first?.to ?? shape);
      return { labels: labelsBack(there, others), probabilities: undefined, image };
    }
  }
  const logits = await throughWindows(image.data, shape, windows, run, onProgress);
  const probabilities = wanted.probabilities ? brought(probabilitiesOf(logits)) : undefined;
  if (what === 'labels')
    return { labels: labelsBack(cleaned(decided(logits), 'network', shape)), probabilities, logits, image };
  const found = probabilities ?? probabilitiesOf(logits);
  const bring = probabilities ? (values: Float32Array) => values : brought;
  let labels: Uint8Array<ArrayBuffer>;
  if (threshold !== undefined)
    labels = channelsThrough(found, classes, (channel) => reaching(bring(channel), threshold));
  else labels = probabilities ? argmax(found, classes) : labelsThrough(found, { classes }, brought);
  return { labels: cleaned(labels, 'image', [x, y, z]), probabilities, logits, image };
}

/** Volumes of 0 and 1, or one of labels, of their planes. */
async function stackedLabels<Plane>(
  planes: AsyncIterable<Plane>,
  labelled: (plane: Plane) => ArrayLike<number>,
  maps: number,
  [x, y, z]: Size3,
): Promise<Uint8Array<ArrayBuffer>> {
  const area = x * y;
  const all = new Uint8Array(maps * z * area);
  let k = 0;
  for await (const plane of planes) {
    const found = new Uint8Array(labelled(plane));
    for (let map = 0; map < maps; map++) partOf(all, map, maps).set(partOf(found, map, maps), k * area);
    k++;
  }
  return all;
}

/** Labels of planes of logits, whose probabilities are brought one step back, plane by plane. */
async function* planesBack(
  planes: AsyncIterable<Float32Array>,
  step: Back['resampling'],
  shape: Size3,
  { classes, threshold }: { readonly classes: number; readonly threshold: number | undefined },
): AsyncGenerator<Uint8Array | Uint16Array> {
  const heads = Array.from({ length: classes }, (_, written) => ({ written }));
  const tables = step?.places.map(({ scale, shift }, axis) =>
    linearTable(
      step.from[axis]!,
      Float64Array.from({ length: step.to[axis]! }, (_, i) => scale * i + shift),
    ),
  );
  const keepLogits = threshold !== undefined;
  const options = { tables, keepLogits };
  const reducer = new PlaneReducer(shape, step?.to ?? shape, { heads, regions: false }, options);
  for await (const plane of planes)
    for (const { labels, logits } of reducer.push(keepLogits ? sigmoid(plane) : softmax(plane, classes)))
      yield keepLogits ? reaching(logits!, threshold) : labels;
}

/** One of several volumes in a row. */
const partOf = <T extends Uint8Array | Float32Array>(all: T, index: number, count: number): T =>
  all.subarray((index * all.length) / count, ((index + 1) * all.length) / count) as T;

const sigmoid = (logits: Float32Array): Float32Array => logits.map((value) => 1 / (1 + Math.exp(-value)));

/** 1 where it is at least the threshold, both in float32. */
const reaching = (probabilities: Float32Array, threshold: number): Uint8Array<ArrayBuffer> =>
  filled(new Uint8Array(probabilities.length), probabilities, (value) =>
    Number(value >= Math.fround(threshold)),
  );

/** One channel after the other, so that no two of them are there as probabilities. */
function channelsThrough(
  probabilities: Float32Array,
  classes: number,
  labelled: (channel: Float32Array) => Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  let result: Uint8Array<ArrayBuffer> | undefined;
  for (let channel = 0; channel < classes; channel++) {
    const labels = labelled(partOf(probabilities, channel, classes));
    result ??= new Uint8Array(classes * labels.length);
    result.set(labels, channel * labels.length);
  }
  return result!;
}
