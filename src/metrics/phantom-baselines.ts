/**
 * Two segmentations without any network, to show what a data set gives away for free: where a class
 * usually lies (positional prior) and what its intensity is (intensity classifier).
 */
import { InvalidDataset } from '../errors.ts';
import { dice, meanDefined } from './dice.ts';

/** What the baselines need of a case: an image and its label map on one grid. */
export interface LabelledImage {
  readonly image: Float32Array;
  readonly labels: Uint8Array;
}

function requireCases(train: readonly LabelledImage[]): void {
  const [first] = train;
  if (!first) throw new InvalidDataset('The baselines got no training case; give at least one.');
  const other = train.find((item) => item.labels.length !== first.labels.length);
  if (other)
    throw new InvalidDataset(
      `The positional prior needs one grid: found ${first.labels.length} and ${other.labels.length} voxels.`,
    );
}

/** Each voxel's most frequent label over the training cases (the lowest on a tie). */
export function positionalPrior(train: readonly LabelledImage[], classes = 6): Uint8Array {
  requireCases(train);
  const result = new Uint8Array(train[0]!.labels.length);
  const counts = new Uint32Array(classes);
  for (let voxel = 0; voxel < result.length; voxel++) {
    counts.fill(0);
    for (const { labels } of train) counts[labels[voxel]!]! += 1;
    result[voxel] = counts.indexOf(Math.max(...counts));
  }
  return result;
}

const bins = 100;

/** Bin of every voxel after z-scoring the volume; the range is −4 to 6 standard deviations. */
function zBins(image: Float32Array): Uint8Array {
  let sum = 0;
  let squares = 0;
  for (const value of image) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / image.length;
  const deviation = Math.sqrt(Math.max(squares / image.length - mean * mean, 0)) || 1;
  return Uint8Array.from(image, (value) =>
    Math.min(Math.max(Math.floor(((value - mean) / deviation + 4) * (bins / 10)), 0), bins - 1),
  );
}

/**
 * A Bayes classifier of the z-scored intensity alone: class histograms of the training cases, weighted
 * by class frequency to the power 0, 0.5 or 1, whichever scores the highest mean foreground Dice on
 * the training cases. Returns a function from an image to its label map.
 */
export function intensityClassifier(
  train: readonly LabelledImage[],
  classes = 6,
): (image: Float32Array) => Uint8Array {
  if (train.length === 0) throw new InvalidDataset('The baselines got no training case; give at least one.');
  const counts = Array.from({ length: classes }, () => new Float64Array(bins).fill(1e-3));
  const binned = train.map(({ image }) => zBins(image));
  train.forEach(({ labels }, index) => {
    const volume = binned[index]!;
    for (let voxel = 0; voxel < labels.length; voxel++) counts[labels[voxel]!]![volume[voxel]!]! += 1;
  });
  const totals = counts.map((histogram) => histogram.reduce((a, b) => a + b));
  const table = (power: number): Uint8Array =>
    Uint8Array.from({ length: bins }, (_, bin) => {
      const scores = counts.map((histogram, label) => histogram[bin]! * totals[label]! ** (power - 1));
      return scores.indexOf(Math.max(...scores));
    });
  const score = (choice: Uint8Array): number =>
    meanDefined(
      train.flatMap(({ labels }, index) =>
        dice(
          binned[index]!.map((bin) => choice[bin]!),
          labels,
          classes,
        ).slice(1),
      ),
    );
  const best = [0, 0.5, 1].map(table).sort((a, b) => score(b) - score(a))[0]!;
  return (image) => zBins(image).map((bin) => best[bin]!);
}
