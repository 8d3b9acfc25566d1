/** Labels of a volume as its logits come, plane by plane: no stack of logits or probabilities of all classes. */
import type { Heads } from '../data/regions.ts';
import { linearPlaces, resamplePlane, resampleTo } from '../data/resample.ts';
import { Aborted } from '../errors.ts';
import type { Size3 } from '../size.ts';
import type { DenseCase } from './evaluator.ts';
import {
  labelsOf,
  labelsThrough,
  mirrorings,
  probabilitiesOf,
  segmentProbabilities,
  type ProbabilityOptions,
} from './probabilities.ts';

/**
 * Labels [z][y][x] of a volume on a grid of the same field of view. Mirrored passes come in several orders: the mean of
 * their probabilities is there at once.
 * @param planes of a volume's logits, [head][y][x], in order
 * @throws Aborted; InvalidOption for axes that are none; what `planes` throws
 */
export async function segmentLabels<Options extends ProbabilityOptions>(
  planes: (volume: DenseCase, options: Options) => AsyncIterable<Float32Array>,
  volume: DenseCase,
  heads: Heads,
  options: Options,
  to: Size3 = volume.shape,
): Promise<Uint8Array<ArrayBuffer>> {
  if (options.signal?.aborted) throw new Aborted('prediction was stopped before the first window');
  if (mirrorings(options).length === 1)
    return labelsOfPlanes(planes(volume, options), heads, volume.shape, to);
  const mean = await segmentProbabilities(planes, volume, heads, options);
  const isSame = to.join() === volume.shape.join();
  return labelsThrough(mean, heads, (head) => (isSame ? head : resampleTo(head, volume.shape, to, 'linear')));
}

/**
 * Labels [z][y][x] on a grid of the same field of view: of a voxel's probabilities, which are brought there linearly.
 * The same to the bit as `labelsThrough` gives of the whole.
 * @param planes of logits [head][y][x], in order
 * @param from their grid
 * @param to the grid of the labels
 */
export async function labelsOfPlanes(
  planes: AsyncIterable<Float32Array>,
  heads: Heads,
  from: Size3,
  to: Size3,
): Promise<Uint8Array<ArrayBuffer>> {
  const isSame = from.join() === to.join();
  const [columns, rows, places] = from.map((n, axis) => linearPlaces(n, to[axis]!)) as [
    ...Parameters<typeof resamplePlane>[1],
    ReturnType<typeof linearPlaces>,
  ];
  const area = to[0] * to[1];
  const labels = new Uint8Array(area * to[2]);
  let previous: Float32Array | undefined;
  let [taken, given] = [0, 0];
  for await (const plane of planes) {
    const scores = probabilitiesOf(plane, heads);
    const newest = taken++;
    for (; given < to[2] && places[given]!.high <= newest; given++) {
      const { low, high, weight } = places[given]!;
      const [first, second] = [low, high].map((z) => (z === newest ? scores : previous!));
      const found = isSame
        ? labelsOf(first!, heads)
        : labelsThrough(interleaved(first!, second!, from[0] * from[1]), heads, (pair) =>
            resamplePlane(pair, [columns, rows], [from[0], from[1]], weight),
          );
      labels.set(found, given * area);
    }
    previous = scores;
  }
  return labels;
}

/** [head][2][y][x] of two planes [head][y][x]. */
function interleaved(first: Float32Array, second: Float32Array, area: number): Float32Array {
  const pairs = new Float32Array(2 * first.length);
  for (let at = 0; at < first.length; at += area) {
    pairs.set(first.subarray(at, at + area), 2 * at);
    pairs.set(second.subarray(at, at + area), 2 * at + area);
  }
  return pairs;
}
